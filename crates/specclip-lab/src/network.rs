//! The networks of the paper's experiments.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use specclip::operator::{ConvParams, PaddingMode};
use specclip_burn::{PaddedConv, batch_norm, batch_norm_relu};

use crate::error::Error;
use crate::export::recording::{Recording, Value};

mod block;
mod config;
mod dla;
mod resnet;
mod simple_conv;

pub use config::{DeepConfig, Network, NetworkConfig};
pub use dla::Dla;
pub use resnet::ResNet18;
pub use simple_conv::{SimpleConv, SimpleConvConfig};

/// A convolution and the batch normalisation behind it, if the network has them. Without one, the
/// convolution has a bias.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: PaddedConv<4>,
    /// The batch normalisation.
    pub norm: Option<BatchNorm>,
}

/// What all layers of a network have in common.
#[derive(Debug, Clone, Copy)]
struct Build<'a> {
    batch_norm: bool,
    device: &'a Device,
}

impl Build<'_> {
    /// A convolution with as much zero padding as keeps the size at stride 1.
    fn conv(self, ins: usize, outs: usize, taps: usize, stride: usize) -> Result<ConvNorm, Error> {
        let params = ConvParams::new(2)
            .padding(taps / 2, PaddingMode::Zeros)
            .stride(stride);
        self.conv_with([outs, ins, taps, taps], params)
    }

    fn conv_with(self, weight: [usize; 4], params: ConvParams) -> Result<ConvNorm, Error> {
        let conv = PaddedConv::new(weight, params, !self.batch_norm, self.device)?;
        let norm = BatchNormConfig::new(weight[0]);
        Ok(ConvNorm {
            conv,
            norm: self.batch_norm.then(|| norm.init(self.device)),
        })
    }
}

impl ConvNorm {
    /// A batch (examples, channels, height, width), without an activation.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv.forward(x);
        match &self.norm {
            Some(norm) => batch_norm(norm, y),
            None => y,
        }
    }

    /// Its batch normalisation, if it has one, into a list of a network's.
    fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        to.extend(self.norm.as_mut());
    }

    fn activated(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv.forward(x);
        match &self.norm {
            Some(norm) => batch_norm_relu(norm, y),
            None => relu(y),
        }
    }

    /// The steps of [`ConvNorm::forward`].
    fn record(&self, to: &mut Recording, name: &str, x: Value) -> Result<Value, Error> {
        to.within(name, |to| {
            let y = to.conv("conv", &self.conv, x)?;
            match &self.norm {
                Some(norm) => to.batch_norm("norm", norm, y),
                None => Ok(y),
            }
        })
    }

    fn record_activated(&self, to: &mut Recording, name: &str, x: Value) -> Result<Value, Error> {
        let y = self.record(to, name, x)?;
        Ok(to.relu(y))
    }
}

/// The mean over all positions: (examples, channels).
fn averaged(x: Tensor<4>) -> Tensor<2> {
    let [examples, channels, height, width] = x.dims();
    x.reshape([examples, channels, height * width])
        .mean_dim(2)
        .reshape([examples, channels])
}
