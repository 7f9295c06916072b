//! Which network, in words that a file can keep, and the network of these words.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Dla, ResNet18, SimpleConv, SimpleConvConfig};
use crate::error::Error;
use crate::export::Export;
use crate::export::recording::{Recording, Value};

/// Everything that decides about a network's layers and their sizes. It is written into checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// One convolution and one dense layer.
    SimpleConv(SimpleConvConfig),
    /// ResNet-18 for small images.
    #[serde(rename = "resnet18")]
    ResNet18(DeepConfig),
    /// Deep layer aggregation for small images.
    Dla(DeepConfig),
}

/// What is left open about a deep network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepConfig {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Whether each convolution has a batch normalisation behind it.
    pub batch_norm: bool,
    /// Outputs of the dense layer.
    pub classes: usize,
}

impl NetworkConfig {
    /// The network with weights as PyTorch draws them.
    ///
    /// # Errors
    /// When a size is zero or absurd, or sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<Network, Error> {
        self.check()?;
        let deep = |config: &DeepConfig| (config.input[0], config.classes, config.batch_norm);
        Ok(match self {
            Self::SimpleConv(config) => Network::SimpleConv(SimpleConv::new(config, device)?),
            Self::ResNet18(config) => {
                let (channels, classes, batch_norm) = deep(config);
                Network::ResNet18(ResNet18::new(channels, classes, batch_norm, device)?)
            }
            Self::Dla(config) => {
                let (channels, classes, batch_norm) = deep(config);
                Network::Dla(Dla::new(channels, classes, batch_norm, device)?)
            }
        })
    }

    /// Refuses sizes that would only exhaust the memory: they may come from a file.
    fn check(&self) -> Result<(), Error> {
        let mut sizes = self.input_shape().to_vec();
        sizes.push(self.classes());
        if let Self::SimpleConv(config) = self {
            sizes.extend([config.channels, config.kernel, config.kernel]);
        }
        let product = sizes
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size.max(1)));
        match product {
            Some(product) if product <= LARGEST => Ok(()),
            _ => Err(Error::Setting {
                setting: "network",
                problem: format!(
                    "image, outputs and kernel of {sizes:?} are beyond any network of its kind; take smaller ones"
                ),
            }),
        }
    }

    /// Channels, height and width of an image.
    pub fn input_shape(&self) -> [usize; 3] {
        match self {
            Self::SimpleConv(config) => config.input,
            Self::ResNet18(config) | Self::Dla(config) => config.input,
        }
    }

    /// The number of logits.
    pub fn classes(&self) -> usize {
        match self {
            Self::SimpleConv(config) => config.classes,
            Self::ResNet18(config) | Self::Dla(config) => config.classes,
        }
    }

    /// Whether convolutions have batch normalisations behind them.
    pub fn batch_norm(&self) -> bool {
        match self {
            Self::SimpleConv(config) => config.batch_norm,
            Self::ResNet18(config) | Self::Dla(config) => config.batch_norm,
        }
    }
}

/// The largest product of an image's sizes, the outputs and the sizes of a convolution's kernel: more than
/// any of the weights has, and less than a machine's memory.
pub(super) const LARGEST: usize = 1 << 32;

/// One of the networks; made by [`NetworkConfig::init`].
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a derived module cannot hold its variants in boxes, and there is one network at a time"
)]
pub enum Network {
    /// One convolution and one dense layer.
    SimpleConv(SimpleConv),
    /// ResNet-18.
    ResNet18(ResNet18),
    /// Deep layer aggregation.
    Dla(Dla),
}

impl Network {
    /// Logits (examples, classes) of a batch (examples, channels, height, width).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        match self {
            Self::SimpleConv(net) => net.forward(x),
            Self::ResNet18(net) => net.forward(x),
            Self::Dla(net) => net.forward(x),
        }
    }

    /// All batch normalisations.
    pub(crate) fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        let mut norms = Vec::new();
        match self {
            Self::SimpleConv(net) => net.norms_mut(&mut norms),
            Self::ResNet18(net) => net.norms_mut(&mut norms),
            Self::Dla(net) => net.norms_mut(&mut norms),
        }
        norms
    }
}

impl Export for Network {
    fn record(&self, to: &mut Recording, x: Value) -> Result<Value, Error> {
        match self {
            Self::SimpleConv(net) => net.record(to, x),
            Self::ResNet18(net) => net.record(to, x),
            Self::Dla(net) => net.record(to, x),
        }
    }
}
