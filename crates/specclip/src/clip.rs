//! Clipping: weights with a spectral norm of at most c, as near to the old ones as the method gets.

use std::time::Duration;

use crate::Real;
use crate::bound::Interval;
use crate::error::Error;
use crate::real::norm;
use crate::weight::Parametric;

mod each_step;
mod fastclip;
mod frequency;
mod judge;
mod projection;
mod scale;
mod warm;

pub use each_step::EachStep;
pub use frequency::full_grid;
use judge::{Judge, Verdict};
pub use warm::{Followed, Warm, WarmReport};

const NAME: &str = "clip";

/// How the new weights are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// All weights times c / sigma_1 (Gouk et al. 2021). Of a composition those of
    /// [`Parametric::linear_weights`] alone: a batch normalisation after a convolution stays as it is, or the
    /// convolution where it is [held](crate::operator::Compose::holding_inner).
    Scale,
    /// FastClip: Algorithms 2 and 3 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram (AISTATS 2024), as published with
    /// [`Step::Reference`] and improved with [`Step::Automatic`]. Of a composition all weights move that
    /// are not held.
    FastClip(FastClip),
    /// The nearest weights in the Frobenius norm, with a certificate. Of a composition those weights move that a scaling
    /// moves, and the certificate is about them.
    Projection(Projection),
    /// Singular values of the blocks of the discrete Fourier transform clipped, transformed back and,
    /// with `crop`, cut to the kernel's taps (Sedghi, Gupta & Long 2019; Senderovich et al. 2022).
    Frequency {
        /// Whether taps outside the kernel are dropped. Without, the kernel must cover the whole
        /// grid: [`full_grid`] makes it do so.
        crop: bool,
    },
}

/// The settings of FastClip.
#[derive(Debug, Clone, PartialEq)]
pub struct FastClip {
    /// The step size of the gradient steps.
    pub step: Step,
    /// Whether a norm of at most c - 0.05 is raised to c, as the paper's code does with
    /// convolutions. The number is absolute, so with c <= 0.05 nothing is raised.
    pub raise: bool,
    /// Gradient steps of one round, at most.
    pub inner_steps: usize,
    /// Rounds after which it gives up; a solve that finds more to lower counts for two.
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
    /// The one that makes the loss least along each gradient. A round ends early where it has gone most of its way, lowers
    /// up to four singular values at once, and Lanczos refreshes their vectors; with the others a round lowers one and PowerQR
    /// refreshes its vector, as in the paper.
    Automatic,
    /// That of the paper's code: 0.35 divided by the width of the output for a layer with spatial
    /// axes, 0.35 for one without, 0.01 where several weights move (a convolution and its batch
    /// normalisation). An error where the loss grows with it.
    Reference,
    /// This number; an error where the loss grows with it.
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
    /// sigma_1, within the interval.
    pub sigma: f64,
    /// Whether it has converged.
    pub converged: bool,
    /// An interval that contains it.
    pub interval: Interval,
}

/// How near the result is to the nearest weights there are, while those that the method does not move
/// ([`Parametric::linear_weights`]) stay as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// No such weights with norm at most c are nearer than this (Frobenius distance).
    pub least_distance: f64,
    /// (distance - `least_distance`) / `least_distance`; infinite when nothing is known of the least.
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
    /// Rounds of the method; 0 where there are none. Of a convolution whose groups are projected one by one
    /// this is the sum over the groups.
    pub rounds: usize,
    /// Actions of M and of its transpose and weight gradients, together, each of one vector, the
    /// judging solves included, those behind the intervals not; those of one group count as much as those of the whole.
    pub matvecs: usize,
    /// What the operator was multiplied by at the end, because the method's result was still above
    /// c; 1 where it was not.
    pub factor: f64,
    /// How far from the best the result is, where the method knows.
    pub certificate: Option<Certificate>,
    /// Whether the norm is at most c (1 + tolerance), as asked: by a converged solve from a start of
    /// its own, its residual added, or by the proven upper end.
    pub reached: bool,
}

impl ClipReport {
    fn unchanged(before: Norm, judge: &Judge, reached: bool) -> Self {
        Self {
            target: judge.target,
            before,
            after: before,
            distance: 0.0,
            rounds: 0,
            matvecs: judge.matvecs,
            factor: 1.0,
            certificate: None,
            reached,
        }
    }
}

/// Clips the weights of an operator to the spectral norm `c`. A layer that already obeys keeps its
/// weights bit for bit.
///
/// Success is judged by a solve from random vectors of its own, never by the method. A result that
/// it finds above c (1 + tolerance) is multiplied down to c ([`ClipReport::factor`]). Where the
/// judging solve does not converge, nothing has been reached.
///
/// # Errors
/// When c is not positive and finite, a setting is out of range, or the method does not apply; then
/// nothing is changed.
pub fn clip<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    params: &Params,
) -> Result<ClipReport, Error> {
    check(c, params)?;
    restoring(op, |op, original| run(op, c, params, original))
}

/// Runs `work` with the operator and its weights, which an operator has again where that fails.
fn restoring<P: Parametric + ?Sized, R: Send>(
    op: &mut P,
    work: impl FnOnce(&mut P, &[Vec<P::Scalar>]) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let original = owned(op);
    // On a thread of the pool: entering it anew for every product would cost more than a small one.
    let result = rayon::scope(|_| work(op, &original));
    if result.is_err() {
        op.set_weights(&original)?;
    }
    result
}

fn check_target(c: f64) -> Result<(), Error> {
    if c.is_finite() && c > 0.0 {
        return Ok(());
    }
    Err(Error::invalid(
        NAME,
        format!("the target {c} must be a positive number"),
    ))
}

fn check(c: f64, params: &Params) -> Result<(), Error> {
    check_target(c)?;
    if !(params.tolerance.is_finite() && params.tolerance >= 0.0) {
        return Err(Error::invalid(
            NAME,
            format!("the tolerance {} must not be negative", params.tolerance),
        ));
    }
    match &params.method {
        Method::FastClip(settings) => settings.check(params.proven),
        _ => Ok(()),
    }
}

fn check_weights<T>(weights: &[Vec<T>]) -> Result<(), Error> {
    if weights.is_empty() {
        return Err(Error::NotApplicable {
            method: NAME,
            reason: "the operator has no weights".to_owned(),
        });
    }
    Ok(())
}

fn run<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    params: &Params,
    original: &[Vec<P::Scalar>],
) -> Result<ClipReport, Error> {
    let mut judge = Judge::new(c, params);
    let verdict = judge.look(op)?;
    let before = judge.norm(op, &verdict)?;
    let mut report = ClipReport::unchanged(before, &judge, judge.confirms(&verdict, &before));
    // A lower estimate below c does not say whether there is anything to clip.
    let unknown = !verdict.is_known() && before.sigma <= c;
    if report.reached || unknown {
        return Ok(report);
    }
    check_weights(original)?;
    let moved = apply(op, &judge, &verdict, params)?;
    let verdict = settle(op, &mut judge, &mut report)?;
    report.after = judge.norm(op, &verdict)?;
    report.reached = judge.confirms(&verdict, &report.after);
    report.rounds = moved.rounds;
    report.matvecs = moved.matvecs + judge.matvecs;
    report.distance = distance(&owned(op), original);
    let known = verdict.is_known();
    report.certificate = moved
        .least_distance
        .filter(|_| known)
        .map(|least_distance| {
            // What it takes at most to bring a norm within the tolerance above c down to c.
            let excess = (1.0 - c / report.after.sigma).max(0.0) * norm(&owned(op).concat());
            let distance = report.distance + excess;
            let gap = match (distance - least_distance).max(0.0) {
                0.0 => 0.0,
                more => more / least_distance,
            };
            Certificate {
                least_distance,
                gap,
                proven: report.after.interval.upper <= c,
            }
        });
    Ok(report)
}

/// What a method did to the operator, which carries the new weights.
#[derive(Debug, Clone, Default)]
struct Moved {
    rounds: usize,
    /// Actions of M and of its transpose and weight gradients, each of one vector.
    matvecs: usize,
    /// No weights with norm at most the target are nearer than this; 0 proves nothing.
    least_distance: Option<f64>,
}

fn apply<P: Parametric + ?Sized>(
    op: &mut P,
    judge: &Judge,
    before: &Verdict<P::Block>,
    params: &Params,
) -> Result<Moved, Error> {
    if before.sigma() == 0.0 {
        return Ok(Moved::default());
    }
    // A proven upper end has to come down to c, so the value has to go below by as much as they
    // differ.
    let target = if params.proven {
        judge.target * (before.sigma() / before.measure())
    } else {
        judge.target
    };
    match &params.method {
        Method::Scale => scale::solve(op, target / before.sigma()),
        Method::FastClip(settings) => {
            let care = fastclip::Care {
                accuracy: judge::accuracy(params.tolerance),
                beside: 0.03,
            };
            fastclip::solve(op, target, settings, params, &before.top.v, care)
        }
        Method::Projection(settings) => {
            let targets = projection::Targets {
                asked: judge.target,
                sought: target,
                sigma: before.sigma(),
            };
            projection::solve(op, &targets, settings, params)
        }
        Method::Frequency { crop } => frequency::solve(op, target, *crop),
    }
}

/// Judges the result, and multiplies it to where it is accepted if it is not.
fn settle<P: Parametric + ?Sized>(
    op: &mut P,
    judge: &mut Judge,
    report: &mut ClipReport,
) -> Result<Verdict<P::Block>, Error> {
    // More than once only where the tolerance is no larger than rounding.
    const ATTEMPTS: usize = 4;
    let mut verdict = judge.look(op)?;
    for attempt in 0..ATTEMPTS {
        let Some(factor) = judge.correction(&verdict) else {
            break;
        };
        let margin = 8.0 * P::Scalar::UNIT_ROUNDOFF * attempt as f64;
        let factor = factor * (1.0 - margin);
        match scale::multiply(op, factor) {
            Ok(actions) => judge.matvecs += actions,
            // What a method has done beside a part that no factor reaches is kept and judged.
            Err(Error::NotApplicable { .. }) => break,
            Err(error) => return Err(error),
        }
        report.factor *= factor;
        verdict = judge.look(op)?;
    }
    Ok(verdict)
}

/// Copies of all weights.
fn owned<P: Parametric + ?Sized>(op: &P) -> Vec<Vec<P::Scalar>> {
    op.weights()
        .into_iter()
        .map(<[P::Scalar]>::to_vec)
        .collect()
}

/// Whether an operator's one weight is these numbers.
fn is_weight<P: Parametric + ?Sized>(op: &P, values: &[f64]) -> bool {
    match op.weights().as_slice() {
        [weight] => weight.iter().map(|w| w.to_f64()).eq(values.iter().copied()),
        _ => false,
    }
}

/// ||a - b||_F over all weights.
fn distance<T: Real>(a: &[Vec<T>], b: &[Vec<T>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let differences: Vec<f64> = pairs.map(|(a, b)| a.to_f64() - b.to_f64()).collect();
    norm(&differences)
}
