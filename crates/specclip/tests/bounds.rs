//! Bounds against the true norm, from dense decompositions in f64.

mod cases;
mod common;
mod configurations;

use configurations::{Layer, values};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use specclip::bound::{
    Argument, GRAM_PRODUCTS, Krylov, Params, gram_gradient, interval, krylov, upper,
};
use specclip::operator::{
    Adjoint, BoxedOperator, Compose, Conv, ConvParams, Dense, Diagonal, Function, PaddingMode,
    PoolParams, Scaled, Separable, materialise,
};
use specclip::svd::full_spectrum;
use specclip::{Columns, Error, LinearOperator, Real};

/// What the dense decomposition, in f64, may be wrong by.
const SVD_ERROR: f64 = 1e-12;

fn true_norm(op: &BoxedOperator<f64>) -> f64 {
    let values = materialise(op).unwrap().singular_values().unwrap();
    values.first().copied().unwrap_or(0.0)
}

/// The arguments that apply to such an operator, as the layer's definition says.
fn expected(layer: &Layer) -> Vec<Argument> {
    use Argument::*;
    match layer {
        Layer::Dense(_) => vec![Gram, Cholesky, Schur, Frobenius, Krylov],
        Layer::Conv(_) | Layer::ConvTranspose(_) | Layer::ConvNorm(_) => vec![
            Gram,
            Cholesky,
            Frequency,
            LipGrid,
            FantasticFour,
            Schur,
            Frobenius,
            Krylov,
        ],
        Layer::Diagonal(_) => vec![Channels, Cholesky, Schur, Frobenius, Krylov],
        Layer::Pool(_) | Layer::Resample(_) | Layer::Pad(_) => {
            vec![Axes, Cholesky, Schur, Frobenius, Krylov]
        }
        Layer::Function(_) => vec![Cholesky, Krylov],
        Layer::Scaled(_, inner) | Layer::Adjoint(inner) => expected(inner),
        Layer::Compose(..) => vec![Cholesky, Krylov],
        Layer::Sum(terms) if terms.len() == 1 => expected(&terms[0]),
        Layer::Sum(_) => vec![Cholesky, Krylov],
    }
}

/// Whether nothing is known of a part, so that the interval is that of the closure as it rounds.
fn has_function(layer: &Layer) -> bool {
    match layer {
        Layer::Function(_) => true,
        Layer::Compose(a, b) => has_function(a) || has_function(b),
        Layer::Sum(terms) => terms.iter().any(has_function),
        Layer::Scaled(_, inner) | Layer::Adjoint(inner) => has_function(inner),
        _ => false,
    }
}

/// lower <= true <= upper, by default and for every argument that applies.
fn brackets<T: Real>(layer: &Layer, truth: f64) -> Result<(), TestCaseError> {
    let op = layer.build::<T>();
    // A closure's own rounding errors are not covered.
    let closure = if has_function(layer) {
        100.0 * T::UNIT_ROUNDOFF * layer.terms() as f64
    } else {
        0.0
    };
    let slack = truth * (SVD_ERROR + closure);
    let params = Params::default();
    let found = interval(&op, &params).unwrap();
    prop_assert!(found.lower <= truth + slack, "{found:?}, norm {truth}");
    prop_assert!(found.upper >= truth - slack, "{found:?}, norm {truth}");
    let near = found.lower >= truth * (1.0 - 1e-4) - slack;
    prop_assert!(near, "the lower end is far from {truth}: {found:?}");
    let wanted = expected(layer);
    let mut applied = Vec::new();
    for argument in Argument::UPPER {
        match upper(&op, argument, &params) {
            Ok(bound) => {
                let holds = bound.value >= truth - slack;
                prop_assert!(holds, "{argument}: {} is below {truth}", bound.value);
                applied.push(argument);
            }
            Err(Error::NotApplicable { .. }) => {}
            Err(error) => panic!("{argument}: {error}"),
        }
    }
    for argument in wanted {
        prop_assert!(applied.contains(&argument), "{argument} does not apply");
    }
    Ok(())
}

fn both(layer: &Layer) -> Result<(), TestCaseError> {
    let truth = true_norm(&layer.build::<f64>());
    brackets::<f64>(layer, truth)?;
    brackets::<f32>(layer, truth)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(700))]

    #[test]
    fn convolutions_are_bracketed(config in configurations::conv()) {
        both(&Layer::Conv(config))?;
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn transposed_convolutions_are_bracketed(config in configurations::conv_transpose()) {
        both(&Layer::ConvTranspose(config))?;
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn layers_are_bracketed(layer in configurations::layer()) {
        both(&layer)?;
    }

    #[test]
    fn combinations_are_bracketed(layer in configurations::combination()) {
        both(&layer)?;
    }
}

/// The configurations above are not only easy ones.
#[test]
fn hard_configurations_are_among_them() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = [0; 5];
    for _ in 0..700 {
        let conv = configurations::conv()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let p = &conv.params;
        let axes = 0..p.stride.len();
        let (mut over_padded, mut misfit, mut overlap, mut single) = (false, false, false, false);
        for i in axes {
            let (n, padding) = (conv.input[i + 1], p.padding[i].0 + p.padding[i].1);
            let extent = p.dilation[i] * (conv.weight_shape[i + 2] - 1) + 1;
            over_padded |= p.mode == PaddingMode::Circular && padding >= extent;
            misfit |= !(n + padding - extent).is_multiple_of(p.stride[i]);
            overlap |= p.mode == PaddingMode::Reflect && padding >= n && n > 1;
            single |= n == 1;
        }
        for (count, seen) in counts
            .iter_mut()
            .zip([over_padded, misfit, overlap, single])
        {
            *count += u32::from(seen);
        }
        let transposed = configurations::conv_transpose()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let p = &transposed.params;
        counts[4] += u32::from(
            (0..p.stride.len())
                .any(|i| p.output_padding[i] >= p.stride[i] && p.output_padding[i] > 0),
        );
    }
    assert!(counts.iter().all(|&n| n >= 20), "{counts:?}");
}

/// Weights of any size: results scale alike, and zeros have norm 0.
#[test]
fn bounds_have_no_scale() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    let weight = values(3 * 2 * 9, 1);
    let at = |scale: f64| {
        let weight = weight.iter().map(|w| w * scale).collect();
        Conv::<f64>::new(weight, &[3, 2, 3, 3], &[2, 6, 7], &params).unwrap()
    };
    for argument in Argument::UPPER {
        let Ok(one) = upper(&at(1.0), argument, &Params::default()) else {
            continue;
        };
        for scale in [1e-250, 1e-30, 1e-4, 1e4, 1e30, 1e140] {
            let scaled = upper(&at(scale), argument, &Params::default()).unwrap();
            let ratio = scaled.value / scale / one.value;
            assert!(
                (ratio - 1.0).abs() < 1e-9,
                "{argument} at {scale:e}: {ratio}"
            );
        }
        assert_eq!(
            upper(&at(0.0), argument, &Params::default()).unwrap().value,
            0.0,
            "{argument}"
        );
    }
    let zero = interval(&at(0.0), &Params::default()).unwrap();
    assert_eq!((zero.lower, zero.upper, zero.gap()), (0.0, 0.0, 0.0));
}

/// In `f32` the actions of denormal weights vanish, and those of the largest ones overflow: bounds hold all
/// the same, for they are found in `f64`. What overflows there says so.
#[test]
fn extreme_weights_are_bracketed_or_refused() {
    let params = ConvParams::new(1).padding(3, PaddingMode::Reflect);
    for scale in [1e-41, 1e-30, 1e30] {
        let weight: Vec<f32> = values(12, 9).iter().map(|w| (w * scale) as f32).collect();
        let exact = weight.iter().map(|&w| f64::from(w)).collect();
        let op = Conv::<f32>::new(weight, &[2, 2, 3], &[2, 7], &params).unwrap();
        let exact: BoxedOperator<f64> =
            Box::new(Conv::new(exact, &[2, 2, 3], &[2, 7], &params).unwrap());
        let truth = true_norm(&exact);
        let found = interval(&op, &Params::default()).unwrap();
        assert!(
            found.lower <= truth && found.upper >= truth,
            "{found:?} {truth}"
        );
        let bound = upper(&op, Argument::Krylov, &Params::default()).unwrap();
        assert!(
            bound.value >= truth && bound.value <= 1.01 * truth,
            "{scale:e}: {bound:?} {truth}"
        );
    }
    let op = Conv::<f64>::new(vec![1.7e308; 12], &[2, 2, 3], &[2, 7], &params).unwrap();
    let refused = upper(&op, Argument::Krylov, &Params::default()).unwrap_err();
    assert!(refused.to_string().contains("vanish"), "{refused}");
}

/// Matrices and convolutions of equal weights have norms that are known exactly, and that sums and
/// products of floating-point numbers miss, as often from below as from above.
#[test]
fn rounding_is_covered() {
    let params = ConvParams::new(1);
    for n in 1..=40_usize {
        let a = values(1, n as u64)[0].abs();
        let kernel = n.div_ceil(3);
        let padding = (kernel - 1) / 2;
        let circular = ConvParams {
            padding: vec![(padding, kernel - 1 - padding)],
            mode: PaddingMode::Circular,
            ..params.clone()
        };
        let layers: [(usize, BoxedOperator<f64>); 3] = [
            (n, Box::new(Dense::new(vec![a; n * n], n, n).unwrap())),
            (
                3 * kernel,
                Box::new(
                    Conv::new(vec![a; 9 * kernel], &[3, 3, kernel], &[3, 15], &circular).unwrap(),
                ),
            ),
            (1, Box::new(Diagonal::new(vec![a; n], &[n]).unwrap())),
        ];
        for (factor, op) in layers {
            brackets_exactly(&op, factor, a);
        }
    }
    // Long sums, whose errors are larger than those of single operations; roots of squares.
    for seed in 0..8 {
        let a = values(1, seed)[0].abs();
        for root in [181, 255] {
            let n = root * root;
            let dense = Dense::new(vec![a; n], 1, n).unwrap();
            brackets_exactly(&(Box::new(dense) as BoxedOperator<f64>), root, a);
            let conv = Conv::new(vec![a; n], &[1, n, 1], &[n, 1], &params).unwrap();
            brackets_exactly(&(Box::new(conv) as BoxedOperator<f64>), root, a);
        }
    }
}

/// The entries of a frequency block are sums as well: of 1023 taps that sum to less than they should.
#[test]
fn rounding_of_frequency_blocks_is_covered() {
    for a in [0.1, 0.2, 0.9] {
        let sum = (0..1023).fold(0.0, |sum, _| sum + a);
        assert!(1023_f64.mul_add(a, -sum) > 100.0 * f64::EPSILON / 2.0 * sum);
        let params = ConvParams {
            padding: vec![(511, 511)],
            mode: PaddingMode::Circular,
            ..ConvParams::new(1)
        };
        let op = Conv::new(vec![a; 1023], &[1, 1, 1023], &[1, 1023], &params).unwrap();
        let bound = upper(&op, Argument::Frequency, &Params::default()).unwrap();
        assert!(1023_f64.mul_add(a, -bound.value) <= 0.0, "{bound:?}");
    }
}

/// Every bound of an operator with the norm `factor * a`.
fn brackets_exactly(op: &BoxedOperator<f64>, factor: usize, a: f64) {
    // The sign of a fused product and sum is exact.
    let beyond = |bound: f64| (factor as f64).mul_add(a, -bound);
    for argument in Argument::UPPER {
        if let Ok(bound) = upper(op, argument, &Params::default()) {
            let beyond = beyond(bound.value);
            assert!(
                beyond <= 0.0,
                "{argument} is {beyond:e} below {factor} * {a}"
            );
        }
    }
    let found = interval(op, &Params::default()).unwrap();
    assert!(beyond(found.lower) >= 0.0, "{found:?}, {factor} * {a}");
    assert!(beyond(found.upper) <= 0.0, "{found:?}, {factor} * {a}");
    assert!(found.gap() < 1e-6, "{found:?}");
}

/// The frequency with the largest block may be any, also one that is looked at late: all weights
/// of a channel but those of one frequency cancel.
#[test]
fn no_frequency_is_overlooked() {
    let n = 24;
    for peak in 0..=n / 2 {
        let wave = |c: usize, t: usize| {
            let turns = (peak * t) as f64 / n as f64 + c as f64 / 4.0;
            (std::f64::consts::TAU * turns).cos()
        };
        let weight = (0..2 * 2 * n).map(|i| wave(i / n / 2 + i / n % 2, i % n));
        let params = ConvParams {
            padding: vec![(0, n - 1)],
            mode: PaddingMode::Circular,
            ..ConvParams::new(1)
        };
        let op = Conv::<f64>::new(weight.collect(), &[2, 2, n], &[2, n], &params).unwrap();
        let truth = materialise(&op).unwrap().singular_values().unwrap()[0];
        for argument in [Argument::Frequency, Argument::Gram, Argument::Cholesky] {
            let bound = upper(&op, argument, &Params::default()).unwrap().value;
            let ratio = bound / truth;
            assert!(
                (1.0 - SVD_ERROR..1.02).contains(&ratio),
                "{argument}, {peak}: {ratio}"
            );
        }
        let gram = gram_gradient(&op, GRAM_PRODUCTS).unwrap();
        assert!(gram.value >= truth * (1.0 - SVD_ERROR), "{peak}");
    }
}

/// A peak half-way between two of LipGrid's 256 samples.
#[test]
fn lipgrid_bounds_what_lies_between_its_samples() {
    for peak in [101, 128, 155] {
        let turns = |t: usize| (peak * t) as f64 / 512.0;
        let weight = (0..32).map(|t| (std::f64::consts::TAU * turns(t)).cos());
        let params = ConvParams {
            padding: vec![(15, 16)],
            mode: PaddingMode::Circular,
            ..ConvParams::new(1)
        };
        let op = Conv::<f64>::new(weight.collect(), &[1, 1, 32], &[1, 512], &params).unwrap();
        let truth = full_spectrum(&op).unwrap().sigma[0];
        let bound = upper(&op, Argument::LipGrid, &Params::default()).unwrap();
        let ratio = bound.value / truth;
        assert!((1.0 - SVD_ERROR..1.03).contains(&ratio), "{peak}: {ratio}");
    }
}

/// A padding before a convolution is the convolution's own padding, and factors before or after it
/// belong to its weights: the arguments for convolutions apply, and say what they say of the whole.
#[test]
fn neighbours_become_one_layer() {
    let modes = [
        PaddingMode::Zeros,
        PaddingMode::Circular,
        PaddingMode::Reflect,
        PaddingMode::Replicate,
    ];
    for mode in modes {
        let weight = values(4 * 3 * 9, 5);
        let whole = ConvParams::new(2).padding(1, mode);
        let whole = Conv::<f64>::new(weight.clone(), &[4, 3, 3, 3], &[3, 8, 9], &whole).unwrap();
        let norm = Diagonal::new(values(4, 2), whole.output_shape()).unwrap();
        let whole = Compose::new(norm.clone(), whole).unwrap();
        let pad = Separable::<f64>::pad(&[3, 8, 9], &[(1, 1), (1, 1)], mode).unwrap();
        let conv = Conv::<f64>::new(weight, &[4, 3, 3, 3], &[3, 10, 11], &ConvParams::new(2));
        let parts = Compose::new(norm, Compose::new(conv.unwrap(), pad).unwrap()).unwrap();
        for argument in [Argument::Frequency, Argument::LipGrid, Argument::Schur] {
            let bound = |op: &dyn LinearOperator<Block = Columns<f64>>| {
                upper(op, argument, &Params::default()).unwrap().value
            };
            assert_eq!(bound(&whole), bound(&parts), "{mode:?} {argument}");
        }
    }
}

/// A convolution, a pooling, a flattening and a dense layer: the product of their bounds.
#[test]
fn compositions_are_seen_through_flattenings() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let conv = Conv::<f32>::new(vec![0.5; 2 * 9], &[2, 1, 3, 3], &[1, 8, 8], &params).unwrap();
    let pool = Separable::average_pool(&[2, 8, 8], &PoolParams::new(vec![8, 8])).unwrap();
    let dense = Dense::new(vec![1.0; 6], 3, 2).unwrap();
    let op = Compose::new(dense, Compose::new(pool, conv).unwrap()).unwrap();
    let asked = Params {
        arguments: vec![Argument::Composition],
        ..Params::default()
    };
    let found = interval(&Scaled::new(Adjoint(op), -2.0).unwrap(), &asked).unwrap();
    let conv = 0.5 * 2.0_f64.sqrt() * 9.0;
    assert!(
        found.upper <= 2.0 * 6.0_f64.sqrt() / 8.0 * conv * (1.0 + 1e-9),
        "{found:?}"
    );
    assert!(found.lower > 0.5 * found.upper, "{found:?}");
    assert_eq!(found.failure_probability, 0.0);
}

#[test]
fn what_does_not_apply_says_why() {
    let dense = Dense::<f64>::new(vec![1.0, 2.0], 1, 2).unwrap();
    let message = |argument| {
        let error = upper(&dense, argument, &Params::default()).unwrap_err();
        assert!(matches!(error, Error::NotApplicable { .. }), "{error}");
        error.to_string()
    };
    assert!(message(Argument::Frequency).contains("matrix; use cholesky"));
    assert!(message(Argument::Vector).contains("below"));
    let closure = Function::<f64, _, _>::new(
        &[2],
        &[2],
        |x: &[f64], y: &mut [f64]| y.copy_from_slice(x),
        |y: &[f64], x: &mut [f64]| x.copy_from_slice(y),
    )
    .unwrap();
    let certain = Params {
        failure_probability: 0.0,
        arguments: vec![Argument::Gram, Argument::Krylov],
        ..Params::default()
    };
    let error = interval(&closure, &certain).unwrap_err();
    assert!(error.to_string().contains("use krylov"), "{error}");
    for failure_probability in [-0.1, 1.0, f64::NAN] {
        let params = Params {
            failure_probability,
            ..Params::default()
        };
        interval(&dense, &params).unwrap_err();
        upper(&dense, Argument::Schur, &params).unwrap_err();
    }
    for size in [
        Krylov { steps: 0, block: 1 },
        Krylov { steps: 1, block: 0 },
        Krylov { steps: 2, block: 1 },
    ] {
        krylov(&dense, &size, &Params::default()).unwrap_err();
    }
}

#[test]
fn golden_operators_are_bracketed() {
    for case in cases::cases() {
        let truth = case.singular_values[0];
        for found in [
            interval(&case.operator::<f64>(), &Params::default()).unwrap(),
            interval(&case.operator::<f32>(), &Params::default()).unwrap(),
        ] {
            // The file's own values are right to twelve digits; in f32 its weights are rounded.
            let slack = 1e-6 * truth;
            assert!(
                found.lower <= truth + slack,
                "{}: {found:?} {truth}",
                case.note
            );
            assert!(
                found.upper >= truth - slack,
                "{}: {found:?} {truth}",
                case.note
            );
        }
        let op = case.operator::<f64>();
        let mut tightest = f64::INFINITY;
        for argument in Argument::UPPER {
            if let Ok(bound) = upper(&op, argument, &Params::default()) {
                assert!(
                    bound.value >= truth * (1.0 - 1e-11),
                    "{}: {argument} says {}, the norm is {truth}",
                    case.note,
                    bound.value
                );
                tightest = tightest.min(bound.value);
            }
        }
        assert!(
            tightest <= truth * (1.0 + 1e-8),
            "{}: {tightest} {truth}",
            case.note
        );
    }
}

fn box_filter(size: usize, padding: usize, mode: PaddingMode) -> Conv<f64> {
    let params = ConvParams::new(2).padding(padding, mode);
    Conv::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, size, size], &params).unwrap()
}

/// The norm of this layer is 9.316, and the supremum over all frequencies is 9: arguments without
/// the factor of the padding do not bound it.
#[test]
fn reflect_padding_exceeds_the_torus() {
    let op = box_filter(32, 1, PaddingMode::Reflect);
    for argument in Argument::UPPER {
        if let Ok(bound) = upper(&op, argument, &Params::default()) {
            assert!(bound.value >= 9.316, "{argument} says {}", bound.value);
        }
    }
    let found = interval(&op, &Params::default()).unwrap();
    assert!(found.lower > 9.3160 && found.upper < 9.33, "{found:?}");
    // Without reflection the same arguments know the torus.
    let op = box_filter(32, 1, PaddingMode::Zeros);
    for argument in [Argument::LipGrid, Argument::FantasticFour, Argument::Gram] {
        let bound = upper(&op, argument, &Params::default()).unwrap().value;
        assert!((8.9..9.2).contains(&bound), "{argument}: {bound}");
    }
}

/// Of the groups, Schur's test suspects the one whose signs differ, and it has the smaller norm.
#[test]
fn the_group_with_the_largest_norm_counts() {
    let mixed = [1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0];
    let weight = [&mixed[..], &[0.8; 9], &[0.1; 9]].concat();
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros).groups(3);
    let conv = Conv::new(weight, &[3, 1, 3, 3], &[3, 6, 7], &params).unwrap();
    let alone = Conv::new(
        mixed.to_vec(),
        &[1, 1, 3, 3],
        &[1, 6, 7],
        &ConvParams::new(2).padding(1, PaddingMode::Zeros),
    );
    let (op, alone): (BoxedOperator<f64>, BoxedOperator<f64>) =
        (Box::new(conv), Box::new(alone.unwrap()));
    let truth = true_norm(&op);
    assert!(true_norm(&alone) < 0.9 * truth);
    // Not the interval: its upper end is at least its lower one, whatever the argument says.
    let bound = |op: &BoxedOperator<f64>| {
        let upper = upper(op, Argument::Cholesky, &Params::default());
        upper.unwrap().value / truth
    };
    let exact = (1.0 - SVD_ERROR)..(1.0 + 1e-9);
    assert!(exact.contains(&bound(&op)), "{}", bound(&op));
    let found = interval(&op, &Params::default()).unwrap();
    assert_eq!(found.upper_by, Argument::Cholesky);
    let transposed: BoxedOperator<f64> = Box::new(Adjoint(op));
    assert!(exact.contains(&bound(&transposed)));
}

/// A single tap with one sample of circular padding repeats outputs: sqrt(2) times the norm.
#[test]
fn outputs_that_repeat_count_twice() {
    let params = ConvParams::new(1).padding(1, PaddingMode::Circular);
    let op: BoxedOperator<f64> =
        Box::new(Conv::new(vec![3.0], &[1, 1, 1], &[1, 5], &params).unwrap());
    let truth = true_norm(&op);
    assert!((truth - 3.0 * 2.0_f64.sqrt()).abs() < 1e-12);
    let bound = upper(&op, Argument::Frequency, &Params::default())
        .unwrap()
        .value;
    assert!(
        bound >= truth * (1.0 - 1e-15) && bound < truth * (1.0 + 1e-9),
        "{bound}"
    );
}

/// Gram within 0.1 % after five products: Gaussian weights, 64 -> 64 channels, 5 x 5 taps, 12 x 12.
#[test]
fn the_gram_iteration_converges_quickly() {
    let params = ConvParams::new(2).padding(2, PaddingMode::Circular);
    let weight = normals(64 * 64 * 25, 7);
    let op = Conv::<f64>::new(weight, &[64, 64, 5, 5], &[64, 12, 12], &params).unwrap();
    let truth = full_spectrum(&op).unwrap().sigma[0];
    let five = gram_gradient(&op, 5).unwrap().value;
    assert!(
        five >= truth * (1.0 - 1e-13) && five <= truth * 1.001,
        "{five} {truth}"
    );
    let exact = upper(&op, Argument::Frequency, &Params::default())
        .unwrap()
        .value;
    assert!(exact >= truth * (1.0 - 1e-13) && exact <= truth * (1.0 + 1e-8));
}

/// Sums of uniform numbers are close enough to normal ones.
fn normals(count: usize, seed: u64) -> Vec<f64> {
    let uniform = values(12 * count, seed);
    let sums = uniform.chunks_exact(12);
    sums.map(|x| x.iter().sum::<f64>() / 2.0).collect()
}
