//! Clipping: every result is measured by a dense decomposition in f64.

#[path = "../common/mod.rs"]
mod common;
#[path = "../configurations/mod.rs"]
mod configurations;
mod counted;
mod fastclip;
mod frequency;
mod refused;

use common::{distance, norm};
use configurations::{Layer, values};
use faer::Mat;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use specclip::clip::{ClipReport, FastClip, Method, Params, Projection, Step, clip, full_grid};
use specclip::operator::{
    Adjoint, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense, Diagonal,
    PaddingMode, Separable, Sum, materialise,
};
use specclip::{BoxedParametric, Columns, Error, LinearOperator, Parametric, Real};

/// All weights in f64, one after the other.
fn flat<P: Parametric + ?Sized>(op: &P) -> Vec<f64> {
    let weights = op.weights();
    weights
        .iter()
        .copied()
        .flatten()
        .map(|w| w.to_f64())
        .collect()
}

fn owned<P: Parametric + ?Sized>(op: &P) -> Vec<Vec<P::Scalar>> {
    op.weights().iter().map(|w| w.to_vec()).collect()
}

/// All singular values, by a dense decomposition.
fn spectrum<Op: LinearOperator + ?Sized>(op: &Op) -> Vec<f64> {
    materialise(op).unwrap().singular_values().unwrap()
}

fn fastclip(step: Step) -> Method {
    Method::FastClip(FastClip {
        step,
        ..FastClip::default()
    })
}

fn raising() -> Method {
    Method::FastClip(FastClip {
        raise: true,
        ..FastClip::default()
    })
}

/// Clips `op` to `c`; checks what holds of every report against the true norm and distance.
fn checked<P: Parametric<Scalar = f64> + ?Sized>(
    op: &mut P,
    c: f64,
    params: &Params,
) -> ClipReport {
    let (before, original) = (spectrum(op)[0], flat(op));
    let report = clip(op, c, params).unwrap();
    let (after, weights) = (spectrum(op)[0], flat(op));
    assert!((report.before.sigma / before - 1.0).abs() < 1e-3 || before == 0.0);
    assert!((report.after.sigma / after - 1.0).abs() < 1e-3 || after == 0.0);
    assert!((report.distance - distance(&original, &weights)).abs() <= 1e-9 * before);
    let obeys = after <= c * (1.0 + params.tolerance);
    assert!(obeys || !report.reached, "{after} is not {c}: {report:?}");
    report
}

/// A dense layer with these singular values.
fn with_spectrum(rows: usize, cols: usize, sigma: &[f64], seed: u64) -> Dense<f64> {
    let orthogonal = |n: usize, seed: u64| -> Mat<f64> {
        let entries = values(n * sigma.len(), seed);
        Mat::from_fn(n, sigma.len(), |i, j| entries[j * n + i])
            .qr()
            .compute_thin_Q()
    };
    let (u, v) = (orthogonal(rows, 2 * seed), orthogonal(cols, 2 * seed + 1));
    let scaled = Mat::from_fn(rows, sigma.len(), |i, j| u[(i, j)] * sigma[j]);
    let matrix = scaled * v.transpose();
    let weight = (0..rows * cols).map(|i| matrix[(i / cols, i % cols)]);
    Dense::new(weight.collect(), rows, cols).unwrap()
}

/// What a configuration builds, with its weights.
fn build<T: Real>(layer: &Layer) -> BoxedParametric<T> {
    match layer {
        Layer::Dense(c) => Box::new(c.build::<T>()),
        Layer::Conv(c) => Box::new(c.build::<T>()),
        Layer::ConvTranspose(c) => Box::new(c.build::<T>()),
        Layer::Diagonal(c) => Box::new(c.build::<T>()),
        Layer::ConvNorm(c) => Box::new(c.build::<T>()),
        Layer::Compose(outer, inner) => match (&**outer, &**inner) {
            (Layer::Conv(conv), Layer::Pad(pad)) => {
                Box::new(Compose::new(conv.build::<T>(), pad.build::<T>()).unwrap())
            }
            _ => unreachable!("only padding and a convolution are composed here"),
        },
        _ => unreachable!("the layer has no weights"),
    }
}

/// An operator with weights; now and then the padding of a convolution is a layer of its own.
fn weighted() -> impl Strategy<Value = Layer> {
    (configurations::weighted(), any::<bool>()).prop_map(|(layer, apart)| match layer {
        Layer::Conv(mut conv) if apart => {
            let pad = configurations::PadConfig {
                input: conv.input.clone(),
                padding: std::mem::take(&mut conv.params.padding),
                mode: conv.params.mode,
            };
            conv.input = pad.build::<f64>().output_shape().to_vec();
            conv.params.padding = vec![(0, 0); pad.padding.len()];
            Layer::Compose(Box::new(Layer::Conv(conv)), Box::new(Layer::Pad(pad)))
        }
        layer => layer,
    })
}

/// Clips a layer of type T and measures it in f64.
fn obeys<T: Real>(
    layer: &Layer,
    unit: f64,
    part: f64,
    params: &Params,
) -> Result<(), TestCaseError> {
    let mut op = build::<T>(layer);
    let scaled: Vec<Vec<T>> = op
        .weights()
        .iter()
        .map(|w| w.iter().map(|x| T::from_f64(x.to_f64() * unit)).collect())
        .collect();
    op.set_weights(&scaled).unwrap();
    let mut exact = build::<f64>(layer);
    let mut truth = |op: &BoxedParametric<T>| {
        let in_f64 = |w: &&[T]| w.iter().map(|x| x.to_f64()).collect();
        let weights: Vec<Vec<f64>> = op.weights().iter().map(in_f64).collect();
        exact.set_weights(&weights).unwrap();
        spectrum(&exact)[0]
    };
    let before = truth(&op);
    if before == 0.0 {
        return Ok(());
    }
    let report = clip(&mut op, 1.01 * before, params).unwrap();
    prop_assert!(report.reached && report.distance == 0.0 && owned(&op) == scaled);
    let c = part * before;
    let report = clip(&mut op, c, params).unwrap();
    let after = truth(&op);
    prop_assert!(report.reached, "{report:?}");
    prop_assert!(
        after <= c * (1.0 + params.tolerance),
        "{after} is not {c}: {report:?}"
    );
    prop_assert!(after > 0.5 * c, "{after} is far below {c}: {report:?}");
    // What is multiplied in the end is what FastClip itself has not done.
    let alone = report.factor > 1.0 - 2.0 * params.tolerance
        || !matches!(params.method, Method::FastClip(_));
    prop_assert!(alone, "{report:?}");
    let clipped = owned(&op);
    prop_assert!(clip(&mut op, c, params).unwrap().distance == 0.0 && owned(&op) == clipped);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(100)
    })]

    #[test]
    fn clipped_layers_obey(
        layer in weighted(),
        unit in proptest::sample::select(vec![1e-4, 1.0, 1e4]),
        part in 0.2..0.95_f64,
        tolerance in proptest::sample::select(vec![1e-3, 1e-6]),
    ) {
        for method in [Method::Scale, fastclip(Step::Automatic)] {
            let params = Params { tolerance, ..Params::new(method) };
            obeys::<f64>(&layer, unit, part, &params)?;
            obeys::<f32>(&layer, unit, part, &Params { tolerance: 1e-3, ..params })?;
        }
    }
}

/// The four layers of the paper's Figure 1 (there on 28 x 28 samples), with weights as PyTorch draws
/// them.
fn figure_1(size: usize) -> Vec<Conv<f64>> {
    let layer = |kernel: usize, padding, mode, stride| {
        let params = ConvParams::new(2).padding(padding, mode).stride(stride);
        let bound = 1.0 / kernel as f64;
        let draws = values(64 * kernel * kernel, 7 + kernel as u64);
        let weight = draws.iter().map(|x| x * bound).collect();
        Conv::new(weight, &[64, 1, kernel, kernel], &[1, size, size], &params).unwrap()
    };
    vec![
        layer(3, 1, PaddingMode::Reflect, 1),
        layer(3, 1, PaddingMode::Zeros, 1),
        layer(3, 1, PaddingMode::Zeros, 2),
        layer(5, 2, PaddingMode::Replicate, 2),
    ]
}

/// sigma_1 from a dense decomposition of M'M, which is smaller than M.
fn full_norm(op: &Conv<f64>) -> f64 {
    let gram = Compose::new(Adjoint(op), op).unwrap();
    spectrum(&gram)[0].sqrt()
}

#[test]
fn a_zero_layer_obeys() {
    for method in [Method::Scale, fastclip(Step::Automatic)] {
        let mut zero = Dense::new(vec![0.0; 12], 3, 4).unwrap();
        let report = checked(&mut zero, 1e-300, &Params::new(method));
        assert!(report.reached && flat(&zero) == [0.0; 12]);
    }
}

#[test]
fn targets_may_be_tiny_or_huge() {
    for method in [Method::Scale, fastclip(Step::Automatic)] {
        for c in [1e-100, 1e-30, 1e-3] {
            let mut op = with_spectrum(5, 4, &[1.0, 0.5, 0.2, 0.1], 8);
            let report = checked(&mut op, c, &Params::new(method.clone()));
            assert!(report.reached && report.after.sigma > 0.9 * c, "{report:?}");
        }
        let mut op = with_spectrum(5, 4, &[1.0, 0.5, 0.2, 0.1], 8);
        assert!(checked(&mut op, 1e300, &Params::new(method)).distance == 0.0);
    }
}

/// A tolerance of zero leaves no room for rounding.
#[test]
fn no_tolerance_is_obeyed_as_well() {
    for method in [Method::Scale, fastclip(Step::Automatic)] {
        let params = Params {
            tolerance: 0.0,
            ..Params::new(method)
        };
        let mut op = with_spectrum(9, 7, &[1.0, 0.9, 0.8, 0.2], 5);
        let report = clip(&mut op, 0.7, &params).unwrap();
        let norm = spectrum(&op)[0];
        assert!(
            report.reached && norm <= 0.7 && norm > 0.7 - 1e-6,
            "{norm} {report:?}"
        );
    }
}

#[test]
fn the_proven_end_obeys() {
    for method in [
        Method::Scale,
        fastclip(Step::Automatic),
        Method::Frequency { crop: true },
    ] {
        let params = Params {
            proven: true,
            ..Params::new(method)
        };
        let mut op = figure_1(12).swap_remove(1);
        let report = clip(&mut op, 1.0, &params).unwrap();
        assert!(
            report.reached && report.after.interval.upper <= 1.001,
            "{report:?}"
        );
        assert!(report.after.interval.upper > 0.9, "{report:?}");
        let before = flat(&op);
        assert!(clip(&mut op, 1.0, &params).unwrap().reached && flat(&op) == before);
    }
}

/// A convolution and its batch normalisation: scaling and the last factor leave the second as it is, or the first where it
/// is held; FastClip moves both, unless one is held.
#[test]
fn batch_normalisation_after_a_convolution() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    let conv = Conv::new(values(4 * 3 * 9, 1), &[4, 3, 3, 3], &[3, 6, 6], &params).unwrap();
    let norm = Diagonal::new(vec![0.5, -2.0, 1.0, 3.0], &[4, 6, 6]).unwrap();
    let op = Compose::new(norm, conv).unwrap();
    let (c, original) = (0.5 * spectrum(&op)[0], owned(&op));
    let run = |op: &Compose<_, _>, method| {
        let mut op = op.clone();
        let report = checked(&mut op, c, &Params::new(method));
        assert!(report.reached, "{report:?}");
        let pairs = owned(&op).into_iter().zip(original.clone());
        (report, pairs.map(|(a, b)| a != b).collect::<Vec<bool>>())
    };
    assert_eq!(run(&op, Method::Scale).1, [true, false]);
    let held = op.clone().holding_inner();
    for method in [
        Method::Scale,
        fastclip(Step::Automatic),
        fastclip(Step::Reference),
    ] {
        assert_eq!(run(&held, method).1, [false, true]);
    }
    let (report, moved) = run(&op, fastclip(Step::Automatic));
    assert_eq!(
        (moved.as_slice(), report.factor),
        ([true, true].as_slice(), 1.0)
    );
    let (report, moved) = run(&op, fastclip(Step::Reference));
    assert_eq!(
        (moved.as_slice(), report.factor),
        ([true, true].as_slice(), 1.0)
    );
}

/// In a sum all terms have to be multiplied.
#[test]
fn sums_are_scaled_as_a_whole() {
    let terms: Vec<Dense<f64>> = (0..3)
        .map(|seed| with_spectrum(6, 5, &[2.0, 1.0, 0.5], seed))
        .collect();
    for method in [Method::Scale, fastclip(Step::Automatic)] {
        let mut sum = Sum::new(terms.clone()).unwrap();
        let c = 0.3 * spectrum(&sum)[0];
        let report = checked(&mut sum, c, &Params::new(method));
        assert!(
            report.reached && report.after.sigma > 0.99 * c,
            "{report:?}"
        );
    }
}

/// Of a residual sum of a convolution and one with its batch norm the two convolutions are scaled.
#[test]
fn scaling_leaves_a_batch_norm_in_a_sum_alone() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let conv = |seed| Conv::new(values(36, seed), &[2, 2, 3, 3], &[2, 5, 5], &params).unwrap();
    let norm = Diagonal::new(vec![0.5, -2.0], &[2, 5, 5]).unwrap();
    let normed = Compose::new(norm, conv(2)).unwrap();
    let terms: Vec<BoxedParametric<f64>> = vec![Box::new(conv(1)), Box::new(normed)];
    let mut op = Sum::new(terms).unwrap();
    let before = spectrum(&op)[0];
    let report = checked(&mut op, 0.5 * before, &Params::new(Method::Scale));
    assert!(report.reached && (spectrum(&op)[0] / before - 0.5).abs() < 1e-9);
    assert_eq!(op.weights()[2], [0.5, -2.0]);
}

/// A layer whose adjoint is wrong: no solve of it converges.
struct Crooked(Dense<f64>);

impl LinearOperator for Crooked {
    type Block = Columns<f64>;

    fn input_shape(&self) -> &[usize] {
        self.0.input_shape()
    }
    fn output_shape(&self) -> &[usize] {
        self.0.output_shape()
    }
    fn input_block(&self, k: usize) -> Columns<f64> {
        self.0.input_block(k)
    }
    fn output_block(&self, k: usize) -> Columns<f64> {
        self.0.output_block(k)
    }
    fn apply(&self, x: &Columns<f64>, y: &mut Columns<f64>) -> Result<(), Error> {
        self.0.apply(x, y)
    }
    fn adjoint(&self, y: &Columns<f64>, x: &mut Columns<f64>) -> Result<(), Error> {
        self.0.adjoint(y, x)?;
        x.as_mut_slice().reverse();
        Ok(())
    }
}

impl Parametric for Crooked {
    type Scalar = f64;

    fn weights(&self) -> Vec<&[f64]> {
        self.0.weights()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<f64>,
        v: &Columns<f64>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        self.0.weight_gradient(lambda, u, v)
    }
    fn set_weights(&mut self, weights: &[Vec<f64>]) -> Result<(), Error> {
        self.0.set_weights(weights)
    }
}

/// An unconverged value is a lower estimate: it is never a success, however small it is.
#[test]
fn an_unconverged_judge_reports_no_success() {
    let projection = Method::Projection(Projection::default());
    for method in [Method::Scale, fastclip(Step::Automatic), projection] {
        for c in [1e-3, 0.5, 1e6] {
            let mut op = Crooked(with_spectrum(6, 6, &[1.0, 0.8, 0.6, 0.4], 2));
            let report = clip(&mut op, c, &Params::new(method.clone())).unwrap();
            assert!(!report.reached && !report.after.converged, "{report:?}");
        }
    }
}
