//! All weights times one factor (Gouk, Frank, Pfahringer & Cree, "Regularisation of neural networks
//! by enforcing Lipschitz continuity", Machine Learning 110, 2021).

use super::{Moved, owned};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::random::Random;
use crate::real::norm;
use crate::weight::Parametric;

pub(super) fn solve<P: Parametric + ?Sized>(op: &mut P, factor: f64) -> Result<Moved, Error> {
    multiply(op, factor)?;
    Ok(Moved::default())
}

/// Multiplies M by `factor` through its weights.
///
/// In a product (a convolution and its batch normalisation) only the first weight is multiplied: the
/// batch normalisation is left as it is. In a sum every term has to be.
pub(super) fn multiply<P: Parametric + ?Sized>(op: &mut P, factor: f64) -> Result<(), Error> {
    let weights = owned(op);
    let power = match weights.len() {
        0 | 1 => Power::First,
        _ => power(op, &weights)?,
    };
    let (count, factor) = match power {
        Power::First => (1, factor),
        Power::All(degree) => (weights.len(), factor.powf(1.0 / degree)),
    };
    let mut multiplied = weights;
    for x in multiplied.iter_mut().take(count).flatten() {
        *x = P::Scalar::from_f64(x.to_f64() * factor);
    }
    op.set_weights(&multiplied)
}

/// What multiplying weights does to M.
enum Power {
    /// M is linear in the first weight alone.
    First,
    /// All weights times f make M times f to this power.
    All(f64),
}

/// Finds it out with doubled weights: exact in floating point.
fn power<P: Parametric + ?Sized>(op: &mut P, weights: &[Vec<P::Scalar>]) -> Result<Power, Error> {
    let mut x = op.input_block(1);
    Random::new(0).fill(&mut x);
    let doubled = |count: usize| -> Vec<Vec<P::Scalar>> {
        let mut doubled = weights.to_vec();
        for x in doubled.iter_mut().take(count).flatten() {
            *x = *x + *x;
        }
        doubled
    };
    let image = |op: &P| -> Result<Columns<P::Scalar>, Error> {
        let mut y = op.output_block(1);
        op.apply(&x, &mut y)?;
        Ok(y)
    };
    let before = image(op)?;
    op.set_weights(&doubled(1))?;
    let first = image(op)?;
    op.set_weights(&doubled(weights.len()))?;
    let all = image(op)?;
    op.set_weights(weights)?;
    if is_multiple(&first, &before, 2.0) {
        return Ok(Power::First);
    }
    (1..=weights.len() as i32)
        .find(|&degree| is_multiple(&all, &before, f64::powi(2.0, degree)))
        .map(|degree| Power::All(f64::from(degree)))
        .ok_or_else(|| Error::NotApplicable {
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
