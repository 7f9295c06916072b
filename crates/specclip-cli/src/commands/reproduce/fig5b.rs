//! Figure 5b: what the k largest singular values take, by three methods brought to the same accuracy.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use specclip::Real;
use specclip::operator::{Conv, ConvParams, PaddingMode};
use specclip::svd::{Method, Params, singular_values, singular_values_from};

use super::deflation::{self, Stop};
use super::{Files, settings};
use crate::analyse::start_threads;
use crate::cli::reproduce::Fig5bArgs;
use crate::cli::shared::Precision;
use crate::commands::Outcome;
use crate::error::Error;
use crate::progress::Progress;
use crate::record::reproduce::{Contender, Fig5b, Point};
use crate::report::reproduce::fig5b as report;

const CHANNELS: usize = 32;
const SIZE: usize = 32;

/// Values that the layer has at most.
const MOST: usize = CHANNELS * SIZE * SIZE;

/// Largest relative error of any of the k values.
const ACCURACY: f64 = 1e-3;

/// Changes of the vector at which a value's power iteration ends, loosest first.
const CHANGES: [f64; 6] = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4];
const MOST_ITERATIONS: usize = 2000;

/// Iterations of PowerQR between two looks at its values, as a part of those before; and of all.
const PART: f64 = 0.1;
const MOST_POWER_QR: usize = 5000;

/// Tolerances of Lanczos, loosest first.
const TOLERANCES: [f64; 6] = [3e-1, 1e-1, 3e-2, 1e-2, 1e-3, 1e-4];

/// Computes, writes and prints the figure.
pub fn run(args: &Fig5bArgs) -> Result<Outcome, Error> {
    start_threads(args.run.threads)?;
    if let Some(&k) = args.top.iter().find(|&&k| k > 1000) {
        return Err(Error::Usage(format!(
            "--top {k} is more than PowerQR and deflation can do in a day; ask for at most 1000 of the layer's {MOST} values"
        )));
    }
    let files = Files::new(&args.out, "fig5b")?;
    let figure = match args.run.precision {
        Precision::F32 => compute::<f32>(args),
        Precision::F64 => compute::<f64>(args),
    }
    .map_err(|error| Error::Usage(error.to_string()))?;
    let (csv, json) = (report::csv(&figure)?, report::json(&figure)?);
    files.write(&csv, &json, &report::svg(&figure)?, &report::table(&figure))?;
    Ok(Outcome::Done)
}

/// A run of a method for k values.
#[derive(Clone, Copy, Debug)]
struct Trial {
    elapsed: Duration,
    matvecs: usize,
    error: f64,
}

fn compute<T: Real>(args: &Fig5bArgs) -> Result<Fig5b, specclip::Error> {
    let started = Instant::now();
    let mut top = args.top.clone();
    top.sort_unstable();
    top.dedup();
    let most = top.last().copied().unwrap_or(1);
    let mut progress = Progress::new(args.repetitions * (3 * top.len() + 1) + 1, "runs");
    progress.begin("the converged values");
    let truth = truth(args.run.seed, most)?;
    progress.end();
    let conv = layer::<T>(args.run.seed)?;
    let mut trials: Vec<(Contender, usize, Trial)> = Vec::new();
    for repetition in 0..args.repetitions as u64 {
        let seed = args.run.seed.wrapping_add(repetition);
        progress.begin("power iteration with deflation");
        let found = deflated(&conv, &top, &truth, seed)?;
        trials.extend(
            found
                .into_iter()
                .map(|(k, trial)| (Contender::Deflation, k, trial)),
        );
        progress.end();
        for &k in &top {
            for method in [Contender::PowerQr, Contender::Lanczos, Contender::Default] {
                progress.begin(&format!("{} for {k} values", method.name()));
                let trial = match method {
                    Contender::PowerQr => power_qr(&conv, k, &truth, seed)?,
                    Contender::Lanczos => loosest(&conv, k, &truth, seed)?,
                    _ => lanczos(&conv, k, &truth, seed, Params::default().tolerance)?,
                };
                trials.push((method, k, trial));
                progress.end();
            }
        }
    }
    drop(progress);
    let points = Contender::ALL
        .into_iter()
        .flat_map(|method| top.iter().map(move |&k| (method, k)));
    Ok(Fig5b {
        settings: settings(&args.run),
        repetitions: args.repetitions,
        accuracy: ACCURACY,
        points: points
            .map(|(method, k)| point(method, k, &trials))
            .collect(),
        truth,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn point(method: Contender, k: usize, trials: &[(Contender, usize, Trial)]) -> Point {
    let trials = trials
        .iter()
        .filter(|trial| (trial.0, trial.1) == (method, k));
    let trials: Vec<Trial> = trials.map(|trial| trial.2).collect();
    let mut seconds: Vec<f64> = trials
        .iter()
        .map(|trial| trial.elapsed.as_secs_f64())
        .collect();
    let mut matvecs: Vec<usize> = trials.iter().map(|trial| trial.matvecs).collect();
    seconds.sort_by(f64::total_cmp);
    matvecs.sort_unstable();
    let middle = trials.len() / 2;
    Point {
        method,
        k,
        median_seconds: seconds.get(middle).copied().unwrap_or(0.0),
        median_matvecs: matvecs.get(middle).copied().unwrap_or(0),
        error: trials.iter().map(|trial| trial.error).fold(0.0, f64::max),
        reached: trials
            .iter()
            .filter(|trial| trial.error <= ACCURACY)
            .count(),
    }
}

/// The layer, with weights as PyTorch draws them: uniform within 1 / sqrt(inputs of an output).
fn layer<T: Real>(seed: u64) -> Result<Conv<T>, specclip::Error> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let fan_in = CHANNELS * 9;
    let limit = 1.0 / (fan_in as f64).sqrt();
    let weight = (0..CHANNELS * fan_in).map(|_| T::from_f64(random.random_range(-limit..limit)));
    Conv::new(
        weight.collect(),
        &[CHANNELS, CHANNELS, 3, 3],
        &[CHANNELS, SIZE, SIZE],
        &ConvParams::new(2).padding(1, PaddingMode::Zeros),
    )
}

/// Values whose residuals are at most 1e-9 sigma_1, computed in f64.
fn truth(seed: u64, k: usize) -> Result<Vec<f64>, specclip::Error> {
    let params = Params {
        method: Method::Lanczos,
        tolerance: 1e-9,
        seed: seed.wrapping_add(1 << 32),
        max_matvecs: usize::MAX,
        ..Params::default()
    };
    let top = singular_values(&layer::<f64>(seed)?, k, &params)?;
    if top.converged() {
        return Ok(top.sigma);
    }
    Err(specclip::Error::NotApplicable {
        method: "figure 5b",
        reason: format!(
            "the {k} values to compare with did not converge; ask for fewer with --top"
        ),
    })
}

/// The largest relative error of the values, sorted, against as many of the truth.
fn error(sigma: &[f64], truth: &[f64]) -> f64 {
    let mut sigma = sigma.to_vec();
    sigma.sort_by(|a, b| b.total_cmp(a));
    let errors = sigma
        .iter()
        .zip(truth)
        .map(|(sigma, truth)| (sigma - truth).abs() / truth);
    errors.fold(0.0, f64::max)
}

/// One pass for each knob, as far as the largest k: the values for a smaller k are found on the way. A k that no
/// knob serves is reported with the finest.
fn deflated<T: Real>(
    conv: &Conv<T>,
    top: &[usize],
    truth: &[f64],
    seed: u64,
) -> Result<Vec<(usize, Trial)>, specclip::Error> {
    let mut best: Vec<Option<Trial>> = vec![None; top.len()];
    for change in CHANGES {
        let missing = |trial: &Option<Trial>| trial.is_none_or(|trial| trial.error > ACCURACY);
        let Some(last) = best.iter().rposition(missing) else {
            break;
        };
        let stop = Stop {
            change,
            iterations: MOST_ITERATIONS,
        };
        let found = deflation::leading(conv, top[last], stop, seed)?;
        let sigma: Vec<f64> = found.iter().map(|found| found.sigma).collect();
        for (best, &k) in best.iter_mut().zip(top).take(last + 1) {
            if missing(best) {
                *best = Some(Trial {
                    elapsed: found[k - 1].elapsed,
                    matvecs: found[k - 1].matvecs,
                    error: error(&sigma[..k], truth),
                });
            }
        }
    }
    Ok(top
        .iter()
        .copied()
        .zip(best)
        .filter_map(|(k, trial)| Some((k, trial?)))
        .collect())
}

/// PowerQR goes on until its values are near enough, and is looked at now and then.
fn power_qr<T: Real>(
    conv: &Conv<T>,
    k: usize,
    truth: &[f64],
    seed: u64,
) -> Result<Trial, specclip::Error> {
    let mut trial = Trial {
        elapsed: Duration::ZERO,
        matvecs: 0,
        error: f64::INFINITY,
    };
    let mut iterations = 0;
    let mut v = None;
    while trial.error > ACCURACY && iterations < MOST_POWER_QR {
        let more = ((iterations as f64 * PART) as usize).max(10);
        let params = Params {
            method: Method::PowerQr,
            iterations: Some(more),
            seed,
            max_matvecs: usize::MAX,
            ..Params::default()
        };
        let started = Instant::now();
        let top = match &v {
            None => singular_values(conv, k, &params)?,
            Some(v) => singular_values_from(conv, k, &params, v)?,
        };
        trial.elapsed += started.elapsed();
        trial.matvecs += top.matvecs;
        trial.error = error(&top.sigma, truth);
        iterations += more;
        v = Some(top.v);
    }
    Ok(trial)
}

/// Lanczos with the loosest tolerance that will do.
fn loosest<T: Real>(
    conv: &Conv<T>,
    k: usize,
    truth: &[f64],
    seed: u64,
) -> Result<Trial, specclip::Error> {
    let mut trial = lanczos(conv, k, truth, seed, TOLERANCES[0])?;
    for tolerance in &TOLERANCES[1..] {
        if trial.error <= ACCURACY {
            break;
        }
        trial = lanczos(conv, k, truth, seed, *tolerance)?;
    }
    Ok(trial)
}

fn lanczos<T: Real>(
    conv: &Conv<T>,
    k: usize,
    truth: &[f64],
    seed: u64,
    tolerance: f64,
) -> Result<Trial, specclip::Error> {
    let params = Params {
        tolerance,
        seed,
        ..Params::default()
    };
    let started = Instant::now();
    let top = singular_values(conv, k, &params)?;
    Ok(Trial {
        elapsed: started.elapsed(),
        matvecs: top.matvecs,
        error: error(&top.sigma, truth),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_sorted_values() {
        assert_eq!(error(&[1.0, 4.0], &[4.0, 2.0]), 0.5);
        assert_eq!(error(&[4.0, 2.0], &[4.0, 2.0, 1.0]), 0.0);
    }

    #[test]
    fn points_are_medians_and_the_worst_error() {
        let trial = |seconds, matvecs, error| Trial {
            elapsed: Duration::from_secs(seconds),
            matvecs,
            error,
        };
        let trials = [(3, 30, 1e-4), (1, 50, 2e-3), (2, 10, 1e-3)];
        let trials = trials.map(|(s, m, e)| (Contender::PowerQr, 5, trial(s, m, e)));
        let point = point(Contender::PowerQr, 5, &trials);
        assert_eq!((point.median_seconds, point.median_matvecs), (2.0, 30));
        assert_eq!((point.error, point.reached), (2e-3, 2));
    }
}
