//! Whether a norm obeys its target, by solves from random vectors of their own.

use super::{Method, Norm, Params, fastclip};
use crate::block::Block;
use crate::bound::{self, Interval};
use crate::error::Error;
use crate::operator::LinearOperator;
use crate::svd::{self, Triplets, singular_values};

/// Judges an operator by its own solves. No two start from the same random vectors, nor from those
/// of a method.
pub(super) struct Judge {
    /// c.
    pub(super) target: f64,
    /// Actions that the judging has cost.
    pub(super) matvecs: usize,
    tolerance: f64,
    proven: bool,
    /// A norm at or below this is to be raised.
    floor: f64,
    seed: u64,
}

/// What a solve has found.
pub(super) struct Verdict<B> {
    pub(super) top: Triplets<B>,
    /// Found where success hangs on it.
    interval: Option<Interval>,
}

impl<B> Verdict<B> {
    pub(super) fn sigma(&self) -> f64 {
        self.top.sigma[0]
    }

    /// What has to be at most c: the proven upper end, or the value with its residual.
    pub(super) fn measure(&self) -> f64 {
        self.interval.map_or_else(|| above(&self.top), |i| i.upper)
    }

    /// Whether that says anything: an unconverged value is a lower estimate.
    pub(super) fn is_known(&self) -> bool {
        self.interval.is_some() || self.top.converged()
    }
}

impl Judge {
    pub(super) fn new(c: f64, params: &Params) -> Self {
        let floor = match &params.method {
            Method::FastClip(settings) if settings.raise => c - fastclip::RAISE_BELOW,
            _ => f64::NEG_INFINITY,
        };
        Self {
            target: c,
            matvecs: 0,
            tolerance: params.tolerance,
            proven: params.proven,
            floor,
            // The digits of sqrt(2): far from what a caller's seeds and their successors are.
            seed: params.seed ^ 0x6a09_e667_f3bc_c908,
        }
    }

    /// Solves anew.
    pub(super) fn look<Op: LinearOperator + ?Sized>(
        &mut self,
        op: &Op,
    ) -> Result<Verdict<Op::Block>, Error> {
        self.seed = self.seed.wrapping_add(1);
        let top = top(op, self.tolerance, self.seed)?;
        self.matvecs += top.matvecs;
        let interval = self.proven.then(|| self.interval(op)).transpose()?;
        Ok(Verdict { top, interval })
    }

    /// The verdict as it is reported.
    pub(super) fn norm<Op: LinearOperator + ?Sized>(
        &self,
        op: &Op,
        verdict: &Verdict<Op::Block>,
    ) -> Result<Norm, Error> {
        let interval = match verdict.interval {
            Some(interval) => interval,
            None => self.interval(op)?,
        };
        Ok(Norm {
            sigma: verdict.sigma().max(interval.lower).min(interval.upper),
            converged: verdict.top.converged(),
            interval,
        })
    }

    fn interval<Op: LinearOperator + ?Sized>(&self, op: &Op) -> Result<Interval, Error> {
        let params = bound::Params {
            seed: self.seed,
            ..bound::Params::default()
        };
        bound::interval(op, &params)
    }

    /// Whether the norm is as asked, and what is reported does not say otherwise.
    pub(super) fn confirms<B>(&self, verdict: &Verdict<B>, norm: &Norm) -> bool {
        self.accepts(verdict) && norm.sigma <= self.most()
    }

    fn most(&self) -> f64 {
        self.target * (1.0 + self.tolerance)
    }

    /// Whether the norm is as asked.
    pub(super) fn accepts<B>(&self, verdict: &Verdict<B>) -> bool {
        verdict.is_known() && verdict.measure() <= self.most() && verdict.sigma() > self.floor
    }

    /// The factor that makes an operator acceptable; none where it is, or where nothing is known.
    pub(super) fn correction<B>(&self, verdict: &Verdict<B>) -> Option<f64> {
        let measure = verdict.measure();
        let possible = verdict.is_known() && measure > 0.0 && !self.accepts(verdict);
        possible.then(|| self.target / measure)
    }
}

/// The largest singular triplet from random vectors, good enough to judge by `tolerance`.
///
/// The residual bounds the error of sigma, and a tenth of the tolerance is little beside it.
pub(super) fn top<Op: LinearOperator + ?Sized>(
    op: &Op,
    tolerance: f64,
    seed: u64,
) -> Result<Triplets<Op::Block>, Error> {
    top_with(op, accuracy(tolerance), seed)
}

/// The residual of [`top`], relative to sigma.
pub(super) fn accuracy(tolerance: f64) -> f64 {
    (0.1 * tolerance).min(1e-4)
}

/// An accuracy, or where that asks for more than rounding leaves, what it does leave.
pub(super) fn attainable<B: Block>(accuracy: f64) -> f64 {
    accuracy.max(32.0 * B::UNIT_ROUNDOFF).max(1e-11)
}

/// The largest singular triplet from random vectors, with a residual of `accuracy` times sigma, if that is [`attainable`].
pub(super) fn top_with<Op: LinearOperator + ?Sized>(
    op: &Op,
    accuracy: f64,
    seed: u64,
) -> Result<Triplets<Op::Block>, Error> {
    let params = svd::Params {
        tolerance: attainable::<Op::Block>(accuracy),
        seed,
        ..svd::Params::default()
    };
    singular_values(op, 1, &params)
}

/// What sigma_1 is at most, if the triplet is the largest: sigma and its residual.
pub(super) fn above<B>(top: &Triplets<B>) -> f64 {
    top.sigma[0] + top.residuals[0]
}
