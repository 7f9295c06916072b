//! One operator after another.

use super::structure::Part;
use super::{Diagonal, LinearOperator, Structure, check_action};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::kernel::scratch::Pool;
use crate::weight::{IndependentPart, Parametric, check_gradient};

/// The product of two operators: `outer` after `inner`. A convolution followed by its batch
/// normalisation is `Compose::new(batch_norm, conv)`.
pub struct Compose<A, B: LinearOperator> {
    outer: A,
    inner: B,
    /// Whether the outer operator's weights, if it has any, are those that move.
    holds_inner: bool,
    between: Pool<B::Block>,
}

impl<A: Clone, B: LinearOperator + Clone> Clone for Compose<A, B> {
    fn clone(&self) -> Self {
        Self {
            outer: self.outer.clone(),
            inner: self.inner.clone(),
            holds_inner: self.holds_inner,
            between: Pool::default(),
        }
    }
}

impl<A, B> Compose<A, B>
where
    B: LinearOperator,
    A: LinearOperator<Block = B::Block>,
{
    /// x -> `outer`(`inner`(x)).
    ///
    /// # Errors
    /// When `outer` does not take as many elements as `inner` gives. (The shapes may differ: a
    /// flattening between a convolution and a dense layer changes no element.)
    pub fn new(outer: A, inner: B) -> Result<Self, Error> {
        if outer.inputs() != inner.outputs() {
            return Err(Error::shape(
                "composition",
                outer.input_shape(),
                inner.output_shape(),
            ));
        }
        Ok(Self {
            outer,
            inner,
            holds_inner: false,
            between: Pool::default(),
        })
    }

    /// The same operator with its inner weights held: they have no gradient, and it is the outer ones that it is
    /// [linear](Parametric::linear_weights) in. What is clipped then moves the factors of a batch normalisation and not the
    /// convolution before it. In training that is the one of the two that lasts: what a convolution loses, the statistics of
    /// its batch normalisation give back. Where the outer operator has no weights, the inner ones move.
    #[must_use]
    pub fn holding_inner(mut self) -> Self {
        self.holds_inner = true;
        self
    }

    /// `y` <- M `x` by one or another way of the two operators to act.
    fn forward(
        &self,
        (x, y): (&B::Block, &mut B::Block),
        inner: impl Fn(&B, &B::Block, &mut B::Block) -> Result<(), Error>,
        outer: impl Fn(&A, &B::Block, &mut B::Block) -> Result<(), Error>,
    ) -> Result<(), Error> {
        check_action("composition", (self.inputs(), x), (self.outputs(), &*y))?;
        self.with_between(x.cols(), |between| {
            inner(&self.inner, x, between)?;
            outer(&self.outer, between, y)
        })
    }

    /// `x` <- M' `y` by one or another way of the two operators' adjoints to act.
    fn backward(
        &self,
        (y, x): (&B::Block, &mut B::Block),
        inner: impl Fn(&B, &B::Block, &mut B::Block) -> Result<(), Error>,
        outer: impl Fn(&A, &B::Block, &mut B::Block) -> Result<(), Error>,
    ) -> Result<(), Error> {
        check_action(
            "composition's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.with_between(y.cols(), |between| {
            outer(&self.outer, y, between)?;
            inner(&self.inner, between, x)
        })
    }

    /// Runs `work` with a block for the values between the two.
    fn with_between<R>(&self, k: usize, work: impl FnOnce(&mut B::Block) -> R) -> R {
        self.between.with(
            || self.inner.output_block(k),
            |block| {
                if block.cols() != k {
                    *block = self.inner.output_block(k);
                }
                work(block)
            },
        )
    }
}

impl<A, B> LinearOperator for Compose<A, B>
where
    B: LinearOperator,
    A: LinearOperator<Block = B::Block>,
{
    type Block = B::Block;

    fn input_shape(&self) -> &[usize] {
        self.inner.input_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.outer.output_shape()
    }
    fn input_block(&self, k: usize) -> Self::Block {
        self.inner.input_block(k)
    }
    fn output_block(&self, k: usize) -> Self::Block {
        self.outer.output_block(k)
    }

    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        self.forward((x, y), B::apply, A::apply)
    }

    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        self.backward((y, x), B::adjoint, A::adjoint)
    }

    /// A convolution whose channels are then multiplied is a convolution.
    fn structure(&self) -> Structure {
        Structure::product(Part::new(&self.inner), Part::new(&self.outer))
    }
}

impl<A, B> Compose<A, B>
where
    B: Parametric,
    A: Parametric<Scalar = B::Scalar>,
{
    fn holds_inner(&self) -> bool {
        self.holds_inner && self.outer.linear_weights().contains(&true)
    }
}

impl<A, B> Parametric for Compose<A, B>
where
    B: Parametric,
    A: Parametric<Scalar = B::Scalar>,
{
    type Scalar = B::Scalar;

    /// The weights of the inner operator, then those of the outer.
    fn weights(&self) -> Vec<&[B::Scalar]> {
        let mut weights = self.inner.weights();
        weights.extend(self.outer.weights());
        weights
    }

    /// Zero for inner weights that are [held](Compose::holding_inner).
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<B::Scalar>,
        v: &Columns<B::Scalar>,
    ) -> Result<Vec<Vec<B::Scalar>>, Error> {
        check_gradient(self, lambda, u, v)?;
        let mut between = self.inner.output_block(v.cols());
        let mut gradients = if self.holds_inner() {
            let held = self.inner.weights().into_iter();
            held.map(|w| vec![B::Scalar::ZERO; w.len()]).collect()
        } else {
            self.outer.adjoint(u, &mut between)?;
            self.inner.weight_gradient(lambda, &between, v)?
        };
        self.inner.apply(v, &mut between)?;
        gradients.extend(self.outer.weight_gradient(lambda, u, &between)?);
        Ok(gradients)
    }

    fn apply_once(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
        self.forward((x, y), B::apply_once, A::apply_once)
    }

    fn adjoint_once(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
        self.backward((y, x), B::adjoint_once, A::adjoint_once)
    }

    /// Those of the inner operator, or of the outer one where the inner has none or is
    /// [held](Compose::holding_inner): a convolution before its batch normalisation, or behind a padding.
    fn linear_weights(&self) -> Vec<bool> {
        let (mut inner, mut outer) = (self.inner.linear_weights(), self.outer.linear_weights());
        if self.holds_inner() {
            inner.fill(false);
        } else if inner.contains(&true) {
            outer.fill(false);
        }
        inner.append(&mut outer);
        inner
    }

    fn set_weights(&mut self, weights: &[Vec<B::Scalar>]) -> Result<(), Error> {
        let (inner, outer) = (self.inner.weights().len(), self.outer.weights().len());
        if weights.len() != inner + outer {
            return Err(Error::shape(
                "composition's weights",
                &[inner + outer],
                &[weights.len()],
            ));
        }
        let before: Vec<Vec<_>> = self.inner.weights().iter().map(|w| w.to_vec()).collect();
        self.inner.set_weights(&weights[..inner])?;
        self.outer.set_weights(&weights[inner..]).or_else(|error| {
            // Nothing is changed when a part is refused.
            self.inner.set_weights(&before)?;
            Err(error)
        })
    }

    /// Those of the inner operator, such as groups of channels, where the outer one multiplies channels: each
    /// with its own factors.
    fn independent_parts(&self) -> Option<Vec<IndependentPart<B::Scalar>>> {
        let factors = self.channel_factors()?;
        let mut start = 0;
        let with_factors = |mut part: IndependentPart<B::Scalar>| {
            let shape = part.operator.output_shape().to_vec();
            let channels = start..start + shape[0];
            start = channels.end;
            let outer = Diagonal::new(factors[channels.clone()].to_vec(), &shape).ok()?;
            part.weights.push(channels);
            let mut operator = Compose::new(outer, part.operator).ok()?;
            operator.holds_inner = self.holds_inner;
            Some(IndependentPart {
                operator: Box::new(operator),
                weights: part.weights,
            })
        };
        let parts = self.inner.independent_parts()?.into_iter();
        parts.map(with_factors).collect()
    }
}

impl<A, B> Compose<A, B>
where
    B: Parametric,
    A: Parametric<Scalar = B::Scalar>,
{
    /// The factors of an outer operator that multiplies the inner one's channels and whose weight they are.
    fn channel_factors(&self) -> Option<&[B::Scalar]> {
        let Structure::Channels(factors) = self.outer.structure() else {
            return None;
        };
        let [weight] = self.outer.weights()[..] else {
            return None;
        };
        let same = weight.iter().map(|w| w.to_f64()).eq(factors);
        (same && self.outer.input_shape() == self.inner.output_shape()).then_some(weight)
    }
}
