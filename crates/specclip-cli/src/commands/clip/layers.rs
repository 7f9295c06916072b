//! Clips one layer after the other, until all obey with the weights that the file stores.

use std::time::{Duration, Instant};

use specclip::Real;
use specclip_onnx::Model;

use super::clipper::{Clipper, Stop};
use crate::analyse::lack_of_memory;
use crate::error::Error;
use crate::memory::Demand;
use crate::options::clip::Options;
use crate::progress::Progress;
use crate::record::clip::{Row, Values};
use crate::record::{self, Outcome};
use crate::select::Unit;

/// Times that all uses of a shared weight are gone through with the method asked for. Then it is scaled, which lowers
/// every use at once.
const METHOD_PASSES: usize = 8;
const MOST_PASSES: usize = METHOD_PASSES + 2;

/// Clips the layers in network order; the model has the new weights. A layer that cannot be clipped keeps its own.
pub fn clip<T: Real>(
    model: &mut Model,
    units: Vec<Unit>,
    options: &Options,
) -> Result<Vec<Row>, Error> {
    let original = model.clone();
    let mut progress = Progress::new(units.len(), "layers");
    let mut jobs: Vec<Job> = units.into_iter().map(Job::new).collect();
    for pass in 0..MOST_PASSES {
        for i in 0..jobs.len() {
            if jobs[i].settled {
                continue;
            }
            progress.begin(&jobs[i].unit.identity.name);
            let mut clipper = Clipper::new(model, &original, options);
            if pass >= METHOD_PASSES {
                clipper.only_scale();
            }
            let changed = jobs[i].run::<T>(&mut clipper)?;
            if changed {
                unsettle(&mut jobs, i, model);
            }
            if pass == 0 {
                progress.end();
            }
        }
    }
    Ok(jobs.into_iter().map(Job::row).collect())
}

/// Lets the other users of a weight that was changed be looked at again.
fn unsettle(jobs: &mut [Job], changed: usize, model: &Model) {
    let layers = jobs[changed].layers(model);
    for (i, job) in jobs.iter_mut().enumerate() {
        let own = job.layers(model);
        let shared = |&a: &usize| own.iter().any(|&b| model.share_weights(a, b));
        if i != changed && layers.iter().any(shared) {
            job.settled = false;
        }
    }
}

/// One layer and what has come of it so far.
struct Job {
    unit: Unit,
    outcome: Option<Outcome<Values>>,
    elapsed: Duration,
    /// Whether nothing has changed its weights since it was last judged.
    settled: bool,
}

impl Job {
    fn new(unit: Unit) -> Self {
        Self {
            unit,
            outcome: None,
            elapsed: Duration::ZERO,
            settled: false,
        }
    }

    /// The layer, and the batch norm that is folded into it.
    fn layers(&self, model: &Model) -> Vec<usize> {
        let norm = model.layers[self.unit.layer].batch_norm;
        let norm = norm.filter(|_| self.unit.composed);
        let layers = [Some(self.unit.layer), norm];
        layers.into_iter().flatten().collect()
    }

    /// Clips the layer; whether the model's weights have changed.
    fn run<T: Real>(&mut self, clipper: &mut Clipper) -> Result<bool, Error> {
        let started = Instant::now();
        self.settled = true;
        let known = match &self.outcome {
            Some(Outcome::Values(values)) => Some(values.clone()),
            // What could not be done once cannot be done again.
            Some(Outcome::Refused(_)) => return Ok(false),
            None => None,
        };
        let done = match lack_of_memory::<T>(&self.unit, Some(Demand::ONE_VALUE)) {
            Some(reason) => Err(Stop::Refused(reason)),
            None => clipper.clip::<T>(&self.unit, known),
        };
        self.elapsed += started.elapsed();
        let (outcome, changed) = match done {
            Ok((values, changed)) => (Outcome::Values(values), changed),
            Err(Stop::Refused(reason)) => (Outcome::Refused(reason), false),
            Err(Stop::Broken(error)) => return Err(error),
        };
        self.outcome = Some(outcome);
        Ok(changed)
    }

    fn row(self) -> Row {
        let unseen = || Outcome::Refused("it was not looked at".to_owned());
        record::Row {
            layer: self.unit.identity,
            outcome: self.outcome.unwrap_or_else(unseen),
            elapsed: self.elapsed,
        }
    }
}
