//! The record of a run, `run.json`.

use serde::{Deserialize, Serialize};

use super::data::DataId;
use super::figures::{Epoch, Position};
use super::settings::Settings;

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
const SCHEMA: u32 = 1;

/// Everything about a run that is not weights. Lengths of time apart, it is the same for every run with
/// the same settings, data and program on one kind of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 1 until a field changes its meaning.
    pub schema: u32,
    /// The version of specclip that went on with the run last.
    pub version: String,
    /// The version of Burn.
    pub burn: String,
    /// The processor of the machine that went on with the run last.
    pub processor: String,
    /// What the run is.
    pub settings: Settings,
    /// What it learns from.
    pub data: DataId,
    /// How far it has come.
    pub position: Position,
    /// Whether that is its end.
    pub finished: bool,
    /// The figures of each epoch.
    pub epochs: Vec<Epoch>,
}

impl Record {
    pub(super) fn new(
        settings: &Settings,
        data: &DataId,
        position: Position,
        epochs: &[Epoch],
        processor: &str,
    ) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            burn: BURN.to_owned(),
            processor: processor.to_owned(),
            settings: settings.clone(),
            data: data.clone(),
            position,
            finished: settings.is_over(position),
            epochs: epochs.to_vec(),
        }
    }
}

/// The one version that the workspace allows.
const BURN: &str = "0.22.1";

#[cfg(test)]
mod tests {
    /// The version in records is that of the workspace.
    #[test]
    fn burns_version() {
        let manifest = include_str!("../../../../Cargo.toml");
        let pinned = format!("burn = {{ version = \"={}\"", super::BURN);
        assert!(manifest.contains(&pinned), "{pinned}");
    }
}
