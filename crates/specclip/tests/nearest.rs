//! The projection: against an independent convex solver, dense decompositions and other methods.
//!
//! Reads every `*.json` of the folder named by `SPECCLIP_PROJECTION_DIR`, else of `tests/nearest`.

mod cases;
mod common;
mod configurations;
mod projections;

use std::time::Duration;

use cases::{Case, read};
use common::{distance, norm};
use configurations::values;
use faer::Mat;
use projections::{checked, conv, flat, projection, sigma};
use serde::Deserialize;
use specclip::clip::{Method, Params, Projection, clip};
use specclip::operator::{
    Adjoint, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense, Diagonal,
    PaddingMode, Separable, Sum,
};
use specclip::{BoxedParametric, Error, Parametric};

#[derive(Deserialize)]
struct Nearest {
    #[serde(flatten)]
    layer: Case,
    sigma: f64,
    target: f64,
    projected_weight: Vec<f64>,
    distance: f64,
    scaling_distance: f64,
}

#[test]
fn projection_agrees_with_a_convex_solver() {
    for case in read::<Nearest>(
        "SPECCLIP_PROJECTION_DIR",
        "tests/nearest",
        "projected_weight",
    ) {
        let mut op = case.layer.parametric::<f64>();
        let original = flat(&*op);
        assert!((sigma(&*op) - case.sigma).abs() < 1e-9 * case.sigma);
        let report = clip(&mut *op, case.target, &projection(1e-5, 1e-7)).unwrap();
        let (after, moved) = (sigma(&*op), distance(&flat(&*op), &original));
        let what = format!(
            "{} {:?} to {}",
            case.layer.kind, case.layer.input, case.target
        );
        assert!(
            report.reached && after <= case.target * (1.0 + 1e-6),
            "{what}: {after}"
        );
        assert!(
            (moved - case.distance).abs() <= 1e-4 * case.distance,
            "{what}: {moved} and not {}",
            case.distance
        );
        assert!(moved < case.scaling_distance, "{what}");
        // Whatever the gap is, no lower bound exceeds the distance.
        for (gap, limit) in [(1e-5, None), (0.3, None), (1e-5, Some(Duration::ZERO))] {
            let mut op = case.layer.parametric::<f64>();
            let method = Method::Projection(Projection {
                gap,
                time_limit: limit,
            });
            let params = Params::new(method);
            let report = clip(&mut *op, case.target, &params).unwrap();
            let least = report.certificate.unwrap().least_distance;
            assert!(least <= case.distance * (1.0 + 1e-6), "{what}: {least}");
            assert!(
                report.distance <= case.scaling_distance * (1.0 + 1e-6),
                "{what}: {report:?}"
            );
        }
        let apart = distance(&flat(&*op), &case.projected_weight);
        // Strong convexity: the square of the distance grows with the square of the way from the nearest.
        assert!(
            apart <= 0.015 * case.distance,
            "{what}: {apart} from the solver's weights"
        );
    }
}

fn layers() -> Vec<(&'static str, BoxedParametric<f64>)> {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let reflect = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    let upsampling = ConvTransposeParams {
        stride: vec![2, 2],
        ..ConvTransposeParams::new(2)
    };
    let transposed =
        ConvTranspose::new(values(3 * 2 * 9, 5), &[3, 2, 3, 3], &[3, 4, 4], &upsampling);
    let pad = Separable::pad(&[2, 6, 6], &[(1, 1), (1, 1)], PaddingMode::Circular).unwrap();
    let behind = conv(3, 2, 8, &ConvParams::new(2));
    let first = conv(3, 2, 6, &zeros);
    let factors = Diagonal::new(vec![0.5, -2.0, 1.5], &[3, 6, 6]).unwrap();
    let sum: Vec<BoxedParametric<f64>> = vec![
        Box::new(conv(2, 2, 5, &zeros)),
        Box::new(conv(2, 2, 5, &reflect)),
    ];
    vec![
        ("zero padding", Box::new(conv(4, 3, 8, &zeros))),
        ("reflect padding", Box::new(conv(3, 4, 7, &reflect))),
        ("stride", Box::new(conv(4, 4, 9, &zeros.clone().stride(2)))),
        ("groups", Box::new(conv(6, 4, 6, &zeros.clone().groups(2)))),
        (
            "depthwise",
            Box::new(conv(6, 3, 6, &reflect.clone().groups(3))),
        ),
        ("transposed", Box::new(transposed.unwrap())),
        (
            "padding apart",
            Box::new(Compose::new(behind, pad).unwrap()),
        ),
        (
            "with batch norm",
            Box::new(Compose::new(factors, first).unwrap()),
        ),
        ("a sum of two", Box::new(Sum::new(sum).unwrap())),
        (
            "dense",
            Box::new(Dense::new(values(12 * 7, 9), 12, 7).unwrap()),
        ),
    ]
}

#[test]
fn every_kind_of_layer_is_projected() {
    for fraction in [0.9, 0.6, 0.3] {
        for (name, mut op) in layers() {
            let c = fraction * sigma(&*op);
            let report = checked(&mut *op, c, 2e-3);
            assert!(report.distance > 0.0, "{name}");
            // A second time there is nothing to do.
            let once = flat(&*op);
            let again = clip(&mut *op, c, &projection(2e-3, 1e-6)).unwrap();
            assert!(again.distance == 0.0 && flat(&*op) == once, "{name}");
        }
    }
}

/// The upper end of the interval has to obey, so the weights go farther; the lower bound is still that
/// for the norm that was asked for.
#[test]
fn a_proven_end_goes_farther_and_the_lower_bound_does_not() {
    for (name, op) in layers() {
        let c = 0.8 * sigma(&*op);
        drop(op);
        let of = |proven: bool| {
            let (_, mut op) = layers().into_iter().find(|(n, _)| *n == name).unwrap();
            let params = Params {
                proven,
                ..projection(1e-4, 1e-6)
            };
            clip(&mut *op, c, &params).unwrap()
        };
        let (proven, plain) = (of(true), of(false));
        assert!(proven.reached && proven.after.interval.upper <= c * (1.0 + 1e-6));
        let least = proven.certificate.unwrap().least_distance;
        assert!(least <= plain.distance * (1.0 + 1e-6), "{name}: {least}");
    }
}

/// Rounding is the limit where no tolerance is given.
#[test]
fn no_tolerance_is_obeyed_as_well() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let mut op = conv(4, 3, 8, &zeros);
    let report = clip(&mut op, 1.0, &projection(1e-3, 0.0)).unwrap();
    assert!(report.reached && sigma(&op) <= 1.0 + 1e-12, "{report:?}");
}

#[test]
fn the_scale_of_the_weights_is_the_scale_of_the_result() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let reference = checked(&mut conv(4, 3, 8, &zeros), 1.0, 1e-3).distance;
    for scale in [1e-4, 1e4] {
        let mut op = conv(4, 3, 8, &zeros);
        let weights: Vec<f64> = flat(&op).iter().map(|w| w * scale).collect();
        op.set_weights(&[weights]).unwrap();
        let distance = checked(&mut op, scale, 1e-3).distance;
        assert!((distance / scale - reference).abs() < 2e-3 * reference);
    }
}

#[test]
fn the_batch_norm_is_left_alone() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let norm = Diagonal::new(vec![0.5, -2.0, 1.5], &[3, 6, 6]).unwrap();
    let mut op = Compose::new(norm, conv(3, 2, 6, &zeros)).unwrap();
    let c = 0.7 * sigma(&op);
    checked(&mut op, c, 1e-3);
    assert_eq!(op.weights()[1], [0.5, -2.0, 1.5]);
}

/// With the convolution held the factors move, each group of channels by itself too. Behind a dense layer with orthonormal
/// rows they are the singular values, so each is brought to the range.
#[test]
fn a_held_inner_operator_is_left_alone() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let factors = [0.5, -2.0, 1.5, 0.2];
    for groups in [1, 2, 4] {
        let norm = Diagonal::new(factors.to_vec(), &[4, 6, 6]).unwrap();
        let inner = conv(4, 4, 6, &zeros.clone().groups(groups));
        let kernel = flat(&inner);
        let mut op = Compose::new(norm, inner).unwrap().holding_inner();
        let c = 0.7 * sigma(&op);
        let report = checked(&mut op, c, 1e-3);
        assert!(report.distance > 0.0);
        assert_eq!(op.weights()[0], kernel);
    }
    let rotation = Mat::from_fn(6, 6, |i, j| values(36, 3)[i * 6 + j]);
    let rotation = rotation.qr().compute_Q();
    let rows = (0..24).map(|i| rotation[(i / 6, i % 6)]).collect();
    let norm = Diagonal::new(factors.to_vec(), &[4]).unwrap();
    let dense = Dense::new(rows, 4, 6).unwrap();
    let mut op = Compose::new(norm, dense).unwrap().holding_inner();
    checked(&mut op, 1.0, 1e-4);
    for (moved, expected) in op.weights()[1].iter().zip([0.5, -1.0, 1.0, 0.2]) {
        assert!((moved - expected).abs() < 2e-4, "{moved} {expected}");
    }
}

/// The projection of a matrix has the singular values min(sigma, c), and a single tap is a matrix at every
/// position: with reflect padding the outer samples are read more often. Groups have a matrix each.
#[test]
fn single_taps_and_matrices_are_projected_exactly() {
    let weight = || values(6 * 5, 4);
    let dense = || Dense::new(weight(), 6, 5).unwrap();
    let conv = |inputs, size, params: &ConvParams| {
        let shape = [6, inputs / params.groups, 1, 1];
        let weight = values(shape.iter().product(), 4);
        Conv::new(weight, &shape, &[inputs, size, size], params).unwrap()
    };
    let transposed = |groups| {
        let params = ConvTransposeParams {
            stride: vec![2, 3],
            groups,
            ..ConvTransposeParams::new(2)
        };
        ConvTranspose::new(weight(), &[6, 5, 1, 1], &[6, 3, 3], &params).unwrap()
    };
    let padded = |mode| ConvParams::new(2).padding(1, mode);
    let reflect = padded(PaddingMode::Reflect);
    let layers: [(usize, BoxedParametric<f64>); 9] = [
        (1, Box::new(dense())),
        (1, Box::new(Adjoint(dense()))),
        (1, Box::new(conv(5, 4, &ConvParams::new(2).stride(2)))),
        (1, Box::new(conv(5, 3, &reflect))),
        (2, Box::new(conv(4, 3, &reflect.clone().groups(2)))),
        (6, Box::new(conv(6, 3, &reflect.clone().groups(6)))),
        (
            3,
            Box::new(Adjoint(conv(
                6,
                3,
                &padded(PaddingMode::Replicate).groups(3),
            ))),
        ),
        (1, Box::new(transposed(1))),
        (2, Box::new(Adjoint(transposed(2)))),
    ];
    for (i, (groups, mut op)) in layers.into_iter().enumerate() {
        let c = 0.5 * sigma(&*op);
        let expected = matrix_distance(&flat(&*op), groups, 0.5);
        let report = checked(&mut *op, c, 1e-9);
        assert_eq!(report.rounds, 1, "layer {i}");
        assert!((sigma(&*op) - c).abs() < 1e-12 * c, "layer {i}");
        assert!((report.distance - expected).abs() < 1e-12 * expected);
    }
}

/// How far the nearest matrices are whose singular values are at most `fraction` of the largest, for the
/// matrices of six rows in all that follow each other in `weight`.
fn matrix_distance(weight: &[f64], groups: usize, fraction: f64) -> f64 {
    let rows = 6 / groups;
    let cols = weight.len() / 6;
    let values = weight.chunks_exact(rows * cols).flat_map(|matrix| {
        let matrix = Mat::from_fn(rows, cols, |i, j| matrix[i * cols + j]);
        matrix.singular_values().unwrap()
    });
    let values: Vec<f64> = values.collect();
    let c = fraction * values.iter().copied().fold(0.0, f64::max);
    norm(&values.iter().map(|s| (s - c).max(0.0)).collect::<Vec<_>>())
}

#[test]
fn a_part_that_no_weight_moves_is_refused() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let identity = Separable::pad(&[2, 5, 5], &[(0, 0), (0, 0)], PaddingMode::Zeros).unwrap();
    let terms: Vec<BoxedParametric<f64>> =
        vec![Box::new(conv(2, 2, 5, &zeros)), Box::new(identity)];
    let mut op = Sum::new(terms).unwrap();
    let original = flat(&op);
    let refusal = clip(&mut op, 0.5, &projection(1e-2, 1e-3));
    assert!(
        matches!(refusal, Err(Error::NotApplicable { .. })),
        "{refusal:?}"
    );
    assert_eq!(flat(&op), original);
}

#[test]
fn a_gap_must_be_positive() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    for gap in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refusal = clip(&mut conv(2, 2, 5, &zeros), 0.1, &projection(gap, 1e-3));
        assert!(
            matches!(refusal, Err(Error::InvalidParameter { .. })),
            "{gap}"
        );
    }
}

/// A layer too large for dense decompositions, in f32, where singular vectors are followed by block
/// power steps. The norm is measured by a solve that has nothing to do with the projection's.
#[test]
fn a_wide_layer_is_projected_within_the_gap() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let weight: Vec<f32> = values(32 * 32 * 9, 8).iter().map(|&w| w as f32).collect();
    let mut op = Conv::<f32>::new(weight, &[32, 32, 3, 3], &[32, 12, 12], &zeros).unwrap();
    let accurate = specclip::svd::Params {
        tolerance: 1e-5,
        ..specclip::svd::Params::default()
    };
    let top = |op: &Conv<f32>| {
        specclip::svd::singular_values(op, 1, &accurate)
            .unwrap()
            .sigma[0]
    };
    let (original, c) = (flat(&op), 0.8 * top(&op));
    let report = clip(&mut op, c, &projection(2e-2, 1e-3)).unwrap();
    assert!(report.reached && top(&op) <= c * (1.0 + 1e-3));
    let certificate = report.certificate.unwrap();
    assert!(certificate.gap <= 2e-2 && certificate.least_distance <= report.distance);
    let scaling = 0.25 * norm(&original) * 0.8;
    assert!(
        report.distance < scaling,
        "{} and {scaling} by scaling",
        report.distance
    );
}
