//! What the JSON records of all commands share, schema 1. docs/json.md says what each field means and in which unit.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::error::Error;
use crate::record::{self, Identity, Settings};

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
const SCHEMA: u32 = 1;

/// The fields at the beginning of every record.
#[derive(Serialize)]
pub struct Header<'a> {
    schema: u32,
    model: &'a str,
    input: Inputs<'a>,
    precision: &'a str,
    seed: u64,
    compose: bool,
    layer_globs: &'a [String],
    threads: usize,
    version: &'a str,
    processor: String,
}

impl<'a> Header<'a> {
    /// The settings as they are written out.
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            schema: SCHEMA,
            model: &settings.model,
            input: Inputs(&settings.inputs),
            precision: settings.precision,
            seed: settings.seed,
            compose: settings.compose,
            layer_globs: &settings.globs,
            threads: settings.threads,
            version: env!("CARGO_PKG_VERSION"),
            processor: processor(),
        }
    }
}

/// The fields that identify a layer.
#[derive(Serialize)]
pub struct Layer<'a> {
    name: &'a str,
    kind: &'a str,
    input_shape: &'a [usize],
    output_shape: &'a [usize],
    weight: Option<Weight<'a>>,
    multiplicity: usize,
}

impl<'a> Layer<'a> {
    /// A layer as it is written out.
    pub fn new(identity: &'a Identity) -> Self {
        Self {
            name: &identity.name,
            kind: &identity.kind,
            input_shape: &identity.input_shape,
            output_shape: &identity.output_shape,
            weight: identity
                .weight
                .as_ref()
                .map(|(name, shape)| Weight { name, shape }),
            multiplicity: identity.multiplicity,
        }
    }
}

#[derive(Serialize)]
struct Weight<'a> {
    name: &'a str,
    shape: &'a [usize],
}

/// A layer without values.
#[derive(Serialize)]
pub struct Skipped {
    name: String,
    op: String,
    reason: String,
}

/// Every layer without values.
pub fn skipped<A, V>(report: &record::Report<A, V>) -> Vec<Skipped> {
    let all = report.all_skipped().into_iter();
    all.map(|skipped| Skipped {
        name: skipped.name,
        op: skipped.op,
        reason: skipped.reason,
    })
    .collect()
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

/// A record as text, with a line break at its end.
pub fn text(record: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec_pretty(record).map_err(|error| Error::Format {
        format: "JSON",
        reason: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(text)
}

/// A record as it is read again, without what belongs to the machine and the version and not to the schema.
#[cfg(test)]
pub fn reread(text: &[u8]) -> serde_json::Value {
    let mut record: serde_json::Value = serde_json::from_slice(text).unwrap();
    let processor = record["processor"].as_str();
    assert!(processor.is_some_and(|name| !name.is_empty()));
    record["processor"] = "a processor".into();
    record["version"] = "0.0.0".into();
    record
}

/// The processor's name where the system tells it, else its architecture.
pub fn processor() -> String {
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
