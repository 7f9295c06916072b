//! What several commands take: each group is declared once and flattened into their arguments.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use specclip_onnx::InputShape;

/// Which network, and which of its layers.
#[derive(Args, Clone, Debug)]
pub struct NetworkArgs {
    /// Model file: .onnx, .toml / .safetensors for bare weights, or a checkpoint [default: a small network built in]
    pub model: Option<PathBuf>,

    /// Shape of an input, batch first: 1x3x224x224, or NAME=1x3x224x224; repeatable
    #[arg(long, value_name = "SHAPE")]
    pub input: Vec<InputShape>,

    /// Only the layers whose name matches; repeatable
    #[arg(long, value_name = "GLOB")]
    pub layer: Vec<String>,
}

/// Whether batch norms stand alone.
#[derive(Args, Clone, Copy, Debug)]
pub struct FoldArgs {
    /// Fold each batch norm into the convolution before it, as one layer
    #[arg(long)]
    pub compose: bool,
}

/// How the numbers are computed.
#[derive(Args, Clone, Copy, Debug)]
pub struct RunArgs {
    /// Numbers to compute with
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,

    /// Seed of the random starting vectors
    #[arg(
        long,
        value_name = "N",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub seed: u64,

    /// Threads to use [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub threads: Option<usize>,
}

/// The results as data. A command says by `mut_arg` what a row of its CSV is.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// Write the JSON record to FILE, or print it in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,

    /// Write the CSV rows to FILE, or print them in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub csv: Option<PathBuf>,
}

/// The number type of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Single precision: fast, residuals down to about 1e-6
    F32,
    /// Double precision: slower, residuals down to about 1e-13
    F64,
}

impl Precision {
    /// The name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The distance from 1 to the next number.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON),
            Self::F64 => f64::EPSILON,
        }
    }
}

/// A whole number above 0.
pub fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("it must be a whole number, at least 1".into()),
    }
}

/// A finite number above 0.
pub fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("it must be a number above 0, such as 1e-4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_positive_and_finite() {
        assert_eq!(parse_tolerance("1e-4"), Ok(1e-4));
        for bad in ["0", "-1e-3", "nan", "inf", "small", ""] {
            assert!(parse_tolerance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_positive() {
        assert_eq!(parse_count("12"), Ok(12));
        for bad in ["0", "-1", "1.5", "many", ""] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }
}
