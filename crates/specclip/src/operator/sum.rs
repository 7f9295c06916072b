//! Operators side by side, added up.

use super::{LinearOperator, Structure, check_action};
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::kernel::scratch::Pool;
use crate::weight::Parametric;

/// The sum of operators with the same inputs and outputs, as a residual connection adds them.
pub struct Sum<Op: LinearOperator> {
    terms: Vec<Op>,
    work: Pool<Option<Op::Block>>,
}

impl<Op: LinearOperator + Clone> Clone for Sum<Op> {
    fn clone(&self) -> Self {
        Self {
            terms: self.terms.clone(),
            work: Pool::default(),
        }
    }
}

impl<Op: LinearOperator> Sum<Op> {
    /// x -> the sum of the terms' values.
    ///
    /// # Errors
    /// When there is no term, or the terms' shapes differ.
    pub fn new(terms: Vec<Op>) -> Result<Self, Error> {
        let Some(first) = terms.first() else {
            return Err(Error::invalid("sum", "a sum needs at least one operator"));
        };
        for term in &terms[1..] {
            for (expected, found) in [
                (first.input_shape(), term.input_shape()),
                (first.output_shape(), term.output_shape()),
            ] {
                if expected != found {
                    return Err(Error::shape("sum", expected, found));
                }
            }
        }
        Ok(Self {
            terms,
            work: Pool::default(),
        })
    }

    fn run(
        &self,
        target: &mut Op::Block,
        action: impl Fn(&Op, &mut Op::Block) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let k = target.cols();
        let ones = faer::Mat::<f64>::identity(k, k);
        action(&self.terms[0], target)?;
        self.work.with(
            || None,
            |work| {
                let mut term = match work.take() {
                    Some(block) if block.cols() == k && block.rows() == target.rows() => block,
                    _ => target.zeros_like(k),
                };
                for op in &self.terms[1..] {
                    action(op, &mut term)?;
                    target.add_combination(&term, 0..k, ones.as_ref());
                }
                *work = Some(term);
                Ok(())
            },
        )
    }
}

impl<Op: LinearOperator> LinearOperator for Sum<Op> {
    type Block = Op::Block;

    fn input_shape(&self) -> &[usize] {
        self.terms[0].input_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.terms[0].output_shape()
    }
    fn input_block(&self, k: usize) -> Self::Block {
        self.terms[0].input_block(k)
    }
    fn output_block(&self, k: usize) -> Self::Block {
        self.terms[0].output_block(k)
    }

    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        check_action("sum", (self.inputs(), x), (self.outputs(), &*y))?;
        self.run(y, |op, y| op.apply(x, y))
    }

    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        check_action("sum's adjoint", (self.outputs(), y), (self.inputs(), &*x))?;
        self.run(x, |op, x| op.adjoint(y, x))
    }

    fn frobenius(&self) -> Option<f64> {
        match self.terms.as_slice() {
            [only] => only.frobenius(),
            _ => None,
        }
    }

    fn structure(&self) -> Structure {
        Structure::sum(self.terms.iter().map(Op::structure).collect())
    }
}

/// The weights of the first term, then those of the second, and so on.
impl<Op: Parametric> Parametric for Sum<Op> {
    type Scalar = Op::Scalar;

    fn weights(&self) -> Vec<&[Op::Scalar]> {
        self.terms.iter().flat_map(Parametric::weights).collect()
    }

    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<Op::Scalar>,
        v: &Columns<Op::Scalar>,
    ) -> Result<Vec<Vec<Op::Scalar>>, Error> {
        let mut gradients = Vec::new();
        for term in &self.terms {
            gradients.extend(term.weight_gradient(lambda, u, v)?);
        }
        Ok(gradients)
    }

    fn linear_weights(&self) -> Vec<bool> {
        let terms = self.terms.iter();
        terms.flat_map(Parametric::linear_weights).collect()
    }

    fn set_weights(&mut self, weights: &[Vec<Op::Scalar>]) -> Result<(), Error> {
        let counts: Vec<usize> = self.terms.iter().map(|t| t.weights().len()).collect();
        let all = counts.iter().sum();
        if weights.len() != all {
            return Err(Error::shape("sum's weights", &[all], &[weights.len()]));
        }
        let owned = |w: &[Op::Scalar]| w.to_vec();
        let before: Vec<Vec<_>> = self.weights().into_iter().map(owned).collect();
        let mut assign = |weights: &[Vec<Op::Scalar>]| {
            let mut rest = weights;
            for (term, &count) in self.terms.iter_mut().zip(&counts) {
                let (own, others) = rest.split_at(count);
                term.set_weights(own)?;
                rest = others;
            }
            Ok(())
        };
        assign(weights).or_else(|error| {
            // Nothing is changed when a part is refused.
            assign(&before)?;
            Err(error)
        })
    }
}
