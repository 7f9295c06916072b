//! The laws that every operator obeys, as checks: run them on a new implementation.

use crate::block::Block;
use crate::error::Error;
use crate::operator::LinearOperator;
use crate::random::Random;

/// Checks <M x, y> = <x, M' y> on random vectors.
///
/// # Errors
/// [`Error::NotAdjoint`] when the two sides differ, relative to ||y|| ||M x|| + ||x|| ||M' y||, by
/// more than the square root of the rounding error; and whatever the actions refuse.
pub fn check_adjoint<Op: LinearOperator + ?Sized>(op: &Op, seed: u64) -> Result<(), Error> {
    let mut random = Random::new(seed);
    let (mut x, mut y) = (op.input_block(1), op.output_block(1));
    random.fill(&mut x);
    random.fill(&mut y);
    let (mut mx, mut my) = (op.output_block(1), op.input_block(1));
    op.apply(&x, &mut mx)?;
    op.adjoint(&y, &mut my)?;
    let left = mx.gram(0..1, &y)[(0, 0)];
    let right = x.gram(0..1, &my)[(0, 0)];
    let scale = y.norms()[0] * mx.norms()[0] + x.norms()[0] * my.norms()[0];
    let allowed = Op::Block::UNIT_ROUNDOFF.sqrt();
    let deviation = (left - right).abs() / scale.max(f64::MIN_POSITIVE);
    if deviation <= allowed {
        Ok(())
    } else {
        Err(Error::NotAdjoint { deviation, allowed })
    }
}

/// Checks that `difference(x)` = f(x) - f(0) is linear, at three magnitudes.
///
/// `offset` is ||f(0)||, whose rounding error enters every difference. `difference` appends to its
/// second argument; `roundoff` is the rounding error of its numbers.
///
/// # Errors
/// [`Error::NotLinear`] with the magnitude and the deviation seen there.
pub fn check_affine(
    roundoff: f64,
    offset: f64,
    inputs: usize,
    difference: impl Fn(&[f64], &mut Vec<f64>),
) -> Result<(), Error> {
    let mut random = Random::new(0);
    let (a, c) = (0.75, -1.25);
    for magnitude in [1e-3, 1.0, 1e3] {
        let mut draw = || -> Vec<f64> {
            let values = random.normals(inputs);
            values.into_iter().map(|v| v * magnitude).collect()
        };
        let (x, y) = (draw(), draw());
        let mixed: Vec<f64> = x.iter().zip(&y).map(|(x, y)| a * x + c * y).collect();
        let at = |x: &[f64]| {
            let mut value = Vec::new();
            difference(x, &mut value);
            value
        };
        let (fx, fy, mixed) = (at(&x), at(&y), at(&mixed));
        let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let terms = fx.iter().zip(&fy).zip(&mixed);
        let defect: Vec<f64> = terms.map(|((x, y), m)| m - a * x - c * y).collect();
        let scale = (norm(&fx) + norm(&fy) + norm(&mixed)).max(f64::MIN_POSITIVE);
        let deviation = norm(&defect) / scale;
        // Sums of so many terms that start from the offset round that often at its size.
        let terms = 64.0 + (inputs as f64).sqrt();
        let allowed = roundoff.sqrt().max(terms * roundoff * offset / scale);
        if deviation.is_nan() || deviation > allowed {
            return Err(Error::NotLinear {
                magnitude,
                deviation,
                allowed,
            });
        }
    }
    Ok(())
}
