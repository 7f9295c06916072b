//! The work itself: one operator after the other, each solved with all threads.

use std::time::{Duration, Instant};

use specclip::svd::{Params, State, full_spectrum, singular_values};
use specclip::{BoxedOperator, Columns, LinearOperator, Real};
use specclip_onnx::Model;

use crate::error::Error;
use crate::options::Options;
use crate::progress::Progress;
use crate::record::{Outcome, Report, Row, Settings, Values, method_name};

use super::memory;
use super::select::{Chosen, Unit};

/// Analyses the chosen layers in network order.
pub fn run<T: Real>(
    model: &Model,
    chosen: Chosen,
    settings: Settings,
    options: &Options,
) -> Result<Report, Error> {
    let started = Instant::now();
    let mut progress = Progress::new(chosen.units.len());
    let mut rows = Vec::with_capacity(chosen.units.len());
    for unit in chosen.units {
        progress.begin(&unit.identity.name);
        let outcome = analyse::<T>(model, &unit, options)?;
        rows.push(Row {
            layer: unit.identity,
            outcome,
        });
        progress.end();
    }
    drop(progress);
    Ok(Report {
        settings,
        rows,
        skipped: chosen.skipped,
        elapsed: started.elapsed(),
    })
}

/// A weight with a NaN ends the run, for the file is broken; whatever else a layer cannot give is
/// the layer's own matter, and the others go on.
fn analyse<T: Real>(model: &Model, unit: &Unit, options: &Options) -> Result<Outcome, Error> {
    let started = Instant::now();
    if let Some(reason) = lack_of_memory::<T>(unit, options) {
        return Ok(Outcome::Refused(reason));
    }
    let operator = match operator::<T>(model, unit) {
        Ok(operator) => operator,
        Err(error) if is_not_finite(&error) => return Err(error.into()),
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let result = if options.full {
        whole(&*operator)
    } else {
        leading(&*operator, options.top, &options.params)
    };
    Ok(match result {
        Ok(values) => Outcome::Values(Values {
            elapsed: started.elapsed(),
            ..values
        }),
        Err(error) => Outcome::Refused(error.to_string()),
    })
}

/// Whole spectra are small, or the library refuses them.
fn lack_of_memory<T: Real>(unit: &Unit, options: &Options) -> Option<String> {
    let layer = &unit.identity;
    let bytes = size_of::<T>();
    let lack = || memory::lack(&layer.input_shape, &layer.output_shape, options.top, bytes);
    (!options.full).then(lack).flatten()
}

fn is_not_finite(error: &specclip_onnx::Error) -> bool {
    use specclip::Error::NonFinite;
    use specclip_onnx::Error as Model;
    matches!(
        error,
        Model::NonFinite { .. }
            | Model::Operator {
                source: NonFinite { .. },
                ..
            }
    )
}

fn operator<T: Real>(model: &Model, unit: &Unit) -> Result<BoxedOperator<T>, specclip_onnx::Error> {
    if unit.composed {
        model.composed(unit.layer)
    } else {
        model.operator(unit.layer)
    }
}

type Operator<'a, T> = dyn LinearOperator<Block = Columns<T>> + 'a;

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
        elapsed: Duration::ZERO,
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
        elapsed: Duration::ZERO,
    })
}
