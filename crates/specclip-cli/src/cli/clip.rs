//! The arguments of `specclip clip`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::{FoldArgs, NetworkArgs, RecordArgs, RunArgs, parse_tolerance};

const ABOUT: &str = "Write the model again with no layer's spectral norm above C

Convolutions, transposed convolutions and dense layers are clipped; batch norms only where --layer names them, or with \
--compose as part of the convolution before them. A layer that already obeys is not touched, but for --raise. Only the weights change, \
in their place and type; every other byte of the file stays. Weights stored in 16 bits obey as they are stored. A \
weight that several layers use is one weight: it obeys wherever it is used.

Whether a layer obeys is decided by a new solve from random vectors, never by the method's own estimate.";

const EXAMPLES: &str = "Examples:
  specclip clip net.onnx --norm 1.0 -o clipped.onnx
  specclip clip net.onnx --norm 1.0 --dry-run           what it would do
  specclip clip net.onnx --norm 0.9 -o out.onnx --layer 'layer4.*' --proven
  specclip clip net.onnx --norm 1.0 -o out.onnx --compose --method fastclip
  specclip clip layers.toml --norm 1.0 -o out.safetensors

Exit codes: 0 every layer obeys; 1 a layer was refused or is not shown to obey (OUT is written all the same, the layer \
marked); 2 bad usage or bad input, and nothing is written.";

const COLUMNS: &str = "Columns:
  before, after  sigma_1 of the layer in MODEL and in OUT; * not converged
  upper          proven upper end of sigma_1 in OUT
  moved          ||W - W_0||_F of the weights, and in % of ||W_0||_F
  gap            how much farther that is than necessary, at most (projection
                 only); with --compose, than necessary with the batch norm as
                 it is
  rounds         of the method
  state          kept (obeyed before), clipped, missed (not shown to obey),
                 refused (see skipped)
  matvecs        products with M, its adjoint and its weight gradient, on one
                 vector each

Files:
Data that an ONNX model keeps in other files is copied to OUT.data (OUT.2.data and so on where there are several), and \
OUT names these. Of bare weights OUT is a .safetensors; their description is not written. OUT is written under a \
temporary name beside it and renamed. It is never a file that the model was read from, by whatever link, even with \
--force.";

/// The arguments of `specclip clip`.
#[derive(Args, Debug)]
#[command(
    about = "Write the model again with no layer's spectral norm above C",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = format!("{COLUMNS}\n\n{EXAMPLES}"),
    mut_arg("model", |arg| arg.help("Model file: .onnx, or .toml / .safetensors for bare weights [default: a small network built in]")),
    mut_arg("csv", |arg| arg.help("Write one CSV row a layer to FILE, or print them in place of the table"))
)]
pub struct ClipArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// Largest spectral norm that a layer may have
    #[arg(long, value_name = "C", value_parser = parse_norm, allow_hyphen_values = true)]
    pub norm: f64,

    /// File for the clipped model; needed unless --dry-run
    #[arg(short, long, value_name = "OUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,

    /// How the new weights are found
    #[arg(long, value_enum, default_value_t = MethodArg::Projection)]
    pub method: MethodArg,

    /// A layer obeys when its norm is at most C (1 + TOL)
    #[arg(long, value_name = "TOL", default_value = "1e-3", value_parser = parse_tolerance, allow_hyphen_values = true)]
    pub tol: f64,

    /// A layer obeys only when the proven upper end of its norm does
    #[arg(long)]
    pub proven: bool,

    /// Also raise norms below C - 0.05 to C (--method fastclip)
    #[arg(long)]
    pub raise: bool,

    /// Relative gap to the nearest weights at which to stop (--method projection) [default: 1e-2]
    #[arg(long, value_name = "GAP", value_parser = parse_tolerance, allow_hyphen_values = true)]
    pub gap: Option<f64>,

    /// Seconds a layer may take before the gap it has is accepted (--method projection) [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub time_limit: Option<f64>,

    #[command(flatten)]
    pub fold: FoldArgs,

    /// Compute and print everything, write no model
    #[arg(long)]
    pub dry_run: bool,

    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub records: RecordArgs,
}

/// The names of the methods on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// The nearest weights that obey, with a certificate of how near; with --compose the batch norm stays
    Projection,
    /// Gradient steps that shrink the leading singular direction
    #[value(name = "fastclip")]
    FastClip,
    /// All weights of the layer times one factor
    Scale,
    /// Singular values clipped at each frequency of the grid, cropped to the kernel; convolutions only
    Frequency,
}

impl MethodArg {
    /// The name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Projection => "projection",
            Self::FastClip => "fastclip",
            Self::Scale => "scale",
            Self::Frequency => "frequency",
        }
    }
}

fn parse_norm(text: &str) -> Result<f64, String> {
    parse_tolerance(text).map_err(|_| "it must be a number above 0, such as 1.0".into())
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    // A century and what is beyond it are alike.
    parse_tolerance(text)
        .map(|seconds| seconds.min(1e9))
        .map_err(|_| "it must be a number of seconds above 0".into())
}
