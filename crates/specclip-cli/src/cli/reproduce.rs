//! The arguments of `specclip reproduce`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::shared::{RunArgs, parse_count};
use super::train::about;

const ABOUT: &str = "Compute figures of the paper again: tables, numbers and pictures

The paper is \"Spectrum Extraction and Clipping for Implicitly Linear Layers\" (Ebrahimpour-Boroojeny, Telgarsky & \
Sundaram, AISTATS 2024).";

const EXAMPLES: &str = "Examples:
  specclip reproduce fig1 --data data/MNIST --quick
  specclip reproduce fig5a                    files fig5a/fig5a.csv, .json and .svg
  specclip reproduce fig5a --filters 10 --channels 1,4 --size 16
  specclip reproduce fig5b --out results
  specclip reproduce fig5b --top 1,5,10 --repetitions 1

Exit codes: 0 done; 1 a value of fig5a missed its tolerance, or a norm of fig1 did not converge; 2 bad usage or bad \
input.";

/// The arguments of `specclip reproduce`.
#[derive(Args, Debug)]
#[command(
    about = "Compute figures of the paper again",
    long_about = ABOUT,
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub struct ReproduceArgs {
    /// Which figure
    #[command(subcommand)]
    pub figure: Figure,
}

/// The figures.
#[derive(Debug, Subcommand)]
pub enum Figure {
    // Doc comments here would hide the longer texts that the arguments carry.
    Fig1(Fig1Args),
    Fig5a(Fig5aArgs),
    Fig5b(Fig5bArgs),
}

const FIG1_ABOUT: &str = "The spectral norm of a convolution in training, by padding and method

Networks of one convolution (64 output channels), ReLU and a dense layer are trained as specclip train --recipe simple \
does, with the convolution held down to a spectral norm of 1 by each method, and by none: 3x3 taps with reflect padding 1, \
with zero padding 1, the same with stride 2, and 5x5 taps with replicate padding 2 and stride 2. The norm is sigma_1 \
of the layer with its padding and stride, measured at the end of each epoch.";

const FIG1_TIME: &str = "Every network is a run of its own in a folder under OUT, with checkpoints and run.json. Run the same \
command again after any interruption: networks that are trained are not trained again, and the one that was interrupted goes \
on from its last checkpoint. specclip spectrum reads the checkpoints.
The whole figure trains each network for 120 epochs on all images, which takes hours; --quick takes 8 epochs on 6400 of \
them, clips every 20 instead of every 100 steps, and says so in the picture.";

const FIG1_EXAMPLES: &str = "Examples:
  specclip reproduce fig1 --data data/MNIST --quick
  specclip reproduce fig1 --data data/MNIST --out results

Exit codes: 0 done; 1 a norm did not converge; 2 bad usage or bad input.";

/// The arguments of `specclip reproduce fig1`.
#[derive(Args, Debug)]
#[command(
    about = "Figure 1: the norm of a convolution in training, by padding and method",
    long_about = about(FIG1_ABOUT),
    after_help = FIG1_EXAMPLES,
    after_long_help = format!("{FIG1_TIME}\n\n{FIG1_EXAMPLES}")
)]
#[cfg_attr(
    not(feature = "lab"),
    allow(dead_code, reason = "declared for its help")
)]
pub struct Fig1Args {
    /// Folder of the images, MNIST in the paper (scripts/fetch-data makes one)
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Fewer epochs on a part of the images
    #[arg(long)]
    pub quick: bool,

    /// Folder for the files and the runs [default: fig1, with --quick fig1-quick]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Seed of the weights and of the order of the images
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

const FIG5A_ABOUT: &str = "How far the circulant value is from sigma_1, by padding, kernel size and channels

The circulant value is the largest singular value of the same filter with circular padding on the same input (Sedghi, \
Gupta & Long 2019), by Fourier transform. sigma_1 is that of the layer with its own padding, by Lanczos. Filters have \
as many output as input channels and independent standard normal weights; every padding gets the same filters. The \
absolute difference is averaged over them.";

const FIG5A_TIME: &str = "The default takes about 5 minutes on two cores; the time grows with filters, with size^2 and with \
channels^2 or more.";

/// The arguments of `specclip reproduce fig5a`.
#[derive(Args, Debug)]
#[command(
    about = "Figure 5a: the circulant value against sigma_1, by padding",
    long_about = FIG5A_ABOUT,
    after_long_help = FIG5A_TIME,
    mut_arg("precision", |arg| arg.default_value("f64"))
)]
pub struct Fig5aArgs {
    /// Random filters for each mean
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count, allow_negative_numbers = true)]
    pub filters: usize,

    /// Numbers of channels, input and output alike
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4,8,16,32", value_parser = parse_count, allow_negative_numbers = true)]
    pub channels: Vec<usize>,

    /// Samples of the input along each axis
    #[arg(long, value_name = "N", default_value = "32", value_parser = parse_count, allow_negative_numbers = true)]
    pub size: usize,

    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "fig5a")]
    pub out: PathBuf,

    #[command(flatten)]
    pub run: RunArgs,
}

const FIG5B_ABOUT: &str = "Time for the k largest singular values: PowerQR, power iteration with deflation, and this program

The layer has 3x3 taps, 32 input and output channels, zero padding 1 on 32x32 samples, and random weights as PyTorch \
draws them. PowerQR is the paper's Algorithm 1 with mu = 1. Power iteration on M'M with deflation finds one value after \
the other, as in Virmaux & Scaman 2018. All are brought to the same accuracy: the loosest setting of each method's own \
knob is searched with which every one of the k values is within 1e-3 (relative) of the converged truth, and the run with \
that setting is what counts. The program's default, which knows nothing of the truth, is shown as well.";

const FIG5B_KNOBS: &str = "Knobs: iterations (PowerQR); the change of the vector at which one value's iteration ends (deflation, at most \
2000 iterations a value); the residual that counts as converged (this program).
Matvecs are products with M and with its adjoint on one vector. Times are medians over the repetitions, each with \
starting vectors of its own.
The default takes about 5 minutes on two cores.";

/// The arguments of `specclip reproduce fig5b`.
#[derive(Args, Debug)]
#[command(
    about = "Figure 5b: time of three methods for the k largest values",
    long_about = FIG5B_ABOUT,
    after_long_help = FIG5B_KNOBS
)]
pub struct Fig5bArgs {
    /// Numbers of leading values
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,5,10,20,30,40,50", value_parser = parse_count, allow_negative_numbers = true)]
    pub top: Vec<usize>,

    /// Runs of each method; times are their medians
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_count, allow_negative_numbers = true)]
    pub repetitions: usize,

    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "fig5b")]
    pub out: PathBuf,

    #[command(flatten)]
    pub run: RunArgs,
}
