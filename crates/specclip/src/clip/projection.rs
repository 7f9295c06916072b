//! The nearest weights with a norm of at most c, in the Frobenius norm of the weights.
//!
//! M(W) is linear in the weights W, so the weights with ||M(W)|| <= c form a convex set, and the
//! nearest of them to W_0 is one point. Two methods approach it from outside, each with a lower bound
//! for the distance, and hand over to each other:
//!
//! 1. [`cuts`]: half-spaces <G(u, v), W> <= c from singular vectors above c, and the projection onto
//!    their intersection. A few rounds bring down what stands out; after that, singular values that
//!    are equal at c turn among themselves, and cuts by single pairs become inefficient.
//! 2. [`dual`]: accelerated proximal ascent on the dual, over matrices of low rank, which allows for
//!    such turns.
//!
//! Layers that apply one matrix are projected in closed form ([`matrix`]), and of an operator that consists of
//! independent ones each is projected by itself ([`parts`]).
//!
//! Both ends are measured: the dual value is a lower bound for the distance, and the current weights
//! times c / sigma_1 obey and give an upper one. The method stops when the two are near enough.

use std::time::Instant;

use super::{Moved, Params, Projection};
use crate::Real;
use crate::block::Block;
use crate::error::Error;
use crate::real::norm;
use crate::weight::Parametric;
use cuts::Cuts;
use dual::Ascent;
use layer::{Layer, combined};

mod cuts;
mod dual;
mod layer;
mod low_rank;
mod matrix;
mod parts;

/// Rounds of cuts, at most, and the relative gain of the lower bound below which there is no next one.
const CUT_ROUNDS: usize = 8;
const CUT_GAIN: f64 = 0.01;

/// Bytes of cuts, and their number.
const CUT_MEMORY: usize = 1 << 28;
const MOST_CUTS: usize = 400;

/// Bytes of gradients up to which the factors of all pairs are chosen anew at every look. With larger
/// kernels the pairs hardly overlap, so it gains less than it costs.
const POLISH_MEMORY: usize = 1 << 26;

/// Steps of the ascent: at most, and between two looks at the norm.
const STEPS: usize = 2000;
const LOOK_EVERY: usize = 2;

/// Steps without a better bound on either side after which rounding allows no more.
const STALE: usize = 200;

/// What is projected onto.
#[derive(Clone, Copy)]
pub(super) struct Targets {
    /// The norm that is asked for, for which the lower bound of the distance holds.
    pub(super) asked: f64,
    /// The norm that the weights are brought to: lower, where a proven upper end has to come down.
    pub(super) sought: f64,
    /// sigma_1 of the operator as it is.
    pub(super) sigma: f64,
}

/// Moves the weights of `op` to the nearest ones with norm at most `targets.sought`.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    targets: &Targets,
    settings: &Projection,
    params: &Params,
) -> Result<Moved, Error> {
    if !(settings.gap.is_finite() && settings.gap > 0.0) {
        return Err(Error::invalid(
            "projection",
            format!("the gap {} must be a positive number", settings.gap),
        ));
    }
    let begun = Instant::now();
    if let Some(moved) = matrix::solve(op, targets)? {
        return Ok(moved);
    }
    match op.independent_parts() {
        Some(parts) => parts::solve(op, parts, targets, params, |op, targets, params| {
            search(op, targets, settings, params, begun)
        }),
        None => search(op, targets, settings, params, begun),
    }
}

/// Moves the weights of an operator that is not taken apart.
fn search<P: Parametric + ?Sized>(
    op: &mut P,
    targets: &Targets,
    settings: &Projection,
    params: &Params,
    begun: Instant,
) -> Result<Moved, Error> {
    let layer = Layer::new(op, params.seed)?;
    let scaled = scaled(&layer.start, (targets.sought / targets.sigma).min(1.0));
    let mut search = Search {
        best: (layer.distance(&scaled), scaled),
        candidate: None,
        layer,
        c: targets.sought,
        asked: targets.asked,
        settings,
        tolerance: params.tolerance,
        begun,
        least: 0.0,
        rounds: 0,
        progress: 0,
    };
    search.run()?;
    search.finish()
}

/// Rounds of [`approach`], at most.
const APPROACH_ROUNDS: usize = 4;

/// Moves the weights of `op` towards the nearest ones with norm at most `targets.sought` by rounds of
/// cuts alone, until what is left above is little beside the tolerance, and leaves that to the caller:
/// for weights that are nearly there already, a small part of the work of [`solve`].
pub(super) fn approach<P: Parametric + ?Sized>(
    op: &mut P,
    targets: &Targets,
    params: &Params,
) -> Result<Moved, Error> {
    if let Some(moved) = matrix::solve(op, targets)? {
        return Ok(moved);
    }
    match op.independent_parts() {
        Some(parts) => parts::solve(op, parts, targets, params, |op, targets, params| {
            cut(op, targets.sought, params)
        }),
        None => cut(op, targets.sought, params),
    }
}

/// The rounds of cuts of [`approach`].
fn cut<P: Parametric + ?Sized>(op: &mut P, c: f64, params: &Params) -> Result<Moved, Error> {
    let mut layer = Layer::new(op, params.seed)?;
    // As many as the rounds can find, where the memory allows.
    let capacity = (CUT_MEMORY / layer.bytes()).clamp(16, 16 * APPROACH_ROUNDS);
    let mut cuts = Cuts::new(&layer, capacity);
    let mut rounds = 0;
    while rounds < APPROACH_ROUNDS {
        let top = layer.look(16, 1, 48)?;
        let above = top.sigma.iter().take_while(|&&s| s > c).count();
        if top.sigma[0] <= c * (1.0 + 2.0 * params.tolerance) || cuts.room() == 0 {
            break;
        }
        rounds += 1;
        cuts.add(&mut layer, &top, above, c)?;
        cuts.solve();
        layer.set(&layer.moved(&cuts.step()))?;
    }
    Ok(Moved {
        rounds,
        matvecs: layer.matvecs,
        least_distance: None,
    })
}

/// The two ends between which the least distance lies, and how they came about.
struct Search<'a, P: Parametric + ?Sized> {
    layer: Layer<'a, P>,
    /// The norm that is sought, and the one that the lower bound is for.
    c: f64,
    asked: f64,
    settings: &'a Projection,
    tolerance: f64,
    begun: Instant,
    /// The nearest weights so far that a converged solve has measured, behind their distance: at the
    /// start W_0 times c / sigma_1.
    best: (f64, Vec<P::Scalar>),
    /// Nearer ones that a shallow look takes for obeying.
    candidate: Option<(f64, Vec<P::Scalar>)>,
    /// A lower bound for the distance.
    least: f64,
    rounds: usize,
    /// The round in which one of the ends last moved.
    progress: usize,
}

impl<P: Parametric + ?Sized> Search<'_, P> {
    fn run(&mut self) -> Result<(), Error> {
        let cuts = self.cut()?;
        if (self.is_near() && self.confirm()?) || self.is_over() {
            return Ok(());
        }
        // The looks so far were shallow: what they took for obeying must not stand against what obeys.
        self.candidate = None;
        let start = cuts.matrix();
        // Their memory is needed.
        drop(cuts);
        let mut ascent = Ascent::new(&mut self.layer, start, self.c)?;
        for _ in 0..STEPS {
            if self.is_over() || self.rounds > self.progress + STALE {
                break;
            }
            if !ascent.advance(&mut self.layer, self.c)? {
                continue;
            }
            self.rounds += 1;
            self.raise(
                ascent.value_for(self.asked, &self.layer.start),
                ascent.step(),
            );
            if self.rounds.is_multiple_of(LOOK_EVERY) && self.look(&mut ascent)? {
                break;
            }
        }
        Ok(())
    }

    /// Measures where the ascent is and tells it what is above c there. Returns whether the ends are
    /// near enough.
    fn look(&mut self, ascent: &mut Ascent<P::Scalar>) -> Result<bool, Error> {
        let weights = self.layer.moved(ascent.step());
        self.layer.set(&weights)?;
        // One vector at a time goes deepest: most singular values are close together below c now.
        let top = self.layer.look(16, 1, 80)?;
        self.lower(&weights, top.sigma[0]);
        if self.is_near() && self.confirm()? {
            return Ok(true);
        }
        let above = self.above(&top.sigma);
        if above == 0 {
            return Ok(false);
        }
        if (ascent.rank() + above) * self.layer.bytes() <= POLISH_MEMORY {
            ascent.polish(&mut self.layer, &top, above, self.c)?;
            self.raise(
                ascent.value_for(self.asked, &self.layer.start),
                ascent.step(),
            );
        } else {
            ascent.join(&top.v.columns(0..above));
        }
        Ok(false)
    }

    /// Rounds of cuts.
    fn cut(&mut self) -> Result<Cuts<P::Scalar>, Error> {
        let mut cuts = Cuts::new(&self.layer, self.capacity());
        let mut weights = self.layer.start.clone();
        for round in 0..CUT_ROUNDS {
            self.layer.set(&weights)?;
            let top = self.layer.look(24, 8, 96)?;
            self.rounds += 1;
            self.lower(&weights, top.sigma[0]);
            if (self.is_near() && self.confirm()?) || self.is_over() {
                break;
            }
            let before = self.least;
            let above = self.above(&top.sigma);
            cuts.add(&mut self.layer, &top, above, self.c)?;
            cuts.solve();
            let step = cuts.step();
            self.raise(cuts.value(&step, &self.layer.start, self.asked), &step);
            weights = self.layer.moved(&step);
            if round > 0 && self.least < before * (1.0 + CUT_GAIN) || cuts.room() == 0 {
                break;
            }
        }
        Ok(cuts)
    }

    /// How many cuts fit.
    fn capacity(&self) -> usize {
        (CUT_MEMORY / self.layer.bytes()).clamp(16, MOST_CUTS)
    }

    /// How many of the values are above c by more than rounding.
    fn above(&self, sigma: &[f64]) -> usize {
        let margin = 16.0 * P::Scalar::UNIT_ROUNDOFF;
        sigma
            .iter()
            .take_while(|&&s| s > self.c * (1.0 + margin))
            .count()
    }

    /// A dual value d shows that no weights that obey are nearer than sqrt(2 d). It is the value for
    /// the rounded step, so an allowance for rounding is taken off: sixteen roundings of the step,
    /// times the weights there, where measured errors are below two; it is no worst case.
    fn raise(&mut self, value: f64, step: &[P::Scalar]) {
        let error = 16.0 * P::Scalar::UNIT_ROUNDOFF * norm(step);
        let rounding = error * (norm(&self.layer.moved(step)) + error);
        let least = (2.0 * (value - rounding).max(0.0)).sqrt();
        if least > self.least * (1.0 + 0.01 * self.settings.gap) {
            self.progress = self.rounds;
        }
        self.least = self.least.max(least);
    }

    /// Weights of norm `sigma` obey when they are multiplied by c / sigma.
    fn lower(&mut self, weights: &[P::Scalar], sigma: f64) {
        let obeying = scaled(weights, (self.c / sigma).min(1.0));
        let distance = self.layer.distance(&obeying);
        if distance < self.best.0 && self.candidate.as_ref().is_none_or(|c| distance < c.0) {
            self.candidate = Some((distance, obeying));
        }
    }

    /// Whether the ends are near enough, if the candidate obeys.
    fn is_near(&self) -> bool {
        let distance = self.candidate.as_ref().map_or(self.best.0, |c| c.0);
        distance <= self.least * (1.0 + self.settings.gap)
    }

    /// Measures the candidate with a solve that converges, and corrects it. Returns whether the ends
    /// are near enough.
    fn confirm(&mut self) -> Result<bool, Error> {
        if let Some((_, weights)) = self.candidate.take() {
            self.layer.set(&weights)?;
            let obeying = match self.layer.norm(self.tolerance)? {
                Some(sigma) => scaled(&weights, (self.c / sigma).min(1.0)),
                None => return Ok(false),
            };
            let distance = self.layer.distance(&obeying);
            if distance < self.best.0 {
                if distance < self.best.0 * (1.0 - 0.01 * self.settings.gap) {
                    self.progress = self.rounds;
                }
                self.best = (distance, obeying);
            }
        }
        Ok(self.is_near())
    }

    fn is_over(&self) -> bool {
        let limit = self.settings.time_limit;
        limit.is_some_and(|limit| self.begun.elapsed() >= limit)
    }

    /// Leaves the operator with the best weights.
    fn finish(mut self) -> Result<Moved, Error> {
        self.confirm()?;
        self.layer.set(&self.best.1)?;
        Ok(Moved {
            rounds: self.rounds,
            matvecs: self.layer.matvecs,
            least_distance: Some(self.least),
        })
    }
}

fn scaled<T: Real>(weights: &[T], factor: f64) -> Vec<T> {
    combined(weights, weights, |w, _| T::from_f64(w.to_f64() * factor))
}
