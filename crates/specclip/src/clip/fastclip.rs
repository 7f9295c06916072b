//! FastClip: Algorithms 2 and 3 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram, "Spectrum Extraction
//! and Clipping for Implicitly Linear Layers" (AISTATS 2024).
//!
//! A round takes the leading right singular vector v and moves the weights by a few gradient steps
//! on ||M(W) v - (c / sigma) M(W_0) v||^2, with sigma = ||M(W_0) v|| and W_0 the weights at the
//! round's start; then v is refreshed by ten warm iterations of PowerQR. A warm v lags behind: other
//! singular vectors may have become the leading ones. So rounds end only when a solve from random
//! vectors finds no value above c; where it does, its vector is the next v.

use super::judge::{above, top};
use super::{FastClip, Moved, Params, Step, owned};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::real::norm;
use crate::svd::{self, Shift, Triplets, singular_values_from};
use crate::weight::Parametric;

const NAME: &str = "fastclip";

/// With [`FastClip::raise`], norms at or below c minus this are raised.
pub(super) const RAISE_BELOW: f64 = 0.05;

/// Iterations of PowerQR between rounds.
const REFRESH: usize = 10;

/// Power steps for the Lipschitz constant in the first round, and in each further one.
const POWER_STEPS: (usize, usize) = (10, 2);

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
    let mut descent = Descent::new(op, settings);
    let mut moved = Moved::default();
    while moved.rounds < settings.max_rounds {
        moved.rounds += 1;
        moved.matvecs += descent.round(op, &v, c)?;
        let warm = refresh(op, &v)?;
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

/// PowerQR without a shift, which has no scale.
fn refresh<P: Parametric + ?Sized>(op: &P, v: &P::Block) -> Result<Triplets<P::Block>, Error> {
    let params = svd::Params {
        method: svd::Method::PowerQr,
        shift: Shift::Fixed(0.0),
        iterations: Some(REFRESH),
        ..svd::Params::default()
    };
    singular_values_from(op, 1, &params, v)
}

/// Gradient steps on ||M(W) v - t||^2.
struct Descent<T> {
    inner_steps: usize,
    /// The step size; none where the Lipschitz constant gives it.
    fixed: Option<f64>,
    /// The weights' direction of the largest curvature, once one is known.
    steepest: Option<Vec<Vec<T>>>,
}

impl<T: Real> Descent<T> {
    fn new<P: Parametric<Scalar = T> + ?Sized>(op: &P, settings: &FastClip) -> Self {
        let fixed = match settings.step {
            Step::Automatic => None,
            Step::Fixed(step) => Some(step),
            Step::Reference => Some(reference(op)),
        };
        Self {
            inner_steps: settings.inner_steps,
            fixed,
            steepest: None,
        }
    }

    /// Moves ||M(W) v|| towards c; returns the actions and weight gradients that it took.
    fn round<P>(&mut self, op: &mut P, v: &Columns<T>, c: f64) -> Result<usize, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let (image, sigma) = image(op, v)?;
        if sigma == 0.0 {
            return Ok(1);
        }
        let mut target = image.clone();
        target.scale(&[c / sigma]);
        let (step, work) = match self.fixed {
            Some(step) => (step, 1),
            None => {
                let (lipschitz, work) = self.lipschitz(op, v, &image)?;
                (1.0 / lipschitz, 1 + work)
            }
        };
        // What rounding leaves of a sum that cancels.
        let enough = 64.0 * T::UNIT_ROUNDOFF * c;
        Ok(work + self.descend(op, v, (&image, &target), step, enough)?)
    }

    /// Gradient steps from M(W) v = `image` towards `target`, until the distance is `enough`.
    fn descend<P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        (image, target): (&Columns<T>, &Columns<T>),
        mut step: f64,
        enough: f64,
    ) -> Result<usize, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut work = 0;
        let mut residual = difference(image, target);
        let mut loss = norm(residual.as_slice());
        for _ in 0..self.inner_steps {
            if loss <= enough {
                break;
            }
            let weights = owned(op);
            let gradient = op.weight_gradient(&[2.0], &residual, v)?;
            let next = combine(&weights, -step, &gradient);
            work += 2;
            // Weights beyond the largest number are refused; the step was too long as well.
            let after = op
                .set_weights(&next)
                .and_then(|()| self::image(op, v))
                .map(|(image, _)| difference(&image, target));
            let rest = after.as_ref().map_or(f64::INFINITY, |r| norm(r.as_slice()));
            if let Ok(after) = after
                && rest <= loss
            {
                (residual, loss) = (after, rest);
                continue;
            }
            if self.fixed.is_some() {
                return Err(Error::invalid(
                    NAME,
                    format!("the step {step} makes the loss grow; use the automatic step"),
                ));
            }
            op.set_weights(&weights)?;
            step *= 0.5;
        }
        Ok(work)
    }

    /// L = 2 ||W -> M(W) v||^2 by power steps on the composition of this map and its adjoint,
    /// from the direction of the last round.
    fn lipschitz<P>(
        &mut self,
        op: &mut P,
        v: &Columns<T>,
        image: &Columns<T>,
    ) -> Result<(f64, usize), Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let weights = owned(op);
        let size = total_norm(&weights);
        // G(M v, v) is no direction in which nothing changes; one of another v may be.
        let fresh = op.weight_gradient(&[1.0], image, v)?;
        let (mut direction, steps) = match self.steepest.take() {
            Some(last) => {
                let last = scaled(&last, total_norm(&fresh) / total_norm(&last));
                (combine(&fresh, 1.0, &last), POWER_STEPS.1)
            }
            None => (fresh, POWER_STEPS.0),
        };
        let (mut stretch, mut work) = (0.0, 1);
        for _ in 0..steps {
            // As long as the weights are, so that differences of actions keep their digits.
            let length = total_norm(&direction);
            let scaled = scaled(&direction, size / length);
            let tangent = tangent(op, &weights, &scaled, v, image)?;
            stretch = norm(tangent.as_slice()) / size;
            work += weights.len() + 1;
            direction = op.weight_gradient(&[1.0], &tangent, v)?;
        }
        self.steepest = Some(direction);
        Ok((2.0 * stretch * stretch, work))
    }
}

/// The sum over the weights of M(.., W_i + direction_i, ..) v - M(W) v.
fn tangent<T: Real, P>(
    op: &mut P,
    weights: &[Vec<T>],
    direction: &[Vec<T>],
    v: &Columns<T>,
    image: &Columns<T>,
) -> Result<Columns<T>, Error>
where
    P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
{
    let mut total = op.output_block(1);
    let one = faer::Mat::identity(1, 1);
    for i in 0..weights.len() {
        let mut moved = weights.to_vec();
        moved[i] = combine(&weights[i..=i], 1.0, &direction[i..=i]).remove(0);
        op.set_weights(&moved)?;
        let (there, _) = self::image(op, v)?;
        total.add_combination(&difference(&there, image), 0..1, one.as_ref());
    }
    op.set_weights(weights)?;
    Ok(total)
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
    for (x, &y) in difference.as_mut_slice().iter_mut().zip(b.as_slice()) {
        *x -= y;
    }
    difference
}

/// a + factor b.
fn combine<T: Real>(a: &[Vec<T>], factor: f64, b: &[Vec<T>]) -> Vec<Vec<T>> {
    let term = |(&x, &y): (&T, &T)| T::from_f64(x.to_f64() + factor * y.to_f64());
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| a.iter().zip(b).map(term).collect())
        .collect()
}

fn scaled<T: Real>(a: &[Vec<T>], factor: f64) -> Vec<Vec<T>> {
    let scale = |x: &T| T::from_f64(x.to_f64() * factor);
    a.iter().map(|a| a.iter().map(scale).collect()).collect()
}

fn total_norm<T: Real>(a: &[Vec<T>]) -> f64 {
    norm(&a.iter().map(|a| norm(a)).collect::<Vec<_>>())
}
