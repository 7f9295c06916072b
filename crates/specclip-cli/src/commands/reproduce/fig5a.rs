//! Figure 5a: how far the circulant value is from sigma_1.

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use specclip::Real;
use specclip::operator::{Conv, ConvParams, PaddingMode};
use specclip::svd::{Method, Params, singular_values};

use super::{Files, settings};
use crate::analyse::start_threads;
use crate::cli::reproduce::Fig5aArgs;
use crate::cli::shared::Precision;
use crate::commands::Outcome;
use crate::error::Error;
use crate::memory::{self, Demand};
use crate::progress::Progress;
use crate::record::reproduce::{Cell, Fig5a};
use crate::report::reproduce::fig5a as report;

const KERNELS: [usize; 3] = [3, 5, 7];

const PADDINGS: [PaddingMode; 4] = [
    PaddingMode::Zeros,
    PaddingMode::Reflect,
    PaddingMode::Replicate,
    PaddingMode::Circular,
];

/// A residual of 1e-5 sigma_1 leaves an error of the value that is smaller still.
const TOLERANCE: f64 = 1e-5;

/// Computes, writes and prints the figure.
pub fn run(args: &Fig5aArgs) -> Result<Outcome, Error> {
    start_threads(args.run.threads)?;
    check(args)?;
    let files = Files::new(&args.out, "fig5a")?;
    let figure = match args.run.precision {
        Precision::F32 => compute::<f32>(args)?,
        Precision::F64 => compute::<f64>(args)?,
    };
    let (csv, json) = (report::csv(&figure)?, report::json(&figure)?);
    files.write(&csv, &json, &report::svg(&figure)?, &report::table(&figure))?;
    Ok(Outcome::of(figure.not_converged() > 0))
}

/// Refuses what does not exist or does not fit, before any work.
fn check(args: &Fig5aArgs) -> Result<(), Error> {
    let largest = KERNELS[KERNELS.len() - 1];
    if args.size < largest {
        return Err(Error::Usage(format!(
            "--size {} is smaller than the largest kernel; use at least {largest}",
            args.size
        )));
    }
    for &channels in &args.channels {
        let shape = [channels, args.size, args.size];
        // As many filters at once as there are threads, each with a few vectors.
        let demand = Demand {
            top: 8 * rayon::current_num_threads(),
            options: "--channels or --size",
        };
        if let Some(lack) = memory::lack(&shape, &shape, demand, size_of::<f64>()) {
            return Err(Error::Usage(format!(
                "--channels {channels} with --size {}: {lack}",
                args.size
            )));
        }
    }
    Ok(())
}

fn compute<T: Real>(args: &Fig5aArgs) -> Result<Fig5a, Error> {
    let started = Instant::now();
    let mut channels = args.channels.clone();
    channels.sort_unstable();
    channels.dedup();
    let mut progress = Progress::new(KERNELS.len() * channels.len(), "means");
    let mut cells = Vec::new();
    for kernel in KERNELS {
        for &channels in &channels {
            progress.begin(&format!("{kernel}x{kernel}, {channels} channels"));
            cells.extend(means::<T>(args, kernel, channels)?);
            progress.end();
        }
    }
    drop(progress);
    Ok(Fig5a {
        settings: settings(&args.run),
        filters: args.filters,
        size: args.size,
        tolerance: TOLERANCE,
        cells,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// One filter with one padding.
#[derive(Clone, Copy)]
struct Sample {
    sigma_1: f64,
    circulant: f64,
    converged: bool,
}

/// All paddings of one kernel size and number of channels: every padding gets the same filters.
fn means<T: Real>(args: &Fig5aArgs, kernel: usize, channels: usize) -> Result<Vec<Cell>, Error> {
    let samples = (0..args.filters)
        .into_par_iter()
        .map(|filter| samples::<T>(args, kernel, channels, filter as u64))
        .collect::<Result<Vec<_>, specclip::Error>>()
        .map_err(|error| Error::Usage(format!("{channels} channels: {error}")))?;
    Ok(PADDINGS
        .iter()
        .enumerate()
        .map(|(index, padding)| {
            let samples: Vec<Sample> = samples.iter().map(|sample| sample[index]).collect();
            cell(kernel, channels, padding.name(), &samples)
        })
        .collect())
}

fn samples<T: Real>(
    args: &Fig5aArgs,
    kernel: usize,
    channels: usize,
    filter: u64,
) -> Result<[Sample; PADDINGS.len()], specclip::Error> {
    let weight = normals::<T>(args.run.seed, kernel, channels, filter);
    let conv = |mode| {
        let params = ConvParams::new(2).padding(kernel / 2, mode);
        let shape = [channels, args.size, args.size];
        Conv::new(
            weight.clone(),
            &[channels, channels, kernel, kernel],
            &shape,
            &params,
        )
    };
    let top = |method, mode| {
        let params = Params {
            method,
            tolerance: TOLERANCE,
            seed: args.run.seed.wrapping_add(filter),
            ..Params::default()
        };
        let top = singular_values(&conv(mode)?, 1, &params)?;
        Ok((top.sigma[0], top.converged()))
    };
    let (circulant, _) = top(Method::Circulant, PaddingMode::Circular)?;
    let mut samples = [Sample {
        sigma_1: 0.0,
        circulant,
        converged: true,
    }; PADDINGS.len()];
    for (sample, mode) in samples.iter_mut().zip(PADDINGS) {
        // The circular layer too: that two different methods agree is part of the figure.
        (sample.sigma_1, sample.converged) = top(Method::Lanczos, mode)?;
    }
    Ok(samples)
}

/// Standard normal weights, a stream of their own for each filter.
fn normals<T: Real>(seed: u64, kernel: usize, channels: usize, filter: u64) -> Vec<T> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(((kernel as u64) << 56) ^ ((channels as u64) << 32) ^ filter);
    let normal = |_| -> f64 { StandardNormal.sample(&mut random) };
    (0..channels * channels * kernel * kernel)
        .map(normal)
        .map(T::from_f64)
        .collect()
}

fn cell(kernel: usize, channels: usize, padding: &'static str, samples: &[Sample]) -> Cell {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let difference = |sample: &Sample| (sample.sigma_1 - sample.circulant).abs();
    let mean_difference = mean(&difference);
    let spread = samples
        .iter()
        .map(|sample| (difference(sample) - mean_difference).powi(2));
    Cell {
        kernel,
        channels,
        padding,
        mean_difference,
        deviation: (spread.sum::<f64>() / (count - 1.0).max(1.0)).sqrt(),
        largest_difference: samples.iter().map(difference).fold(0.0, f64::max),
        mean_relative_difference: mean(&|sample| difference(sample) / sample.sigma_1),
        mean_sigma_1: mean(&|sample| sample.sigma_1),
        not_converged: samples.iter().filter(|sample| !sample.converged).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_another() {
        let first: Vec<f64> = normals(0, 3, 4, 0);
        assert_eq!(first.len(), 144);
        assert_eq!(first, normals::<f64>(0, 3, 4, 0));
        for (seed, kernel, channels, filter) in [(1, 3, 4, 0), (0, 3, 4, 1), (0, 3, 5, 0)] {
            assert_ne!(
                first[..9],
                normals::<f64>(seed, kernel, channels, filter)[..9]
            );
        }
    }

    #[test]
    fn means_and_deviations() {
        let sample = |sigma_1, circulant, converged| Sample {
            sigma_1,
            circulant,
            converged,
        };
        let cell = cell(
            3,
            1,
            "zeros",
            &[sample(2.0, 1.0, true), sample(4.0, 7.0, false)],
        );
        assert_eq!(cell.mean_difference, 2.0);
        assert_eq!(cell.deviation, 2.0_f64.sqrt());
        assert_eq!(cell.largest_difference, 3.0);
        assert_eq!(cell.mean_relative_difference, 0.625);
        assert_eq!((cell.mean_sigma_1, cell.not_converged), (3.0, 1));
    }
}
