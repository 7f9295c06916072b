//! Operators seen differently: the transpose and a multiple.

use super::{FilterBank, LinearOperator};
use crate::block::Block;
use crate::error::Error;

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
    fn filter_bank(&self) -> Option<FilterBank> {
        self.0.filter_bank().map(FilterBank::transpose)
    }
    fn channel_factors(&self) -> Option<Vec<f64>> {
        self.0.channel_factors()
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
    fn filter_bank(&self) -> Option<FilterBank> {
        let mut bank = self.op.filter_bank()?;
        for w in &mut bank.weight {
            *w *= self.factor;
        }
        Some(bank)
    }
    fn channel_factors(&self) -> Option<Vec<f64>> {
        let mut factors = self.op.channel_factors()?;
        for f in &mut factors {
            *f *= self.factor;
        }
        Some(factors)
    }
}
