//! Counts the pairs (one action of M and one of M' on one vector) that the default solver spends on
//! layers with PyTorch's default initialisation: the median of five seeds.
//!
//! `cargo bench -p specclip --bench pair_counts`
//!
//! Prints, for each layer, the pairs until sigma_1 is within 1e-3 and within 1e-4 of the truth, and
//! until the solver itself stops at tolerance 1e-4.

use specclip::Error;
use specclip::operator::{Conv, ConvParams, PaddingMode};
use specclip::svd::{Method, Params, singular_values};

/// Input channels, output channels, input size, stride.
const LAYERS: [(usize, usize, usize, usize); 4] = [
    (64, 64, 32, 1),
    (64, 128, 32, 2),
    (256, 256, 8, 1),
    (512, 512, 4, 1),
];

fn main() -> Result<(), Error> {
    println!("{:<24}{:>8}{:>8}{:>8}", "layer", "1e-3", "1e-4", "stops");
    for (inputs, outputs, size, stride) in LAYERS {
        let mut counts = [const { Vec::new() }; 3];
        for seed in 0..5 {
            let op = layer(inputs, outputs, size, stride, seed)?;
            for (list, count) in counts.iter_mut().zip(count(&op, seed)?) {
                list.push(count);
            }
        }
        let medians = counts.map(|mut list| {
            list.sort_unstable();
            list[list.len() / 2]
        });
        println!(
            "{:<24}{:>8}{:>8}{:>8}",
            format!("{inputs}->{outputs} at {size} stride {stride}"),
            medians[0],
            medians[1],
            medians[2]
        );
    }
    Ok(())
}

/// A 3 x 3 convolution with weights uniform in +-1 / sqrt(fan in), as PyTorch draws them.
fn layer(
    inputs: usize,
    outputs: usize,
    size: usize,
    stride: usize,
    seed: u64,
) -> Result<Conv<f32>, Error> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let bound = 1.0 / ((inputs * 9) as f32).sqrt();
    let weight = (0..outputs * inputs * 9)
        .map(|_| random.random_range(-bound..bound))
        .collect();
    let params = ConvParams::new(2)
        .padding(1, PaddingMode::Zeros)
        .stride(stride);
    Conv::new(
        weight,
        &[outputs, inputs, 3, 3],
        &[inputs, size, size],
        &params,
    )
}

fn count(op: &Conv<f32>, seed: u64) -> Result<[usize; 3], Error> {
    let solve = |tolerance: f64, max_matvecs: usize| {
        let params = Params {
            method: Method::Lanczos,
            tolerance,
            max_matvecs,
            seed,
            ..Params::default()
        };
        singular_values(op, 1, &params)
    };
    let truth = solve(2e-6, 4000)?.sigma[0];
    let until = |error: f64| -> Result<usize, Error> {
        for pairs in 2.. {
            let sigma = solve(1e-9, 2 * pairs)?.sigma[0];
            if (sigma - truth).abs() <= error * truth {
                return Ok(pairs);
            }
        }
        unreachable!("the count has no end")
    };
    let stops = solve(1e-4, 4000)?.matvecs.div_ceil(2);
    Ok([until(1e-3)?, until(1e-4)?, stops])
}
