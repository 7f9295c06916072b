//! Operators seen differently: the transpose and a multiple.

use super::{LinearOperator, Structure};
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::weight::{IndependentPart, Parametric};

/// The transpose M' of an operator M.
#[derive(Clone)]
pub struct Adjoint<Op>(pub Op);

impl<Op: LinearOperator> LinearOperator for Adjoint<Op> {
    type Block = Op::Block;

    fn input_shape(&self) -> &[usize] {
        self.0.output_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.0.input_shape()
    }
    fn input_block(&self, k: usize) -> Self::Block {
        self.0.output_block(k)
    }
    fn output_block(&self, k: usize) -> Self::Block {
        self.0.input_block(k)
    }
    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        self.0.adjoint(x, y)
    }
    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        self.0.apply(y, x)
    }
    fn frobenius(&self) -> Option<f64> {
        self.0.frobenius()
    }
    fn structure(&self) -> Structure {
        self.0.structure().transpose()
    }
}

/// <u, M' v> = <v, M u>, so the two vectors change places.
impl<Op: Parametric> Parametric for Adjoint<Op> {
    type Scalar = Op::Scalar;

    fn weights(&self) -> Vec<&[Op::Scalar]> {
        self.0.weights()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<Op::Scalar>,
        v: &Columns<Op::Scalar>,
    ) -> Result<Vec<Vec<Op::Scalar>>, Error> {
        self.0.weight_gradient(lambda, v, u)
    }
    fn set_weights(&mut self, weights: &[Vec<Op::Scalar>]) -> Result<(), Error> {
        self.0.set_weights(weights)
    }
    fn linear_weights(&self) -> Vec<bool> {
        self.0.linear_weights()
    }
    fn independent_parts(&self) -> Option<Vec<IndependentPart<Op::Scalar>>> {
        let parts = self.0.independent_parts()?;
        Some(parts.into_iter().map(|part| part.map(Adjoint)).collect())
    }
}

/// A multiple c M of an operator M.
#[derive(Clone)]
pub struct Scaled<Op> {
    op: Op,
    factor: f64,
}

impl<Op: LinearOperator> Scaled<Op> {
    /// `factor` times `op`.
    ///
    /// # Errors
    /// When the factor is not finite.
    pub fn new(op: Op, factor: f64) -> Result<Self, Error> {
        if !factor.is_finite() {
            return Err(Error::invalid(
                "scaling",
                format!("the factor {factor} must be finite"),
            ));
        }
        Ok(Self { op, factor })
    }
}

impl<Op: LinearOperator> LinearOperator for Scaled<Op> {
    type Block = Op::Block;

    fn input_shape(&self) -> &[usize] {
        self.op.input_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.op.output_shape()
    }
    fn input_block(&self, k: usize) -> Self::Block {
        self.op.input_block(k)
    }
    fn output_block(&self, k: usize) -> Self::Block {
        self.op.output_block(k)
    }
    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        self.op.apply(x, y)?;
        y.scale(&vec![self.factor; y.cols()]);
        Ok(())
    }
    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        self.op.adjoint(y, x)?;
        x.scale(&vec![self.factor; x.cols()]);
        Ok(())
    }
    fn frobenius(&self) -> Option<f64> {
        self.op.frobenius().map(|norm| norm * self.factor.abs())
    }
    fn structure(&self) -> Structure {
        self.op.structure().scale(self.factor)
    }
}

impl<Op: Parametric> Parametric for Scaled<Op> {
    type Scalar = Op::Scalar;

    fn weights(&self) -> Vec<&[Op::Scalar]> {
        self.op.weights()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<Op::Scalar>,
        v: &Columns<Op::Scalar>,
    ) -> Result<Vec<Vec<Op::Scalar>>, Error> {
        let scaled: Vec<f64> = lambda.iter().map(|l| l * self.factor).collect();
        self.op.weight_gradient(&scaled, u, v)
    }
    fn set_weights(&mut self, weights: &[Vec<Op::Scalar>]) -> Result<(), Error> {
        self.op.set_weights(weights)
    }
    fn linear_weights(&self) -> Vec<bool> {
        self.op.linear_weights()
    }
    fn independent_parts(&self) -> Option<Vec<IndependentPart<Op::Scalar>>> {
        let factor = self.factor;
        let scaled = |part: IndependentPart<_>| part.map(|op| Scaled { op, factor });
        Some(
            self.op
                .independent_parts()?
                .into_iter()
                .map(scaled)
                .collect(),
        )
    }
}
