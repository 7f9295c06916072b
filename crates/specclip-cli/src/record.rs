//! What a run found, before any format: one row a layer, with everything needed to repeat the run.

pub mod bound;
pub mod clip;
pub mod compare;
pub mod reproduce;
pub mod spectrum;

use std::time::Duration;

use specclip_onnx::Model;

use crate::cli::shared::RunArgs;
use crate::options::Network;

/// The settings that every command has.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model file as given, or the name of the built-in network.
    pub model: String,
    /// The shape of each input of the model, batch first.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// f32 or f64.
    pub precision: &'static str,
    /// Seed of the starting vectors.
    pub seed: u64,
    /// Whether batch norms were folded into convolutions.
    pub compose: bool,
    /// The `--layer` patterns.
    pub globs: Vec<String>,
    /// Threads at work.
    pub threads: usize,
}

impl Settings {
    /// The settings of a run that is about to begin.
    pub fn new(model: &Model, network: &Network, run: &RunArgs) -> Self {
        Self {
            model: network.source.name(),
            inputs: model.inputs.clone(),
            precision: run.precision.name(),
            seed: run.seed,
            compose: network.compose,
            globs: network
                .layers
                .iter()
                .map(|pattern| pattern.text.clone())
                .collect(),
            threads: rayon::current_num_threads(),
        }
    }
}

/// What a command found: `A` is what it alone was asked, `V` what it says of a layer.
#[derive(Clone, Debug)]
pub struct Report<A, V> {
    /// What every command is asked.
    pub settings: Settings,
    /// What this command was asked.
    pub asked: A,
    /// One row a layer, in network order.
    pub rows: Vec<Row<V>>,
    /// Layers that could not be analysed whatever the method, in network order.
    pub skipped: Vec<Skipped>,
    /// The time of the whole analysis.
    pub elapsed: Duration,
}

/// What identifies a layer.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The layer's name.
    pub name: String,
    /// Its kind, in short words.
    pub kind: String,
    /// Channels first, without the batch axis.
    pub input_shape: Vec<usize>,
    /// Channels first, without the batch axis.
    pub output_shape: Vec<usize>,
    /// The weight in the file, if the layer has one: its name and shape.
    pub weight: Option<(String, Vec<usize>)>,
    /// How many positions the operator is applied to, each with these values.
    pub multiplicity: usize,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row<V> {
    /// Which layer.
    pub layer: Identity,
    /// What came of it.
    pub outcome: Outcome<V>,
    /// Building the operator and the work on it.
    pub elapsed: Duration,
}

/// What came of a layer.
#[derive(Clone, Debug)]
pub enum Outcome<V> {
    /// There are values.
    Values(V),
    /// What was asked cannot be done on this layer, for this reason.
    Refused(String),
}

impl<V> Row<V> {
    /// The values, if there are any.
    pub fn values(&self) -> Option<&V> {
        match &self.outcome {
            Outcome::Values(values) => Some(values),
            Outcome::Refused(_) => None,
        }
    }
}

/// A layer that was not analysed.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// The operator type in the file, or the layer's kind.
    pub op: String,
    /// Why.
    pub reason: String,
}

impl<A, V> Report<A, V> {
    /// The rows that have values.
    pub fn values(&self) -> impl Iterator<Item = (&Row<V>, &V)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row, row.values()?)))
    }

    /// How many layers refused what was asked.
    pub fn refused(&self) -> usize {
        self.rows.len() - self.values().count()
    }

    /// Every layer without values and why: those that the reader could not take, and those that refused.
    pub fn all_skipped(&self) -> Vec<Skipped> {
        let refused = self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Values(_) => None,
            Outcome::Refused(reason) => Some(Skipped {
                name: row.layer.name.clone(),
                op: row.layer.kind.clone(),
                reason: reason.clone(),
            }),
        });
        self.skipped.iter().cloned().chain(refused).collect()
    }
}
