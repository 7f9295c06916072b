//! FastClip: Algorithms 2 and 3 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram, "Spectrum Extraction
//! and Clipping for Implicitly Linear Layers" (AISTATS 2024).
//!
//! A round takes the leading right singular vector v and moves the weights by a few gradient steps
//! on ||M(W) v - (c / sigma) M(W_0) v||^2, with sigma = ||M(W_0) v|| and W_0 the weights at the
//! round's start (for several vectors, on the sum over them); then v is refreshed from where it is. A warm v lags behind: other
//! singular vectors may have become the leading ones. So rounds end only when a solve from random
//! vectors finds no value above c; where it does, its vector is the next v.
//!
//! With the paper's step or one that is given, v is refreshed by ten iterations of PowerQR as there. With the automatic
//! step it is refreshed by a short run of Lanczos, which finds what has become the largest sooner: on the convolutions of
//! a ResNet-18 it takes about half of the rounds that PowerQR takes, and the weights move less far. That run also shows
//! what is next in size, so one round lowers up to [`TOGETHER`] values: as far as in two or three rounds of one each.

use super::judge::{above, attainable, top_with};
use super::{FastClip, Moved, Params, Step};
use crate::block::Block;
use crate::error::Error;
use crate::svd::{self, Shift, Triplets, singular_values_from};
use crate::weight::Parametric;
use descent::Descent;

mod descent;

const NAME: &str = "fastclip";

/// With [`FastClip::raise`], norms at or below c minus this are raised.
pub(super) const RAISE_BELOW: f64 = 0.05;

/// Iterations of PowerQR between rounds.
const POWER_QR: usize = 10;

/// Actions of Lanczos between rounds, before its last look.
const LANCZOS: usize = 16;

/// Singular values that one round lowers, at most.
const TOGETHER: usize = 4;

/// The rounds that a solve from random vectors counts for: one more of each is often all that is left to do.
const SOLVE: usize = 2;

impl FastClip {
    pub(super) fn check(&self, proven: bool) -> Result<(), Error> {
        let problem = if self.inner_steps == 0 || self.max_rounds == 0 {
            "needs at least one round of one gradient step".to_owned()
        } else if self.raise && proven {
            "raises to what a solve finds, not to a proven bound; ask for one of the two".to_owned()
        } else {
            match self.step {
                Step::Fixed(step) if !(step > 0.0 && step.is_finite()) => {
                    format!("the step {step} must be a positive number")
                }
                _ => return Ok(()),
            }
        };
        Err(Error::invalid(NAME, problem))
    }
}

/// How near singular vectors are to be: residuals relative to the value.
#[derive(Clone, Copy)]
pub(super) struct Care {
    /// Of the solves from random vectors: that of the caller's own.
    pub(super) accuracy: f64,
    /// Of a value that is lowered together with the largest. What is no singular vector yet has parts in other values,
    /// and lowering it moves the weights farther than need be.
    pub(super) beside: f64,
}

/// Lowers what is above `c`, from the leading vector `start` on.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    settings: &FastClip,
    params: &Params,
    start: &P::Block,
    care: Care,
) -> Result<Moved, Error> {
    // Below what is accepted by as much as two solves may differ, but where the tolerance is no more than that.
    let accuracy = attainable::<P::Block>(care.accuracy);
    let most = c * ((1.0 + params.tolerance) / (1.0 + accuracy)).max(1.0);
    let least = if settings.raise {
        c * (1.0 - params.tolerance)
    } else {
        0.0
    };
    let mut v = start.clone();
    let mut moved = Moved::default();
    let descent = Descent::new(op, settings, &mut moved.matvecs)?;
    let mut stuck = false;
    let mut solves = 0;
    while moved.rounds + SOLVE * solves < settings.max_rounds {
        moved.rounds += 1;
        let round = moved.rounds as u64;
        if descent.round(op, &v, c, &mut moved.matvecs)? {
            stuck = false;
            let warm = refresh(op, &v, settings.step, params.seed.wrapping_sub(round))?;
            moved.matvecs += warm.matvecs;
            let sigma = warm.sigma[0];
            let found = warm.sigma.iter().zip(&warm.residuals).skip(1);
            let beside = found.take_while(|&(&sigma, &r)| sigma > most && r <= care.beside * sigma);
            v = warm.v.columns(0..1 + beside.count());
            if sigma < least || sigma > most {
                continue;
            }
        } else if std::mem::replace(&mut stuck, true) {
            // Nor from the vector of a solve.
            break;
        }
        // The caller judges in any case.
        if moved.rounds + SOLVE * (solves + 1) >= settings.max_rounds {
            break;
        }
        let fresh = top_with(op, accuracy, params.seed.wrapping_add(round))?;
        moved.matvecs += fresh.matvecs;
        solves += 1;
        if fresh.sigma[0] >= least && above(&fresh) <= most {
            break;
        }
        v = fresh.v;
    }
    Ok(moved)
}

/// The leading vectors, from those that were lowered.
fn refresh<P: Parametric + ?Sized>(
    op: &P,
    v: &P::Block,
    step: Step,
    seed: u64,
) -> Result<Triplets<P::Block>, Error> {
    match step {
        Step::Automatic => {
            let params = svd::Params {
                method: svd::Method::Lanczos,
                block: Some(1),
                max_matvecs: LANCZOS,
                tolerance: 1e-2,
                seed,
                ..svd::Params::default()
            };
            singular_values_from(op, TOGETHER, &params, &sum(v))
        }
        // Without a shift, which has no scale.
        Step::Reference | Step::Fixed(_) => {
            let params = svd::Params {
                method: svd::Method::PowerQr,
                shift: Shift::Fixed(0.0),
                iterations: Some(POWER_QR),
                ..svd::Params::default()
            };
            singular_values_from(op, 1, &params, v)
        }
    }
}

/// All vectors in one: a run from it has them all, for the actions of one.
fn sum<B: Block>(v: &B) -> B {
    let ones = faer::Mat::from_fn(v.cols(), 1, |_, _| 1.0);
    let mut sum = v.zeros_like(1);
    sum.add_combination(v, 0..v.cols(), ones.as_ref());
    sum
}
