//! Operators that know their weights.

use crate::Real;
use crate::block::{Block, Columns};
use crate::error::{Error, check_finite, checked_product};
use crate::operator::{LinearOperator, check_action};

/// An operator M(W) with one or more weights, linear in each of them (a convolution followed by
/// its batch normalisation is bilinear in the two).
///
/// The gradient G(u, v) of <u, M(W) v> with respect to W is the adjoint of W -> M(W) applied to
/// u v'. For an operator with one weight <G(u, v), W> = u' M(W) v.
pub trait Parametric: LinearOperator<Block = Columns<<Self as Parametric>::Scalar>> {
    /// The type of the weights and vectors.
    type Scalar: Real;

    /// All weights, each row-major in its own layout.
    fn weights(&self) -> Vec<&[Self::Scalar]>;

    /// The sum over the pairs of the blocks of lambda_i G(u_i, v_i): one gradient for each weight.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the blocks or `lambda` do not fit.
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Self::Block,
        v: &Self::Block,
    ) -> Result<Vec<Vec<Self::Scalar>>, Error>;

    /// Replaces all weights.
    ///
    /// # Errors
    /// When a weight has the wrong size or is not finite; then nothing is changed.
    fn set_weights(&mut self, weights: &[Vec<Self::Scalar>]) -> Result<(), Error>;

    /// Which of the weights M is linear in jointly, so that they may move together: all of them,
    /// but for products, of which one factor's weights move and the others stay.
    fn linear_weights(&self) -> Vec<bool> {
        vec![true; self.weights().len()]
    }

    /// The derivative of W -> M(W) v in the direction `direction`: the sum over the weights of
    /// M(..., direction_i, ...) v.
    ///
    /// # Errors
    /// As [`set_weights`](Self::set_weights) and [`LinearOperator::apply`].
    fn tangent(
        &self,
        direction: &[Vec<Self::Scalar>],
        v: &Self::Block,
    ) -> Result<Self::Block, Error>
    where
        Self: Clone,
    {
        if direction.len() != self.weights().len() {
            return Err(Error::shape(
                "tangent's direction",
                &[self.weights().len()],
                &[direction.len()],
            ));
        }
        let mut total = self.output_block(v.cols());
        let mut term = self.output_block(v.cols());
        let mut moved = self.clone();
        for (i, direction) in direction.iter().enumerate() {
            let mut weights: Vec<Vec<_>> = self.weights().iter().map(|w| w.to_vec()).collect();
            weights[i].clone_from(direction);
            moved.set_weights(&weights)?;
            moved.apply(v, &mut term)?;
            for (t, &x) in total.as_mut_slice().iter_mut().zip(term.as_slice()) {
                *t += x;
            }
        }
        Ok(total)
    }
}

/// A host operator of unknown kind that knows its weights.
pub type BoxedParametric<T> = Box<dyn Parametric<Scalar = T, Block = Columns<T>>>;

impl<P: Parametric + ?Sized> Parametric for Box<P> {
    type Scalar = P::Scalar;

    fn weights(&self) -> Vec<&[P::Scalar]> {
        (**self).weights()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Self::Block,
        v: &Self::Block,
    ) -> Result<Vec<Vec<P::Scalar>>, Error> {
        (**self).weight_gradient(lambda, u, v)
    }
    fn set_weights(&mut self, weights: &[Vec<P::Scalar>]) -> Result<(), Error> {
        (**self).set_weights(weights)
    }
    fn linear_weights(&self) -> Vec<bool> {
        (**self).linear_weights()
    }
}

/// Refuses a weight of the wrong size or with a NaN or an infinity.
pub(crate) fn check_weights<T: Real>(
    operation: &'static str,
    shape: &[usize],
    weight: &[T],
) -> Result<(), Error> {
    if checked_product(operation, shape)? != weight.len() {
        return Err(Error::shape(operation, shape, &[weight.len()]));
    }
    check_finite(&format!("the {operation}'s weight"), weight)
}

/// Refuses pairs of vectors that do not fit the operator; returns the factors in its scalar type.
pub(crate) fn check_gradient<T: Real, Op: LinearOperator<Block = Columns<T>> + ?Sized>(
    op: &Op,
    lambda: &[f64],
    u: &Columns<T>,
    v: &Columns<T>,
) -> Result<Vec<T>, Error> {
    check_action("weight gradient", (op.inputs(), v), (op.outputs(), u))?;
    if lambda.len() != v.cols() {
        return Err(Error::shape(
            "weight gradient's factors",
            &[Block::cols(v)],
            &[lambda.len()],
        ));
    }
    Ok(lambda.iter().map(|&l| T::from_f64(l)).collect())
}
