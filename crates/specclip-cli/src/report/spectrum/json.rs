//! The JSON record of a spectrum.

use serde::Serialize;

use crate::error::Error;
use crate::record::spectrum::{Report, Row, Values};
use crate::report::json::{self, Header, Skipped, text};

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    header: Header<'a>,
    method: &'a str,
    tolerance: f64,
    top: usize,
    full: bool,
    layers: Vec<Layer<'a>>,
    skipped: Vec<Skipped>,
    totals: Totals,
}

#[derive(Serialize)]
struct Layer<'a> {
    #[serde(flatten)]
    layer: json::Layer<'a>,
    singular_values: &'a [f64],
    residuals: &'a [f64],
    converged: &'a [bool],
    frobenius: Option<f64>,
    stable_rank: Option<f64>,
    method: &'a str,
    matvecs: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Totals {
    layers: usize,
    not_converged: usize,
    refused: usize,
    matvecs: usize,
    seconds: f64,
}

/// The record as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let asked = &report.asked;
    text(&Record {
        header: Header::new(&report.settings),
        method: asked.method,
        tolerance: asked.tolerance,
        top: asked.top,
        full: asked.full,
        layers: report
            .values()
            .map(|(row, values)| layer(row, values))
            .collect(),
        skipped: json::skipped(report),
        totals: totals(report),
    })
}

fn layer<'a>(row: &'a Row, values: &'a Values) -> Layer<'a> {
    Layer {
        layer: json::Layer::new(&row.layer),
        singular_values: &values.singular_values,
        residuals: &values.residuals,
        converged: &values.converged,
        frobenius: values.frobenius,
        stable_rank: values.stable_rank(),
        method: values.method,
        matvecs: values.matvecs,
        seconds: row.elapsed.as_secs_f64(),
    }
}

fn totals(report: &Report) -> Totals {
    Totals {
        layers: report.rows.len(),
        not_converged: report.missed(),
        refused: report.refused(),
        matvecs: report.matvecs(),
        seconds: report.elapsed.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::spectrum::sample;

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let record = json::reread(&render(&sample::report()).unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap());
    }
}
