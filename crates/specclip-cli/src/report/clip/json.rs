//! The JSON record of a clip.

use serde::Serialize;
use specclip::clip::{Method, Norm};

use crate::error::Error;
use crate::record::clip::{Report, Row, Values, method_name};
use crate::report::json::{self, Header, Skipped, text};

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    header: Header<'a>,
    norm: f64,
    method: &'a str,
    tolerance: f64,
    proven: bool,
    raise: bool,
    gap: Option<f64>,
    time_limit: Option<f64>,
    output: Option<String>,
    layers: Vec<Layer<'a>>,
    skipped: Vec<Skipped>,
    totals: Totals,
}

#[derive(Serialize)]
struct Layer<'a> {
    #[serde(flatten)]
    layer: json::Layer<'a>,
    before: Sigma,
    after: Sigma,
    state: &'a str,
    distance: f64,
    relative_distance: Option<f64>,
    least_distance: Option<f64>,
    gap: Option<f64>,
    rounds: usize,
    clips: usize,
    matvecs: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Sigma {
    sigma: f64,
    converged: bool,
    lower: f64,
    upper: f64,
    lower_by: &'static str,
    upper_by: &'static str,
    failure_probability: f64,
}

impl Sigma {
    fn new(norm: &Norm) -> Self {
        let interval = &norm.interval;
        Self {
            sigma: norm.sigma,
            converged: norm.converged,
            lower: interval.lower,
            upper: interval.upper,
            lower_by: interval.lower_by.name(),
            upper_by: interval.upper_by.name(),
            failure_probability: interval.failure_probability,
        }
    }
}

#[derive(Serialize)]
struct Totals {
    layers: usize,
    changed: usize,
    missed: usize,
    refused: usize,
    matvecs: usize,
    seconds: f64,
}

/// The record as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let asked = &report.asked;
    let method = &asked.params.method;
    let projection = match method {
        Method::Projection(settings) => Some(settings),
        _ => None,
    };
    let limit = projection.and_then(|settings| settings.time_limit);
    text(&Record {
        header: Header::new(&report.settings),
        norm: asked.norm,
        method: method_name(method),
        tolerance: asked.params.tolerance,
        proven: asked.params.proven,
        raise: matches!(method, Method::FastClip(settings) if settings.raise),
        gap: projection.map(|settings| settings.gap),
        time_limit: limit.map(|limit| limit.as_secs_f64()),
        output: asked.output.as_ref().map(|path| path.display().to_string()),
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
        before: Sigma::new(&values.before),
        after: Sigma::new(&values.after),
        state: values.state(),
        distance: values.distance,
        relative_distance: values.relative_distance(),
        least_distance: values.least_distance,
        gap: values.gap(),
        rounds: values.rounds,
        clips: values.clips,
        matvecs: values.matvecs,
        seconds: row.elapsed.as_secs_f64(),
    }
}

fn totals(report: &Report) -> Totals {
    Totals {
        layers: report.rows.len(),
        changed: report.changed(),
        missed: report.missed(),
        refused: report.refused(),
        matvecs: report.matvecs(),
        seconds: report.elapsed.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::clip::sample;

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let record = json::reread(&render(&sample::report()).unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap());
    }
}
