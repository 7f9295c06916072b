//! Operators that know their weights.

use std::ops::Range;

use crate::Real;
use crate::block::{Block, Columns};
use crate::error::{Error, check_finite, checked_product};
use crate::operator::{LinearOperator, check_action};

/// An operator M(W) with one or more weights, linear in each of them (a convolution followed by
/// its batch normalisation is bilinear in the two).
///
/// The gradient G(u, v) of <u, M(W) v> with respect to W is the adjoint of W -> M(W) applied to
/// u v'. For an operator with one weight <G(u, v), W> = u' M(W) v. Weights that an operator
/// [holds](crate::operator::Compose::holding_inner) are constants: G is zero there.
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

    /// [`apply`](LinearOperator::apply), the same up to rounding, where the weights will hardly act again, because others take
    /// their place: what an operator prepares for further actions need not be prepared.
    ///
    /// # Errors
    /// As [`LinearOperator::apply`].
    fn apply_once(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        self.apply(x, y)
    }

    /// [`adjoint`](LinearOperator::adjoint), the same up to rounding, where the weights will hardly act again.
    ///
    /// # Errors
    /// As [`LinearOperator::adjoint`].
    fn adjoint_once(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        self.adjoint(y, x)
    }

    /// Which of the weights M is linear in jointly, up to a constant and with the others fixed, so that they may move
    /// together: all of them, but for products, of which one factor's weights move and the others stay. The clipping methods rely on
    /// it, so an operator that is a product has to say so.
    fn linear_weights(&self) -> Vec<bool> {
        vec![true; self.weights().len()]
    }

    /// The operators that M consists of where it is block diagonal, as a convolution with groups is:
    /// no two share an input, an output or a weight, and they have all weights, so that ||M|| is the
    /// largest of their norms. They are in the order of their outputs. `None` where M is one operator or
    /// nothing is known.
    fn independent_parts(&self) -> Option<Vec<IndependentPart<Self::Scalar>>> {
        None
    }
}

/// A host operator of unknown kind that knows its weights.
pub type BoxedParametric<T> = Box<dyn Parametric<Scalar = T, Block = Columns<T>>>;

/// One of the operators that a block diagonal operator consists of.
pub struct IndependentPart<T: Real> {
    /// The operator, on its own inputs and outputs alone.
    pub operator: BoxedParametric<T>,
    /// For each weight of the whole, the entries that are the part's weight.
    pub weights: Vec<Range<usize>>,
}

impl<T: Real> IndependentPart<T> {
    /// The same part of an operator that is made of the whole, with the same weights.
    pub(crate) fn map<P>(self, make: impl FnOnce(BoxedParametric<T>) -> P) -> Self
    where
        P: Parametric<Scalar = T> + 'static,
    {
        Self {
            operator: Box::new(make(self.operator)),
            weights: self.weights,
        }
    }
}

/// Parts that each take `length` entries of one weight, one after the other.
pub(crate) fn consecutive_parts<P: Parametric + 'static>(
    weight: &[P::Scalar],
    length: usize,
    make: impl Fn(&[P::Scalar]) -> P,
) -> Vec<IndependentPart<P::Scalar>> {
    let parts = weight.chunks_exact(length).enumerate();
    let part = |(i, weight)| IndependentPart {
        operator: Box::new(make(weight)) as BoxedParametric<P::Scalar>,
        weights: std::iter::once(i * length..(i + 1) * length).collect(),
    };
    parts.map(part).collect()
}

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
    fn apply_once(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        (**self).apply_once(x, y)
    }
    fn adjoint_once(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        (**self).adjoint_once(y, x)
    }
    fn linear_weights(&self) -> Vec<bool> {
        (**self).linear_weights()
    }
    fn independent_parts(&self) -> Option<Vec<IndependentPart<P::Scalar>>> {
        (**self).independent_parts()
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
