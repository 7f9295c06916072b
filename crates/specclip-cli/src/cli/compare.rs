//! The arguments of `specclip compare`.

use clap::Args;

use super::shared::{FoldArgs, NetworkArgs, RecordArgs, RunArgs, parse_tolerance};

const ABOUT: &str = "Compare sigma_1 of every layer with what published methods say it is

sigma_1 is that of the operator that runs, converged. The other columns are the methods as published, which leave out of \
account how the layer pads: their values with the relative error against sigma_1. Three of them claim to be upper bounds; \
where one is below sigma_1 it is marked. The last column is this program's own proven upper end, for comparison.";

const COLUMNS: &str = "Columns:
  sigma_1         of the layer with its padding, stride, dilation, groups and
                  input size; * missed the tolerance
  reshaped        norm of the kernel as a matrix of c_out rows and c_in / groups
                  x taps columns (Miyato et al. 2018; PyTorch's spectral_norm);
                  claims no bound of the layer
  circular        largest singular value of the layer with circular padding on
                  its own input size, whatever its padding (Sedghi et al.
                  2019); with a stride by aliased blocks (Senderovich et al.
                  2022), where it divides the size; claims no bound of other
                  paddings
  gram            Gram iteration on each frequency of the same circular layer
                  at stride 1 (Delattre et al. 2023); of a dense layer, on its
                  matrix; claims to be a bound
  lipgrid         supremum over all frequencies, from a grid, at stride 1
                  (Araujo et al. 2021); claims to be a bound
  fantastic-four  root of the taps times the least norm of four reshaped
                  kernels (Singla & Feizi 2021); claims to be a bound
  proven          the upper end of specclip bound, which may fail with
                  probability 1e-9

  !               claims to be a bound and is below sigma_1
  -               does not exist for this layer
A transposed layer is compared through the convolution that it transposes.";

const EXAMPLES: &str = "Examples:
  specclip compare                              a small network built in
  specclip compare net.onnx
  specclip compare net.onnx --layer 'stem*' --compose
  specclip compare net.onnx --csv=methods.csv

Exit codes: 0 done, whatever the methods say; 1 a sigma_1 missed the tolerance or a layer was refused; 2 bad usage or bad input.";

/// The arguments of `specclip compare`.
#[derive(Args, Debug)]
#[command(
    about = "Compare sigma_1 of every layer with what published methods say",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = format!("{COLUMNS}\n\n{EXAMPLES}"),
    mut_arg("csv", |arg| arg.help("Write one CSV row a layer and method to FILE, or print them in place of the table")),
    mut_arg("precision", |arg| arg.default_value("f64"))
)]
pub struct CompareArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// Largest residual of sigma_1, relative to it, that counts as converged
    // The parser takes -1 for a negative number and -1e-4 for a flag.
    #[arg(long, value_name = "TOL", default_value = "1e-6", value_parser = parse_tolerance, allow_hyphen_values = true)]
    pub tol: f64,

    #[command(flatten)]
    pub fold: FoldArgs,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub records: RecordArgs,
}
