//! Records what the projection reaches, and in what time.
//!
//! `cargo bench -p specclip --bench projection -- layers [SECONDS]`: 3x3 layers of the four widths of
//! a ResNet clipped to 0.9, 0.7 and 0.5 of their norm, to a gap of 1 % or for so many seconds each (60).
//!
//! `cargo bench -p specclip --bench projection -- resnet18 [FRACTION [SECONDS]]`: every layer of a CIFAR
//! ResNet-18 to a fraction of its norm (0.9), to a gap of 2 % or for so many seconds each.

mod resnet18;

use std::time::{Duration, Instant};

use specclip::clip::{Method, Params, Projection, clip};
use specclip::svd::{self, singular_values};
use specclip::{BoxedParametric, Error};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |i: usize| arguments.get(i).and_then(|a| a.parse::<f64>().ok());
    println!(
        "{:<34}{:>8}{:>9}{:>10}{:>9}{:>7}{:>9}{:>9}",
        "layer", "to", "distance", "scaling", "gap", "rounds", "products", "seconds"
    );
    let start = Instant::now();
    let gaps = if arguments.first().is_some_and(|a| a == "resnet18") {
        network(number(1).unwrap_or(0.9), number(2))?
    } else {
        layers(number(1).unwrap_or(60.0))?
    };
    println!(
        "worst gap {:.2} %, {:.1} s in all, at most {} MB",
        100.0 * gaps.iter().fold(0.0, |a: f64, &b| a.max(b)),
        start.elapsed().as_secs_f64(),
        peak_memory()
    );
    Ok(())
}

fn layers(seconds: f64) -> Result<Vec<f64>, Error> {
    let mut gaps = Vec::new();
    for (channels, size) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
        for fraction in [0.9, 0.7, 0.5] {
            let op = resnet18::convolution(channels, channels, 3, size, 1, 1)?;
            let name = format!("{channels}->{channels} 3x3 at {size}");
            gaps.push(record(&name, op, fraction, 1e-2, Some(seconds))?);
        }
    }
    Ok(gaps)
}

fn network(fraction: f64, seconds: Option<f64>) -> Result<Vec<f64>, Error> {
    resnet18::layers()?
        .into_iter()
        .map(|(name, op)| record(&name, op, fraction, 2e-2, seconds))
        .collect()
}

fn record(
    name: &str,
    mut op: BoxedParametric<f32>,
    fraction: f64,
    gap: f64,
    seconds: Option<f64>,
) -> Result<f64, Error> {
    let sigma = singular_values(&op, 1, &svd::Params::default())?.sigma[0];
    let squares = op.weights()[0].iter().map(|&w| f64::from(w).powi(2));
    let scaling = (1.0 - fraction) * squares.sum::<f64>().sqrt();
    let start = Instant::now();
    let report = clip(
        &mut op,
        fraction * sigma,
        &Params::new(Method::Projection(Projection {
            gap,
            time_limit: seconds.map(Duration::from_secs_f64),
        })),
    )?;
    let gap = report.certificate.map_or(f64::INFINITY, |c| c.gap);
    println!(
        "{name:<34}{fraction:>8}{:>9.4}{scaling:>10.4}{:>8.2}%{:>7}{:>9}{:>9.1}{}",
        report.distance,
        100.0 * gap,
        report.rounds,
        report.matvecs,
        start.elapsed().as_secs_f64(),
        if report.reached { "" } else { "  NOT REACHED" }
    );
    Ok(gap)
}

/// The largest resident size so far in 10^6 bytes, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map_or_else(|| "?".to_owned(), |k| (k / 1000).to_string())
}
