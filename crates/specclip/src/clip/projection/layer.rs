//! The operator as a function of the weights that move.

use rayon::prelude::*;

use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::random::Random;
use crate::real::norm;
use crate::svd::{self, Triplets, singular_values};
use crate::weight::Parametric;

use super::super::{judge, owned};

/// Operators whose smaller dimension is at most this are decomposed densely at every look.
const SMALL: usize = 200;

/// The larger dimension up to which that holds.
const LONG: usize = 1 << 13;

/// M as a linear function of one vector of weights: all weights of the operator that it is linear in
/// jointly ([`Parametric::linear_weights`]), one after the other. The others stay as they are.
pub(super) struct Layer<'a, P: Parametric + ?Sized> {
    op: &'a mut P,
    /// All weights at the start.
    all: Vec<Vec<P::Scalar>>,
    free: Vec<bool>,
    /// The weights that move, at the start: W_0.
    pub(super) start: Vec<P::Scalar>,
    /// Actions and weight gradients so far, each of one vector.
    pub(super) matvecs: usize,
    seed: u64,
}

impl<'a, P: Parametric + ?Sized> Layer<'a, P> {
    pub(super) fn new(op: &'a mut P, seed: u64) -> Result<Self, Error> {
        let all = owned(op);
        let free = op.linear_weights();
        let start = chosen(all.clone(), &free);
        let mut layer = Self {
            op,
            all,
            free,
            start,
            matvecs: 0,
            seed,
        };
        layer.check_homogeneous()?;
        Ok(layer)
    }

    /// Refuses an operator with a part that no weight moves: a multiple of its weights is not a
    /// multiple of the operator, and zero weights may not obey.
    fn check_homogeneous(&mut self) -> Result<(), Error> {
        self.set(&vec![P::Scalar::ZERO; self.start.len()])?;
        let mut x = self.op.input_block(1);
        Random::new(self.seed).fill(&mut x);
        let mut y = self.op.output_block(1);
        self.op.apply(&x, &mut y)?;
        self.matvecs += 1;
        self.set(&self.start.clone())?;
        if y.norms()[0] == 0.0 {
            return Ok(());
        }
        Err(Error::NotApplicable {
            method: "projection",
            reason: "a part of the operator does not depend on the weights (such as the identity \
                     of a residual sum); clip the terms one by one"
                .to_owned(),
        })
    }

    /// Another one each time: a start that missed something does not miss it again.
    pub(super) fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }

    pub(super) fn op(&self) -> &P {
        self.op
    }

    /// Bytes of one cut: its gradient and its pair of vectors.
    pub(super) fn bytes(&self) -> usize {
        let elements = self.start.len() + self.op.inputs() + self.op.outputs();
        elements * size_of::<P::Scalar>()
    }

    pub(super) fn set(&mut self, weights: &[P::Scalar]) -> Result<(), Error> {
        let mut rest = weights;
        let mut all = Vec::with_capacity(self.all.len());
        for (weight, &free) in self.all.iter().zip(&self.free) {
            if free {
                let (own, others) = rest.split_at(weight.len());
                all.push(own.to_vec());
                rest = others;
            } else {
                all.push(weight.clone());
            }
        }
        self.op.set_weights(&all)
    }

    /// The sum of lambda_i G(u_i, v_i).
    pub(super) fn gradient(
        &mut self,
        lambda: &[f64],
        u: &Columns<P::Scalar>,
        v: &Columns<P::Scalar>,
    ) -> Result<Vec<P::Scalar>, Error> {
        self.matvecs += lambda.len();
        let gradients = self.op.weight_gradient(lambda, u, v)?;
        Ok(chosen(gradients, &self.free))
    }

    pub(super) fn apply(&mut self, x: &Columns<P::Scalar>) -> Result<Columns<P::Scalar>, Error> {
        let mut y = self.op.output_block(x.cols());
        self.op.apply(x, &mut y)?;
        self.matvecs += x.cols();
        Ok(y)
    }

    pub(super) fn adjoint(&mut self, y: &Columns<P::Scalar>) -> Result<Columns<P::Scalar>, Error> {
        let mut x = self.op.input_block(y.cols());
        self.op.adjoint(y, &mut x)?;
        self.matvecs += y.cols();
        Ok(x)
    }

    /// About the `k` largest singular triplets from `pairs` products with M and its transpose: every
    /// pair (u, v) is one of unit vectors, and sigma = u' M v.
    pub(super) fn look(
        &mut self,
        k: usize,
        width: usize,
        pairs: usize,
    ) -> Result<Triplets<Columns<P::Scalar>>, Error> {
        let (inputs, outputs) = (self.op.inputs(), self.op.outputs());
        let small = inputs.min(outputs) <= SMALL && inputs.max(outputs) <= LONG;
        let params = svd::Params {
            method: if small {
                svd::Method::Dense
            } else {
                svd::Method::Lanczos
            },
            tolerance: 1e-3,
            seed: self.next_seed(),
            max_matvecs: 2 * pairs,
            block: Some(width),
            ..svd::Params::default()
        };
        let top = singular_values(&*self.op, k, &params)?;
        self.matvecs += top.matvecs;
        Ok(top)
    }

    /// The most that sigma_1 is by a converged solve, as for judging a result with this tolerance.
    pub(super) fn norm(&mut self, tolerance: f64) -> Result<Option<f64>, Error> {
        let seed = self.next_seed();
        let top = judge::top(&*self.op, tolerance, seed)?;
        self.matvecs += top.matvecs;
        Ok(top.converged().then(|| judge::above(&top)))
    }

    /// W_0 - `step`.
    pub(super) fn moved(&self, step: &[P::Scalar]) -> Vec<P::Scalar> {
        combined(&self.start, step, |w, s| w - s)
    }

    /// ||W - W_0||.
    pub(super) fn distance(&self, weights: &[P::Scalar]) -> f64 {
        distance(weights, &self.start)
    }
}

/// The weights that move, one after the other; a single one is not copied.
fn chosen<T: Clone>(weights: Vec<Vec<T>>, free: &[bool]) -> Vec<T> {
    let pairs = weights.into_iter().zip(free);
    let mut moving = pairs.filter(|(_, free)| **free).map(|(w, _)| w);
    let mut first = moving.next().unwrap_or_default();
    for weight in moving {
        first.extend(weight);
    }
    first
}

/// Weights that one thread works on at a time. Sums are taken part by part in a fixed order, so
/// results do not depend on the number of threads.
const PART: usize = 1 << 15;

/// f of every weight of `a` and its counterpart in `b`.
pub(super) fn combined<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let pairs = a.par_iter().zip(b).with_min_len(PART);
    pairs.map(|(&a, &b)| f(a, b)).collect()
}

/// ||a - b||, in f64.
pub(super) fn distance<T: Real>(a: &[T], b: &[T]) -> f64 {
    let part = |(a, b): (&[T], &[T])| {
        let pairs = a.iter().zip(b);
        norm(
            &pairs
                .map(|(a, b)| a.to_f64() - b.to_f64())
                .collect::<Vec<_>>(),
        )
    };
    let parts = a.par_chunks(PART).zip(b.par_chunks(PART));
    norm(&parts.map(part).collect::<Vec<f64>>())
}

/// <a, b>, in f64.
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let parts = a.par_chunks(PART).zip(b.par_chunks(PART));
    let parts: Vec<f64> = parts.map(|(a, b)| short_dot(a, b)).collect();
    parts.iter().sum()
}

fn short_dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let products = |(a, b): (&T, &T)| a.to_f64() * b.to_f64();
    let rest: f64 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(products)
        .sum();
    for (a, b) in left.zip(right) {
        for (sum, pair) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += products(pair);
        }
    }
    sums.iter().sum::<f64>() + rest
}
