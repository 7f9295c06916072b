//! `specclip compare`: sigma_1 of every layer against what published methods say it is.

mod published;

use std::time::Instant;

use specclip::Real;
use specclip::bound::{self, interval};
use specclip::svd::{Params, singular_values};
use specclip_onnx::Model;

use crate::analyse::{self, Operator, start_threads};
use crate::cli::compare::CompareArgs;
use crate::cli::shared::Precision;
use crate::error::Error;
use crate::memory::Demand;
use crate::options::compare::Options;
use crate::output::{complain, publish};
use crate::record::Settings;
use crate::record::compare::{Asked, Comparison, Method, Report};
use crate::report::table::counted;
use crate::select;

use super::Outcome;

/// Reads the model, compares the methods on its layers, prints and writes what was asked for.
pub fn run(args: &CompareArgs) -> Result<Outcome, Error> {
    let options = Options::new(args)?;
    start_threads(options.run.threads)?;
    let model = options.network.load(&options.outputs)?;
    let report = match options.run.precision {
        Precision::F32 => compare::<f32>(&model, &options)?,
        Precision::F64 => compare::<f64>(&model, &options)?,
    };
    publish(&report, &options.outputs, &options.network.source)?;
    let (missed, refused) = (report.missed(), report.refused());
    if missed > 0 {
        complain(&format!(
            "warning: sigma_1 of {} missed the tolerance and may be larger; try a larger --tol or --precision f64",
            counted(missed, "layer")
        ));
    }
    if refused > 0 {
        complain(&format!(
            "warning: {} could not be compared; the reasons are listed as skipped",
            counted(refused, "layer")
        ));
    }
    Ok(Outcome::of(missed + refused > 0))
}

fn compare<T: Real>(model: &Model, options: &Options) -> Result<Report, Error> {
    let chosen = select::choose(model, &options.network)?;
    let started = Instant::now();
    // Rounding moves a computed norm by a few units; published values are computed in f64.
    let rounding = 32.0 * options.run.precision.epsilon();
    let demand = Some(Demand::ONE_VALUE);
    let rows = analyse::layers::<T, _>(model, chosen.units, demand, |_, operator| {
        let top = singular_values(operator, 1, &options.params)?;
        Ok(Comparison {
            sigma_1: top.sigma[0],
            converged: top.converged(),
            rounding,
            values: values(operator, &options.params),
        })
    })?;
    Ok(Report {
        settings: Settings::new(model, &options.network, &options.run),
        asked: Asked {
            tolerance: options.params.tolerance,
        },
        rows,
        skipped: chosen.skipped,
        elapsed: started.elapsed(),
    })
}

fn values<T: Real>(operator: &Operator<T>, params: &Params) -> [Option<f64>; Method::ALL.len()] {
    let structure = operator.structure();
    let bounds = bound::Params {
        seed: params.seed,
        ..bound::Params::default()
    };
    Method::ALL.map(|method| match method {
        Method::Proven => Some(interval(operator, &bounds).ok()?.upper),
        published => published::value(published, &structure, params.seed),
    })
}
