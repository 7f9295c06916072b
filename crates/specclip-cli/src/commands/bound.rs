//! `specclip bound`: a proven interval for every linear layer, and a bound for the network.

use std::collections::HashMap;
use std::time::Instant;

use specclip::bound::network::{self, Layers};
use specclip::bound::{Interval, Params, interval};
use specclip::{BoxedOperator, Real};
use specclip_onnx::Model;

use crate::analyse::{self, start_threads};
use crate::cli::bound::BoundArgs;
use crate::cli::shared::Precision;
use crate::error::Error;
use crate::memory::Demand;
use crate::options::bound::Options;
use crate::output::{complain, publish};
use crate::progress::Progress;
use crate::record::bound::{Asked, Network, Report, Row};
use crate::record::{self, Settings};
use crate::select;

use super::Outcome;

/// Reads the model, bounds its layers and then the network, prints and writes what was asked for.
pub fn run(args: &BoundArgs) -> Result<Outcome, Error> {
    let options = Options::new(args)?;
    start_threads(options.run.threads)?;
    let model = options.network.load(&options.outputs)?;
    let report = match options.run.precision {
        Precision::F32 => bounds::<f32>(&model, &options)?,
        Precision::F64 => bounds::<f64>(&model, &options)?,
    };
    publish(&report, &options.outputs, &options.network.source)?;
    let refused = report.layers.refused();
    if refused == 0 {
        return Ok(Outcome::Done);
    }
    complain(&format!(
        "warning: {} no interval; the reasons are listed as skipped",
        if refused == 1 {
            "1 layer has".into()
        } else {
            format!("{refused} layers have")
        }
    ));
    Ok(Outcome::Missed)
}

fn bounds<T: Real>(model: &Model, options: &Options) -> Result<Report, Error> {
    let chosen = select::choose(model, &options.network)?;
    let started = Instant::now();
    let places: Vec<(usize, bool)> = chosen
        .units
        .iter()
        .map(|unit| (unit.layer, unit.composed))
        .collect();
    let demand = Some(Demand::ONE_VALUE);
    let rows = analyse::layers::<T, _>(model, chosen.units, demand, |_, operator| {
        interval(operator, &options.params)
    })?;
    let network = options.network.layers.is_empty().then(|| {
        // The network is bounded in f64; intervals of layers rounded to f32 say nothing about it.
        let known = match options.run.precision {
            Precision::F64 => known(&places, &rows),
            Precision::F32 => HashMap::new(),
        };
        whole(model, known, &options.params)
    });
    Ok(Report {
        layers: record::Report {
            settings: Settings::new(model, &options.network, &options.run),
            asked: Asked {
                arguments: options
                    .params
                    .arguments
                    .iter()
                    .map(|argument| argument.name())
                    .collect(),
                failure_probability: options.params.failure_probability,
            },
            rows,
            skipped: chosen.skipped,
            elapsed: started.elapsed(),
        },
        network,
    })
}

/// The rows that are layers of the model, each alone.
fn known(places: &[(usize, bool)], rows: &[Row]) -> HashMap<usize, Interval> {
    let pairs = places.iter().zip(rows);
    let alone = pairs.filter(|((_, composed), _)| !composed);
    alone
        .filter_map(|(&(layer, _), row)| Some((layer, *row.values()?)))
        .collect()
}

fn whole(model: &Model, known: HashMap<usize, Interval>, params: &Params) -> Network {
    let graph = match model.graph() {
        Ok(graph) => graph,
        Err(error) => return Network::Unavailable(error.to_string()),
    };
    let mut layers = ModelLayers {
        model,
        known,
        progress: Progress::new(model.layers.len(), "layers"),
    };
    match network::bound(&graph, &mut layers, params) {
        Ok(bound) => Network::Bound {
            bound,
            names: model
                .layers
                .iter()
                .map(|layer| layer.name.clone())
                .collect(),
        },
        Err(Failure(reason)) => Network::Unavailable(reason),
    }
}

/// The layers of a model, with the intervals that are known already.
struct ModelLayers<'a> {
    model: &'a Model,
    known: HashMap<usize, Interval>,
    progress: Progress,
}

/// Why there is no bound.
struct Failure(String);

impl From<specclip::Error> for Failure {
    fn from(error: specclip::Error) -> Self {
        Self(error.to_string())
    }
}

impl Layers for ModelLayers<'_> {
    type Error = Failure;

    fn operator(&mut self, layer: usize) -> Result<BoxedOperator<f64>, Failure> {
        self.model
            .operator(layer)
            .map_err(|error| Failure(error.to_string()))
    }

    fn interval(&mut self, layer: usize, params: &Params) -> Result<Interval, Failure> {
        if let Some(interval) = self.known.get(&layer) {
            return Ok(*interval);
        }
        let name = self
            .model
            .layers
            .get(layer)
            .map_or("", |layer| layer.name.as_str());
        self.progress.begin(name);
        let operator = self.operator(layer)?;
        let found = interval(&operator, params)
            .map_err(|error| Failure(format!("layer {name:?}: {error}")))?;
        self.known.insert(layer, found);
        self.progress.end();
        Ok(found)
    }
}
