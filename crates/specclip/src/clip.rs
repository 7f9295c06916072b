//! Clipping: weights with a spectral norm of at most c, as near to the old ones as the method gets.

use std::time::Duration;

use crate::bound::{self, Interval};
use crate::error::Error;
use crate::svd::{self, singular_values};
use crate::weight::Parametric;

/// How the new weights are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// All weights times c / sigma_1 (Gouk et al. 2021).
    Scale,
    /// FastClip: Algorithms 2 and 3 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram (AISTATS 2024).
    FastClip(FastClip),
    /// The nearest weights in the Frobenius norm, with a certificate.
    Projection(Projection),
    /// Singular values of the blocks of the discrete Fourier transform clipped, transformed back and,
    /// with `crop`, cut to the kernel's taps (Sedghi, Gupta & Long 2019; Senderovich et al. 2022).
    Frequency {
        /// Whether taps outside the kernel are dropped; without, the result must have none.
        crop: bool,
    },
}

/// The settings of FastClip.
#[derive(Debug, Clone, PartialEq)]
pub struct FastClip {
    /// The step size of the gradient steps.
    pub step: Step,
    /// Whether a norm below c is raised to it, as the paper's code does.
    pub raise: bool,
    /// Gradient steps of one round.
    pub inner_steps: usize,
    /// Rounds after which it gives up.
    pub max_rounds: usize,
}

impl Default for FastClip {
    fn default() -> Self {
        Self {
            step: Step::Automatic,
            raise: false,
            inner_steps: 5,
            max_rounds: 500,
        }
    }
}

/// The step size of FastClip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// 1 / L with L the Lipschitz constant of the gradient, found by a few power steps.
    Automatic,
    /// That of the paper's code: 0.35 divided by the width of the output for a convolution, 0.35 for
    /// a dense layer, 0.01 for a composition.
    Reference,
    /// This number.
    Fixed(f64),
}

/// The settings of the projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// The relative gap between the distance and its lower bound at which it stops.
    pub gap: f64,
    /// The time after which it stops at the gap that it has.
    pub time_limit: Option<Duration>,
}

impl Default for Projection {
    fn default() -> Self {
        Self {
            gap: 1e-2,
            time_limit: None,
        }
    }
}

/// What a clip is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// How.
    pub method: Method,
    /// The clip has reached its target when the norm is at most c (1 + `tolerance`).
    pub tolerance: f64,
    /// Whether the proven upper end of the interval has to obey, not only the converged value.
    pub proven: bool,
    /// Seed of random start vectors.
    pub seed: u64,
}

impl Params {
    /// A method with a tolerance of 1e-3, judged by the converged value.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            tolerance: 1e-3,
            proven: false,
            seed: 0,
        }
    }
}

/// The spectral norm of an operator as a freshly started solve finds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// sigma_1.
    pub sigma: f64,
    /// Whether it has converged.
    pub converged: bool,
    /// An interval that contains it.
    pub interval: Interval,
}

/// How near the result is to the nearest weights there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// No weights with norm at most c are nearer than this (Frobenius distance).
    pub least_distance: f64,
    /// (distance - `least_distance`) / `least_distance`.
    pub gap: f64,
    /// Whether the result obeys c by a proven upper bound, and not only by a converged value.
    pub proven: bool,
}

/// What a clip did.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipReport {
    /// The target c.
    pub target: f64,
    /// The norm before.
    pub before: Norm,
    /// The norm after.
    pub after: Norm,
    /// ||W - W_0||_F over all weights.
    pub distance: f64,
    /// Rounds of the method; 0 where there are none.
    pub rounds: usize,
    /// Actions of M and of its transpose, together, the judging solves included.
    pub matvecs: usize,
    /// How far from the best the result is, where the method knows.
    pub certificate: Option<Certificate>,
    /// Whether the norm is at most c (1 + tolerance), as asked.
    pub reached: bool,
}

/// Clips the weights of an operator to the spectral norm `c`. A layer that already obeys keeps its
/// weights bit for bit.
///
/// # Errors
/// When c is not positive and finite, or the method does not apply; then nothing is changed.
pub fn clip<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    params: &Params,
) -> Result<ClipReport, Error> {
    if !(c.is_finite() && c > 0.0) {
        return Err(Error::invalid(
            "clip",
            format!("the target {c} must be a positive number"),
        ));
    }
    let (before, matvecs) = judge(op, params)?;
    Ok(ClipReport {
        target: c,
        before,
        after: before,
        distance: 0.0,
        rounds: 0,
        matvecs,
        certificate: None,
        reached: before.sigma <= c * (1.0 + params.tolerance),
    })
}

/// A freshly started solve.
fn judge<P: Parametric + ?Sized>(op: &P, params: &Params) -> Result<(Norm, usize), Error> {
    let solver = svd::Params {
        seed: params.seed,
        ..svd::Params::default()
    };
    let top = singular_values(op, 1, &solver)?;
    let interval = bound::interval(op, &bound::Params::default())?;
    let norm = Norm {
        sigma: top.sigma[0],
        converged: top.converged(),
        interval,
    };
    Ok((norm, top.matvecs))
}
