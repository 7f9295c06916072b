//! The gradient steps of one round. Vectors are those of one or more singular values, one column each.

use super::super::{FastClip, Step, owned};
use super::NAME;
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::random::Random;
use crate::real::norm;
use crate::weight::Parametric;

/// The part of its first distance to the target at which a round has gone far enough: the singular vectors turn while the
/// weights move, and short ways stay nearer to where they began.
const NEAR: f64 = 0.3;

/// How often a step is shortened that is too long: first to its half, then to its tenth, down to where a product of numbers
/// that are hardly above zero is raised.
const SHORTENINGS: usize = 60;
const HALVINGS: usize = 8;

/// Ratios of sizes that no action suffers from.
const ALIKE: std::ops::Range<f64> = 1e-6..1e6;

/// The part of what a weight does not move that its move is to be above, so that the difference has digits.
const VISIBLE: f64 = 1e-3;

/// Gradient steps on ||M(W) v - t||^2.
pub(super) struct Descent {
    inner_steps: usize,
    /// The step size; none for that which is best along each gradient.
    fixed: Option<f64>,
    /// Whether M is zero where a weight is.
    homogeneous: bool,
    /// Which weights M is linear in jointly.
    linear: Vec<bool>,
    /// The norm of each weight at the start.
    sizes: Vec<f64>,
}

/// A gradient whose parts take the place of the weights that they are of.
struct Direction<T> {
    /// The parts, each times its factor: what an action needs to keep its digits.
    parts: Vec<Vec<T>>,
    /// None for a part that is left out: it is zero, or too small to be seen beside its weight.
    factors: Vec<Option<f64>>,
    /// The length of the gradient.
    length: f64,
}

impl<T: Real> Direction<T> {
    /// For weights that have these sizes or other ones by the factors of [`ALIKE`]. None for a gradient that is zero or beyond
    /// the largest number.
    fn new(parts: Vec<Vec<T>>, sizes: &[f64]) -> Option<Self> {
        let lengths: Vec<f64> = parts.iter().map(|part| norm(part)).collect();
        let length = norm(&lengths);
        if !(length.is_finite() && length > 0.0) {
            return None;
        }
        let mut direction = Self {
            factors: lengths
                .iter()
                .map(|&own| (own > 0.0).then_some(1.0))
                .collect(),
            parts,
            length,
        };
        for (i, (own, size)) in lengths.iter().zip(sizes).enumerate() {
            let ratio = size / own;
            if *own > 0.0 && *size > 0.0 && !ALIKE.contains(&ratio) {
                direction.stretch(i, ratio);
            }
        }
        Some(direction)
    }

    /// Multiplies a part by a number.
    fn stretch(&mut self, i: usize, by: f64) {
        for x in &mut self.parts[i] {
            *x = T::from_f64(x.to_f64() * by);
        }
        let factor = self.factors[i].map(|factor| factor * by);
        let finite = self.parts[i].iter().all(|x| x.is_finite());
        self.factors[i] = factor.filter(|f| f.is_finite() && *f > 0.0 && finite);
    }

    /// `weights` - `step` times the gradient.
    fn step_from(&self, weights: &[Vec<T>], step: f64) -> Vec<Vec<T>> {
        let moved = |(weight, (part, factor)): (&Vec<T>, (&Vec<T>, &Option<f64>))| {
            let Some(factor) = factor else {
                return weight.clone();
            };
            let share = step / factor;
            let pairs = weight.iter().zip(part);
            let move_one = |(w, d): (&T, &T)| T::from_f64(w.to_f64() - share * d.to_f64());
            pairs.map(move_one).collect()
        };
        let parts = self.parts.iter().zip(&self.factors);
        weights.iter().zip(parts).map(moved).collect()
    }
}

impl Descent {
    pub(super) fn new<P: Parametric + ?Sized>(
        op: &mut P,
        settings: &FastClip,
        work: &mut usize,
    ) -> Result<Self, Error> {
        let fixed = match settings.step {
            Step::Automatic => None,
            Step::Fixed(step) => Some(step),
            Step::Reference => Some(reference(op)),
        };
        Ok(Self {
            inner_steps: settings.inner_steps,
            homogeneous: fixed.is_none() && is_homogeneous(op, work)?,
            linear: op.linear_weights(),
            sizes: op.weights().into_iter().map(norm).collect(),
            fixed,
        })
    }

    /// Moves the norm of M(W) v towards c for the first vector, and for the others down to c where it is above. Adds to `work` the actions and weight gradients that it took, and returns whether
    /// the weights have moved.
    pub(super) fn round<T: Real, P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        c: f64,
        work: &mut usize,
    ) -> Result<bool, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let image = image(op, v, work)?;
        let sigma = image.norms();
        if sigma[0] == 0.0 {
            return Ok(false);
        }
        let mut factors: Vec<f64> = sigma.iter().map(|sigma| (c / sigma).min(1.0)).collect();
        factors[0] = c / sigma[0];
        let mut target = image.clone();
        target.scale(&factors);
        let residual = difference(&image, &target);
        // What rounding leaves of a sum that cancels.
        let enough = 64.0 * T::UNIT_ROUNDOFF * c;
        match self.fixed {
            Some(step) => self.descend(op, v, (residual, &target), (step, enough), work),
            None => self.descend_exactly(op, v, (residual, &target), enough, work),
        }
    }

    /// Steps of a given size, until the distance of M(W) v to `target` is `enough`.
    fn descend<T: Real, P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        (mut residual, target): (Columns<T>, &Columns<T>),
        (step, enough): (f64, f64),
        work: &mut usize,
    ) -> Result<bool, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut moved = false;
        let mut loss = norm(residual.as_slice());
        for _ in 0..self.inner_steps {
            if loss <= enough {
                break;
            }
            let gradient = op.weight_gradient(&vec![2.0; v.cols()], &residual, v)?;
            *work += v.cols();
            let mut weights = owned(op);
            for (weight, gradient) in weights.iter_mut().zip(&gradient) {
                add(weight, -step, gradient);
            }
            let after = residual_at(op, &weights, v, target, work)?;
            let Some((after, rest)) = after.filter(|(_, rest)| *rest <= loss) else {
                let problem =
                    format!("the step {step} makes the loss grow; use the automatic step");
                return Err(Error::invalid(NAME, problem));
            };
            (residual, loss, moved) = (after, rest, true);
        }
        Ok(moved)
    }

    /// Steps that each go to where the loss is least along the gradient, until the distance to `target` is
    /// `enough` or a part of what it was.
    fn descend_exactly<T: Real, P>(
        &self,
        op: &mut P,
        v: &Columns<T>,
        (mut residual, target): (Columns<T>, &Columns<T>),
        enough: f64,
        work: &mut usize,
    ) -> Result<bool, Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut weights = owned(op);
        let mut moved = false;
        let mut loss = norm(residual.as_slice());
        let enough = enough.max(NEAR * loss);
        'steps: for _ in 0..self.inner_steps {
            if loss <= enough {
                break;
            }
            // Half of it, as of the square of the tangent below.
            let gradient = op.weight_gradient(&vec![1.0; v.cols()], &residual, v)?;
            *work += v.cols();
            let Some(mut direction) = Direction::new(gradient, &self.sizes) else {
                break;
            };
            let (tangent, least) = self.tangent(op, &mut weights, &mut direction, v, work)?;
            let mut step = (direction.length * least / norm(tangent.as_slice())).powi(2);
            if !(step.is_finite() && step > 0.0) {
                break;
            }
            if self.is_linear_along(&direction) {
                let next = direction.step_from(&weights, step);
                let mut after = residual.clone();
                add(after.as_mut_slice(), -step / least, tangent.as_slice());
                let rest = norm(after.as_slice());
                if rest >= loss || rest.is_nan() {
                    // The gradient is what rounding has left of it.
                    break;
                }
                if next.iter().flatten().all(|w| w.is_finite()) {
                    (weights, residual, loss, moved) = (next, after, rest, true);
                    if !self.linear.iter().all(|&linear| linear) {
                        // The next gradient is about weights that the tangent has left in disorder.
                        op.set_weights(&weights)?;
                    }
                    continue;
                }
            }
            // Where M is not linear in the weights the tangent is not all, and the step may be too long.
            for shortening in 0..SHORTENINGS {
                let next = direction.step_from(&weights, step);
                match residual_at(op, &next, v, target, work)? {
                    Some((after, rest)) if rest < loss => {
                        (weights, residual, loss, moved) = (next, after, rest, true);
                        continue 'steps;
                    }
                    _ if shortening < HALVINGS => step *= 0.5,
                    _ => step *= 0.1,
                }
            }
            break;
        }
        op.set_weights(&weights)?;
        Ok(moved)
    }

    /// Whether M moves along its tangent, so that what it becomes need not be computed anew.
    fn is_linear_along<T>(&self, direction: &Direction<T>) -> bool {
        let mut parts = self.linear.iter().zip(&direction.factors);
        parts.all(|(&linear, factor)| linear || factor.is_none())
    }

    /// The derivative of W -> M(W) v along the gradient times the least factor of the direction, and that factor: the sum
    /// over the weights of M(.., direction_i, ..) v, less what M is without that weight. Leaves the operator with other weights.
    fn tangent<T: Real, P>(
        &self,
        op: &mut P,
        weights: &mut [Vec<T>],
        direction: &mut Direction<T>,
        v: &Columns<T>,
        work: &mut usize,
    ) -> Result<(Columns<T>, f64), Error>
    where
        P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
    {
        let mut terms = Vec::new();
        for i in 0..weights.len() {
            if direction.factors[i].is_none() {
                continue;
            }
            let mut constant = op.output_block(v.cols());
            if !self.homogeneous {
                let mut zero = vec![T::ZERO; weights[i].len()];
                constant = image_with(op, weights, (i, &mut zero), v, work)?;
            }
            let mut difference_to = |direction: &mut Direction<T>| match direction.factors[i] {
                None => Ok(None),
                Some(_) => {
                    let there = image_with(op, weights, (i, &mut direction.parts[i]), v, work)?;
                    Ok::<_, Error>(Some(difference(&there, &constant)))
                }
            };
            let mut term = difference_to(direction)?;
            let fixed = norm(constant.as_slice());
            if let Some(small) = &term {
                let own = norm(small.as_slice());
                if own < VISIBLE * fixed {
                    direction.stretch(i, fixed / own.max(T::UNIT_ROUNDOFF * fixed));
                    term = difference_to(direction)?;
                }
            }
            terms.extend(term.zip(direction.factors[i]));
        }
        let factors = terms.iter().map(|(_, factor)| *factor);
        let least = factors.fold(f64::MAX, f64::min);
        let mut total = op.output_block(v.cols());
        for (term, factor) in &terms {
            add(total.as_mut_slice(), least / factor, term.as_slice());
        }
        Ok((total, least))
    }
}

/// M v with another weight in the place of weight i.
fn image_with<T: Real, P>(
    op: &mut P,
    weights: &mut [Vec<T>],
    (i, other): (usize, &mut Vec<T>),
    v: &Columns<T>,
    work: &mut usize,
) -> Result<Columns<T>, Error>
where
    P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
{
    std::mem::swap(&mut weights[i], other);
    let set = op.set_weights(weights);
    std::mem::swap(&mut weights[i], other);
    set?;
    image(op, v, work)
}

/// M(W) v - `target` and its norm for other weights; none where they, or the image, are beyond the largest number.
fn residual_at<T: Real, P>(
    op: &mut P,
    weights: &[Vec<T>],
    v: &Columns<T>,
    target: &Columns<T>,
    work: &mut usize,
) -> Result<Option<(Columns<T>, f64)>, Error>
where
    P: Parametric<Scalar = T, Block = Columns<T>> + ?Sized,
{
    match op.set_weights(weights).and_then(|()| image(op, v, work)) {
        Err(Error::NonFinite { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(image) => {
            let residual = difference(&image, target);
            let loss = norm(residual.as_slice());
            Ok(loss.is_finite().then_some((residual, loss)))
        }
    }
}

/// Whether M vanishes with each of its weights.
fn is_homogeneous<P: Parametric + ?Sized>(op: &mut P, work: &mut usize) -> Result<bool, Error> {
    let mut weights = owned(op);
    let mut x = op.input_block(1);
    Random::new(0).fill(&mut x);
    let mut homogeneous = true;
    for i in 0..weights.len() {
        let zero = vec![P::Scalar::ZERO; weights[i].len()];
        let weight = std::mem::replace(&mut weights[i], zero);
        op.set_weights(&weights)?;
        homogeneous &= image(op, &x, work)?.norms()[0] == 0.0;
        weights[i] = weight;
    }
    op.set_weights(&weights)?;
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

/// M v, by weights that move on.
fn image<P: Parametric + ?Sized>(
    op: &P,
    v: &P::Block,
    work: &mut usize,
) -> Result<P::Block, Error> {
    let mut image = op.output_block(v.cols());
    op.apply_once(v, &mut image)?;
    *work += v.cols();
    Ok(image)
}

fn difference<T: Real>(a: &Columns<T>, b: &Columns<T>) -> Columns<T> {
    let mut difference = a.clone();
    add(difference.as_mut_slice(), -1.0, b.as_slice());
    difference
}

/// a += factor b.
fn add<T: Real>(a: &mut [T], factor: f64, b: &[T]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = T::from_f64(a.to_f64() + factor * b.to_f64());
    }
}
