//! The linear layers of ResNet-18 in its form for CIFAR, with weights as PyTorch draws them.

use specclip::operator::{Conv, ConvParams, Dense, PaddingMode};
use specclip::{BoxedParametric, Error};

/// Input channels, output channels, taps along an axis, input size, stride: in the order of the
/// network.
pub const CONVOLUTIONS: [(usize, usize, usize, usize, usize); 20] = [
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

/// Every layer with its name.
pub fn layers() -> Result<Vec<(String, BoxedParametric<f32>)>, Error> {
    let mut layers = Vec::new();
    for (i, &(ins, outs, taps, size, stride)) in CONVOLUTIONS.iter().enumerate() {
        let name = format!("{ins}->{outs} {taps}x{taps} at {size} stride {stride}");
        let op = convolution(ins, outs, taps, size, stride, i as u64)?;
        layers.push((name, op));
    }
    let dense = Dense::new(uniform(10 * 512, 512, 20), 10, 512)?;
    layers.push(("512->10 dense".to_owned(), Box::new(dense)));
    Ok(layers)
}

/// A zero-padded convolution on square inputs.
pub fn convolution(
    ins: usize,
    outs: usize,
    taps: usize,
    size: usize,
    stride: usize,
    seed: u64,
) -> Result<BoxedParametric<f32>, Error> {
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
