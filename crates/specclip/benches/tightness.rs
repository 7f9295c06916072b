//! Records how tight the default interval is, and what it costs, over the layers of a CIFAR ResNet-18
//! with PyTorch's default weights.
//!
//! `cargo bench -p specclip --bench tightness`

use std::time::Instant;

use specclip::bound::{Params, interval};
use specclip::operator::{BoxedOperator, Conv, ConvParams, Dense, PaddingMode};
use specclip::{Error, LinearOperator};

/// Input channels, output channels, taps along an axis, input size, stride: in the order of the
/// network.
const CONVOLUTIONS: [(usize, usize, usize, usize, usize); 20] = [
    (3, 64, 3, 32, 1),
    (64, 64, 3, 32, 1),
    (64, 64, 3, 32, 1),
    (64, 64, 3, 32, 1),
    (64, 64, 3, 32, 1),
    (64, 128, 3, 32, 2),
    (128, 128, 3, 16, 1),
    (64, 128, 1, 32, 2),
    (128, 128, 3, 16, 1),
    (128, 128, 3, 16, 1),
    (128, 256, 3, 16, 2),
    (256, 256, 3, 8, 1),
    (128, 256, 1, 16, 2),
    (256, 256, 3, 8, 1),
    (256, 256, 3, 8, 1),
    (256, 512, 3, 8, 2),
    (512, 512, 3, 4, 1),
    (256, 512, 1, 8, 2),
    (512, 512, 3, 4, 1),
    (512, 512, 3, 4, 1),
];

fn main() -> Result<(), Error> {
    println!(
        "{:<30}{:>12}{:>12}{:>10}  {:<16}{:>8}",
        "layer", "lower", "upper", "gap", "by", "seconds"
    );
    let mut gaps = Vec::new();
    let start = Instant::now();
    for (i, &(ins, outs, taps, size, stride)) in CONVOLUTIONS.iter().enumerate() {
        let name = format!("{ins}->{outs} {taps}x{taps} at {size} stride {stride}");
        let op = convolution(ins, outs, taps, size, stride, i as u64)?;
        gaps.push(record(&name, &op)?);
    }
    let weight = uniform(10 * 512, 512, 20);
    let dense: BoxedOperator<f32> = Box::new(Dense::new(weight, 10, 512)?);
    gaps.push(record("512->10 dense", &dense)?);
    gaps.sort_by(f64::total_cmp);
    println!(
        "median gap {:.3} %, worst gap {:.3} %, {:.1} s in all",
        100.0 * gaps[gaps.len() / 2],
        100.0 * gaps[gaps.len() - 1],
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn record<Op: LinearOperator>(name: &str, op: &Op) -> Result<f64, Error> {
    let start = Instant::now();
    let found = interval(op, &Params::default())?;
    println!(
        "{name:<30}{:>12.6}{:>12.6}{:>8.3} %  {:<16}{:>8.2}",
        found.lower,
        found.upper,
        100.0 * found.gap(),
        found.upper_by,
        start.elapsed().as_secs_f64()
    );
    Ok(found.gap())
}

fn convolution(
    ins: usize,
    outs: usize,
    taps: usize,
    size: usize,
    stride: usize,
    seed: u64,
) -> Result<BoxedOperator<f32>, Error> {
    let fan_in = ins * taps * taps;
    let weight = uniform(outs * fan_in, fan_in, seed);
    let params = ConvParams::new(2)
        .padding(taps / 2, PaddingMode::Zeros)
        .stride(stride);
    let conv = Conv::new(
        weight,
        &[outs, ins, taps, taps],
        &[ins, size, size],
        &params,
    )?;
    Ok(Box::new(conv))
}

/// Uniform in +-1 / sqrt(fan in), as PyTorch draws them.
fn uniform(count: usize, fan_in: usize, seed: u64) -> Vec<f32> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let bound = 1.0 / (fan_in as f32).sqrt();
    (0..count)
        .map(|_| random.random_range(-bound..bound))
        .collect()
}
