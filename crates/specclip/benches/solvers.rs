//! Times the default solver against PowerQR and the exact methods, sigma_1 to 1e-3.
//!
//! `cargo bench -p specclip --bench solvers`, with a part of a name to run only some.

use std::hint::black_box;

use criterion::Criterion;
use specclip::Error;
use specclip::operator::{Conv, ConvParams, PaddingMode};
use specclip::svd::{Method, Params, Shift, singular_values};

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .configure_from_args();
    compare(
        &mut criterion,
        "64->64 3x3 at 32x32",
        &layer(64, 32, PaddingMode::Zeros)?,
        &[("default", Method::Auto), ("power_qr", Method::PowerQr)],
    )?;
    compare(
        &mut criterion,
        "16->16 3x3 at 8x8",
        &layer(16, 8, PaddingMode::Zeros)?,
        &[
            ("lanczos", Method::Lanczos),
            ("dense", Method::Dense),
            ("power_qr", Method::PowerQr),
        ],
    )?;
    compare(
        &mut criterion,
        "16->16 3x3 circular at 16x16",
        &layer(16, 16, PaddingMode::Circular)?,
        &[
            ("lanczos", Method::Lanczos),
            ("circulant", Method::Circulant),
        ],
    )?;
    criterion.final_summary();
    Ok(())
}

/// A square 3 x 3 convolution with weights uniform in +-1 / sqrt(fan in), as PyTorch draws them.
fn layer(channels: usize, size: usize, mode: PaddingMode) -> Result<Conv<f32>, Error> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let bound = 1.0 / ((channels * 9) as f32).sqrt();
    let weight = (0..channels * channels * 9)
        .map(|_| random.random_range(-bound..bound))
        .collect();
    Conv::new(
        weight,
        &[channels, channels, 3, 3],
        &[channels, size, size],
        &ConvParams::new(2).padding(1, mode),
    )
}

/// Times each method on one layer, under the layer's name.
fn compare(
    criterion: &mut Criterion,
    name: &str,
    op: &Conv<f32>,
    methods: &[(&str, Method)],
) -> Result<(), Error> {
    let mut group = criterion.benchmark_group(name);
    for &(label, method) in methods {
        let params = Params {
            method,
            tolerance: 1e-3,
            shift: Shift::Fixed(0.0),
            ..Params::default()
        };
        // Refusals are reported here, not timed.
        singular_values(op, 1, &params)?;
        group.bench_function(label, |bencher| {
            bencher.iter(|| singular_values(black_box(op), 1, &params));
        });
    }
    group.finish();
    Ok(())
}
