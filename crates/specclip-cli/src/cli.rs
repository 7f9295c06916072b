//! The command line, declared. What the values mean is settled in [`crate::options`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use specclip_onnx::InputShape;

/// Exact singular values of the linear layers of a network, read from its model file
#[derive(Debug, Parser)]
#[command(
    name = "specclip",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    // A doc comment here would hide the longer text that the arguments carry.
    Spectrum(Box<SpectrumArgs>),
}

const SPECTRUM_ABOUT: &str = "Print the leading singular values of every linear layer of a network

They belong to the operator that runs, with its padding, stride, dilation, groups and input size, not to a reshaped \
weight. Every value has a residual that measures it, and is marked where it missed the tolerance.";

const SPECTRUM_EXAMPLES: &str = "Examples:
  specclip spectrum                               a small network built in
  specclip spectrum net.onnx                      every layer of your own
  specclip spectrum net.onnx --input 1x3x224x224  for a file that leaves sizes open
  specclip spectrum net.onnx --layer 'layer4.*' --top 10
  specclip spectrum net.onnx --compose --precision f64
  specclip spectrum net.onnx --json=net.json --svg=net.svg
  specclip spectrum layers.toml                   bare weights, described in a file

Exit codes: 0 done; 1 a result missed what was asked; 2 bad usage or bad input.";

const SPECTRUM_COLUMNS: &str = "Columns:
  input -> output  channels first, without the batch axis
  kind             xN: a product applied at N positions, each with these values
  sigma_1 ...      singular values, largest first; * missed the tolerance
  ||M||_F          Frobenius norm, exact
  st.rank          stable rank, (||M||_F / sigma_1)^2
  residual         largest ||M'u - sigma v|| of the row, divided by sigma_1
  state            ok, missed (the tolerance), exact (--full), refused (see skipped)
  matvecs          products with M and with its adjoint on one vector";

/// The arguments of `specclip spectrum`.
#[derive(Args, Debug)]
#[command(
    about = "Print the leading singular values of every linear layer",
    long_about = SPECTRUM_ABOUT,
    after_help = SPECTRUM_EXAMPLES,
    after_long_help = format!("{SPECTRUM_COLUMNS}\n\n{SPECTRUM_EXAMPLES}")
)]
pub struct SpectrumArgs {
    /// Model file: .onnx, or .toml / .safetensors for bare weights [default: a small network built in]
    pub model: Option<PathBuf>,

    /// Shape of an input, batch first: 1x3x224x224, or NAME=1x3x224x224; repeatable
    #[arg(long, value_name = "SHAPE")]
    pub input: Vec<InputShape>,

    /// Only the layers whose name matches; repeatable
    #[arg(long, value_name = "GLOB")]
    pub layer: Vec<String>,

    /// How many singular values to compute for each layer
    #[arg(long, value_name = "K", default_value = "3", value_parser = parse_count, allow_negative_numbers = true)]
    pub top: usize,

    /// Largest residual, relative to sigma_1, that counts as converged
    // The parser takes -1 for a negative number and -1e-4 for a flag.
    #[arg(long, value_name = "TOL", default_value = "1e-4", value_parser = parse_tolerance, allow_hyphen_values = true)]
    pub tol: f64,

    /// How the values are computed
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    pub method: MethodArg,

    /// Fold each batch norm into the convolution before it, as one layer
    #[arg(long)]
    pub compose: bool,

    /// The whole spectrum of each layer, where an exact decomposition is affordable
    #[arg(long)]
    pub full: bool,

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

    /// Write the JSON record to FILE, or print it in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,

    /// Write one CSV row a singular value to FILE, or print them in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub csv: Option<PathBuf>,

    /// Write a picture of the leading values to FILE, or print it in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub svg: Option<PathBuf>,
}

/// The names of the solvers on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Exact where the layer's form gives its values or it is small, Lanczos elsewhere
    Auto,
    /// Thick-restart block Golub-Kahan-Lanczos
    Lanczos,
    /// Subspace iteration with QR
    PowerQr,
    /// Exact decomposition of the materialised operator
    Dense,
    /// Exact decomposition by Fourier transform; circular padding only
    Circulant,
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

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("it must be a whole number, at least 1".into()),
    }
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("it must be a number above 0, such as 1e-4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

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
