//! What the tests of the projection share.

#![allow(dead_code)] // each test file uses its own part

use specclip::clip::{ClipReport, Method, Params, Projection, clip};
use specclip::operator::{Conv, ConvParams, materialise};
use specclip::{LinearOperator, Parametric};

use crate::common::{distance, norm};
use crate::configurations::values;

/// Projection up to this gap, judged by this tolerance.
pub fn projection(gap: f64, tolerance: f64) -> Params {
    Params {
        tolerance,
        ..Params::new(Method::Projection(Projection {
            gap,
            time_limit: None,
        }))
    }
}

/// sigma_1 by a dense decomposition.
pub fn sigma<Op: LinearOperator + ?Sized>(op: &Op) -> f64 {
    materialise(op).unwrap().singular_values().unwrap()[0]
}

/// All weights, one after the other.
pub fn flat<P: Parametric + ?Sized>(op: &P) -> Vec<f64> {
    use specclip::Real;

    let weights = op.weights();
    let all = weights.iter().copied().flatten();
    all.map(|w| w.to_f64()).collect()
}

/// A convolution of 3 x 3 taps with random weights on `size` x `size` samples.
pub fn conv(outputs: usize, inputs: usize, size: usize, params: &ConvParams) -> Conv<f64> {
    let shape = [outputs, inputs / params.groups, 3, 3];
    let count = shape.iter().product();
    Conv::new(values(count, 3), &shape, &[inputs, size, size], params).unwrap()
}

/// Projects and checks what holds of every projection: the norm and the distance that are reported, the
/// certificate, and that scaling goes no less far.
pub fn checked<P: Parametric + ?Sized>(op: &mut P, c: f64, gap: f64) -> ClipReport {
    let (before, original) = (sigma(op), flat(op));
    let report = clip(op, c, &projection(gap, 1e-6)).unwrap();
    let after = sigma(op);
    assert!(
        report.reached && after <= c * (1.0 + 1e-6),
        "{after} > {c}: {report:?}"
    );
    let moved = distance(&flat(op), &original);
    assert!((moved - report.distance).abs() <= 1e-6 * moved);
    let certificate = report.certificate.unwrap();
    assert!(certificate.least_distance <= report.distance, "{report:?}");
    assert!(certificate.gap <= gap, "{report:?}");
    let scaling = (1.0 - c / before) * norm(&original);
    assert!(
        moved <= scaling * (1.0 + 1e-9),
        "{moved} > {scaling} by scaling"
    );
    report
}
