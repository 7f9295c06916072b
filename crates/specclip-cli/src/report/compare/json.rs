//! The JSON record of a comparison.

use serde::Serialize;

use crate::error::Error;
use crate::record::compare::{Comparison, Method, Report, Row};
use crate::report::json::{self, Header, Skipped, text};

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    header: Header<'a>,
    tolerance: f64,
    layers: Vec<Layer<'a>>,
    skipped: Vec<Skipped>,
    totals: Totals,
}

#[derive(Serialize)]
struct Layer<'a> {
    #[serde(flatten)]
    layer: json::Layer<'a>,
    sigma_1: f64,
    converged: bool,
    methods: Vec<Said>,
    seconds: f64,
}

#[derive(Serialize)]
struct Said {
    method: &'static str,
    value: Option<f64>,
    relative_error: Option<f64>,
    claims_bound: bool,
    below_sigma_1: bool,
}

#[derive(Serialize)]
struct Totals {
    layers: usize,
    not_converged: usize,
    refused: usize,
    broken_bounds: usize,
    seconds: f64,
}

/// The record as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    text(&Record {
        header: Header::new(&report.settings),
        tolerance: report.asked.tolerance,
        layers: report
            .values()
            .map(|(row, values)| layer(row, values))
            .collect(),
        skipped: json::skipped(report),
        totals: Totals {
            layers: report.rows.len(),
            not_converged: report.missed(),
            refused: report.refused(),
            broken_bounds: Method::ALL
                .into_iter()
                .map(|method| report.broken(method))
                .sum(),
            seconds: report.elapsed.as_secs_f64(),
        },
    })
}

fn layer<'a>(row: &'a Row, values: &Comparison) -> Layer<'a> {
    let said = |method: Method| Said {
        method: method.name(),
        value: values.value(method),
        relative_error: values.error(method),
        claims_bound: method.claims_bound(),
        below_sigma_1: values.broken(method),
    };
    Layer {
        layer: json::Layer::new(&row.layer),
        sigma_1: values.sigma_1,
        converged: values.converged,
        methods: Method::ALL.into_iter().map(said).collect(),
        seconds: row.elapsed.as_secs_f64(),
    }
}
