//! Records how tight the default interval is, and what it costs, over the layers of a CIFAR ResNet-18
//! with PyTorch's default weights.
//!
//! `cargo bench -p specclip --bench tightness`

mod resnet18;

use std::time::Instant;

use specclip::bound::{Params, interval};
use specclip::{Error, LinearOperator};

fn main() -> Result<(), Error> {
    println!(
        "{:<30}{:>12}{:>12}{:>10}  {:<16}{:>8}",
        "layer", "lower", "upper", "gap", "by", "seconds"
    );
    let mut gaps = Vec::new();
    let start = Instant::now();
    for (name, op) in resnet18::layers()? {
        gaps.push(record(&name, &op)?);
    }
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
