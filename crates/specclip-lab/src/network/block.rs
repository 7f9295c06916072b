//! The block of two 3x3 convolutions with a shortcut (He, Zhang, Ren & Sun, CVPR 2016).

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::{Build, ConvNorm};
use crate::error::Error;
use crate::export::recording::{Recording, Value};

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

    pub(super) fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        self.first.norms_mut(to);
        self.second.norms_mut(to);
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.norms_mut(to);
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(self.first.activated(x.clone()));
        let sum = match &self.shortcut {
            Some(shortcut) => (y + shortcut.forward(x)) * self.factor,
            None => y + x,
        };
        relu(sum)
    }

    pub(super) fn record(
        &self,
        to: &mut Recording,
        name: impl Into<String>,
        x: Value,
    ) -> Result<Value, Error> {
        to.within(name, |to| {
            let y = self.first.record_activated(to, "first", x)?;
            let y = self.second.record(to, "second", y)?;
            let sum = match &self.shortcut {
                Some(shortcut) => {
                    let shortcut = shortcut.record(to, "shortcut", x)?;
                    let sum = to.add(y, shortcut)?;
                    to.scale(sum, self.factor)
                }
                None => to.add(y, x)?,
            };
            Ok(to.relu(sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};

    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// With nothing from the two convolutions, a block is its shortcut, times the factor where that is
    /// a convolution.
    #[test]
    fn the_factor_is_that_of_a_1x1_shortcut() {
        let device = Device::flex();
        let build = Build {
            batch_norm: false,
            device: &device,
        };
        let x = Tensor::<4>::random([2, 3, 8, 8], Distribution::Normal(0.0, 1.0), &device);
        for (outs, stride, factor) in [(5, 2, 0.5), (5, 2, 1.0), (3, 2, 0.5), (3, 1, 0.5)] {
            let mut block = BasicBlock::new(build, 3, outs, stride, factor).unwrap();
            block.second.conv.weight = block.second.conv.weight.map(|w| w.zeros_like());
            block.second.conv.bias = block.second.conv.bias.map(|b| b.map(|b| b.zeros_like()));
            let expected = match &block.shortcut {
                Some(shortcut) => relu(shortcut.forward(x.clone())) * factor,
                None => relu(x.clone()),
            };
            assert_eq!(block.shortcut.is_some(), (outs, stride) != (3, 1));
            assert_eq!(values(block.forward(x.clone())), values(expected));
        }
    }
}
