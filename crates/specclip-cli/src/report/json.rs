//! The JSON record, schema 1. docs/json.md says what each field means and in which unit.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Error;
use crate::record::{Identity, Report, Values};

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
const SCHEMA: u32 = 1;

#[derive(serde::Serialize)]
struct Record<'a> {
    schema: u32,
    model: &'a str,
    input: Inputs<'a>,
    precision: &'a str,
    seed: u64,
    method: &'a str,
    tolerance: f64,
    top: usize,
    full: bool,
    compose: bool,
    layer_globs: &'a [String],
    threads: usize,
    version: &'a str,
    processor: String,
    layers: Vec<Layer<'a>>,
    skipped: Vec<Skipped>,
    totals: Totals,
}

#[derive(serde::Serialize)]
struct Layer<'a> {
    name: &'a str,
    kind: &'a str,
    input_shape: &'a [usize],
    output_shape: &'a [usize],
    weight: Option<Weight<'a>>,
    singular_values: &'a [f64],
    residuals: &'a [f64],
    converged: &'a [bool],
    multiplicity: usize,
    frobenius: Option<f64>,
    stable_rank: Option<f64>,
    method: &'a str,
    matvecs: usize,
    seconds: f64,
}

#[derive(serde::Serialize)]
struct Weight<'a> {
    name: &'a str,
    shape: &'a [usize],
}

#[derive(serde::Serialize)]
struct Skipped {
    name: String,
    op: String,
    reason: String,
}

#[derive(serde::Serialize)]
struct Totals {
    layers: usize,
    not_converged: usize,
    refused: usize,
    matvecs: usize,
    seconds: f64,
}

/// An object with the inputs in the model's order.
struct Inputs<'a>(&'a [(String, Vec<usize>)]);

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, shape) in self.0 {
            map.serialize_entry(name, shape)?;
        }
        map.end()
    }
}

/// The record as text, with a line break at its end.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let settings = &report.settings;
    let record = Record {
        schema: SCHEMA,
        model: &settings.model,
        input: Inputs(&settings.inputs),
        precision: settings.precision,
        seed: settings.seed,
        method: settings.method,
        tolerance: settings.tolerance,
        top: settings.top,
        full: settings.full,
        compose: settings.compose,
        layer_globs: &settings.globs,
        threads: settings.threads,
        version: env!("CARGO_PKG_VERSION"),
        processor: processor(),
        layers: report
            .values()
            .map(|(identity, values)| layer(identity, values))
            .collect(),
        skipped: skipped(report),
        totals: totals(report),
    };
    let mut text = serde_json::to_vec_pretty(&record).map_err(|error| Error::Format {
        format: "JSON",
        reason: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(text)
}

fn layer<'a>(identity: &'a Identity, values: &'a Values) -> Layer<'a> {
    Layer {
        name: &identity.name,
        kind: &identity.kind,
        input_shape: &identity.input_shape,
        output_shape: &identity.output_shape,
        weight: identity
            .weight
            .as_ref()
            .map(|(name, shape)| Weight { name, shape }),
        singular_values: &values.singular_values,
        residuals: &values.residuals,
        converged: &values.converged,
        multiplicity: identity.multiplicity,
        frobenius: values.frobenius,
        stable_rank: values.stable_rank(),
        method: values.method,
        matvecs: values.matvecs,
        seconds: values.elapsed.as_secs_f64(),
    }
}

fn skipped(report: &Report) -> Vec<Skipped> {
    let all = report.all_skipped().into_iter();
    all.map(|skipped| Skipped {
        name: skipped.name,
        op: skipped.op,
        reason: skipped.reason,
    })
    .collect()
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

/// The processor's name where the system tells it, else its architecture.
fn processor() -> String {
    let described = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = described
        .lines()
        .find(|line| line.starts_with("model name"));
    let name = name
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim());
    match name {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("{} ({})", std::env::consts::ARCH, std::env::consts::OS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_schema_is_what_the_documentation_says() {
        let text = render(&sample::report()).unwrap();
        let mut record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        // These belong to the machine and the version, not to the schema.
        assert!(
            record["processor"]
                .as_str()
                .is_some_and(|name| !name.is_empty())
        );
        record["processor"] = "a processor".into();
        record["version"] = "0.0.0".into();
        insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap());
    }
}
