//! The arguments of `specclip spectrum`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::{FoldArgs, NetworkArgs, RecordArgs, RunArgs, parse_count, parse_tolerance};

const ABOUT: &str = "Print the leading singular values of every linear layer of a network

They belong to the operator that runs, with its padding, stride, dilation, groups and input size, not to a reshaped \
weight. Every value has a residual that measures it, and is marked where it missed the tolerance.";

const EXAMPLES: &str = "Examples:
  specclip spectrum                               a small network built in
  specclip spectrum net.onnx                      every layer of your own
  specclip spectrum net.onnx --input 1x3x224x224  for a file that leaves sizes open
  specclip spectrum net.onnx --layer 'layer4.*' --top 10
  specclip spectrum net.onnx --compose --precision f64
  specclip spectrum net.onnx --json=net.json --svg=net.svg
  specclip spectrum layers.toml                   bare weights, described in a file

Exit codes: 0 done; 1 a result missed what was asked; 2 bad usage or bad input.";

const COLUMNS: &str = "Columns:
  input -> output  channels first, without the batch axis
  kind             xN: a product applied at N positions, each with these values
  sigma_1 ...      singular values, largest first; * missed the tolerance
  ||M||_F          Frobenius norm, exact
  st.rank          stable rank, (||M||_F / sigma_1)^2
  residual         largest ||M'u - sigma v|| of the row, divided by sigma_1
  state            ok, missed (the tolerance), exact (--full), refused (see
                   skipped)
  matvecs          products with M and with its adjoint on one vector";

/// The arguments of `specclip spectrum`.
#[derive(Args, Debug)]
#[command(
    about = "Print the leading singular values of every linear layer",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = format!("{COLUMNS}\n\n{EXAMPLES}"),
    mut_arg("csv", |arg| arg.help("Write one CSV row a singular value to FILE, or print them in place of the table"))
)]
pub struct SpectrumArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

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

    #[command(flatten)]
    pub fold: FoldArgs,

    /// The whole spectrum of each layer, where an exact decomposition is affordable
    #[arg(long)]
    pub full: bool,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub records: RecordArgs,

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
