//! The JSON record of bounds.

use serde::Serialize;
use specclip::bound::Interval;
use specclip::bound::network::{self, NetworkBound};

use crate::error::Error;
use crate::record::bound::{Network, Report, Row, gap};
use crate::report::json::{self, Header, Skipped, text};

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    header: Header<'a>,
    arguments: &'a [&'static str],
    failure_probability: f64,
    layers: Vec<Layer<'a>>,
    network: Option<NetworkRecord<'a>>,
    skipped: Vec<Skipped>,
    totals: Totals,
}

#[derive(Serialize)]
struct Layer<'a> {
    #[serde(flatten)]
    layer: json::Layer<'a>,
    lower: f64,
    upper: f64,
    gap: Option<f64>,
    lower_by: &'static str,
    upper_by: &'static str,
    failure_probability: f64,
    seconds: f64,
}

#[derive(Serialize, Default)]
struct NetworkRecord<'a> {
    lower: Option<f64>,
    upper: Option<f64>,
    failure_probability: Option<f64>,
    stopped_by: Vec<Stop<'a>>,
    unavailable: Option<&'a str>,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Stop<'a> {
    name: &'a str,
    op: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Step<'a> {
    name: &'a str,
    op: &'a str,
    layers: Vec<&'a str>,
    inputs: &'a [f64],
    factor: Option<f64>,
    by: &'static str,
    bound: f64,
    share: Option<f64>,
    failure_probability: f64,
}

#[derive(Serialize)]
struct Totals {
    layers: usize,
    refused: usize,
    failure_probability: f64,
    seconds: f64,
}

/// The record as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let layers = &report.layers;
    text(&Record {
        header: Header::new(&layers.settings),
        arguments: &layers.asked.arguments,
        failure_probability: layers.asked.failure_probability,
        layers: layers
            .values()
            .map(|(row, interval)| layer(row, interval))
            .collect(),
        network: report.network.as_ref().map(network),
        skipped: json::skipped(layers),
        totals: Totals {
            layers: layers.rows.len(),
            refused: layers.refused(),
            failure_probability: layers.failure_probability(),
            seconds: layers.elapsed.as_secs_f64(),
        },
    })
}

fn layer<'a>(row: &'a Row, interval: &Interval) -> Layer<'a> {
    Layer {
        layer: json::Layer::new(&row.layer),
        lower: interval.lower,
        upper: interval.upper,
        gap: gap(interval),
        lower_by: interval.lower_by.name(),
        upper_by: interval.upper_by.name(),
        failure_probability: interval.failure_probability,
        seconds: row.elapsed.as_secs_f64(),
    }
}

fn network(network: &Network) -> NetworkRecord<'_> {
    let (bound, names) = match network {
        Network::Unavailable(reason) => {
            return NetworkRecord {
                unavailable: Some(reason),
                ..NetworkRecord::default()
            };
        }
        Network::Bound { bound, names } => (bound, names),
    };
    let steps = steps(bound, names);
    match &bound.outcome {
        network::Outcome::Bounded(ends) => NetworkRecord {
            lower: ends.lower,
            upper: Some(ends.upper),
            failure_probability: Some(ends.failure_probability),
            steps,
            ..NetworkRecord::default()
        },
        network::Outcome::Stopped(stops) => NetworkRecord {
            stopped_by: stops
                .iter()
                .map(|stop| Stop {
                    name: &stop.name,
                    op: &stop.operator,
                    reason: &stop.reason,
                })
                .collect(),
            steps,
            ..NetworkRecord::default()
        },
    }
}

fn steps<'a>(bound: &'a NetworkBound, names: &'a [String]) -> Vec<Step<'a>> {
    let name = |layer: &usize| names.get(*layer).map_or("", String::as_str);
    let steps = bound.steps.iter();
    steps
        .map(|step| Step {
            name: &step.name,
            op: &step.kind,
            layers: step.layers.iter().map(name).collect(),
            inputs: &step.inputs,
            factor: step.factor,
            by: step.reason.name(),
            bound: step.constant,
            share: step.contribution,
            failure_probability: step.failure_probability,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bound::sample;

    fn record(report: &Report) -> serde_json::Value {
        json::reread(&render(report).unwrap())
    }

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let record = record(&sample::bounded());
        insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap());
    }

    #[test]
    fn what_stops_the_network_is_named() {
        let network = &record(&sample::stopped())["network"];
        assert!(network["upper"].is_null() && network["lower"].is_null());
        assert_eq!(network["stopped_by"].as_array().unwrap().len(), 3);
        assert_eq!(network["stopped_by"][0]["op"], "Mul");
        assert_eq!(network["steps"][0]["layers"][0], "stem");
    }
}
