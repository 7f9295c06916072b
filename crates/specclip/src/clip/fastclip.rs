//! FastClip: Algorithms 2 and 3 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram, "Spectrum Extraction
//! and Clipping for Implicitly Linear Layers" (AISTATS 2024).
//!
//! A round takes the leading right singular vector v and moves the weights by a few gradient steps
//! on ||M(W) v - (c / sigma) M(W_0) v||^2, with sigma = ||M(W_0) v|| and W_0 the weights at the
//! round's start; then v is refreshed from where it is. A warm v lags behind: other
//! singular vectors may have become the leading ones. So rounds end only when a solve from random
//! vectors finds no value above c; where it does, its vector is the next v.
//!
//! With the paper's step or one that is given, v is refreshed by ten iterations of PowerQR as there. With the automatic
//! step it is refreshed by a short run of Lanczos, which finds what has become the largest sooner: on the convolutions of
//! a ResNet-18 ten rounds come nearer to c than twenty with PowerQR, from fewer actions, and move the weights less far.

use super::judge::{above, top};
use super::{FastClip, Moved, Params, Step, owned};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::random::Random;
use crate::real::norm;
use crate::svd::{self, Shift, Triplets, singular_values_from};
use crate::weight::Parametric;

const NAME: &str = "fastclip";

/// With [`FastClip::raise`], norms at or below c minus this are raised.
pub(super) const RAISE_BELOW: f64 = 0.05;

/// Iterations of PowerQR between rounds, or actions of Lanczos.
const POWER_QR: usize = 10;
const LANCZOS: usize = 16;

/// The part of its first distance to the target at which a round has gone far enough: the singular vectors turn while the
/// weights move, and short ways stay nearer to where they began.
const NEAR: f64 = 0.3;

/// How often a step is halved that is too long.
const HALVINGS: usize = 30;

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

pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    settings: &FastClip,
    params: &Params,
    start: &Triplets<P::Block>,
) -> Result<Moved, Error> {
    // Below what is accepted by as much as two solves may differ.
    let most = c * (1.0 + 0.9 * params.tolerance);
    let least = if settings.raise {
        c * (1.0 - params.tolerance)
    } else {
        0.0
    };
    let mut v = start.v.clone();
    let descent = Descent::new(op, settings)?;
    let mut moved = Moved::default();
    while moved.rounds < settings.max_rounds {
        moved.rounds += 1;
        moved.matvecs += descent.round(op, &v, c)?;
        let warm = refresh(op, &v, settings.step)?;
        moved.matvecs += warm.matvecs;
        let sigma = warm.sigma[0];
        v = warm.v;
        if sigma < least || sigma > most {
            continue;
        }
        let seed = params.seed.wrapping_add(moved.rounds as u64);
        let fresh = top(op, params.tolerance, seed)?;
        moved.matvecs += fresh.matvecs;
        if fresh.sigma[0] >= least && above(&fresh) <= most {
            break;
        }
        v = fresh.v;
    }
    Ok(moved)
}

/// The leading vector from where it was.
fn refresh<P: Parametric + ?Sized>(
    op: &P,
    v: &P::Block,
    step: Step,
) -> Result<Triplets<P::Block>, Error> {
    let params = match step {
        Step::Automatic => svd::Params {
            method: svd::Method::Lanczos,
            block: Some(1),
            max_matvecs: LANCZOS,
            tolerance: 1e-2,
            ..svd::Params::default()
        },
        // Without a shift, which has no scale.
        Step::Reference | Step::Fixed(_) => svd::Params {
            method: svd::Method::PowerQr,
            shift: Shift::Fixed(0.0),
            iterations: Some(POWER_QR),
            ..svd::Params::default()
        },
    };
    singular_values_from(op, 1, &params, v)
}

/// Gradient steps on ||M(W) v - t||^2.
struct Descent {
    inner_steps: usize,
    /// The step size; none for that which is best along each gradient.
    fixed: Option<f64>,
    /// Whether M is linear in all weights jointly.
    linear: bool,
    /// Whether M is zero where a weight is.
    homogeneous: bool,
}

impl Descent {
    fn new<P: Parametric + ?Sized>(op: &mut P, settings: &FastClip) -> Result<Self, Error> {
        let fixed = match settings.step {
            Step::Automatic => None,
            Step::Fixed(step) => Some(step),
            Step::Reference => Some(reference(op)),
        };
        Ok(Self {
            inner_steps: settings.inner_steps,
            linear: op.linear_weights().iter().all(|&linear| linear),
            homogeneous: fixed.is_none() && is_homogeneous(op)?,
            fixed,
        })
    }

    /// Moves ||M(W) v|| towards c; returns the actions and weight gradients that it took.
    fn round<T: Real, P>(&self, op: &mut P, v: &Columns<T>, c: f64) -> Result<usize, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let (image, sigma) = image(op, v)?;
        if sigma == 0.0 {
            return Ok(1);
        }
        let mut target = image.clone();
        target.scale(&[c / sigma]);
        let residual = difference(&image, &target);
        // What rounding leaves of a sum that cancels.
        let enough = 64.0 * T::UNIT_ROUNDOFF * c;
        let work = match self.fixed {
            Some(step) => self.descend(op, v, (residual, &target), step, enough)?,
            None => self.descend_exactly(op, v, (residual, &target), enough)?,
        };
        Ok(1 + work)
    }

    /// Steps of a given size, until the distance of M(W) v to `target` is `enough`.
    fn descend<T: Real, P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        (mut residual, target): (Columns<T>, &Columns<T>),
        step: f64,
        enough: f64,
    ) -> Result<usize, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut work = 0;
        let mut loss = norm(residual.as_slice());
        for _ in 0..self.inner_steps {
            if loss <= enough {
                break;
            }
            let gradient = op.weight_gradient(&[2.0], &residual, v)?;
            let mut weights = owned(op);
            add(&mut weights, -step, &gradient);
            work += 2;
            // Weights beyond the largest number are refused; the step was too long as well.
            let moved = op.set_weights(&weights).and_then(|()| image(op, v));
            let rest = moved.map(|(image, _)| {
                residual = difference(&image, target);
                norm(residual.as_slice())
            });
            match rest {
                Ok(rest) if rest <= loss => loss = rest,
                _ => {
                    let problem =
                        format!("the step {step} makes the loss grow; use the automatic step");
                    return Err(Error::invalid(NAME, problem));
                }
            }
        }
        Ok(work)
    }

    /// Steps that each go to where the loss is least along the gradient, until the distance to `target` is
    /// `enough` or a part of what it was.
    fn descend_exactly<T: Real, P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        (mut residual, target): (Columns<T>, &Columns<T>),
        enough: f64,
    ) -> Result<usize, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut weights = owned(op);
        let mut work = 0;
        let mut loss = norm(residual.as_slice());
        let enough = enough.max(NEAR * loss);
        for _ in 0..self.inner_steps {
            if loss <= enough {
                break;
            }
            // Half of it, as of the square of the tangent below.
            let mut gradient = op.weight_gradient(&[1.0], &residual, v)?;
            let slope = total_norm(&gradient).powi(2);
            let tangent = self.tangent(op, &mut weights, &mut gradient, v)?;
            work += 1 + weights.len();
            let mut step = slope / norm(tangent.as_slice()).powi(2);
            if !(step.is_finite() && step > 0.0) {
                break;
            }
            add(&mut weights, -step, &gradient);
            if self.linear {
                subtract(&mut residual, step, &tangent);
                loss = norm(residual.as_slice());
                continue;
            }
            // The tangent is not all: the step may be too long.
            let mut rest = f64::INFINITY;
            for _ in 0..HALVINGS {
                op.set_weights(&weights)?;
                residual = difference(&image(op, v)?.0, target);
                rest = norm(residual.as_slice());
                work += 1;
                if rest <= loss {
                    break;
                }
                step *= 0.5;
                add(&mut weights, step, &gradient);
            }
            if rest > loss {
                break;
            }
            loss = rest;
        }
        op.set_weights(&weights)?;
        Ok(work)
    }

    /// The derivative of W -> M(W) v in a direction: the sum over the weights of M(.., direction_i, ..) v, less what M is
    /// without that weight. Leaves the operator with `weights` where M is not linear in them.
    fn tangent<T: Real, P>(
        &self,
        op: &mut P,
        weights: &mut [Vec<T>],
        direction: &mut [Vec<T>],
        v: &Columns<T>,
    ) -> Result<Columns<T>, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        if self.linear && self.homogeneous {
            op.set_weights(direction)?;
            return Ok(image(op, v)?.0);
        }
        let mut total = op.output_block(1);
        for i in 0..weights.len() {
            std::mem::swap(&mut weights[i], &mut direction[i]);
            op.set_weights(weights)?;
            subtract(&mut total, -1.0, &image(op, v)?.0);
            if !self.homogeneous {
                let moved = std::mem::take(&mut weights[i]);
                weights[i] = vec![T::ZERO; moved.len()];
                op.set_weights(weights)?;
                subtract(&mut total, 1.0, &image(op, v)?.0);
                weights[i] = moved;
            }
            std::mem::swap(&mut weights[i], &mut direction[i]);
        }
        op.set_weights(weights)?;
        Ok(total)
    }
}

/// Whether M vanishes with each of its weights.
fn is_homogeneous<P: Parametric + ?Sized>(op: &mut P) -> Result<bool, Error> {
    let start = owned(op);
    let mut weights = start.clone();
    let mut x = op.input_block(1);
    Random::new(0).fill(&mut x);
    let mut homogeneous = true;
    for i in 0..start.len() {
        weights[i].fill(P::Scalar::ZERO);
        op.set_weights(&weights)?;
        homogeneous &= image(op, &x)?.1 == 0.0;
        weights[i].copy_from_slice(&start[i]);
    }
    op.set_weights(&start)?;
    Ok(homogeneous)
}

/// The step sizes of the paper's code, for the loss as it is written here: the code averages its
/// loss over the output's width.
fn reference<P: Parametric + ?Sized>(op: &P) -> f64 {
    match op.output_shape() {
        _ if op.weights().len() > 1 => 0.01,
        [_, .., width] => 0.35 / *width as f64,
        _ => 0.35,
    }
}

/// M v, by weights that move on, and its norm.
fn image<P: Parametric + ?Sized>(op: &P, v: &P::Block) -> Result<(P::Block, f64), Error> {
    let mut image = op.output_block(1);
    op.apply_once(v, &mut image)?;
    let size = image.norms()[0];
    Ok((image, size))
}

fn difference<T: Real>(a: &Columns<T>, b: &Columns<T>) -> Columns<T> {
    let mut difference = a.clone();
    subtract(&mut difference, 1.0, b);
    difference
}

/// a -= factor b.
fn subtract<T: Real>(a: &mut Columns<T>, factor: f64, b: &Columns<T>) {
    let factor = T::from_f64(factor);
    for (a, &b) in a.as_mut_slice().iter_mut().zip(b.as_slice()) {
        *a -= factor * b;
    }
}

/// a += factor b.
fn add<T: Real>(a: &mut [Vec<T>], factor: f64, b: &[Vec<T>]) {
    for (a, b) in a.iter_mut().zip(b) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = T::from_f64(a.to_f64() + factor * b.to_f64());
        }
    }
}

fn total_norm<T: Real>(a: &[Vec<T>]) -> f64 {
    norm(&a.iter().map(|a| norm(a)).collect::<Vec<_>>())
}
