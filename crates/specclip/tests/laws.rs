//! The laws of linear operators and of their weights, over random configurations of every operator,
//! and layers against matrices written from their definitions.
//!
//! `PROPTEST_CASES=5000` looks longer. A configuration that fails is kept in `laws.regressions` and
//! tried first from then on.

mod common;
mod configurations;
mod reference;
mod weight_laws;

use common::{distance, dot, norm};
use configurations::{ConvConfig, DiagonalConfig, Layer, values};
use faer::Mat;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use specclip::operator::{Adjoint, Compose, Conv, ConvParams, Diagonal, Function, materialise};
use specclip::{Block, Columns, LinearOperator, Real};
use weight_laws::{difference, once, pairing, weighted_sum};

/// What rounding may do to a sum of `terms` products, relative to the sum of their absolute values:
/// each addition adds one unit roundoff, and a comparison has two sides.
fn rounding<T: Real>(terms: usize) -> f64 {
    4.0 * terms as f64 * T::UNIT_ROUNDOFF
}

/// Whether `left` is `right` up to the rounding of sums of `terms` products; `scale` is the norm
/// of these sums with the absolute values of all factors.
fn close<T: Real>(
    law: &str,
    left: &[f64],
    right: &[f64],
    terms: usize,
    scale: f64,
) -> Result<(), TestCaseError> {
    let (error, allowed) = (distance(left, right), rounding::<T>(terms) * scale);
    let holds = error <= allowed;
    prop_assert!(
        holds,
        "{law} ({}): off by {error:e}, rounding explains {allowed:e}",
        std::any::type_name::<T>()
    );
    Ok(())
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

/// a x + b y.
fn combine(a: f64, x: &[f64], b: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| a * x + b * y).collect()
}

/// The entries, column by column.
fn entries(matrix: &Mat<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    for j in 0..matrix.ncols() {
        all.extend((0..matrix.nrows()).map(|i| matrix[(i, j)]));
    }
    all
}

/// A block of `cols` vectors that holds `values`.
fn filled<B: Block>(mut block: B, values: &[f64]) -> B {
    block.upload(values);
    block
}

/// M x for a block of vectors, written over numbers that must not be read.
fn image<Op: LinearOperator + ?Sized>(op: &Op, x: &[f64]) -> Vec<f64> {
    let k = x.len() / op.inputs();
    let mut y = filled(op.output_block(k), &vec![f64::NAN; k * op.outputs()]);
    op.apply(&filled(op.input_block(k), x), &mut y).unwrap();
    y.download()
}

/// M' y for a block of vectors.
fn adjoint_image<Op: LinearOperator + ?Sized>(op: &Op, y: &[f64]) -> Vec<f64> {
    image(&Adjoint(op), y)
}

fn linearity<T: Real>(layer: &Layer, seed: u64) -> Result<(), TestCaseError> {
    let (op, bound) = (layer.build::<T>(), layer.absolute().build::<f64>());
    let (x, y) = (
        values(op.inputs(), seed),
        values(op.inputs(), seed.wrapping_add(1)),
    );
    let (a, b) = (0.75, -1.25);
    let left = image(&op, &combine(a, &x, b, &y));
    let right = combine(a, &image(&op, &x), b, &image(&op, &y));
    let largest = combine(a, &absolute(&x), b.abs(), &absolute(&y));
    let scale = norm(&image(&bound, &largest));
    close::<T>("M(ax + by)", &left, &right, layer.terms(), scale)
}

fn adjointness<T: Real>(layer: &Layer, seed: u64) -> Result<(), TestCaseError> {
    let (op, bound) = (layer.build::<T>(), layer.absolute().build::<f64>());
    let (x, y) = (
        values(op.inputs(), seed),
        values(op.outputs(), seed.wrapping_add(1)),
    );
    let left = dot(&image(&op, &x), &y);
    let right = dot(&x, &adjoint_image(&op, &y));
    let scale = dot(&image(&bound, &absolute(&x)), &absolute(&y));
    close::<T>("<M x, y>", &[left], &[right], layer.terms(), scale)
}

fn columns<T: Real>(layer: &Layer, seed: u64) -> Result<(), TestCaseError> {
    let op = layer.build::<T>();
    let matrix = materialise(&op).unwrap();
    let largest = materialise(&layer.absolute().build::<f64>()).unwrap();
    prop_assert_eq!(matrix.nrows(), op.outputs());
    prop_assert_eq!(matrix.ncols(), op.inputs());
    let terms = layer.terms();
    for i in [0, (seed % op.inputs() as u64) as usize, op.inputs() - 1] {
        let mut unit = vec![0.0; op.inputs()];
        unit[i] = 1.0;
        let column: Vec<f64> = (0..op.outputs()).map(|j| matrix[(j, i)]).collect();
        let scale = norm(&image(&layer.absolute().build::<f64>(), &unit));
        close::<T>("a column", &column, &image(&op, &unit), terms, scale)?;
    }
    let transposed = materialise(&Adjoint(&op)).unwrap();
    let transposed = Mat::from_fn(op.outputs(), op.inputs(), |i, j| transposed[(j, i)]);
    let scale = norm(&entries(&largest));
    let (left, right) = (entries(&transposed), entries(&matrix));
    close::<T>("the adjoint's matrix", &left, &right, terms, scale)
}

/// The squares are compared: the norm itself may cancel.
fn frobenius<T: Real>(layer: &Layer, _: u64) -> Result<(), TestCaseError> {
    let op = layer.build::<T>();
    let Some(found) = op.frobenius() else {
        prop_assert!(!layer.has_norm(), "the Frobenius norm is missing");
        return Ok(());
    };
    let matrix = norm(&entries(&materialise(&op).unwrap()));
    let largest = norm(&entries(
        &materialise(&layer.absolute().build::<f64>()).unwrap(),
    ));
    let (found, matrix) = (found.powi(2), matrix.powi(2));
    let (terms, scale) = (layer.terms(), largest.powi(2));
    close::<T>("||M||_F squared", &[found], &[matrix], terms, scale)
}

fn blocks<T: Real>(layer: &Layer, seed: u64) -> Result<(), TestCaseError> {
    let (op, bound) = (layer.build::<T>(), layer.absolute().build::<f64>());
    let k = 2 + (seed % 8) as usize;
    let one_by_one = |op: &dyn LinearOperator<Block = Columns<T>>, x: &[f64]| -> Vec<f64> {
        let vectors = x.chunks_exact(op.inputs());
        vectors.flat_map(|x| image(op, x)).collect()
    };
    let terms = layer.terms();
    let x = values(k * op.inputs(), seed);
    let scale = norm(&image(&bound, &absolute(&x)));
    let (left, right) = (image(&op, &x), one_by_one(&op, &x));
    close::<T>("a block", &left, &right, terms, scale)?;
    let y = values(k * op.outputs(), seed);
    let scale = norm(&adjoint_image(&bound, &absolute(&y)));
    let (left, right) = (adjoint_image(&op, &y), one_by_one(&Adjoint(&op), &y));
    close::<T>("a block, adjoint", &left, &right, terms, scale)
}

/// The matrix by arithmetic on the matrices of the parts.
fn by_parts<T: Real>(layer: &Layer) -> Mat<f64> {
    match layer {
        Layer::Compose(outer, inner) => &by_parts::<T>(outer) * &by_parts::<T>(inner),
        Layer::Sum(terms) => {
            let mut total = by_parts::<T>(&terms[0]);
            for term in &terms[1..] {
                let term = by_parts::<T>(term);
                total = Mat::from_fn(total.nrows(), total.ncols(), |i, j| {
                    total[(i, j)] + term[(i, j)]
                });
            }
            total
        }
        Layer::Scaled(factor, inner) => {
            let inner = by_parts::<T>(inner);
            Mat::from_fn(inner.nrows(), inner.ncols(), |i, j| factor * inner[(i, j)])
        }
        Layer::Adjoint(inner) => {
            let inner = by_parts::<T>(inner);
            Mat::from_fn(inner.ncols(), inner.nrows(), |i, j| inner[(j, i)])
        }
        leaf => materialise(&leaf.build::<T>()).unwrap(),
    }
}

fn combinations<T: Real>(layer: &Layer, _: u64) -> Result<(), TestCaseError> {
    let (left, right) = (
        entries(&materialise(&layer.build::<T>()).unwrap()),
        entries(&by_parts::<T>(layer)),
    );
    let scale = norm(&entries(&by_parts::<f64>(&layer.absolute())));
    close::<T>("matrix by parts", &left, &right, layer.terms(), scale)
}

/// Compares an operator with its matrix by definition; `largest` is that of absolute weights.
fn definition<Op: LinearOperator<Block = Columns<T>>, T: Real>(
    op: &Op,
    expected: &Mat<f64>,
    largest: &Mat<f64>,
    terms: usize,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(op.outputs(), expected.nrows());
    prop_assert_eq!(op.inputs(), expected.ncols());
    let left = entries(&materialise(op).unwrap());
    let scale = norm(&entries(largest));
    close::<T>("definition", &left, &entries(expected), terms, scale)
}

/// Both actions of many vectors, and of one, which is shared out among threads otherwise.
fn wide<T: Real>(
    config: &ConvConfig,
    expected: &Mat<f64>,
    largest: &Mat<f64>,
    terms: usize,
) -> Result<(), TestCaseError> {
    let op = config.build::<T>();
    definition(&op, expected, largest, terms)?;
    let (transposed, bound) = (
        expected.transpose().to_owned(),
        largest.transpose().to_owned(),
    );
    definition(&Adjoint(&op), &transposed, &bound, terms)?;
    let ones = |n: usize| Mat::from_fn(n, 1, |_, _| 1.0);
    let image = image(&op, &vec![1.0; op.inputs()]);
    let sums = entries(&(expected * ones(op.inputs())));
    let scale = norm(&entries(&(largest * ones(op.inputs()))));
    close::<T>("one vector", &image, &sums, terms + op.inputs(), scale)
}

/// Runs a law of weights on the operator, in its own type, and on that of its absolute weights.
macro_rules! on_weighted {
    ($law:ident, $scalar:ty, $layer:expr, $seed:expr) => {{
        let (layer, seed): (&Layer, u64) = ($layer, $seed);
        let terms = layer.terms();
        match (layer, &layer.absolute()) {
            (Layer::Dense(c), Layer::Dense(b)) => {
                $law(&c.build::<$scalar>(), &b.build::<f64>(), terms, seed)
            }
            (Layer::Conv(c), Layer::Conv(b)) => {
                $law(&c.build::<$scalar>(), &b.build::<f64>(), terms, seed)
            }
            (Layer::ConvTranspose(c), Layer::ConvTranspose(b)) => {
                $law(&c.build::<$scalar>(), &b.build::<f64>(), terms, seed)
            }
            (Layer::Diagonal(c), Layer::Diagonal(b)) => {
                $law(&c.build::<$scalar>(), &b.build::<f64>(), terms, seed)
            }
            (Layer::ConvNorm(c), Layer::ConvNorm(b)) => {
                $law(&c.build::<$scalar>(), &b.build::<f64>(), terms, seed)
            }
            (other, _) => panic!("{other:?} has no weights"),
        }
    }};
}

/// 96 cases, or as many as the environment says.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")));
    config
}

proptest! {
    // Each case has matrices of thousands of rows.
    #![proptest_config(config(8))]

    #[test]
    fn wide_convolutions_follow_their_definition(config in configurations::wide_conv()) {
        let layer = Layer::Conv(config.clone());
        let Layer::Conv(bound) = layer.absolute() else { unreachable!() };
        let (expected, largest) = (reference::conv(&config), reference::conv(&bound));
        wide::<f64>(&config, &expected, &largest, layer.terms())?;
        wide::<f32>(&config, &expected, &largest, layer.terms())?;
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn actions_are_linear(layer in configurations::layer(), seed in any::<u64>()) {
        linearity::<f64>(&layer, seed)?;
        linearity::<f32>(&layer, seed)?;
    }

    #[test]
    fn adjoints_are_adjoint(layer in configurations::layer(), seed in any::<u64>()) {
        adjointness::<f64>(&layer, seed)?;
        adjointness::<f32>(&layer, seed)?;
    }

    #[test]
    fn matrices_have_the_images_of_unit_vectors(
        layer in configurations::layer(),
        seed in any::<u64>(),
    ) {
        columns::<f64>(&layer, seed)?;
        columns::<f32>(&layer, seed)?;
    }

    #[test]
    fn frobenius_norms_are_those_of_the_matrices(
        layer in configurations::layer(),
        seed in any::<u64>(),
    ) {
        frobenius::<f64>(&layer, seed)?;
        frobenius::<f32>(&layer, seed)?;
    }

    #[test]
    fn blocks_are_vectors_one_by_one(layer in configurations::layer(), seed in any::<u64>()) {
        blocks::<f64>(&layer, seed)?;
        blocks::<f32>(&layer, seed)?;
    }

    #[test]
    fn combinations_are_matrix_arithmetic(
        layer in configurations::combination(),
        seed in any::<u64>(),
    ) {
        combinations::<f64>(&layer, seed)?;
        combinations::<f32>(&layer, seed)?;
    }

    #[test]
    fn frobenius_norms_of_combinations(
        layer in configurations::combination(),
        seed in any::<u64>(),
    ) {
        frobenius::<f64>(&layer, seed)?;
        frobenius::<f32>(&layer, seed)?;
    }

    #[test]
    fn convolutions_follow_their_definition(config in configurations::conv()) {
        let layer = Layer::Conv(config.clone());
        let expected = reference::conv(&config);
        let Layer::Conv(bound) = layer.absolute() else { unreachable!() };
        let (largest, terms) = (reference::conv(&bound), layer.terms());
        definition(&config.build::<f64>(), &expected, &largest, terms)?;
        definition(&config.build::<f32>(), &expected, &largest, terms)?;
    }

    #[test]
    fn transposed_convolutions_follow_their_definition(
        config in configurations::conv_transpose(),
    ) {
        let layer = Layer::ConvTranspose(config.clone());
        let expected = reference::conv_transpose(&config);
        let Layer::ConvTranspose(bound) = layer.absolute() else { unreachable!() };
        let (largest, terms) = (reference::conv_transpose(&bound), layer.terms());
        definition(&config.build::<f64>(), &expected, &largest, terms)?;
        definition(&config.build::<f32>(), &expected, &largest, terms)?;
    }

    #[test]
    fn average_pooling_follows_its_definition(config in configurations::pool()) {
        let (expected, terms) = (reference::pool(&config), Layer::Pool(config.clone()).terms());
        definition(&config.build::<f64>(), &expected, &expected, terms)?;
        definition(&config.build::<f32>(), &expected, &expected, terms)?;
    }

    #[test]
    fn padding_follows_its_definition(config in configurations::pad()) {
        let (expected, terms) = (reference::pad(&config), Layer::Pad(config.clone()).terms());
        definition(&config.build::<f64>(), &expected, &expected, terms)?;
        definition(&config.build::<f32>(), &expected, &expected, terms)?;
    }

    #[test]
    fn gradients_pair_with_weights(layer in configurations::weighted(), seed in any::<u64>()) {
        on_weighted!(pairing, f64, &layer, seed)?;
        on_weighted!(pairing, f32, &layer, seed)?;
    }

    #[test]
    fn gradients_of_blocks_are_weighted_sums(
        layer in configurations::weighted(),
        seed in any::<u64>(),
    ) {
        on_weighted!(weighted_sum, f64, &layer, seed)?;
        on_weighted!(weighted_sum, f32, &layer, seed)?;
    }

    #[test]
    fn gradients_are_differences(layer in configurations::weighted(), seed in any::<u64>()) {
        on_weighted!(difference, f64, &layer, seed)?;
        on_weighted!(difference, f32, &layer, seed)?;
    }

    #[test]
    fn actions_made_once_are_the_actions(
        layer in configurations::weighted(),
        seed in any::<u64>(),
    ) {
        on_weighted!(once, f64, &layer, seed)?;
        on_weighted!(once, f32, &layer, seed)?;
    }
}

/// Sums in f32 stay within what is allowed, and one wrong term in a thousand does not.
#[test]
fn the_tolerance_is_wide_enough_and_narrow_enough() {
    for seed in 0..50 {
        let (x, y) = (values(1000, seed), values(1000, seed + 1000));
        let mut sum = 0.0_f32;
        for (x, y) in x.iter().zip(&y) {
            sum += *x as f32 * *y as f32;
        }
        let scale = dot(&absolute(&x), &absolute(&y));
        let exact = dot(&x, &y);
        close::<f32>("a sum", &[f64::from(sum)], &[exact], 1000, scale).unwrap();
        let without = exact - scale / 1000.0;
        close::<f32>("a sum", &[f64::from(sum)], &[without], 1000, scale).unwrap_err();
        close::<f32>("a sum", &[f64::NAN], &[exact], 1000, scale).unwrap_err();
    }
}

/// The comparison with the definition notices a weight that is off by a thousandth.
#[test]
fn a_wrong_weight_is_noticed() {
    let params = ConvParams::new(2).groups(2).stride(2);
    let config = configurations::ConvConfig {
        input: vec![4, 6, 5],
        weight_shape: vec![6, 2, 3, 2],
        params,
        weight: values(72, 5),
    };
    let expected = reference::conv(&config);
    let terms = Layer::Conv(config.clone()).terms();
    definition(&config.build::<f32>(), &expected, &expected, terms).unwrap();
    let mut wrong = config;
    wrong.weight[40] *= 1.001;
    definition(&wrong.build::<f64>(), &expected, &expected, terms).unwrap_err();
    wrong.weight[40] *= 1.1;
    definition(&wrong.build::<f32>(), &expected, &expected, terms).unwrap_err();
}

/// A composition may flatten: then the factors of the outer operator belong to no channel of the
/// convolution, and must not be folded into its filters.
#[test]
fn factors_of_flattened_outputs_are_not_folded_into_filters() {
    let params = ConvParams::new(2);
    let conv = Conv::<f64>::new(values(2, 1), &[2, 1, 1, 1], &[1, 2, 2], &params).unwrap();
    for shape in [vec![8], vec![4, 2]] {
        let norm = DiagonalConfig {
            factors: (1..=shape[0]).map(|c| c as f64).collect(),
            shape,
        };
        let op: Compose<Diagonal<f64>, _> = Compose::new(norm.build(), &conv).unwrap();
        let exact = common::norm(&entries(&materialise(&op).unwrap()));
        if let Some(found) = op.frobenius() {
            assert!((found - exact).abs() <= 1e-12 * exact, "{found} {exact}");
        }
    }
}

/// In f32, f(x) and f(0) are the same number here: only a larger x shows the weight. The probe must
/// not call the adjoint wrong, either.
#[test]
fn a_bias_that_swallows_the_weight_does_not_change_the_operator() {
    let weight = 1e-6_f32;
    let op = Function::<f32, _, _>::new(
        &[1],
        &[1],
        |x: &[f32], y: &mut [f32]| y[0] = weight * x[0] + 1000.0,
        |y: &[f32], x: &mut [f32]| x[0] = weight * y[0],
    )
    .unwrap();
    let found = image(&op, &[1.0])[0];
    assert!((found - 1e-6).abs() <= 1e-3 * 1e-6, "{found:e}");
}
