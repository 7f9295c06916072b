//! Accelerated ascent on the dual: Y of low rank, its singular vectors followed from step to step.
//!
//! The dual of the projection is to maximise
//! d(Y) = <M*(Y), W_0> - ||M*(Y)||_F^2 / 2 - c ||Y||_* over matrices Y as large as M, where M* is the
//! adjoint of W -> M(W): the sum of s_i G(u_i, v_i) for Y = U diag(s) V'. At the maximum
//! W = W_0 - M*(Y). A proximal step replaces Y by A = Y + t M(W), its singular values lowered by t c
//! (Cai, Candes & Shen 2010), with Nesterov's momentum as in Beck & Teboulle's FISTA (2009) and
//! restarts where d falls (O'Donoghue & Candes 2015). A is never formed: one block power step from
//! the singular vectors of the step before, joined by Ritz vectors of M(W), finds those that matter.
//!
//! Unlike cuts by single pairs (u, v), Y turns within the space of equal singular values that clipping
//! makes, where a bundle of pairs needs one cut for each direction.

use faer::{Mat, Side};

use super::cuts::Cuts;
use super::layer::{Layer, combined, distance, dot};
use super::low_rank::{LowRank, inverse, orthonormal};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::random::Random;
use crate::svd::{Triplets, failed};
use crate::weight::Parametric;

/// The ascent.
pub(super) struct Ascent<T> {
    /// The current and the previous dual matrix, and M* of both.
    y: LowRank<T>,
    step: Vec<T>,
    previous: LowRank<T>,
    previous_step: Vec<T>,
    /// Right vectors that the next power step starts from.
    subspace: Columns<T>,
    /// <Y, Y_previous>.
    product: f64,
    /// The length t of a proximal step.
    length: f64,
    /// Curvatures ||M*(D)||^2 / ||D||^2 of the last changes D of Y, the newest first.
    curvatures: [f64; 3],
    /// Nesterov's theta.
    theta: f64,
    value: f64,
    random: Random,
}

/// Bytes of the pairs of vectors that are followed; about five times as much is in use during a step.
const BLOCK_MEMORY: usize = 1 << 29;

/// The part of a step's length that one rejected step leaves of it, at least.
const LEAST_SHRINKAGE: f64 = 0.05;

/// Vectors besides those of Y that a power step follows: at least, and as a part of its rank.
const GUARD: usize = 16;
const GUARD_PART: f64 = 0.6;

/// The part of a unit vector outside of a subspace below which it counts as inside.
const LEAST_PART: f64 = 1e-2;

impl<T: Real> Ascent<T> {
    pub(super) fn new<P>(layer: &mut Layer<P>, y: LowRank<T>, c: f64) -> Result<Self, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let step = layer.gradient(&y.s, &y.u, &y.v)?;
        let value = dual_value(&step, &layer.start, c, y.sum());
        Ok(Self {
            subspace: y.v.clone(),
            product: y.squares(),
            previous: y.clone(),
            previous_step: step.clone(),
            y,
            step,
            length: 1.0,
            curvatures: [0.0; 3],
            theta: 1.0,
            value,
            random: Random::new(layer.next_seed()),
        })
    }

    /// M*(Y): the step from W_0.
    pub(super) fn step(&self) -> &[T] {
        &self.step
    }

    /// d(Y) for another c.
    pub(super) fn value_for(&self, c: f64, start: &[T]) -> f64 {
        dual_value(&self.step, start, c, self.y.sum())
    }

    pub(super) fn rank(&self) -> usize {
        self.y.rank()
    }

    /// Adds to the next power step what right vectors have beside those that are there: mostly parts
    /// of them, and images that depend on each other cost another orthonormalisation.
    pub(super) fn join(&mut self, v: &Columns<T>) {
        let mut new = v.clone();
        let old = Block::cols(&self.subspace);
        let inside = self.subspace.gram(0..old, v);
        new.add_combination(&self.subspace, 0..old, (-inside).as_ref());
        let norms = new.norms();
        new.scale(&norms.iter().copied().map(inverse).collect::<Vec<_>>());
        let outside: Vec<usize> = (0..norms.len())
            .filter(|&j| norms[j] > LEAST_PART)
            .collect();
        let mut joined = self.subspace.zeros_like(old + outside.len());
        joined.set_columns(0, &self.subspace);
        for (place, j) in (old..).zip(outside) {
            joined.set_columns(place, &new.columns(j..j + 1));
        }
        self.subspace = joined;
    }

    /// Takes new pairs in, and maximises the dual over the factors of all pairs alone.
    pub(super) fn polish<P>(
        &mut self,
        layer: &mut Layer<P>,
        more: &Triplets<Columns<T>>,
        count: usize,
        c: f64,
    ) -> Result<(), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let mut cuts = Cuts::of(layer, &self.y, more, count, c)?;
        cuts.solve();
        let y = cuts.matrix().compressed()?;
        let step = layer.gradient(&y.s, &y.u, &y.v)?;
        let value = dual_value(&step, &layer.start, c, y.sum());
        self.join(&y.v);
        self.y = y;
        self.step = step;
        self.value = value;
        self.still();
        Ok(())
    }

    /// One proximal step. Returns whether it was taken; where it was too long it is shortened for the
    /// next attempt.
    pub(super) fn advance<P>(&mut self, layer: &mut Layer<P>, c: f64) -> Result<bool, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let next_theta = f64::midpoint(1.0, (1.0 + 4.0 * self.theta * self.theta).sqrt());
        let momentum = (self.theta - 1.0) / next_theta;
        let extrapolated = combined(&self.step, &self.previous_step, |a, b| {
            T::from_f64(a.to_f64() + momentum * (a.to_f64() - b.to_f64()))
        });
        layer.set(&layer.moved(&extrapolated))?;
        let found = self.power_step(layer, momentum)?;
        let threshold = self.length * c;
        let rank = found.s.iter().take_while(|&&s| s > threshold).count();
        let next = LowRank::new(
            found.u.columns(0..rank),
            found.s[..rank].iter().map(|s| s - threshold).collect(),
            found.v.columns(0..rank),
        );
        let next_step = layer.gradient(&next.s, &next.u, &next.v)?;
        let product = next.dot(&self.y);
        let squares = self.change(&next, product, momentum);
        let curvature = squares.map(|squares| {
            let change = distance(&next_step, &extrapolated);
            change * change / squares
        });
        if let Some(curvature) = curvature
            && curvature * self.length > 1.0
        {
            self.length *= (0.7 / (curvature * self.length)).max(LEAST_SHRINKAGE);
            self.still();
            return Ok(false);
        }
        let value = dual_value(&next_step, &layer.start, c, next.sum());
        self.previous = std::mem::replace(&mut self.y, next);
        self.previous_step = std::mem::replace(&mut self.step, next_step);
        self.product = product;
        if value < self.value {
            self.still();
        } else {
            self.theta = next_theta;
        }
        self.value = value;
        if let Some(curvature) = curvature {
            self.adapt(curvature);
        }
        self.follow(found.v, rank);
        Ok(true)
    }

    /// Stops the momentum.
    fn still(&mut self) {
        self.theta = 1.0;
        self.product = self.y.squares();
        self.previous = self.y.clone();
        self.previous_step = self.step.clone();
    }

    /// The step may grow where the last changes were much flatter than it allows.
    fn adapt(&mut self, curvature: f64) {
        self.curvatures.rotate_right(1);
        self.curvatures[0] = curvature;
        let largest = self.curvatures.iter().fold(0.0, |a: f64, &b| a.max(b));
        if largest * self.length < 0.4 {
            self.length *= 1.3;
        }
    }

    /// The leading singular triplets of A = Y + momentum (Y - Y_previous) + t M(W), as far as one power
    /// step from the subspace finds them.
    fn power_step<P>(&mut self, layer: &mut Layer<P>, momentum: f64) -> Result<LowRank<T>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let x = self.start();
        let mut image = layer.apply(&x)?;
        image.scale(&vec![self.length; Block::cols(&x)]);
        self.add_momentum(momentum, |y, factor| y.add_product(factor, &x, &mut image));
        let mut u = orthonormal(image)?;
        let mut back = layer.adjoint(&u)?;
        back.scale(&vec![self.length; Block::cols(&u)]);
        self.add_momentum(momentum, |y, factor| {
            y.add_transposed(factor, &u, &mut back)
        });
        // Now A' U = back: its singular values from its Gram matrix, largest first.
        let k = Block::cols(&back);
        let eigen = back
            .gram(0..k, &back)
            .self_adjoint_eigen(Side::Lower)
            .map_err(failed)?;
        let rotation = Mat::from_fn(k, k, |i, j| eigen.U()[(i, k - 1 - j)]);
        u.rotate(rotation.as_ref());
        back.rotate(rotation.as_ref());
        let sigma = back.norms();
        back.scale(&sigma.iter().copied().map(inverse).collect::<Vec<_>>());
        Ok(LowRank::new(u, sigma, back))
    }

    /// The subspace and random vectors: only the span of their images matters, so that they need not be
    /// orthonormal.
    fn start(&mut self) -> Columns<T> {
        let known = Block::cols(&self.subspace);
        let most = Block::rows(&self.subspace).saturating_sub(known);
        let mut random = self
            .subspace
            .zeros_like((guard(self.y.rank()) / 4).min(most));
        self.random.fill_with_signs(&mut random);
        let mut x = self.subspace.zeros_like(known + Block::cols(&random));
        x.set_columns(0, &self.subspace);
        x.set_columns(known, &random);
        x
    }

    /// Adds Y + momentum (Y - Y_previous), term by term.
    fn add_momentum(&self, momentum: f64, mut add: impl FnMut(&LowRank<T>, f64)) {
        add(&self.y, 1.0 + momentum);
        if momentum != 0.0 {
            add(&self.previous, -momentum);
        }
    }

    /// ||D||_F^2 of the change D = `next` - Y - momentum (Y - Y_previous) of the proximal step, where it is
    /// more than rounding. `product` is <`next`, Y>.
    fn change(&self, next: &LowRank<T>, product: f64, momentum: f64) -> Option<f64> {
        let (a, b) = (1.0 + momentum, momentum);
        let mut squares = next.squares() + a * a * self.y.squares() - 2.0 * a * product;
        if b != 0.0 {
            squares += b * b * self.previous.squares() - 2.0 * a * b * self.product
                + 2.0 * b * next.dot(&self.previous);
        }
        // The square of a small change is a small difference of large numbers.
        let noise = 64.0 * T::UNIT_ROUNDOFF * (next.squares() + self.y.squares());
        (squares > noise).then_some(squares)
    }

    /// The vectors that the next power step starts from: those of Y, and some below.
    fn follow(&mut self, v: Columns<T>, rank: usize) {
        let most = BLOCK_MEMORY / ((Block::rows(&self.y.u) + Block::rows(&v)) * size_of::<T>());
        let keep = (rank + guard(rank))
            .min(Block::cols(&v))
            .min(most.max(GUARD));
        self.subspace = v.columns(0..keep);
    }
}

/// How many vectors besides those of Y a power step follows.
fn guard(rank: usize) -> usize {
    GUARD.max((GUARD_PART * rank as f64) as usize)
}

/// d = <step, W_0> - ||step||^2 / 2 - c (nuclear norm).
pub(super) fn dual_value<T: Real>(step: &[T], start: &[T], c: f64, nuclear: f64) -> f64 {
    dot(step, start) - dot(step, step) / 2.0 - c * nuclear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Dense;

    /// What joins is orthogonal to what is there, and what is there already does not join again.
    #[test]
    fn only_what_is_new_joins_the_subspace() {
        let (rows, cols, rank) = (12, 10, 3);
        let random = |cols, seed| {
            let mut block = Columns::<f64>::zeros(10, cols);
            Random::new(seed).fill(&mut block);
            block
        };
        let weight: Vec<f64> = (0..rows * cols).map(|i| (i as f64 * 1.3).sin()).collect();
        let mut op = Dense::new(weight, rows, cols).unwrap();
        let mut layer = Layer::new(&mut op, 1).unwrap();
        let mut u = Columns::<f64>::zeros(rows, rank);
        Random::new(2).fill(&mut u);
        let v = orthonormal(random(rank, 3)).unwrap();
        let y = LowRank::new(orthonormal(u).unwrap(), vec![0.3, 0.2, 0.1], v.clone());
        let mut ascent = Ascent::new(&mut layer, y, 1.0).unwrap();
        let mut new = random(3, 4);
        // The second one lies inside, but for less than counts.
        let mut inside = v.columns(1..2);
        let mut trace = random(1, 5);
        trace.scale(&[0.1 * LEAST_PART / trace.norms()[0]]);
        inside.add_combination(&trace, 0..1, Mat::identity(1, 1).as_ref());
        new.set_columns(1, &inside);
        let norms: Vec<f64> = new.norms().into_iter().map(inverse).collect();
        new.scale(&norms);
        ascent.join(&new);
        let joined = &ascent.subspace;
        assert_eq!(Block::cols(joined), rank + 2);
        assert_eq!(joined.columns(0..rank).as_slice(), v.as_slice());
        let inner = joined.gram(0..rank, &joined.columns(rank..rank + 2));
        assert!((0..rank).all(|i| (0..2).all(|j| inner[(i, j)].abs() < 1e-12)));
        assert!(joined.norms().iter().all(|n| (n - 1.0).abs() < 1e-12));
        // All that was given is in the span now.
        for (j, outside) in [(0, 1e-12), (1, LEAST_PART), (2, 1e-12)] {
            let mut rest = new.columns(j..j + 1);
            let basis = orthonormal(joined.clone()).unwrap();
            let parts = basis.gram(0..Block::cols(&basis), &rest);
            rest.add_combination(&basis, 0..Block::cols(&basis), (-parts).as_ref());
            assert!(rest.norms()[0] <= outside, "{j}");
        }
    }
}
