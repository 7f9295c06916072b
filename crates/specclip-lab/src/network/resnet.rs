//! ResNet-18 for small images (He, Zhang, Ren & Sun, CVPR 2016).

use burn::module::Module;
use burn::nn::{BatchNorm, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::block::BasicBlock;
use super::{Build, ConvNorm, averaged};
use crate::error::Error;
use crate::export::Export;
use crate::export::recording::{Recording, Value};

/// ResNet-18 with a 3x3 convolution of stride 1 at the front and no pooling behind it, as for CIFAR.
/// As in the paper's experiments, a block whose shortcut is a convolution averages its two branches,
/// so that a bound of 1 on every layer bounds the block by 1.
#[derive(Module, Debug)]
pub struct ResNet18 {
    stem: ConvNorm,
    blocks: Vec<BasicBlock>,
    head: Linear,
}

impl ResNet18 {
    /// For images of `channels` channels; without batch normalisation the convolutions have biases.
    ///
    /// # Errors
    /// When a size is zero.
    pub fn new(
        channels: usize,
        classes: usize,
        batch_norm: bool,
        device: &Device,
    ) -> Result<Self, Error> {
        let build = Build { batch_norm, device };
        let mut blocks = Vec::new();
        let mut ins = 64;
        for (outs, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
            blocks.push(BasicBlock::new(build, ins, outs, stride, 0.5)?);
            blocks.push(BasicBlock::new(build, outs, outs, 1, 0.5)?);
            ins = outs;
        }
        Ok(Self {
            stem: build.conv(channels, 64, 3, 1)?,
            blocks,
            head: LinearConfig::new(512, classes).init(device),
        })
    }

    pub(super) fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        self.stem.norms_mut(to);
        for block in &mut self.blocks {
            block.norms_mut(to);
        }
    }

    /// Logits (examples, classes) of a batch (examples, channels, height, width).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.stem.activated(x);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(averaged(x))
    }
}

impl Export for ResNet18 {
    fn record(&self, to: &mut Recording, x: Value) -> Result<Value, Error> {
        let mut x = self.stem.record_activated(to, "stem", x)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.record(to, format!("blocks.{i}"), x)?;
        }
        let x = to.average(x);
        to.dense("head", &self.head, x)
    }
}
