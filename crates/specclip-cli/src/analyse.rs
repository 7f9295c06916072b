//! The work itself: one operator after the other, each with all threads.

use std::time::Instant;

use specclip::{BoxedOperator, Columns, LinearOperator, Real};
use specclip_onnx::Model;

use crate::error::Error;
use crate::memory::{self, Demand};
use crate::progress::Progress;
use crate::record::{Outcome, Row};
use crate::select::Unit;

/// An operator that a layer runs as.
pub type Operator<'a, T> = dyn LinearOperator<Block = Columns<T>> + 'a;

/// Beyond that, threads that wait for each other take all the time that there is.
const MOST_THREADS: usize = 1024;

/// Starts as many threads as asked; one for each processor when nothing is.
pub fn start_threads(threads: Option<usize>) -> Result<(), Error> {
    let Some(threads) = threads else {
        return Ok(());
    };
    if threads > MOST_THREADS {
        let reason = format!("{MOST_THREADS} are the most that make sense");
        return Err(Error::Threads { threads, reason });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|error| Error::Threads {
        threads,
        reason: error.to_string(),
    })
}

/// Does `work` on the chosen layers in network order. `demand` is what it asks of a solver, for the check that
/// there is memory for its vectors; none where the work holds no vectors or is checked by itself.
///
/// A weight with a NaN ends the run, for the file is broken; whatever else a layer cannot give is the layer's own
/// matter, and the others go on.
pub fn layers<T: Real, V>(
    model: &Model,
    units: Vec<Unit>,
    demand: Option<Demand>,
    work: impl Fn(&Unit, &Operator<T>) -> Result<V, specclip::Error>,
) -> Result<Vec<Row<V>>, Error> {
    let mut progress = Progress::new(units.len(), "layers");
    let mut rows = Vec::with_capacity(units.len());
    for unit in units {
        progress.begin(&unit.identity.name);
        let started = Instant::now();
        let outcome = match lack_of_memory::<T>(&unit, demand) {
            Some(reason) => Outcome::Refused(reason),
            None => one(model, &unit, &work)?,
        };
        rows.push(Row {
            layer: unit.identity,
            outcome,
            elapsed: started.elapsed(),
        });
        progress.end();
    }
    Ok(rows)
}

fn one<T: Real, V>(
    model: &Model,
    unit: &Unit,
    work: impl Fn(&Unit, &Operator<T>) -> Result<V, specclip::Error>,
) -> Result<Outcome<V>, Error> {
    let operator = match operator::<T>(model, unit) {
        Ok(operator) => operator,
        Err(error) if is_not_finite(&error) => return Err(error.into()),
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    Ok(match work(unit, &*operator) {
        Ok(values) => Outcome::Values(values),
        Err(error) => Outcome::Refused(error.to_string()),
    })
}

/// Why there is no memory for the vectors of the layer, if so.
pub fn lack_of_memory<T: Real>(unit: &Unit, demand: Option<Demand>) -> Option<String> {
    let layer = &unit.identity;
    memory::lack(
        &layer.input_shape,
        &layer.output_shape,
        demand?,
        size_of::<T>(),
    )
}

fn operator<T: Real>(model: &Model, unit: &Unit) -> Result<BoxedOperator<T>, specclip_onnx::Error> {
    if unit.composed {
        model.composed(unit.layer)
    } else {
        model.operator(unit.layer)
    }
}

/// Whether the file has a weight with a NaN or an infinity.
pub fn is_not_finite(error: &specclip_onnx::Error) -> bool {
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
