//! Clipping one layer again and again while it is trained: its weights change little in between, so
//! that the singular vectors of the last time are nearly right.

use super::{Method, Params, check, judge, owned, projection};
use super::{distance, fastclip, frequency, scale};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::svd::{self, Shift, Triplets, singular_values, singular_values_from};
use crate::weight::Parametric;

/// Leading singular vectors that are kept from time to time.
const KEPT: usize = 4;

/// A layer's singular vectors from one clip to the next.
///
/// A clip costs a few solves that start from them. Every solve also looks from random vectors for
/// what they do not see, so a direction that has grown elsewhere is found.
#[derive(Debug, Clone)]
pub struct Warm<T> {
    /// Right singular vectors.
    vectors: Option<Columns<T>>,
    /// Another one for every solve.
    seed: u64,
}

/// What one clip of a [`Warm`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmReport {
    /// sigma_1 before, by a solve.
    pub before: f64,
    /// sigma_1 afterwards, by a solve of its own.
    pub after: f64,
    /// Whether both solves have converged; an unconverged value is a lower estimate.
    pub converged: bool,
    /// ||W - W_0||_F over all weights.
    pub distance: f64,
    /// Actions of M and of its transpose and weight gradients, each of one vector.
    pub matvecs: usize,
}

impl<T: Real> Warm<T> {
    /// Without vectors yet.
    pub fn new(seed: u64) -> Self {
        Self {
            vectors: None,
            seed,
        }
    }

    /// Goes on from what [`state`](Self::state) gave.
    pub fn restore(vectors: Option<Columns<T>>, seed: u64) -> Self {
        Self { vectors, seed }
    }

    /// All there is to keep: the vectors and the seed of the next solve.
    pub fn state(&self) -> (Option<&Columns<T>>, u64) {
        (self.vectors.as_ref(), self.seed)
    }

    /// One iteration of PowerQR from the vectors, as the paper's Algorithm 3 makes one with every step
    /// of the optimiser; returns the largest value so far, a lower estimate of sigma_1.
    ///
    /// # Errors
    /// Whatever the actions refuse.
    pub fn follow<P>(&mut self, op: &P) -> Result<f64, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let params = svd::Params {
            method: svd::Method::PowerQr,
            shift: Shift::Fixed(0.0),
            // The first QR is that of the start: two make one step.
            iterations: Some(2),
            seed: self.next_seed(),
            ..svd::Params::default()
        };
        let found = self.solve(op, &params)?;
        Ok(found.sigma[0])
    }

    /// sigma_1 of the operator, and whether the solve has converged.
    ///
    /// # Errors
    /// Whatever the solver refuses.
    pub fn measure<P>(&mut self, op: &P, tolerance: f64) -> Result<(f64, bool), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let top = self.top(op, tolerance)?;
        Ok((top.sigma[0], is_known(&top)))
    }

    /// Brings the norm down to `c`; a layer that obeys stays bit for bit.
    ///
    /// Unlike [`clip`](super::clip()) this gives no interval and no certificate. The projection makes
    /// a few rounds of cuts, which is enough for norms that have grown a little above c; what is then
    /// above c (1 + `params.tolerance`) is multiplied down to c. The results of FastClip and of the
    /// frequency clip are left as these methods leave them.
    ///
    /// # Errors
    /// As [`clip`](super::clip()); then nothing is changed.
    pub fn clip<P>(&mut self, op: &mut P, c: f64, params: &Params) -> Result<WarmReport, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        check(c, params)?;
        let original = owned(op);
        let report = rayon::scope(|_| self.run(op, c, params, &original));
        if report.is_err() {
            op.set_weights(&original)?;
        }
        report
    }

    fn run<P>(
        &mut self,
        op: &mut P,
        c: f64,
        params: &Params,
        original: &[Vec<T>],
    ) -> Result<WarmReport, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let top = self.top(op, params.tolerance)?;
        let most = c * (1.0 + params.tolerance);
        let mut report = WarmReport {
            before: top.sigma[0],
            after: top.sigma[0],
            converged: is_known(&top),
            distance: 0.0,
            matvecs: top.matvecs,
        };
        let raises = matches!(&params.method, Method::FastClip(settings)
            if settings.raise && top.sigma[0] <= c - fastclip::RAISE_BELOW);
        if judge::above(&top) <= most && !raises {
            return Ok(report);
        }
        let factor = c / judge::above(&top);
        let moved = match &params.method {
            Method::Scale => scale::solve(op, factor)?,
            Method::FastClip(settings) => fastclip::solve(op, c, settings, params, &first(&top))?,
            Method::Projection(_) => projection::approach(op, c, self.next_seed(), &top)?,
            Method::Frequency { crop } => frequency::solve(op, c, *crop)?,
        };
        let top = self.settle(op, c, params)?;
        report.after = top.sigma[0];
        report.converged &= is_known(&top);
        report.matvecs += moved.matvecs + top.matvecs;
        report.distance = distance(&owned(op), original);
        Ok(report)
    }

    /// Measures the result; that of a projection or a scaling is multiplied to where it obeys.
    fn settle<P>(
        &mut self,
        op: &mut P,
        c: f64,
        params: &Params,
    ) -> Result<Triplets<Columns<T>>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let mut top = self.top(op, params.tolerance)?;
        let scales = matches!(params.method, Method::Scale | Method::Projection(_));
        let above = judge::above(&top);
        if scales && above > c * (1.0 + params.tolerance) {
            let factor = c / above;
            scale::multiply(op, factor)?;
            // A multiple has the same vectors.
            for sigma in top.sigma.iter_mut().chain(&mut top.residuals) {
                *sigma *= factor;
            }
        }
        Ok(top)
    }

    /// The leading triplets, from the vectors where there are some; their vectors are kept.
    fn top<P>(&mut self, op: &P, tolerance: f64) -> Result<Triplets<Columns<T>>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let params = judge::solver(tolerance, self.next_seed(), T::UNIT_ROUNDOFF);
        self.solve(op, &params)
    }

    fn solve<P>(&mut self, op: &P, params: &svd::Params) -> Result<Triplets<Columns<T>>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let fits = |v: &&Columns<T>| Block::rows(*v) == op.inputs();
        let found = match self.vectors.as_ref().filter(fits) {
            Some(start) => singular_values_from(op, KEPT, params, start)?,
            None => singular_values(op, KEPT, params)?,
        };
        self.vectors = Some(found.v.clone());
        Ok(found)
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }
}

/// The first triplet alone: FastClip follows one vector.
fn first<B: Block>(top: &Triplets<B>) -> Triplets<B> {
    Triplets {
        u: top.u.columns(0..1),
        sigma: top.sigma[..1].to_vec(),
        v: top.v.columns(0..1),
        residuals: top.residuals[..1].to_vec(),
        states: top.states[..1].to_vec(),
        ..top.clone()
    }
}

/// Whether the first triplet has converged: the others only help to find it.
fn is_known<B>(top: &Triplets<B>) -> bool {
    top.states.first() == Some(&svd::State::Converged)
}
