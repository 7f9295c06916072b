//! Solvers against dense decompositions of matrices with chosen singular values.

mod common;

use common::{distance, norm};
use faer::Mat;
use specclip::operator::{
    Adjoint, BoxedOperator, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams,
    Coordinates, Dense, Diagonal, Function, PaddingMode, PoolParams, ResampleMode, ResampleParams,
    Scaled, Separable, Sum, materialise,
};
use specclip::svd::{
    Method, Params, Shift, State, full_spectrum, singular_values, singular_values_from,
};
use specclip::{Block, Columns, Error, LinearOperator, Real};

/// Numbers that look random and are the same everywhere.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // Sums of uniform numbers are close enough to normal ones.
    (0..count)
        .map(|_| (0..12).map(|_| next()).sum::<f64>() - 6.0)
        .collect()
}

fn orthogonal(rows: usize, cols: usize, seed: u64) -> Mat<f64> {
    let entries = noise(rows * cols, seed);
    let random = Mat::from_fn(rows, cols, |i, j| entries[j * rows + i]);
    random.qr().compute_thin_Q()
}

/// A dense layer with these singular values.
fn with_spectrum<T: Real>(rows: usize, cols: usize, sigma: &[f64], seed: u64) -> Dense<T> {
    let u = orthogonal(rows, sigma.len(), 2 * seed + 1);
    let v = orthogonal(cols, sigma.len(), 2 * seed + 2);
    let scaled = Mat::from_fn(rows, sigma.len(), |i, j| u[(i, j)] * sigma[j]);
    let matrix = scaled * v.transpose();
    let weight = (0..rows)
        .flat_map(|i| (0..cols).map(move |j| (i, j)))
        .map(|(i, j)| T::from_f64(matrix[(i, j)]))
        .collect();
    Dense::new(weight, rows, cols).unwrap()
}

fn spectra(n: usize) -> Vec<(&'static str, Vec<f64>)> {
    let decaying = (0..n).map(|i| 0.9_f64.powi(i as i32)).collect();
    let flat = vec![1.0; n];
    let clustered = (0..n)
        .map(|i| 1.0 / (1.0 + (i / 4) as f64) - 1e-6 * (i % 4) as f64)
        .collect();
    let multiple = (0..n).map(|i| 1.0 / (1.0 + (i / 3) as f64)).collect();
    let deficient = (0..n)
        .map(|i| if i < 3 { 1.0 / (1.0 + i as f64) } else { 0.0 })
        .collect();
    let slow = (0..n).map(|i| 1.0 - 0.002 * i as f64).collect();
    vec![
        ("decaying", decaying),
        ("flat", flat),
        ("clustered", clustered),
        ("multiple", multiple),
        ("rank-deficient", deficient),
        ("slow", slow),
        ("zero", vec![0.0; n]),
    ]
}

/// Orthonormal vectors, M v = sigma u, M' u = sigma v, values right.
fn check<T: Real>(
    name: &str,
    op: &dyn LinearOperator<Block = Columns<T>>,
    expected: &[f64],
    k: usize,
    params: &Params,
    tau: f64,
) {
    let top = singular_values(op, k, params).unwrap();
    let k = k.min(op.inputs().min(op.outputs()));
    assert_eq!(top.sigma.len(), k, "{name}");
    assert!(
        top.converged(),
        "{name}: {:?} {:?}",
        top.sigma,
        top.residuals
    );
    let scale = expected[0].max(f64::MIN_POSITIVE);
    for (i, (found, expected)) in top.sigma.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tau * scale,
            "{name}: sigma_{} is {found}, not {expected}",
            i + 1
        );
    }
    for block in [&top.u, &top.v] {
        let gram = block.gram(0..k, block);
        let defect = gram - Mat::<f64>::identity(k, k);
        assert!(
            defect.norm_max() < 50.0 * tau,
            "{name}: {}",
            defect.norm_max()
        );
    }
    let mut image = op.output_block(k);
    op.apply(&top.v, &mut image).unwrap();
    for j in 0..k {
        let u: Vec<f64> = top.u.column(j).iter().map(|x| x.to_f64()).collect();
        let scaled: Vec<f64> = u.iter().map(|x| x * top.sigma[j]).collect();
        let image: Vec<f64> = image.column(j).iter().map(|x| x.to_f64()).collect();
        assert!(
            distance(&image, &scaled) <= 10.0 * tau * scale,
            "{name}: M v_{j} is not sigma u_{j}"
        );
    }
}

fn chosen_spectra<T: Real>(tau: f64) {
    for (rows, cols) in [(60, 60), (40, 150), (150, 40)] {
        for (name, sigma) in spectra(40) {
            for scale in [1e-4, 1.0, 1e4] {
                let sigma: Vec<f64> = sigma.iter().map(|s| s * scale).collect();
                for seed in 0..3 {
                    let op = with_spectrum::<T>(rows, cols, &sigma, seed);
                    for k in [1, 5, 50] {
                        let expected = &sigma[..k.min(sigma.len())];
                        let params = Params {
                            method: Method::Lanczos,
                            tolerance: tau,
                            seed,
                            ..Params::default()
                        };
                        let label = format!("{rows}x{cols} {name} x{scale} k={k} seed={seed}");
                        if k <= sigma.len() || rows.min(cols) == sigma.len() {
                            check(&label, &op, expected, k, &params, tau);
                        } else {
                            // Beyond the rank: zeros.
                            let mut padded = expected.to_vec();
                            padded.resize(k, 0.0);
                            check(&label, &op, &padded, k, &params, tau);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn lanczos_finds_chosen_spectra_in_f64() {
    chosen_spectra::<f64>(1e-11);
}

#[test]
fn lanczos_finds_chosen_spectra_in_f32() {
    chosen_spectra::<f32>(2e-5);
}

#[test]
fn every_block_width_and_restart_agrees_with_dense() {
    // Larger than the bases, so that restarts happen.
    let sigma: Vec<f64> = (0..320).map(|i| 1.0 / (1.0 + 0.01 * i as f64)).collect();
    let op = with_spectrum::<f64>(330, 340, &sigma, 7);
    for block in [1, 2, 4, 7] {
        for k in [1, 4, 9] {
            let params = Params {
                method: Method::Lanczos,
                tolerance: 1e-9,
                block: Some(block),
                ..Params::default()
            };
            check(
                &format!("block {block} k {k}"),
                &op,
                &sigma,
                k,
                &params,
                1e-9,
            );
        }
    }
}

#[test]
fn a_small_residual_does_not_hide_copies() {
    // 33 distinct values, each 17 times: a narrow block sees one copy of each.
    let sigma: Vec<f64> = (0..32 * 17).map(|i| 1.0 - 0.03 * (i / 17) as f64).collect();
    let op = with_spectrum::<f64>(600, 560, &sigma, 3);
    for seed in 0..5 {
        let params = Params {
            method: Method::Lanczos,
            tolerance: 1e-6,
            seed,
            block: Some(1),
            ..Params::default()
        };
        check("copies", &op, &sigma, 5, &params, 1e-9);
    }
}

/// From a block wider than the rank, what is left after one step is rounding errors.
#[test]
fn ranks_below_the_block_width() {
    for (rows, cols) in [(3, 400), (400, 3), (40, 60), (1, 9), (9, 1)] {
        for block in [None, Some(2), Some(5)] {
            for k in [1, 2, 3, 5] {
                let params = Params {
                    method: Method::Lanczos,
                    tolerance: 1e-11,
                    block,
                    ..Params::default()
                };
                let mut expected = vec![0.0; rows.min(cols)];
                expected[0] = ((rows * cols) as f64).sqrt();
                let ones = Dense::new(vec![1.0; rows * cols], rows, cols).unwrap();
                let label = format!("ones {rows}x{cols} block {block:?} k {k}");
                check(&label, &ones, &expected, k, &params, 1e-11);
                let whole: Vec<f64> = (0..rows * cols)
                    .map(|i| ((i / cols) % 3) as f64 * ((i % cols) % 2 + 1) as f64)
                    .collect();
                let op = Dense::new(whole, rows, cols).unwrap();
                let label = format!("whole numbers {rows}x{cols} block {block:?} k {k}");
                check(&label, &op, &dense_reference(&op), k, &params, 1e-11);
            }
        }
    }
}

/// Nearly all of a random vector is in directions whose singular values are alike, so its residual
/// is small at once.
#[test]
fn one_value_above_a_flat_spectrum() {
    let mut gammas = vec![1.0_f32; 2048];
    gammas[700] = 1.003;
    let norm = Diagonal::new(gammas, &[2048, 4, 4]).unwrap();
    let mut sigma = vec![0.999; 500];
    sigma[0] = 1.0;
    let matrix = with_spectrum::<f64>(500, 520, &sigma, 1);
    for k in [1, 2] {
        for seed in 0..8 {
            let params = Params {
                method: Method::Lanczos,
                seed,
                ..Params::default()
            };
            let top = singular_values(&norm, k, &params).unwrap();
            assert!((top.sigma[0] - 1.003).abs() < 1e-4, "{:?}", top.sigma);
            let top = singular_values(&matrix, k, &params).unwrap();
            assert!((top.sigma[0] - 1.0).abs() < 1e-4, "{:?}", top.sigma);
        }
    }
}

#[test]
fn weights_whose_squares_leave_the_range_of_f32() {
    for scale in [1e-25_f32, 1e-22, 1e18] {
        let weight: Vec<f32> = noise(400 * 410, 3)
            .iter()
            .map(|&w| w as f32 * scale)
            .collect();
        let op = Dense::new(weight, 400, 410).unwrap();
        let expected = dense_reference(&op);
        for method in [Method::Lanczos, Method::Dense] {
            let params = Params {
                method,
                ..Params::default()
            };
            let top = singular_values(&op, 3, &params).unwrap();
            assert!(top.converged(), "{scale}: {:?}", top.residuals);
            for (found, expected) in top.sigma.iter().zip(&expected) {
                assert!((found / expected - 1.0).abs() < 1e-4, "{scale}: {found}");
            }
        }
    }
}

#[test]
fn long_sums_are_not_rounded_away() {
    for method in [Method::Lanczos, Method::Dense] {
        let op = Dense::new(vec![0.01_f32; 70_000], 70_000, 1).unwrap();
        let params = Params {
            method,
            tolerance: 1e-5,
            ..Params::default()
        };
        let top = singular_values(&op, 1, &params).unwrap();
        assert!(top.converged(), "{:?}", top.residuals);
        assert!((top.sigma[0] / (0.01 * 70_000_f64.sqrt()) - 1.0).abs() < 1e-6);
    }
}

fn dense_reference<T: Real>(op: &dyn LinearOperator<Block = Columns<T>>) -> Vec<f64> {
    materialise(op).unwrap().singular_values().unwrap()
}

#[test]
fn pointwise_layers_have_multiple_values() {
    let weight = noise(64 * 64, 5);
    let small = Dense::new(weight.clone(), 64, 64).unwrap();
    let largest = dense_reference(&small)[0];
    let weight: Vec<f32> = weight.iter().map(|&w| w as f32).collect();
    let op = Conv::new(weight, &[64, 64, 1, 1], &[64, 32, 32], &ConvParams::new(2)).unwrap();
    for (method, ran) in [
        (Method::Lanczos, Method::Lanczos),
        (Method::Auto, Method::Structured),
    ] {
        let params = Params {
            method,
            ..Params::default()
        };
        let top = singular_values(&op, 5, &params).unwrap();
        assert_eq!(top.method, ran);
        assert!(top.converged(), "{:?}", top.residuals);
        for sigma in &top.sigma {
            assert!((sigma - largest).abs() < 1e-4 * largest, "{:?}", top.sigma);
        }
    }
}

#[test]
fn circular_layers_have_pairs() {
    let weight: Vec<f32> = noise(64 * 64 * 9, 6).iter().map(|&w| w as f32).collect();
    let params = ConvParams::new(2).padding(1, PaddingMode::Circular);
    let op = Conv::new(weight, &[64, 64, 3, 3], &[64, 32, 32], &params).unwrap();
    let exact = full_spectrum(&op).unwrap();
    assert_eq!(exact.method, Method::Circulant);
    let top = singular_values(&op, 5, &Params::default()).unwrap();
    assert!(top.converged(), "{:?} {:?}", top.sigma, top.residuals);
    for (found, exact) in top.sigma.iter().zip(&exact.sigma) {
        assert!((found - exact).abs() < 1e-4 * exact, "{:?}", top.sigma);
    }
}

#[test]
fn circulant_spectrum_is_the_dense_one() {
    for (sizes, kernel, stride, dilation, groups) in [
        (vec![6, 6], vec![3, 3], 1, 1, 1),
        (vec![6, 8], vec![3, 5], 2, 1, 1),
        (vec![9, 6], vec![5, 3], 3, 1, 2),
        (vec![4, 4], vec![7, 7], 1, 1, 1), // the kernel wraps
        (vec![12], vec![3], 2, 3, 2),
        (vec![4, 2, 6], vec![3, 3, 3], 2, 1, 1),
        (vec![7, 5], vec![2, 4], 1, 1, 1), // even kernels: unequal padding
    ] {
        let axes = sizes.len();
        let padding = |k: usize| {
            let total = dilation * (k - 1);
            (total / 2, total - total / 2)
        };
        let params = ConvParams {
            padding: kernel.iter().map(|&k| padding(k)).collect(),
            mode: PaddingMode::Circular,
            ..ConvParams::new(axes)
                .stride(stride)
                .dilation(dilation)
                .groups(groups)
        };
        let mut shape = vec![4, 6 / groups];
        shape.extend(&kernel);
        let mut input = vec![6];
        input.extend(&sizes);
        let weight = noise(shape.iter().product(), 9);
        let op = Conv::<f64>::new(weight, &shape, &input, &params).unwrap();
        let expected = dense_reference(&op);
        let found = full_spectrum(&op).unwrap();
        assert_eq!(found.method, Method::Circulant);
        assert_eq!(found.sigma.len(), expected.len());
        for (a, b) in found.sigma.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12 * expected[0], "{sizes:?} {kernel:?}");
        }
        let params = Params {
            method: Method::Circulant,
            tolerance: 1e-12,
            ..Params::default()
        };
        check(&format!("{sizes:?}"), &op, &expected, 9, &params, 1e-12);
    }
}

/// Operators whose structure gives their singular values away.
fn structured_operators<T: Real>() -> Vec<(&'static str, BoxedOperator<T>)> {
    let weight = |n: usize| -> Vec<T> { noise(n, 21).iter().map(|&w| T::from_f64(w)).collect() };
    let strided = ConvParams::new(2).stride(2).groups(2);
    let mut transposed = ConvTransposeParams::new(2);
    transposed.stride = vec![2, 3];
    transposed.output_padding = vec![1, 0];
    let pool = PoolParams {
        stride: vec![2, 1],
        padding: vec![(1, 0), (0, 1)],
        count_include_pad: false,
        ..PoolParams::new(vec![3, 2])
    };
    let linear = ResampleParams {
        mode: ResampleMode::Linear,
        coordinates: Coordinates::HalfPixel,
        scales: None,
    };
    vec![
        (
            "batch norm",
            Box::new(Diagonal::new(weight(5), &[5, 3, 2]).unwrap()),
        ),
        (
            "strided pointwise",
            Box::new(Conv::new(weight(24), &[6, 4, 1, 1], &[8, 5, 4], &strided).unwrap()),
        ),
        (
            "negative multiple of a pointwise layer after a batch norm",
            Box::new({
                let conv = Conv::new(weight(24), &[6, 4, 1], &[4, 7], &ConvParams::new(1)).unwrap();
                let norm = Diagonal::new(weight(6), &[6, 7]).unwrap();
                Scaled::new(Compose::new(norm, conv).unwrap(), -2.5).unwrap()
            }),
        ),
        (
            "transposed pointwise",
            Box::new(
                ConvTranspose::new(weight(12), &[3, 4, 1, 1], &[3, 3, 2], &transposed).unwrap(),
            ),
        ),
        (
            "average pooling",
            Box::new(Separable::average_pool(&[3, 6, 5], &pool).unwrap()),
        ),
        (
            "adjoint of linear resampling",
            Box::new(Adjoint(
                Separable::resample(&[2, 4, 3], &[7, 6], &linear).unwrap(),
            )),
        ),
        (
            "reflect padding",
            Box::new(Separable::pad(&[2, 4, 3], &[(2, 1), (0, 2)], PaddingMode::Reflect).unwrap()),
        ),
        (
            "zero padding",
            Box::new(Separable::pad(&[2, 5], &[(2, 1)], PaddingMode::Zeros).unwrap()),
        ),
    ]
}

fn check_structured<T: Real>(tau: f64) {
    for (name, op) in structured_operators::<T>() {
        let expected = dense_reference(&op);
        let params = Params {
            method: Method::Structured,
            tolerance: tau,
            ..Params::default()
        };
        for k in [1, 3, 7] {
            check(name, &op, &expected, k, &params, tau);
        }
        let auto = singular_values(&op, 2, &Params::default()).unwrap();
        assert_eq!(auto.method, Method::Structured, "{name}");
        let all = full_spectrum(&op).unwrap();
        assert_eq!(all.method, Method::Structured, "{name}");
        assert_eq!(all.sigma.len(), expected.len(), "{name}");
        for (a, b) in all.sigma.iter().zip(&expected) {
            assert!((a - b).abs() <= tau * expected[0], "{name}: {a}, {b}");
        }
    }
}

#[test]
fn structure_gives_the_dense_values() {
    check_structured::<f64>(1e-12);
    check_structured::<f32>(2e-6);
}

#[test]
fn padded_convolutions_are_not_pointwise() {
    let params = ConvParams::new(1).padding(1, PaddingMode::Circular);
    let op = Conv::new(noise(6, 1), &[2, 3, 1], &[3, 5], &params).unwrap();
    let params = Params {
        method: Method::Structured,
        ..Params::default()
    };
    assert!(singular_values(&op, 1, &params).is_err());
    let auto = singular_values(&op, 3, &Params::default()).unwrap();
    assert_eq!(auto.method, Method::Dense);
}

#[test]
fn power_qr_needs_no_shift_at_small_scales() {
    let sigma: Vec<f64> = (0..20).map(|i| 1e-4 * 0.7_f64.powi(i)).collect();
    let op = with_spectrum::<f64>(30, 25, &sigma, 1);
    let run = |shift| {
        let params = Params {
            method: Method::PowerQr,
            shift,
            tolerance: 1e-8,
            ..Params::default()
        };
        singular_values(&op, 3, &params).unwrap()
    };
    for shift in [Shift::Fixed(0.0), Shift::Relative(0.01)] {
        let top = run(shift);
        assert!(top.converged());
        for (found, expected) in top.sigma.iter().zip(&sigma) {
            assert!((found - expected).abs() < 1e-8 * sigma[0], "{shift:?}");
        }
    }
    // The paper's shift stalls, and says so.
    assert!(!run(Shift::Fixed(1.0)).converged());
}

#[test]
fn power_qr_makes_the_iterations_asked_for() {
    let sigma: Vec<f64> = (0..20).map(|i| 0.7_f64.powi(i)).collect();
    let op = with_spectrum::<f64>(30, 25, &sigma, 1);
    let params = Params {
        method: Method::PowerQr,
        iterations: Some(10),
        ..Params::default()
    };
    let top = singular_values(&op, 2, &params).unwrap();
    // Nine pairs and a last image for each vector, and the residuals.
    assert_eq!(top.matvecs, 2 * (2 * 9 + 1) + 2);
    assert!((top.sigma[0] - 1.0).abs() < 0.05);
}

#[test]
fn warm_starts_save_actions() {
    let sigma: Vec<f64> = (0..400).map(|i| 1.0 / (1.0 + 0.02 * i as f64)).collect();
    let op = with_spectrum::<f64>(410, 420, &sigma, 2);
    for method in [Method::Lanczos, Method::PowerQr] {
        let params = Params {
            method,
            shift: Shift::Fixed(0.0),
            tolerance: 1e-3,
            ..Params::default()
        };
        let cold = singular_values(&op, 4, &params).unwrap();
        let warm = singular_values_from(&op, 4, &params, &cold.v).unwrap();
        assert!(cold.converged() && warm.converged());
        for (found, expected) in warm.sigma.iter().zip(&sigma) {
            assert!((found - expected).abs() < 1e-3);
        }
        let (warm, cold) = (warm.matvecs, cold.matvecs);
        assert!(warm < cold, "{method:?}: {warm}, {cold}");
    }
}

#[test]
fn warm_starts_that_miss_the_largest_value_recover() {
    // The start is exactly the second singular vector.
    let op = Diagonal::new(vec![3.0, 2.0, 1.0, 0.5], &[4]).unwrap();
    let mut start = Columns::<f64>::zeros(4, 1);
    start.upload(&[0.0, 1.0, 0.0, 0.0]);
    let params = Params {
        method: Method::Lanczos,
        tolerance: 1e-10,
        ..Params::default()
    };
    let top = singular_values_from(&op, 1, &params, &start).unwrap();
    assert!((top.sigma[0] - 3.0).abs() < 1e-10, "{:?}", top.sigma);
}

#[test]
fn thin_and_tiny_operators() {
    for (rows, cols) in [(1, 1), (1, 9), (9, 1), (2, 500), (500, 2)] {
        let weight = noise(rows * cols, 4);
        let op = Dense::new(weight, rows, cols).unwrap();
        let expected = dense_reference(&op);
        for method in [Method::Lanczos, Method::Dense] {
            let params = Params {
                method,
                tolerance: 1e-11,
                ..Params::default()
            };
            check("thin", &op, &expected, 3, &params, 1e-11);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let weight: Vec<f32> = noise(16 * 16 * 9, 8).iter().map(|&w| w as f32).collect();
    let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
    let op = Conv::new(weight, &[16, 16, 3, 3], &[16, 16, 16], &params).unwrap();
    let run = || singular_values(&op, 4, &Params::default()).unwrap();
    let (a, b) = (run(), run());
    assert_eq!(a.sigma, b.sigma);
    assert_eq!(a.v.as_slice(), b.v.as_slice());
    assert_eq!(a.matvecs, b.matvecs);
}

/// However few actions there are, whatever the widths are, and where no tolerance is ever met: values, none above the
/// largest, and no success that is none.
#[test]
fn no_widths_and_limits_are_too_much() {
    for (rows, cols) in [(400, 410), (20, 1000), (1000, 20)] {
        let sigma: Vec<f64> = (0..20).map(|i| 1.0 - 0.01 * f64::from(i)).collect();
        let op = with_spectrum::<f32>(rows, cols, &sigma, 3);
        for (k, block, columns) in [
            (1, 1, 0),
            (1, 16, 1),
            (5, 3, 1),
            (5, 1, 16),
            (20, 1, 0),
            (20, 1, 1),
            (20, 16, 16),
        ] {
            let start = columns_of_noise(cols, columns);
            for max_matvecs in [1, 2, 17, 60, 400, 3000] {
                let params = Params {
                    method: Method::Lanczos,
                    block: Some(block),
                    max_matvecs,
                    tolerance: 1e-17,
                    ..Params::default()
                };
                let found = match columns {
                    0 => singular_values(&op, k, &params),
                    _ => singular_values_from(&op, k, &params, &start),
                };
                let what = format!("{rows} x {cols}, {k}, {block}, {columns}, {max_matvecs}");
                let found = found.unwrap();
                assert!(!found.sigma.is_empty() && found.sigma.len() <= k, "{what}");
                assert!(found.sigma[0] <= 1.0 + 1e-5, "{what}: {:?}", found.sigma);
                assert!(!found.converged() || found.residuals[0] <= 1e-17, "{what}");
                if max_matvecs == 3000 {
                    assert!((found.sigma[0] - 1.0).abs() < 1e-5, "{what}");
                }
            }
        }
    }
}

fn columns_of_noise(rows: usize, cols: usize) -> Columns<f32> {
    let noise: Vec<f32> = noise(rows * cols, 9).iter().map(|&x| x as f32).collect();
    Columns::from_vec(rows, cols, noise).unwrap()
}

#[test]
fn an_exhausted_solver_says_so() {
    let sigma: Vec<f64> = (0..400).map(|i| 1.0 - 1e-4 * i as f64).collect();
    let op = with_spectrum::<f64>(410, 420, &sigma, 2);
    for method in [Method::Lanczos, Method::PowerQr] {
        let params = Params {
            method,
            tolerance: 1e-12,
            max_matvecs: 40,
            ..Params::default()
        };
        let top = singular_values(&op, 2, &params).unwrap();
        assert!(top.states.contains(&State::NotConverged));
        assert!(top.matvecs <= 60);
    }
}

#[test]
fn closures_are_operators() {
    let matrix = noise(12 * 8, 11);
    let bias = noise(12, 12);
    let forward = |x: &[f64], y: &mut [f64]| {
        for (i, y) in y.iter_mut().enumerate() {
            let row = &matrix[i * 8..(i + 1) * 8];
            *y = row.iter().zip(x).map(|(m, x)| m * x).sum::<f64>() + 1e3 * bias[i];
        }
    };
    let transposed = |y: &[f64], x: &mut [f64]| {
        for (j, x) in x.iter_mut().enumerate() {
            *x = y
                .iter()
                .enumerate()
                .map(|(i, y)| matrix[i * 8 + j] * y)
                .sum();
        }
    };
    let op = Function::<f64, _, _>::new(&[8], &[12], forward, transposed).unwrap();
    let exact = dense_reference(&Dense::new(matrix.clone(), 12, 8).unwrap());
    let params = Params {
        method: Method::Lanczos,
        tolerance: 1e-9,
        ..Params::default()
    };
    check("closure", &op, &exact, 3, &params, 1e-9);
    assert!(op.frobenius().is_none());

    let relu6 = |x: &[f64], y: &mut [f64]| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x + 3.0).clamp(0.0, 6.0);
        }
    };
    let copy = |y: &[f64], x: &mut [f64]| x.copy_from_slice(y);
    let refused = Function::<f64, _, _>::new(&[8], &[8], relu6, copy);
    assert!(matches!(refused, Err(Error::NotLinear { .. })));
    let double = |x: &[f64], y: &mut [f64]| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = 2.0 * x;
        }
    };
    let refused = Function::<f64, _, _>::new(&[8], &[8], double, copy);
    assert!(matches!(refused, Err(Error::NotAdjoint { .. })));
}

#[test]
fn absurd_strides_and_paddings_end_at_once() {
    let conv = |stride: usize, padding: usize| {
        let params = ConvParams::new(1)
            .stride(stride)
            .padding(padding, PaddingMode::Zeros);
        Conv::<f64>::new(vec![1.0; 3], &[1, 1, 3], &[1, 8], &params)
    };
    // One output: the stride never acts.
    let op = conv(1 << 40, 0).unwrap();
    assert_eq!(dense_reference(&op).len(), 1);
    assert!((dense_reference(&op)[0] - 3.0_f64.sqrt()).abs() < 1e-14);
    let message = conv(1 << 37, 1 << 36).err().unwrap().to_string();
    assert!(message.contains("samples"), "{message}");
    let mut params = ConvTransposeParams::new(1);
    params.stride = vec![1 << 40];
    let message = ConvTranspose::<f64>::new(vec![1.0; 3], &[1, 1, 3], &[1, 8], &params);
    assert!(message.is_err());
}

#[test]
fn residual_connections_are_sums() {
    let weight = noise(4 * 4 * 9, 13);
    let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    let conv = Conv::<f64>::new(weight, &[4, 4, 3, 3], &[4, 5, 5], &params).unwrap();
    let expected = materialise(&conv).unwrap() + 0.5 * Mat::<f64>::identity(100, 100);
    let skip = Diagonal::new(vec![1.0; 4], &[4, 5, 5]).unwrap();
    let terms: Vec<BoxedOperator<f64>> =
        vec![Box::new(conv), Box::new(Scaled::new(skip, 0.5).unwrap())];
    let sum = Sum::new(terms).unwrap();
    let defect = materialise(&sum).unwrap() - &expected;
    assert!(defect.norm_max() < 1e-13);
    assert!(norm(&expected.singular_values().unwrap()) > 0.0);
}

#[test]
fn impossible_questions_are_refused() {
    let op = Dense::new(vec![1.0_f64; 6], 2, 3).unwrap();
    let ask = |params: &Params, k| singular_values(&op, k, params).unwrap_err().to_string();
    assert!(ask(&Params::default(), 0).contains("at least one"));
    for tolerance in [0.0, -1.0, f64::NAN] {
        let params = Params {
            tolerance,
            ..Params::default()
        };
        assert!(ask(&params, 1).contains("tolerance"));
    }
    let params = Params {
        method: Method::Circulant,
        ..Params::default()
    };
    assert!(ask(&params, 1).contains("use lanczos"));
    let start = Columns::zeros(5, 1);
    assert!(singular_values_from(&op, 1, &Params::default(), &start).is_err());
    let huge = Conv::<f32>::new(
        vec![1.0; 64 * 64 * 9],
        &[64, 64, 3, 3],
        &[64, 32, 32],
        &ConvParams::new(2),
    )
    .unwrap();
    let error = full_spectrum(&huge).unwrap_err().to_string();
    assert!(error.contains("GB"), "{error}");
}
