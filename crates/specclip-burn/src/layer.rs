//! The library's operator of a traced layer, and the way of its weights from and to the module.

use std::collections::{HashMap, HashSet};

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use specclip::operator::{Compose, Conv, ConvTranspose, Dense, Diagonal, LinearOperator};
use specclip::{BoxedParametric, Parametric};

use crate::error::Error;
use crate::trace::{Kind, TracedLayer};

/// Values of parameters by their identity.
pub(crate) type Values = HashMap<ParamId, Vec<f32>>;

/// The operators that are clipped: a layer, or a convolution with the batch normalisation behind it.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) layer: TracedLayer,
    pub(crate) batch_norm: Option<TracedLayer>,
}

impl Unit {
    /// The parameters that it is made of.
    pub(crate) fn parameters(&self) -> Vec<ParamId> {
        let mut all = vec![self.layer.weight];
        for layer in [Some(&self.layer), self.batch_norm.as_ref()]
            .into_iter()
            .flatten()
        {
            all.push(layer.weight);
            if let Kind::BatchNorm { variance, .. } = layer.kind {
                all.push(variance);
            }
        }
        all.dedup();
        all
    }

    /// The parameters that a clip may move.
    pub(crate) fn weights(&self) -> Vec<ParamId> {
        let batch_norm = self.batch_norm.as_ref().map(|layer| layer.weight);
        [Some(self.layer.weight), batch_norm]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The name that reports use.
    pub(crate) fn name(&self) -> String {
        match &self.batch_norm {
            Some(batch_norm) => format!("{}+{}", self.layer.name, batch_norm.name),
            None => self.layer.name.clone(),
        }
    }

    /// About how many multiplications an action takes.
    pub(crate) fn work(&self) -> usize {
        let positions: usize = match self.layer.kind {
            Kind::Conv(_) | Kind::ConvTranspose(_) => self.layer.input_shape[1..].iter().product(),
            Kind::Dense | Kind::BatchNorm { .. } => 1,
        };
        self.layer
            .weight_shape
            .iter()
            .product::<usize>()
            .saturating_mul(positions)
    }

    pub(crate) fn kind(&self) -> String {
        let kind = self.layer.kind.name();
        match &self.batch_norm {
            Some(_) => format!("{kind}+bn"),
            None => kind,
        }
    }

    /// The operator with the module's weights.
    pub(crate) fn operator(&self, values: &Parameters) -> Result<BoxedParametric<f32>, Error> {
        self.build(values).map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: Problem) -> Error {
        match problem {
            Problem::Missing(parameter) => Error::Changed {
                layer: self.name(),
                parameter: parameter.to_string(),
                expected: self.layer.weight_shape.iter().product(),
            },
            Problem::Refused(source) => Error::Layer {
                layer: self.name(),
                source,
            },
        }
    }

    fn build(&self, values: &Parameters) -> Result<BoxedParametric<f32>, Problem> {
        let TracedLayer {
            kind,
            weight_shape,
            input_shape,
            ..
        } = &self.layer;
        let weight = weight(&self.layer, values)?;
        Ok(match kind {
            Kind::Conv(params) => {
                let conv = Conv::new(weight, weight_shape, input_shape, params)?;
                match &self.batch_norm {
                    None => Box::new(conv),
                    Some(layer) => {
                        let bn = diagonal(layer, conv.output_shape(), values)?;
                        Box::new(Compose::new(bn, conv)?.holding_inner())
                    }
                }
            }
            Kind::ConvTranspose(params) => Box::new(ConvTranspose::new(
                weight,
                weight_shape,
                input_shape,
                params,
            )?),
            Kind::Dense => {
                let (inputs, outputs) = (weight_shape[0], weight_shape[1]);
                Box::new(Dense::new(
                    transposed(&weight, inputs, outputs),
                    outputs,
                    inputs,
                )?)
            }
            Kind::BatchNorm { .. } => Box::new(diagonal(&self.layer, input_shape, values)?),
        })
    }

    /// The module's weight, in its own layout.
    pub(crate) fn weight(&self, values: &Parameters) -> Result<Vec<f32>, Error> {
        weight(&self.layer, values).map_err(|problem| self.error(problem))
    }

    /// The gradients of the module's parameters for those of the operator's weights.
    pub(crate) fn gradients_of(
        &self,
        weights: &[Vec<f32>],
        values: &Parameters,
    ) -> Result<Values, Error> {
        let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
        let gamma = |layer: &TracedLayer, factors: &[f32]| {
            let (variances, eps) = variances(layer, values)?;
            let pairs = factors.iter().zip(variances);
            let gradient = pairs.map(|(&g, v)| (f64::from(g) / (v + eps).sqrt()) as f32);
            Ok(gradient.collect())
        };
        self.laid_out(&weights, gamma)
    }

    /// The parameters of the module for the operator's weights, but for a convolution that is held.
    pub(crate) fn parameters_of(
        &self,
        operator: &BoxedParametric<f32>,
        values: &Parameters,
    ) -> Result<Values, Error> {
        let gamma = |layer: &TracedLayer, factors: &[f32]| gamma(layer, factors, values);
        let mut parameters = self.laid_out(&operator.weights(), gamma)?;
        if self.batch_norm.is_some() {
            parameters.remove(&self.layer.weight);
        }
        Ok(parameters)
    }

    /// What is for the operator's weights, one after the other, as the module has it; `gamma` makes a batch
    /// normalisation's of what is for its factors.
    fn laid_out(
        &self,
        weights: &[&[f32]],
        gamma: impl Fn(&TracedLayer, &[f32]) -> Result<Vec<f32>, Problem>,
    ) -> Result<Values, Error> {
        let gamma = |layer, factors| gamma(layer, factors).map_err(|problem| self.error(problem));
        let mut values = Values::new();
        // Of a composition the convolution's comes first.
        if let Some(&own) = weights.first() {
            let own = match self.layer.kind {
                Kind::Dense => {
                    let shape = &self.layer.weight_shape;
                    transposed(own, shape[1], shape[0])
                }
                Kind::BatchNorm { .. } => gamma(&self.layer, own)?,
                _ => own.to_vec(),
            };
            values.insert(self.layer.weight, own);
        }
        if let (Some(layer), [_, factors]) = (&self.batch_norm, weights) {
            values.insert(layer.weight, gamma(layer, factors)?);
        }
        Ok(values)
    }
}

enum Problem {
    Missing(ParamId),
    Refused(specclip::Error),
}

impl From<specclip::Error> for Problem {
    fn from(error: specclip::Error) -> Self {
        Self::Refused(error)
    }
}

fn weight(layer: &TracedLayer, values: &Parameters) -> Result<Vec<f32>, Problem> {
    let expected: usize = layer.weight_shape.iter().product();
    let found = values.get(layer.weight).filter(|v| v.len() == expected);
    found.ok_or(Problem::Missing(layer.weight))
}

/// The running variances and what is added to them.
fn variances(layer: &TracedLayer, values: &Parameters) -> Result<(Vec<f64>, f64), Problem> {
    let Kind::BatchNorm { variance, eps } = layer.kind else {
        return Err(Problem::Missing(layer.weight));
    };
    let variances = values.get(variance).ok_or(Problem::Missing(variance))?;
    Ok((variances.iter().map(|&v| f64::from(v)).collect(), eps))
}

fn diagonal(
    layer: &TracedLayer,
    shape: &[usize],
    values: &Parameters,
) -> Result<Diagonal<f32>, Problem> {
    let gamma = weight(layer, values)?;
    let gamma: Vec<f64> = gamma.iter().map(|&g| f64::from(g)).collect();
    let (variances, eps) = variances(layer, values)?;
    Ok(Diagonal::batch_norm(&gamma, &variances, eps, shape)?)
}

/// The gamma of a batch normalisation with these factors; bit for bit as it was where the factor is as
/// it was.
fn gamma(layer: &TracedLayer, factors: &[f32], values: &Parameters) -> Result<Vec<f32>, Problem> {
    let old = weight(layer, values)?;
    let before = diagonal(layer, &[old.len()], values)?;
    let (variances, eps) = variances(layer, values)?;
    let new = |i: usize| {
        if factors[i] == before.weights()[0][i] {
            old[i]
        } else {
            (f64::from(factors[i]) * (variances[i] + eps).sqrt()) as f32
        }
    };
    Ok((0..factors.len()).map(new).collect())
}

fn transposed(matrix: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols)
        .map(|i| matrix[i % rows * cols + i / rows])
        .collect()
}

/// Parameters of a module by their identity: its tensors, which are copied to the host one by one, where they are needed.
pub(crate) struct Parameters {
    tensors: HashMap<ParamId, Tensor<1>>,
}

impl Parameters {
    /// Those that are asked for. Running statistics are those that inference would use.
    pub(crate) fn of<M: Module>(module: &M, wanted: &[ParamId]) -> Self {
        let mut read = Read {
            wanted: wanted.iter().copied().collect(),
            tensors: HashMap::new(),
        };
        module.valid().visit(&mut read);
        Self {
            tensors: read.tensors,
        }
    }

    fn get(&self, id: ParamId) -> Option<Vec<f32>> {
        self.tensors.get(&id).and_then(to_host)
    }

    /// Puts other values in the place of theirs.
    pub(crate) fn extend(&mut self, values: Values) {
        let tensors = values.into_iter().map(|(id, values)| {
            let shape = [values.len()];
            let data = TensorData::new(values, shape);
            let tensor = Tensor::from_data(data, (&Device::flex(), DType::F32));
            (id, tensor)
        });
        self.tensors.extend(tensors);
    }

    /// The values of those that have changed.
    pub(crate) fn changed(&self, changed: &HashSet<ParamId>) -> Values {
        let values = |&id| Some((id, self.get(id)?));
        changed.iter().filter_map(values).collect()
    }
}

fn to_host(tensor: &Tensor<1>) -> Option<Vec<f32>> {
    // Of bytes that others own, too, `into_data` makes a copy that is aligned for bytes, and a second one for numbers.
    if let Ok(flex) = tensor.clone().try_into_primitive::<Flex>()
        && let Some(values) = flex.as_slice()
    {
        return Some(values.to_vec());
    }
    tensor.clone().into_data().try_into_vec().ok()
}

struct Read {
    wanted: HashSet<ParamId>,
    tensors: HashMap<ParamId, Tensor<1>>,
}

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Of one parameter in several places the optimiser moves the first.
        if self.wanted.remove(&param.id) {
            let tensor = param.val();
            if tensor.dtype() == DType::F32 {
                let entries: usize = tensor.dims().iter().product();
                self.tensors.insert(param.id, tensor.reshape([entries]));
            }
        }
    }
}

/// Writes parameters into a module: each keeps its identity, its device and whether it is trained.
pub(crate) struct Write {
    values: Values,
}

impl Write {
    /// A module with these parameters in the place of its own.
    pub(crate) fn to<M: Module>(module: M, values: Values) -> M {
        if values.is_empty() {
            return module;
        }
        module.map(&mut Self { values })
    }
}

impl ModuleMapper for Write {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.get(&param.id).cloned() else {
            return param;
        };
        param.map(|old| {
            let data = TensorData::new(values, old.dims());
            let new = Tensor::from_data(data, (&old.device(), DType::F32));
            new.set_require_grad(old.is_require_grad())
        })
    }
}
