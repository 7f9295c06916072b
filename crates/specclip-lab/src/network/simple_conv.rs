//! One convolution and one dense layer.

use burn::module::Module;
use burn::nn::{BatchNorm, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use specclip::operator::{ConvKernel, ConvParams, PaddingMode};

use super::config::LARGEST;
use super::{Build, ConvNorm};
use crate::error::Error;
use crate::export::Export;
use crate::export::recording::{Recording, Value};

/// What a [`SimpleConv`] is made of; by default the first setting of the paper's Figure 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleConvConfig {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Output channels of the convolution.
    pub channels: usize,
    /// Taps along an axis.
    pub kernel: usize,
    /// Stride along both axes.
    pub stride: usize,
    /// Padding on all sides.
    pub padding: usize,
    /// What is padded.
    #[serde(with = "Mode")]
    pub mode: PaddingMode,
    /// Whether a batch normalisation follows the convolution.
    pub batch_norm: bool,
    /// Outputs of the dense layer.
    pub classes: usize,
}

/// The names of the padding modes in settings and checkpoints.
#[derive(Serialize, Deserialize)]
#[serde(remote = "PaddingMode", rename_all = "lowercase")]
enum Mode {
    Zeros,
    Reflect,
    Replicate,
    Circular,
}

impl Default for SimpleConvConfig {
    fn default() -> Self {
        Self {
            input: [1, 28, 28],
            channels: 64,
            kernel: 3,
            stride: 1,
            padding: 1,
            mode: PaddingMode::Reflect,
            batch_norm: false,
            classes: 10,
        }
    }
}

/// A convolution, batch normalisation if asked for, ReLU, and a dense layer: the network of the paper's
/// Figure 1.
#[derive(Module, Debug)]
pub struct SimpleConv {
    conv: ConvNorm,
    head: Linear,
}

impl SimpleConv {
    /// A network with weights as PyTorch draws them.
    ///
    /// # Errors
    /// When the sizes do not fit each other.
    pub fn new(config: &SimpleConvConfig, device: &Device) -> Result<Self, Error> {
        let build = Build {
            batch_norm: config.batch_norm,
            device,
        };
        let weight = [
            config.channels,
            config.input[0],
            config.kernel,
            config.kernel,
        ];
        let params = ConvParams::new(2)
            .padding(config.padding, config.mode)
            .stride(config.stride);
        let output = ConvKernel::<f32>::output_shape(&weight, &config.input, &params)?;
        let mut sizes = output.iter().chain([&config.classes]);
        let head = sizes.try_fold(1usize, |product, &size| product.checked_mul(size));
        if head.is_none_or(|weights| weights > LARGEST) {
            return Err(Error::Setting {
                setting: "network",
                problem: format!(
                    "a dense layer from {output:?} samples to {} outputs is beyond any network of its kind; take less \
                     padding or fewer channels",
                    config.classes
                ),
            });
        }
        Ok(Self {
            conv: build.conv_with(weight, params)?,
            head: LinearConfig::new(output.iter().product(), config.classes).init(device),
        })
    }

    pub(super) fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        self.conv.norms_mut(to);
    }

    /// The convolution, with its batch normalisation if there is one.
    pub fn convolution(&self) -> &ConvNorm {
        &self.conv
    }

    /// Logits (examples, classes) of a batch (examples, channels, height, width).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.conv.activated(x).flatten(1, 3))
    }
}

impl Export for SimpleConv {
    fn record(&self, to: &mut Recording, x: Value) -> Result<Value, Error> {
        let x = self.conv.record_activated(to, "conv", x)?;
        let x = to.flatten(x);
        to.dense("head", &self.head, x)
    }
}
