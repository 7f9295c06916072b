//! `specclip spectrum`: the leading singular values of every linear layer.

mod analyse;
mod memory;
mod select;

use specclip_onnx::Model;

use crate::cli::{Precision, SpectrumArgs};
use crate::error::Error;
use crate::options::{Options, Source};
use crate::output::{complain, write_stdout};
use crate::record::{Report, Settings, method_name};
use crate::{report, warnings};

use super::Outcome;

/// A small convolutional network trained on MNIST, for a first look; made by scripts/make_demo_model.py.
const BUILT_IN: &[u8] = include_bytes!("../../assets/demo.onnx");

const BUILT_IN_NOTE: &str =
    "No model given: this is the small MNIST network built into the program.";

/// Reads the model, analyses its layers, prints and writes what was asked for.
pub fn run(args: &SpectrumArgs) -> Result<Outcome, Error> {
    let options = Options::new(args)?;
    start_threads(options.threads)?;
    let model = load(&options)?;
    let chosen = select::choose(&model, &options)?;
    let settings = settings(&model, &options);
    let report = match options.precision {
        Precision::F32 => analyse::run::<f32>(&model, chosen, settings, &options)?,
        Precision::F64 => analyse::run::<f64>(&model, chosen, settings, &options)?,
    };
    publish(&report, &options)?;
    for warning in warnings::of(&report, options.precision) {
        complain(&format!("warning: {warning}"));
    }
    Ok(if report.missed() + report.refused() > 0 {
        Outcome::Missed
    } else {
        Outcome::Done
    })
}

fn start_threads(threads: Option<usize>) -> Result<(), Error> {
    let Some(threads) = threads else {
        return Ok(());
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|error| Error::Threads {
        threads,
        reason: error.to_string(),
    })
}

fn load(options: &Options) -> Result<Model, Error> {
    Ok(match &options.source {
        Source::BuiltIn => specclip_onnx::load_bytes(BUILT_IN, &options.model)?,
        Source::File(path) => specclip_onnx::load(path, &options.model)?,
    })
}

fn settings(model: &Model, options: &Options) -> Settings {
    Settings {
        model: options.source.name(),
        inputs: model.inputs.clone(),
        precision: options.precision.name(),
        method: method_name(options.params.method),
        tolerance: options.params.tolerance,
        seed: options.params.seed,
        top: options.top,
        full: options.full,
        compose: options.compose,
        globs: options
            .layers
            .iter()
            .map(|pattern| pattern.text.clone())
            .collect(),
        threads: rayon::current_num_threads(),
    }
}

/// Files first: a reader of standard output may leave early, and the files are wanted all the same.
fn publish(report: &Report, options: &Options) -> Result<(), Error> {
    let outputs = &options.outputs;
    if let Some(target) = &outputs.json {
        target.write(&report::json::render(report)?)?;
    }
    if let Some(target) = &outputs.csv {
        target.write(&report::csv::render(report)?)?;
    }
    if let Some(target) = &outputs.svg {
        target.write(report::svg::render(report)?.as_bytes())?;
    }
    let built_in = matches!(options.source, Source::BuiltIn);
    if outputs.replace_table() {
        if built_in {
            complain(BUILT_IN_NOTE);
        }
        return Ok(());
    }
    let note = if built_in {
        format!("{BUILT_IN_NOTE}\n")
    } else {
        String::new()
    };
    let table = report::table::render(report, report::table::terminal_width());
    write_stdout(format!("{note}{table}").as_bytes())
}
