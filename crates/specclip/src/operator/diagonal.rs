//! Layers that multiply each channel by a factor: batch normalisation in evaluation mode.

use rayon::prelude::*;

use super::{LinearOperator, Structure, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::{Error, check_finite};
use crate::weight::{Parametric, check_gradient, check_weights};

const NAME: &str = "diagonal layer";

/// One factor for each channel.
#[derive(Clone)]
pub struct Diagonal<T> {
    factors: Vec<T>,
    shape: Vec<usize>,
}

impl<T: Real> Diagonal<T> {
    /// Multiplies channel c of inputs of shape `shape` (channels first) by `factors[c]`.
    ///
    /// # Errors
    /// When there is not one finite factor for each channel, or `shape` is empty.
    pub fn new(factors: Vec<T>, shape: &[usize]) -> Result<Self, Error> {
        check_shape(NAME, shape)?;
        check_weights(NAME, &shape[..1], &factors)?;
        Ok(Self {
            factors,
            shape: shape.to_vec(),
        })
    }

    /// Batch normalisation in evaluation mode: factors gamma / sqrt(running variance + eps).
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a variance plus `eps` is not positive.
    pub fn batch_norm(
        gamma: &[f64],
        running_var: &[f64],
        eps: f64,
        shape: &[usize],
    ) -> Result<Self, Error> {
        if gamma.len() != running_var.len() {
            return Err(Error::shape(
                "batch normalisation's variance",
                &[gamma.len()],
                &[running_var.len()],
            ));
        }
        check_finite("batch normalisation's gamma", gamma)?;
        check_finite("batch normalisation's running variance", running_var)?;
        if let Some(c) = running_var
            .iter()
            .position(|v| v + eps <= 0.0 || eps.is_nan())
        {
            return Err(Error::invalid(
                "batch normalisation",
                format!(
                    "channel {c} has running variance {} and eps {eps}: their sum must be positive",
                    running_var[c]
                ),
            ));
        }
        let factors = gamma.iter().zip(running_var);
        let factors = factors.map(|(g, v)| T::from_f64(g / (v + eps).sqrt()));
        Self::new(factors.collect(), shape)
    }

    fn run(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        let n = self.inputs();
        check_action(NAME, (n, x), (n, &*y))?;
        let plane = n / self.factors.len();
        y.as_mut_slice()
            .par_chunks_exact_mut(plane)
            .zip(x.as_slice().par_chunks_exact(plane))
            .enumerate()
            .for_each(|(i, (y, x))| {
                let factor = self.factors[i % self.factors.len()];
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = factor * x;
                }
            });
        Ok(())
    }
}

impl<T: Real> LinearOperator for Diagonal<T> {
    type Block = Columns<T>;

    fn input_shape(&self) -> &[usize] {
        &self.shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.shape
    }
    fn input_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.inputs(), k)
    }
    fn output_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.outputs(), k)
    }
    fn apply(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        self.run(x, y)
    }
    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        self.run(y, x)
    }

    fn structure(&self) -> Structure {
        Structure::Channels(self.factors.iter().map(|f| f.to_f64()).collect())
    }
}

impl<T: Real> Parametric for Diagonal<T> {
    type Scalar = T;

    fn weights(&self) -> Vec<&[T]> {
        vec![&self.factors]
    }

    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<T>,
        v: &Columns<T>,
    ) -> Result<Vec<Vec<T>>, Error> {
        check_gradient(self, lambda, u, v)?;
        let plane = self.inputs() / self.factors.len();
        let mut sums = vec![0.0; self.factors.len()];
        let pieces = u.as_slice().chunks_exact(plane);
        for (i, (u, v)) in pieces.zip(v.as_slice().chunks_exact(plane)).enumerate() {
            let (image, channel) = (i / sums.len(), i % sums.len());
            let products = u.iter().zip(v).map(|(u, v)| u.to_f64() * v.to_f64());
            sums[channel] += lambda[image] * products.sum::<f64>();
        }
        Ok(vec![sums.into_iter().map(T::from_f64).collect()])
    }

    fn set_weights(&mut self, weights: &[Vec<T>]) -> Result<(), Error> {
        let [factors] = weights else {
            return Err(Error::shape(
                "diagonal layer's weights",
                &[1],
                &[weights.len()],
            ));
        };
        check_weights(NAME, &self.shape[..1], factors)?;
        self.factors.clone_from(factors);
        Ok(())
    }
}
