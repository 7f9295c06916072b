//! All weights times one factor (Gouk, Frank, Pfahringer & Cree, "Regularisation of neural networks
//! by enforcing Lipschitz continuity", Machine Learning 110, 2021).

use super::{Moved, owned};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::random::Random;
use crate::real::norm;
use crate::weight::Parametric;

/// Weights below this may have halves with fewer digits.
const TINY: f64 = 1e-30;

pub(super) fn solve<P: Parametric + ?Sized>(op: &mut P, factor: f64) -> Result<Moved, Error> {
    Ok(Moved {
        matvecs: multiply(op, factor)?,
        ..Moved::default()
    })
}

/// Multiplies M by `factor` through the weights that M is linear in jointly
/// ([`Parametric::linear_weights`]): of a convolution and its batch normalisation one, of a sum every term.
///
/// Returns the actions that it took to try that out.
///
/// # Errors
/// [`Error::NotApplicable`] where a part of M does not follow these weights.
pub(super) fn multiply<P: Parametric + ?Sized>(op: &mut P, factor: f64) -> Result<usize, Error> {
    let (weights, free) = (owned(op), op.linear_weights());
    let actions = check_multiple(op, &weights, &free)?;
    op.set_weights(&multiplied(&weights, &free, factor))?;
    Ok(actions)
}

/// [`multiply`] after every step of training: one weight alone is taken for a factor of M, as trying that out takes as
/// much as following the norm does.
pub(super) fn multiply_at_once<P: Parametric + ?Sized>(
    op: &mut P,
    factor: f64,
) -> Result<(), Error> {
    match owned(op) {
        weights if weights.len() == 1 => op.set_weights(&multiplied(&weights, &[true], factor)),
        _ => multiply(op, factor).map(drop),
    }
}

fn multiplied<T: Real>(weights: &[Vec<T>], free: &[bool], factor: f64) -> Vec<Vec<T>> {
    let mut multiplied = weights.to_vec();
    for (weight, _) in multiplied.iter_mut().zip(free).filter(|(_, free)| **free) {
        for x in weight {
            *x = T::from_f64(x.to_f64() * factor);
        }
    }
    multiplied
}

/// Tries it out with halved weights, or doubled ones where they are hardly above zero: exact in floating point.
fn check_multiple<P: Parametric + ?Sized>(
    op: &mut P,
    weights: &[Vec<P::Scalar>],
    free: &[bool],
) -> Result<usize, Error> {
    let mut x = op.input_block(1);
    Random::new(0).fill(&mut x);
    let image = |op: &P| -> Result<Columns<P::Scalar>, Error> {
        let mut y = op.output_block(1);
        op.apply_once(&x, &mut y)?;
        Ok(y)
    };
    let before = image(op)?;
    let largest = weights
        .iter()
        .flatten()
        .fold(0.0, |a: f64, w| a.max(w.to_f64().abs()));
    let by = if largest < TINY { 2.0 } else { 0.5 };
    op.set_weights(&multiplied(weights, free, by))?;
    let other = image(op)?;
    op.set_weights(weights)?;
    if is_multiple(&other, &before, by) {
        return Ok(2);
    }
    Err(Error::NotApplicable {
        method: "scale",
        reason: "no common factor of the weights is a factor of the operator".to_owned(),
    })
}

fn is_multiple<T: Real>(y: &Columns<T>, x: &Columns<T>, factor: f64) -> bool {
    let pairs = y.as_slice().iter().zip(x.as_slice());
    let differences: Vec<f64> = pairs
        .map(|(y, x)| y.to_f64() - factor * x.to_f64())
        .collect();
    norm(&differences) <= 1e-3 * norm(x.as_slice())
}
