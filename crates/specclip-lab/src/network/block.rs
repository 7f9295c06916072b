//! The block of two 3x3 convolutions with a shortcut (He, Zhang, Ren & Sun, CVPR 2016).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::{Build, ConvNorm};
use crate::error::Error;

/// Two convolutions and a shortcut: the identity, or a 1x1 convolution where the shape changes.
#[derive(Module, Debug)]
pub struct BasicBlock {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
    /// What the sum with a 1x1 shortcut is multiplied by.
    factor: f64,
}

impl BasicBlock {
    pub(super) fn new(
        build: Build,
        ins: usize,
        outs: usize,
        stride: usize,
        factor: f64,
    ) -> Result<Self, Error> {
        let changes = stride != 1 || ins != outs;
        let shortcut = changes.then(|| build.conv(ins, outs, 1, stride));
        Ok(Self {
            first: build.conv(ins, outs, 3, stride)?,
            second: build.conv(outs, outs, 3, 1)?,
            shortcut: shortcut.transpose()?,
            factor,
        })
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(self.first.activated(x.clone()));
        let sum = match &self.shortcut {
            Some(shortcut) => (y + shortcut.forward(x)) * self.factor,
            None => y + x,
        };
        relu(sum)
    }
}
