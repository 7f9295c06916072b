//! From a layer to the operator that runs.

use std::sync::Arc;

use specclip::operator::{Compose, Conv, ConvTranspose, Dense, Diagonal, Separable};
use specclip::{BoxedOperator, BoxedParametric, Real};

use crate::change::Changes;
use crate::constant::{Constant, does_not_fit};
use crate::model::{Layer, LayerKind, Model};
use crate::spec::{Padding, Spec};
use crate::{Error, input::shape_text};

impl Model {
    /// The operator of one layer. Weights are decoded now, and only these; where they were replaced
    /// ([`Model::set_weights`]), the new ones are.
    ///
    /// # Errors
    /// When there is no such layer, a weight has a NaN or an infinity (the error names the layer and the index), or
    /// the data file of a weight cannot be read.
    pub fn operator<T: Real>(&self, layer: usize) -> Result<BoxedOperator<T>, Error> {
        Ok(self.parametric(layer)?)
    }

    /// The operator of a convolution followed by its batch normalisation; of any other layer, the layer alone.
    ///
    /// # Errors
    /// As for [`Model::operator`], for both layers.
    pub fn composed<T: Real>(&self, layer: usize) -> Result<BoxedOperator<T>, Error> {
        Ok(self.composed_parametric(layer)?)
    }

    /// The operator of one layer with its weights. Batch normalisation has its factors gamma / sqrt(variance + epsilon);
    /// pooling, resampling and padding have none.
    ///
    /// # Errors
    /// As for [`Model::operator`].
    pub fn parametric<T: Real>(&self, layer: usize) -> Result<BoxedParametric<T>, Error> {
        self.layer(layer)?.operator(&self.file.changes)
    }

    /// The operator of a convolution followed by its batch normalisation, with the weights of both; of any other layer,
    /// the layer alone.
    ///
    /// # Errors
    /// As for [`Model::operator`], for both layers.
    pub fn composed_parametric<T: Real>(&self, layer: usize) -> Result<BoxedParametric<T>, Error> {
        let first = self.layer(layer)?;
        let Some(norm) = first.batch_norm else {
            return self.parametric(layer);
        };
        let both = Compose::new(self.parametric(norm)?, self.parametric(layer)?);
        Ok(Box::new(both.map_err(|e| first.refused(e))?))
    }

    pub(crate) fn layer(&self, index: usize) -> Result<&Layer, Error> {
        self.layers.get(index).ok_or(Error::NoSuchLayer {
            index,
            count: self.layers.len(),
        })
    }
}

impl Layer {
    pub(crate) fn refused(&self, source: specclip::Error) -> Error {
        Error::Operator {
            layer: self.name.clone(),
            source,
        }
    }

    fn operator<T: Real>(&self, changes: &Changes) -> Result<BoxedParametric<T>, Error> {
        let operator = self.build(changes)?;
        // Padded channels are an axis behind a first one of length 1.
        let padded = matches!(self.spec, Spec::Pad { .. });
        let output = operator.output_shape();
        if output == self.output_shape || (padded && output.get(1..) == Some(&self.output_shape)) {
            return Ok(operator);
        }
        Err(Error::Weight {
            layer: self.name.clone(),
            problem: format!(
                "the model says that its output is {} but the operator gives {}",
                shape_text(&self.output_shape),
                shape_text(operator.output_shape())
            ),
        })
    }

    fn build<T: Real>(&self, changes: &Changes) -> Result<BoxedParametric<T>, Error> {
        let refused = |e| self.refused(e);
        let input = self.input_shape.as_slice();
        Ok(match &self.spec {
            Spec::Conv {
                weight,
                params,
                before,
            } => self.conv(weight, params, before, changes)?,
            Spec::ConvTranspose { weight, params } => {
                let values = weight.values::<T>(&self.name, changes)?;
                let built = ConvTranspose::new(values, &weight.dims, input, params);
                Box::new(built.map_err(refused)?)
            }
            Spec::Dense { weight, factor } => {
                let mut values = weight.values::<T>(&self.name, changes)?;
                if *factor != 1.0 {
                    for (i, w) in values.iter_mut().enumerate() {
                        let scaled = w.to_f64() * factor;
                        *w = T::from_f64(scaled);
                        if !w.is_finite() {
                            let problem = does_not_fit::<T>();
                            return Err(weight.overflow(&self.name, i, scaled, problem));
                        }
                    }
                }
                let [outputs, inputs] = weight.dims[..] else {
                    return Err(self.misshapen(weight, "a matrix"));
                };
                Box::new(Dense::new(values, outputs, inputs).map_err(refused)?)
            }
            Spec::BatchNorm {
                gamma,
                variance,
                epsilon,
            } => {
                let gamma = gamma.values::<f64>(&self.name, changes)?;
                let variance = variance.values::<f64>(&self.name, changes)?;
                let built = Diagonal::batch_norm(&gamma, &variance, *epsilon, input);
                Box::new(built.map_err(refused)?)
            }
            Spec::AvgPool(params) => {
                Box::new(Separable::average_pool(input, params).map_err(refused)?)
            }
            Spec::Resize(params) => {
                let sizes = self.output_shape.get(1..).unwrap_or_default();
                Box::new(Separable::resample(input, sizes, params).map_err(refused)?)
            }
            Spec::Pad { shape, padding } => {
                let built = Separable::pad(shape, &padding.amounts, padding.mode);
                Box::new(built.map_err(refused)?)
            }
        })
    }

    fn conv<T: Real>(
        &self,
        weight: &Arc<Constant>,
        params: &specclip::operator::ConvParams,
        before: &[Padding],
        changes: &Changes,
    ) -> Result<BoxedParametric<T>, Error> {
        let refused = |e| self.refused(e);
        let mut shape = self.input_shape.clone();
        let mut padded: Option<BoxedParametric<T>> = None;
        for padding in before {
            let pad = Separable::pad(&shape, &padding.amounts, padding.mode).map_err(refused)?;
            shape = specclip::LinearOperator::output_shape(&pad).to_vec();
            padded = Some(match padded {
                None => Box::new(pad),
                Some(inner) => Box::new(Compose::new(Box::new(pad), inner).map_err(refused)?),
            });
        }
        let values = weight.values::<T>(&self.name, changes)?;
        let conv = Conv::new(values, &weight.dims, &shape, params).map_err(refused)?;
        Ok(match padded {
            None => Box::new(conv),
            Some(inner) => Box::new(Compose::new(Box::new(conv), inner).map_err(refused)?),
        })
    }

    fn misshapen(&self, weight: &Constant, expected: &str) -> Error {
        Error::Weight {
            layer: self.name.clone(),
            problem: format!(
                "its weight has the shape {} and is not {expected}",
                shape_text(&weight.dims)
            ),
        }
    }
}

impl LayerKind {
    /// Whether a batch normalisation can be folded into the layer.
    pub(crate) fn takes_batch_norm(self) -> bool {
        matches!(self, Self::Conv(_) | Self::ConvTranspose(_) | Self::Dense)
    }
}
