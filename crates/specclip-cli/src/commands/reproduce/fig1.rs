//! Figure 1: the norm of a convolution while networks are trained. Each of them is a training run in a folder of its own,
//! so that the figure goes on where it was interrupted.

use std::path::Path;

use specclip_lab::network::{NetworkConfig, SimpleConvConfig};
use specclip_lab::train::{
    self, ClipMethod, Clipping, Data, Observer, Options, Recipe, Record, Target,
};

use super::Files;
use crate::analyse::start_threads;
use crate::cli::reproduce::Fig1Args;
use crate::commands::Outcome;
use crate::error::Error;
use crate::progress::Progress;
use crate::record::reproduce::Settings;
use crate::record::reproduce::fig1::{Epoch, Fig1, METHODS, Run, Setting};
use crate::report::json::processor;
use crate::report::reproduce::fig1 as report;

/// The norm that the convolution is held down to; the dense layer is left alone.
const TARGET: f64 = 1.0;

/// The convolution's name in the network.
const LAYER: &str = "conv.conv";

/// How much is trained.
struct Length {
    epochs: u32,
    /// Images to learn from and to measure with; all of them without.
    images: Option<(usize, usize)>,
    every: u64,
}

const FULL: Length = Length {
    epochs: 120,
    images: None,
    every: 100,
};

const QUICK: Length = Length {
    epochs: 8,
    images: Some((6400, 2000)),
    every: 20,
};

/// Trains what is not trained yet, writes and prints the figure.
pub fn run(args: &Fig1Args) -> Result<Outcome, Error> {
    start_threads(args.threads)?;
    let usual = if args.quick { "fig1-quick" } else { "fig1" };
    let out = args.out.as_deref().unwrap_or(Path::new(usual));
    let length = if args.quick { &QUICK } else { &FULL };
    let data = shortened(Data::load(&args.data)?, length);
    let files = Files::new(out, "fig1")?;
    let figure = trained(args, length, &data, out)?;
    let (csv, json) = (report::csv(&figure)?, report::json(&figure)?);
    files.write(&csv, &json, &report::svg(&figure)?, &report::table(&figure))?;
    Ok(Outcome::of(figure.not_converged() > 0))
}

fn shortened(data: Data, length: &Length) -> Data {
    match length.images {
        None => data,
        Some((train, test)) => Data {
            train: data.train.truncated(train),
            test: data.test.truncated(test),
            folder: data.folder,
        },
    }
}

fn trained(args: &Fig1Args, length: &Length, data: &Data, out: &Path) -> Result<Fig1, Error> {
    let count = Setting::ALL.len() * METHODS.len() * length.epochs as usize;
    let mut progress = Progress::new(count, "epochs");
    let mut runs = Vec::new();
    let usual = usual(args, length, data);
    for setting in Setting::ALL {
        for (method, _) in METHODS {
            let settings = settings(&usual, setting, method);
            let name = format!("{}-{}", setting.name(), method.name());
            let record = one(&out.join(&name), &settings, data, &name, &mut progress)?;
            runs.push(summary(&record, setting, method, name)?);
        }
    }
    Ok(Fig1 {
        settings: Settings {
            precision: "f32",
            seed: args.seed,
            threads: usual.threads,
            version: env!("CARGO_PKG_VERSION"),
            processor: processor(),
        },
        quick: args.quick,
        target: TARGET,
        data: data.train.kind().name().to_owned(),
        train_images: data.train.len(),
        test_images: data.test.len(),
        epochs: length.epochs,
        batch: usual.batch,
        every: length.every,
        runs,
    })
}

/// What all runs have in common.
fn usual(args: &Fig1Args, length: &Length, data: &Data) -> train::Settings {
    let recipe = Recipe::Simple.settings(data.train.kind(), rayon::current_num_threads());
    train::Settings {
        epochs: length.epochs,
        seed: args.seed,
        clipping: Clipping {
            every: length.every,
            ..Clipping::default()
        },
        ..recipe
    }
}

fn settings(usual: &train::Settings, setting: Setting, method: ClipMethod) -> train::Settings {
    let network = SimpleConvConfig {
        input: usual.network.input_shape(),
        classes: usual.network.classes(),
        kernel: setting.kernel,
        stride: setting.stride,
        padding: setting.padding,
        mode: setting.padding_mode,
        ..SimpleConvConfig::default()
    };
    let target = Target {
        layers: LAYER.to_owned(),
        norm: TARGET,
    };
    train::Settings {
        network: NetworkConfig::SimpleConv(network),
        clipping: Clipping {
            method,
            targets: match method {
                ClipMethod::None => Vec::new(),
                _ => vec![target],
            },
            ..usual.clipping.clone()
        },
        ..usual.clone()
    }
}

/// The record of a run, which is begun, gone on with, or over already.
fn one(
    folder: &Path,
    settings: &train::Settings,
    data: &Data,
    name: &str,
    progress: &mut Progress,
) -> Result<Record, Error> {
    let options = Options {
        processor: processor(),
        ..Options::default()
    };
    progress.begin(name);
    let run = train::Run::open(folder, settings.clone(), data, options)?;
    for _ in run.epochs() {
        progress.end();
    }
    Ok(run.finish(&mut Watch { progress, name })?)
}

/// Counts epochs.
struct Watch<'a> {
    progress: &'a mut Progress,
    name: &'a str,
}

impl Observer for Watch<'_> {
    fn step(&mut self, _: &train::Progress) {}

    fn epoch(&mut self, _: &train::Epoch) {
        self.progress.end();
        self.progress.begin(self.name);
    }
}

fn summary(
    record: &Record,
    setting: Setting,
    method: ClipMethod,
    folder: String,
) -> Result<Run, Error> {
    let epoch = |epoch: &train::Epoch| {
        let layer = epoch.layers.iter().find(|layer| layer.name == LAYER)?;
        Some(Epoch {
            epoch: epoch.epoch,
            norm: layer.norm,
            converged: layer.converged,
            test_accuracy: epoch.test_accuracy,
        })
    };
    let norms: Option<Vec<Epoch>> = record.epochs.iter().map(epoch).collect();
    let missing = || {
        Error::Usage(format!(
            "the record of the run {folder} has no layer {LAYER}; remove its folder to train it again"
        ))
    };
    let norms = norms.ok_or_else(missing)?;
    let sum = |of: fn(&train::Epoch) -> f64| record.epochs.iter().map(of).sum::<f64>();
    Ok(Run {
        setting,
        method,
        norms,
        training_seconds: sum(|epoch| epoch.seconds.training),
        clipping_seconds: sum(|epoch| epoch.seconds.clipping),
        folder,
    })
}
