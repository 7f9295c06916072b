//! Clips the four layers of Figure 1 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram (AISTATS 2024)
//! by every method: rounds, actions, the norm that is reached and the distance.
//!
//! `cargo run --release -p specclip --example clip_methods`
//!
//! The layers have 1 input and 64 output channels on 28 x 28 samples and weights as PyTorch draws
//! them; the target is 1. The median of five seeds.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use specclip::Error;
use specclip::clip::{ClipReport, FastClip, Method, Params, Projection, Step, clip};
use specclip::operator::{Conv, ConvParams, PaddingMode};

/// Name, kernel size, padding, mode, stride.
const LAYERS: [(&str, usize, usize, PaddingMode, usize); 4] = [
    ("3x3 reflect 1", 3, 1, PaddingMode::Reflect, 1),
    ("3x3 zeros 1", 3, 1, PaddingMode::Zeros, 1),
    ("3x3 zeros 1 stride 2", 3, 1, PaddingMode::Zeros, 2),
    ("5x5 replicate 2 stride 2", 5, 2, PaddingMode::Replicate, 2),
];

fn main() -> Result<(), Error> {
    println!(
        "{:<26}{:<22}{:>7}{:>9}{:>8}{:>10}{:>10}{:>9}{:>8}",
        "layer", "method", "rounds", "actions", "before", "norm", "distance", "factor", "ms"
    );
    for (name, kernel, padding, mode, stride) in LAYERS {
        for (method, params) in methods() {
            let mut runs = Vec::new();
            for seed in 0..5 {
                let op = layer(kernel, padding, mode, stride, seed)?;
                runs.push(run(op, &params)?);
            }
            print(name, method, runs);
        }
    }
    Ok(())
}

fn methods() -> Vec<(&'static str, Params)> {
    let fastclip = |step| {
        Method::FastClip(FastClip {
            step,
            ..FastClip::default()
        })
    };
    vec![
        ("scale", Params::new(Method::Scale)),
        ("fastclip", Params::new(fastclip(Step::Automatic))),
        (
            "fastclip, paper's step",
            Params::new(fastclip(Step::Reference)),
        ),
        (
            "frequency, cropped",
            Params::new(Method::Frequency { crop: true }),
        ),
        (
            "projection",
            Params::new(Method::Projection(Projection::default())),
        ),
    ]
}

/// Weights uniform in +-1 / sqrt(fan in).
fn layer(
    kernel: usize,
    padding: usize,
    mode: PaddingMode,
    stride: usize,
    seed: u64,
) -> Result<Conv<f64>, Error> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let bound = 1.0 / kernel as f64;
    let weight: Vec<f64> = (0..64 * kernel * kernel)
        .map(|_| random.random_range(-bound..bound))
        .collect();
    let params = ConvParams::new(2).padding(padding, mode).stride(stride);
    Conv::new(weight, &[64, 1, kernel, kernel], &[1, 28, 28], &params)
}

fn run(mut op: Conv<f64>, params: &Params) -> Result<(ClipReport, f64), Error> {
    let start = Instant::now();
    let report = clip(&mut op, 1.0, params)?;
    Ok((report, start.elapsed().as_secs_f64() * 1e3))
}

fn print(name: &str, method: &str, runs: Vec<(ClipReport, f64)>) {
    let median = |value: &dyn Fn(&(ClipReport, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{name:<26}{method:<22}{:>7}{:>9}{:>8.3}{:>10.6}{:>10.5}{:>9.5}{:>8.1}",
        median(&|r| r.0.rounds as f64),
        median(&|r| r.0.matvecs as f64),
        median(&|r| r.0.before.sigma),
        median(&|r| r.0.after.sigma),
        median(&|r| r.0.distance),
        median(&|r| r.0.factor),
        median(&|r| r.1),
    );
}
