//! The projection where its work is divided or cut short: groups, scales in f32, limits of time and memory.

mod common;
mod configurations;
mod projections;

use std::time::Duration;

use common::{distance, norm};
use configurations::values;
use projections::{conv, flat, projection, sigma};
use specclip::clip::{ClipReport, Method, Params, Projection, clip};
use specclip::operator::{
    Adjoint, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Diagonal, PaddingMode,
    Scaled, Sum,
};
use specclip::svd::{self, singular_values};
use specclip::{BoxedParametric, Columns, LinearOperator, Parametric};

/// Makes a layer.
type Make = Box<dyn Fn() -> BoxedParametric<f64>>;

/// Layers in groups.
fn grouped() -> Vec<(String, Make)> {
    let mut layers: Vec<(String, Make)> = Vec::new();
    let modes = [
        PaddingMode::Zeros,
        PaddingMode::Circular,
        PaddingMode::Reflect,
        PaddingMode::Replicate,
    ];
    for mode in modes {
        let params = ConvParams::new(2).padding(1, mode);
        let two = params.clone().groups(2);
        layers.push((
            format!("{mode:?}, two groups"),
            Box::new(move || Box::new(conv(6, 4, 6, &two))),
        ));
        let depthwise = params.clone().groups(4);
        layers.push((
            format!("{mode:?}, depthwise"),
            Box::new(move || Box::new(conv(8, 4, 6, &depthwise))),
        ));
        let strided = params.stride(2).groups(3);
        layers.push((
            format!("{mode:?}, the adjoint of three groups"),
            Box::new(move || Box::new(Adjoint(conv(3, 6, 7, &strided)))),
        ));
    }
    let transposed = || {
        let params = ConvTransposeParams {
            stride: vec![2, 2],
            groups: 2,
            ..ConvTransposeParams::new(2)
        };
        ConvTranspose::new(values(4 * 3 * 9, 5), &[4, 3, 3, 3], &[4, 4, 4], &params).unwrap()
    };
    layers.push((
        "transposed".to_owned(),
        Box::new(move || Box::new(transposed())),
    ));
    layers.push((
        "with batch norm".to_owned(),
        Box::new(|| {
            let params = ConvParams::new(2).padding(1, PaddingMode::Zeros).groups(2);
            let norm = Diagonal::new(vec![1.5, -0.5, 1.0, 0.2], &[4, 5, 5]).unwrap();
            Box::new(Compose::new(norm, conv(4, 4, 5, &params)).unwrap())
        }),
    ));
    layers.push((
        "a multiple".to_owned(),
        Box::new(move || Box::new(Scaled::new(transposed(), -0.3).unwrap())),
    ));
    layers
}

fn certified(report: &ClipReport) -> f64 {
    report.certificate.unwrap().least_distance
}

/// Group by group the same nearest weights are found as for the whole operator.
#[test]
fn groups_are_projected_as_the_whole_is() {
    const GAP: f64 = 1e-4;
    for (name, make) in grouped() {
        let c = 0.6 * sigma(&*make());
        let project = |op: &mut dyn Parametric<Scalar = f64, Block = Columns<f64>>| {
            let original = flat(op);
            let report = clip(op, c, &projection(GAP, 1e-6)).unwrap();
            assert!(report.reached && report.factor == 1.0, "{name}: {report:?}");
            assert!(sigma(op) <= c * (1.0 + 1e-6), "{name}");
            assert!(report.certificate.unwrap().gap <= GAP, "{name}: {report:?}");
            let moved = distance(&flat(op), &original);
            assert!((report.distance - moved).abs() <= 1e-9 * moved, "{name}");
            report
        };
        // A sum, even of one term, is not taken apart.
        let (mut split, mut whole) = (make(), Sum::new(vec![make()]).unwrap());
        assert!(split.independent_parts().is_some(), "{name}");
        assert!(whole.independent_parts().is_none(), "{name}");
        let (of_groups, of_whole) = (project(&mut *split), project(&mut whole));
        for (one, other) in [(&of_groups, &of_whole), (&of_whole, &of_groups)] {
            assert!(
                certified(one) <= other.distance * (1.0 + 1e-9),
                "{name}: {one:?} {other:?}"
            );
        }
        // Strong convexity: both are near to the nearest.
        let apart = distance(&flat(&*split), &flat(&whole));
        assert!(apart <= 0.04 * of_whole.distance, "{name}: {apart}");
    }
}

/// The parts are the operator: with a part's weights in the whole's, and none elsewhere, the norms agree.
#[test]
fn independent_parts_have_the_norms_of_their_weights() {
    for (name, make) in grouped() {
        let mut op = make();
        let weights: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
        let mut seen: Vec<Vec<usize>> = weights.iter().map(|w| vec![0; w.len()]).collect();
        for part in op.independent_parts().unwrap() {
            let mut alone: Vec<Vec<f64>> = weights.iter().map(|w| vec![0.0; w.len()]).collect();
            let own = part.operator.weights();
            assert_eq!(own.len(), part.weights.len(), "{name}");
            for (i, range) in part.weights.iter().enumerate() {
                assert_eq!(own[i], &weights[i][range.clone()], "{name}");
                alone[i][range.clone()].copy_from_slice(own[i]);
                seen[i][range.clone()]
                    .iter_mut()
                    .for_each(|times| *times += 1);
            }
            op.set_weights(&alone).unwrap();
            let (whole, part) = (sigma(&*op), sigma(&*part.operator));
            assert!(
                (whole - part).abs() <= 1e-12 * whole,
                "{name}: {part} {whole}"
            );
        }
        assert!(seen.iter().flatten().all(|&times| times == 1), "{name}");
    }
}

#[test]
fn a_group_that_obeys_keeps_its_weights() {
    for (name, make) in grouped() {
        let mut op = make();
        let mut weights: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
        let parts = op.independent_parts().unwrap();
        let quiet = parts[parts.len() - 1].weights[0].clone();
        weights[0][quiet.clone()].iter_mut().for_each(|w| *w *= 0.1);
        op.set_weights(&weights).unwrap();
        let c = 0.7 * sigma(&*op);
        let report = clip(&mut *op, c, &projection(1e-3, 1e-6)).unwrap();
        assert!(report.reached && report.factor == 1.0, "{name}: {report:?}");
        let (after, loud) = (op.weights()[0].to_vec(), 0..quiet.start);
        assert_eq!(after[quiet.clone()], weights[0][quiet], "{name}");
        assert_ne!(after[loud.clone()], weights[0][loud], "{name}");
    }
}

/// The time that is left is that of all groups together, and what is reached in none of it obeys.
#[test]
fn groups_share_the_time() {
    for (name, make) in grouped() {
        let mut op = make();
        let c = 0.5 * sigma(&*op);
        let params = Params::new(Method::Projection(Projection {
            gap: 1e-6,
            time_limit: Some(Duration::ZERO),
        }));
        let parts = op.independent_parts().unwrap().len();
        let report = clip(&mut *op, c, &params).unwrap();
        assert!(
            report.reached && report.rounds <= parts,
            "{name}: {report:?}"
        );
        assert!(sigma(&*op) <= c * (1.0 + 1e-3), "{name}");
        assert!(certified(&report) < report.distance, "{name}: {report:?}");
    }
}

fn single(count: usize, scale: f64) -> Vec<f32> {
    let weights = values(count, 8);
    weights.iter().map(|w| (w * scale) as f32).collect()
}

/// The same weights at any scale give the same relative distance, in f32 as well.
#[test]
fn single_precision_has_no_scale() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let (shape, input) = ([5, 4, 3, 3], [4, 10, 10]);
    let project = |scale: f64| {
        let weight = single(5 * 4 * 9, scale);
        let mut op = Conv::<f32>::new(weight, &shape, &input, &zeros).unwrap();
        let exact = |op: &Conv<f32>| sigma(&Conv::new(flat(op), &shape, &input, &zeros).unwrap());
        let original = flat(&op);
        let c = 0.6 * exact(&op);
        let report = clip(&mut op, c, &projection(1e-3, 1e-5)).unwrap();
        assert!(report.reached, "{report:?}");
        assert!(exact(&op) <= c * (1.0 + 1e-5), "{} {c}", exact(&op));
        assert!(report.certificate.unwrap().gap <= 1e-3, "{report:?}");
        let moved = distance(&flat(&op), &original);
        assert!((moved - report.distance).abs() <= 1e-6 * moved);
        moved / norm(&original)
    };
    let reference = project(1.0);
    for scale in [1e-4, 1e4] {
        let relative = project(scale);
        assert!(
            (relative - reference).abs() <= 2e-3 * reference,
            "{scale}: {relative} {reference}"
        );
    }
}

/// Short of time, what is reported is less than was asked for, and true: the ends of a longer run lie
/// between.
#[test]
fn a_limit_of_time_leaves_an_honest_gap() {
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let layer = || {
        let weight = single(48 * 48 * 9, 1.0);
        Conv::<f32>::new(weight, &[48, 48, 3, 3], &[48, 20, 20], &zeros).unwrap()
    };
    let top = |op: &Conv<f32>| {
        let accurate = svd::Params {
            tolerance: 1e-5,
            ..svd::Params::default()
        };
        singular_values(op, 1, &accurate).unwrap().sigma[0]
    };
    let c = 0.6 * top(&layer());
    let project = |milliseconds| {
        let mut op = layer();
        let params = Params::new(Method::Projection(Projection {
            gap: 1e-9,
            time_limit: Some(Duration::from_millis(milliseconds)),
        }));
        let report = clip(&mut op, c, &params).unwrap();
        assert!(report.reached && top(&op) <= c * (1.0 + 1e-3), "{report:?}");
        let certificate = report.certificate.unwrap();
        assert!(certificate.gap > 1e-9, "{report:?}");
        let moved = distance(&flat(&op), &flat(&layer()));
        assert!((moved - report.distance).abs() <= 1e-5 * moved);
        // What brings the norm from within the tolerance down to c counts as well.
        let least = (moved / certificate.least_distance - 1.0) * (1.0 - 1e-6);
        assert!(certificate.gap >= least, "{report:?}");
        report
    };
    let (short, long) = (project(200), project(3000));
    assert!(certified(&short) <= long.distance * (1.0 + 1e-6));
    assert!(certified(&long) <= short.distance * (1.0 + 1e-6));
    assert!(certified(&long) > certified(&short), "{short:?} {long:?}");
}

/// With kernels so large that the factors of all pairs are not chosen anew, new directions join the
/// subspace that is followed.
#[test]
fn large_kernels_are_projected_within_the_gap() {
    const CHANNELS: usize = 256;
    let zeros = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let shape = [CHANNELS, CHANNELS, 3, 3];
    let weight = values(shape.iter().product(), 8);
    let mut op = Conv::<f64>::new(weight, &shape, &[CHANNELS, 4, 4], &zeros).unwrap();
    let top = singular_values(&op, 24, &svd::Params::default()).unwrap();
    let c = 0.8 * top.sigma[0];
    // So many pairs of vectors with their gradients take more than the 64 MiB that are allowed.
    let bytes = (flat(&op).len() + op.inputs() + op.outputs()) * size_of::<f64>();
    let above = top.sigma.iter().filter(|&&s| s > c).count();
    assert!(above * bytes > 1 << 26, "{above} values above c");
    let original = flat(&op);
    let report = clip(&mut op, c, &projection(2e-2, 1e-3)).unwrap();
    assert!(
        report.reached && report.certificate.unwrap().gap <= 2e-2,
        "{report:?}"
    );
    // Cuts alone end after eight rounds.
    assert!(report.rounds > 8, "{report:?}");
    let accurate = svd::Params {
        tolerance: 1e-5,
        seed: 9,
        ..svd::Params::default()
    };
    let after = singular_values(&op, 1, &accurate).unwrap().sigma[0];
    assert!(after <= c * (1.0 + 1e-3), "{after} {c}");
    let moved = distance(&flat(&op), &original);
    assert!((moved - report.distance).abs() <= 1e-6 * moved);
}
