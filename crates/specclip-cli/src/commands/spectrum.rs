//! `specclip spectrum`: the leading singular values of every linear layer.

mod warnings;

use std::time::Instant;

use specclip::Real;
use specclip::svd::{Params, State, full_spectrum, singular_values};
use specclip_onnx::Model;

use crate::analyse::{self, Operator, start_threads};
use crate::cli::shared::Precision;
use crate::cli::spectrum::SpectrumArgs;
use crate::error::Error;
use crate::memory::Demand;
use crate::options::spectrum::Options;
use crate::output::{complain, publish};
use crate::record::Settings;
use crate::record::spectrum::{Asked, Report, Values, method_name};
use crate::select;

use super::Outcome;

/// Reads the model, analyses its layers, prints and writes what was asked for.
pub fn run(args: &SpectrumArgs) -> Result<Outcome, Error> {
    let options = Options::new(args)?;
    start_threads(options.run.threads)?;
    let model = options.network.load(&options.outputs)?;
    let report = match options.run.precision {
        Precision::F32 => spectra::<f32>(&model, &options)?,
        Precision::F64 => spectra::<f64>(&model, &options)?,
    };
    publish(&report, &options.outputs, &options.network.source)?;
    for warning in warnings::of(&report, options.run.precision) {
        complain(&format!("warning: {warning}"));
    }
    Ok(Outcome::of(report.missed() + report.refused() > 0))
}

fn spectra<T: Real>(model: &Model, options: &Options) -> Result<Report, Error> {
    let chosen = select::choose(model, &options.network)?;
    let started = Instant::now();
    // Whole spectra are small, or the library refuses them.
    let demand = (!options.full).then_some(Demand {
        top: options.top,
        options: "--input or --top",
    });
    let rows = analyse::layers::<T, _>(model, chosen.units, demand, |_, operator| {
        if options.full {
            whole(operator)
        } else {
            leading(operator, options.top, &options.params)
        }
    })?;
    Ok(Report {
        settings: Settings::new(model, &options.network, &options.run),
        asked: Asked {
            method: method_name(options.params.method),
            tolerance: options.params.tolerance,
            top: options.top,
            full: options.full,
        },
        rows,
        skipped: chosen.skipped,
        elapsed: started.elapsed(),
    })
}

fn leading<T: Real>(
    operator: &Operator<T>,
    top: usize,
    params: &Params,
) -> Result<Values, specclip::Error> {
    let triplets = singular_values(operator, top, params)?;
    Ok(Values {
        method: method_name(triplets.method),
        converged: triplets
            .states
            .iter()
            .map(|&state| state == State::Converged)
            .collect(),
        singular_values: triplets.sigma,
        residuals: triplets.residuals,
        frobenius: operator.frobenius(),
        matvecs: triplets.matvecs,
    })
}

/// A direct decomposition has no residuals and spends no products that compare with a solver's.
fn whole<T: Real>(operator: &Operator<T>) -> Result<Values, specclip::Error> {
    let spectrum = full_spectrum(operator)?;
    Ok(Values {
        method: method_name(spectrum.method),
        converged: vec![true; spectrum.sigma.len()],
        singular_values: spectrum.sigma,
        residuals: Vec::new(),
        frobenius: operator.frobenius(),
        matvecs: 0,
    })
}
