//! The arguments of `specclip train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::{parse_count, parse_tolerance};

const ABOUT: &str = "Train a network whose layers are clipped to a spectral norm

A run is a folder. It has the checkpoints best.safetensors (by test accuracy) and last.safetensors, an event file for \
TensorBoard, and run.json, the record of all figures (docs/json.md). A run that was interrupted, by whatever, goes on with --resume \
from its last checkpoint and ends as one that was never interrupted, to the last bit.";

/// What a program without the command says.
pub const ABSENT: &str = "this program was built without training; build it with training by: cargo install --path \
                          crates/specclip-cli --features lab";

// Lines that belong together are short enough for a terminal of 80 columns, where longer ones would be broken.
const EXAMPLES: &str = "Examples:
  specclip train --recipe simple --data data/MNIST --norm 1 --out run
  specclip train --recipe cifar10 --data data/cifar-10-batches-bin \\
    --norm 1 --method fastclip --out run
  specclip train --recipe simple --data data/MNIST --batch-norm compose \\
    --norm 1 --every 50 --out run
  specclip train --recipe simple --data data/MNIST --norm 1 \\
    --method spectral-norm --out run
  specclip train --model dla --data data/MNIST --norm 1 --layer 'head=5' \\
    --out run
  specclip train --resume --out run

Exit codes: 0 done; 1 a layer is not shown to obey at the end; 2 bad usage or bad input, a loss that is no number \
any more, or a file that cannot be written (the last checkpoint stays as it was).";

const RECIPES: &str = "Recipes, all with batches of 128 images and without clipping:
  mnist    ResNet-18; Adam 1e-3, weight decay 1e-4; 120 epochs, the
           learning rate times 0.1 after every 40
  cifar10  ResNet-18; SGD 0.1, momentum 0.9, weight decay 5e-4; 200 epochs,
           the learning rate times 0.1 after every 40; random crops with
           padding 4 and flips
  simple   one convolution (3x3, 64 channels, reflect padding 1) and one
           dense layer, no batch norm; SGD 1e-3, momentum 0.9; 120 epochs;
           random flips, pixels from 0 to 1
Without --recipe it is the one for the network and the data. Other options go before it.

Time on two cores: an epoch of MNIST takes about half a minute with simple, and one of CIFAR-10 with ResNet-18 a quarter of an hour \
or more.

Data: a folder with MNIST, Fashion-MNIST or CIFAR-10 as torchvision or their authors lay them out; scripts/fetch-data \
makes such folders.";

/// The arguments of `specclip train`.
#[derive(Args, Debug)]
#[command(
    about = "Train a network whose layers are clipped to a spectral norm",
    long_about = about(ABOUT),
    after_help = EXAMPLES,
    after_long_help = format!("{RECIPES}\n\n{EXAMPLES}"),
    arg_required_else_help = true
)]
#[cfg_attr(
    not(feature = "lab"),
    allow(
        dead_code,
        reason = "the arguments are declared for the help and read by the training alone"
    )
)]
pub struct TrainArgs {
    /// Settings of the paper's experiments
    #[arg(long, value_enum, value_name = "RECIPE")]
    pub recipe: Option<RecipeArg>,

    /// Which network
    #[arg(long, value_enum, value_name = "MODEL")]
    pub model: Option<ModelArg>,

    /// Folder with the images
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Folder for the run; new or empty, unless --resume
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Go on with the run in the folder, if there is one; with more --epochs even where it is over, unless --steps has
    /// ended it
    #[arg(long)]
    pub resume: bool,

    /// Seed of the first weights, the order of the images, crops and flips [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,

    /// Threads to use; a run is the same only with the same number [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub threads: Option<usize>,

    /// Steps between two checkpoints within an epoch
    #[arg(long, value_name = "STEPS", default_value = "100", value_parser = parse_count, allow_negative_numbers = true)]
    pub checkpoint_every: usize,

    #[command(flatten)]
    pub clipping: ClippingArgs,

    #[command(flatten)]
    pub learning: LearningArgs,

    #[command(flatten)]
    pub conv: ConvArgs,
}

/// What a command that needs training does, and whether this program has it.
pub fn about(text: &str) -> String {
    if cfg!(feature = "lab") {
        text.to_owned()
    } else {
        format!("{text}\n\nNot in this program: {ABSENT}")
    }
}

/// What is clipped, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Clipping")]
#[cfg_attr(not(feature = "lab"), allow(dead_code, reason = "as TrainArgs"))]
pub struct ClippingArgs {
    /// Largest spectral norm that a layer may have [default: nothing is clipped]
    #[arg(long, value_name = "C", value_parser = parse_norm, allow_hyphen_values = true)]
    pub norm: Option<f64>,

    /// Another norm for the layers whose name matches; repeatable, the last one counts
    #[arg(long, value_name = "GLOB=C", value_parser = parse_layer)]
    pub layer: Vec<(String, f64)>,

    /// How norms are held down [default: projection, if there is a norm]
    #[arg(long, value_enum, value_name = "METHOD")]
    pub method: Option<TrainMethodArg>,

    /// Factor of gram-penalty in the loss [default: 1]
    #[arg(long, value_name = "W", value_parser = parse_rate, allow_hyphen_values = true)]
    pub penalty_weight: Option<f64>,

    /// Steps from one clip to the next, for methods that clip now and then; the last step of an epoch clips in any
    /// case [default: 100]
    #[arg(long, value_name = "STEPS", value_parser = parse_count, allow_negative_numbers = true)]
    pub every: Option<usize>,

    /// Batch norms of the network [default: none for simple-conv, keep for the others]
    #[arg(long, value_enum, value_name = "CHOICE")]
    pub batch_norm: Option<BatchNormArg>,
}

/// How the network learns.
#[derive(Args, Debug)]
#[command(next_help_heading = "Learning (defaults are the recipe's)")]
#[cfg_attr(not(feature = "lab"), allow(dead_code, reason = "as TrainArgs"))]
pub struct LearningArgs {
    /// Passes over the images
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub epochs: Option<usize>,

    /// End after so many steps, even within an epoch
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub steps: Option<usize>,

    /// Images in a batch
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub batch: Option<usize>,

    /// How gradients move weights
    #[arg(long, value_enum, value_name = "OPTIMIZER")]
    pub optimizer: Option<OptimizerArg>,

    /// Learning rate at the beginning
    #[arg(long, value_name = "RATE", value_parser = parse_rate, allow_hyphen_values = true)]
    pub lr: Option<f64>,

    /// Epochs after which the learning rate is multiplied by --lr-factor, again and again
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub lr_step: Option<usize>,

    /// What the learning rate is multiplied by after every --lr-step epochs [default: 0.1]
    #[arg(long, value_name = "FACTOR", value_parser = parse_rate, allow_hyphen_values = true)]
    pub lr_factor: Option<f64>,

    /// Momentum of SGD, 0 to below 1
    #[arg(long, value_name = "M", allow_hyphen_values = true)]
    pub momentum: Option<f64>,

    /// Weight decay, added to the gradient
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    pub weight_decay: Option<f64>,
}

/// The convolution of simple-conv.
#[derive(Args, Debug)]
#[command(next_help_heading = "Convolution of simple-conv")]
#[cfg_attr(not(feature = "lab"), allow(dead_code, reason = "as TrainArgs"))]
pub struct ConvArgs {
    /// Output channels [default: 64]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub channels: Option<usize>,

    /// Taps along both axes [default: 3]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub kernel: Option<usize>,

    /// Stride along both axes [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub stride: Option<usize>,

    /// Padding on all sides [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub padding: Option<usize>,

    /// What is padded [default: reflect]
    #[arg(long, value_enum, value_name = "MODE")]
    pub padding_mode: Option<PaddingArg>,
}

/// The recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecipeArg {
    /// ResNet-18 by Adam
    Mnist,
    /// ResNet-18 by SGD
    Cifar10,
    /// One convolution and one dense layer by SGD
    Simple,
}

/// The networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelArg {
    /// One convolution and one dense layer
    SimpleConv,
    /// ResNet-18 for small images
    #[value(name = "resnet18")]
    ResNet18,
    /// Deep layer aggregation for small images
    Dla,
}

/// The methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrainMethodArg {
    /// Nothing is clipped, norms are measured
    None,
    /// The nearest weights that obey
    Projection,
    /// The paper's with a step of our own: an iteration of PowerQR with every step, at most 10 rounds of gradient steps
    /// when it clips, each on up to four vectors, refreshed by Lanczos
    #[value(name = "fastclip")]
    FastClip,
    /// All weights of the layer times one factor
    Scale,
    /// Convolutions (--layer 'conv*=1'): singular values clipped at each frequency, cropped to the kernel
    Frequency,
    /// Rival: times one factor after every step, by the power method (Gouk et al. 2021)
    ScaleEachStep,
    /// Rival: the reshaped kernel brought to the norm in the forward pass, from above and below (Miyato et al. 2018)
    SpectralNorm,
    /// Rival: what the Gram bound is above the norm, added to the loss (Delattre et al. 2023); slow for layers with
    /// hundreds of channels
    GramPenalty,
    /// Rival, dense layers (--layer 'head=1'): a polynomial of the singular values (Newhouse et al. 2025)
    SoftCap,
    /// Rival, dense layers (--layer 'head=1'): the largest singular value is set (Newhouse et al. 2025)
    Hammer,
}

/// What happens to batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BatchNormArg {
    /// In the network, neither measured nor clipped
    Keep,
    /// Not in the network; convolutions have biases
    None,
    /// Clipped by themselves
    Clip,
    /// Clipped together with the convolution before them, as one layer: gamma moves, the convolution is held (what
    /// gram-penalty adds to the loss moves both)
    Compose,
}

/// The optimisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OptimizerArg {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// Adam
    Adam,
}

/// What is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PaddingArg {
    /// Zeros
    Zeros,
    /// The image mirrored at its edge
    Reflect,
    /// The pixels at the edge
    Replicate,
    /// The other side of the image
    Circular,
}

fn parse_norm(text: &str) -> Result<f64, String> {
    parse_tolerance(text).map_err(|_| "it must be a number above 0, such as 1.0".into())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    parse_tolerance(text).map_err(|_| "it must be a number above 0, such as 0.1".into())
}

/// GLOB=C; a glob may have an equals sign in it.
fn parse_layer(text: &str) -> Result<(String, f64), String> {
    let split = text.rsplit_once('=').filter(|(glob, _)| !glob.is_empty());
    let (glob, norm) = split.ok_or("it must be a glob and a norm, such as 'layer4.*=0.5'")?;
    Ok((glob.to_owned(), parse_norm(norm)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_and_its_norm() {
        assert_eq!(parse_layer("a=b*=0.5"), Ok(("a=b*".to_owned(), 0.5)));
        for bad in ["head", "=1", "head=", "head=-1", "head=nan"] {
            assert!(parse_layer(bad).is_err(), "{bad}");
        }
    }
}
