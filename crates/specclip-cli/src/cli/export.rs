//! The arguments of `specclip export`.

use std::path::PathBuf;

use clap::Args;

use super::train::about;

const ABOUT: &str = "Write the network of a checkpoint as a model file

The network is written as it is evaluated: batch norms use their running statistics. Parameters have the names and \
shapes that PyTorch gives them, such as blocks.0.first.conv.weight.

OUT.onnx is an ONNX model (operator set 19) with one input, image, whose batch axis is free, and one output, logits. \
OUT.safetensors is the weights alone; OUT.toml beside it describes the layers, so that the other commands read the two.";

const EXAMPLES: &str = "Examples:
  specclip export run/best.safetensors -o net.onnx
  specclip export run/last.safetensors -o weights.safetensors     and weights.toml
  specclip clip net.onnx --norm 1.0 -o clipped.onnx               then go on with the file

Commands that only look (spectrum, bound, compare) read checkpoints as they are.

Exit codes: 0 done; 2 bad usage or bad input, and nothing is written.";

/// The arguments of `specclip export`.
#[derive(Args, Debug)]
#[command(
    about = "Write the network of a checkpoint as a model file",
    long_about = about(ABOUT),
    after_help = EXAMPLES
)]
pub struct ExportArgs {
    /// Checkpoint of specclip train
    pub checkpoint: PathBuf,

    /// File for the model: .onnx, or .safetensors for bare weights with a description beside them
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
}
