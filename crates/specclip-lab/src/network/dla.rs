//! Deep layer aggregation (Yu, Wang, Shelhamer & Darrell, CVPR 2018) for small images.

use burn::module::Module;
use burn::nn::{BatchNorm, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::block::BasicBlock;
use super::{Build, ConvNorm, averaged};
use crate::error::Error;
use crate::export::Export;
use crate::export::recording::{Recording, Value};

/// A tree whose leaves are blocks, joined by a 1x1 convolution of all their outputs. A tree of level
/// 2 runs one of level 1 first, and a block beside it.
#[derive(Module, Debug)]
pub struct Tree {
    /// The block beside the subtree; none at level 1.
    beside: Option<BasicBlock>,
    /// The subtrees, the deepest first.
    subtrees: Vec<Tree>,
    left: BasicBlock,
    right: BasicBlock,
    root: ConvNorm,
}

impl Tree {
    fn new(
        build: Build,
        (ins, outs): (usize, usize),
        level: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let block = |ins, stride| BasicBlock::new(build, ins, outs, stride, 1.0);
        let joined = if level == 1 { 2 } else { level + 2 };
        let root = build.conv(joined * outs, outs, 1, 1)?;
        if level == 1 {
            return Ok(Self {
                beside: None,
                subtrees: Vec::new(),
                left: block(ins, stride)?,
                right: block(outs, 1)?,
                root,
            });
        }
        let mut subtrees = Vec::new();
        for level in (1..level).rev() {
            let ins = if subtrees.is_empty() {
                (ins, stride)
            } else {
                (outs, 1)
            };
            subtrees.push(Self::new(build, (ins.0, outs), level, ins.1)?);
        }
        Ok(Self {
            beside: Some(block(ins, stride)?),
            subtrees,
            left: block(outs, 1)?,
            right: block(outs, 1)?,
            root,
        })
    }

    fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        for block in [
            self.beside.as_mut(),
            Some(&mut self.left),
            Some(&mut self.right),
        ]
        .into_iter()
        .flatten()
        {
            block.norms_mut(to);
        }
        for tree in &mut self.subtrees {
            tree.norms_mut(to);
        }
        self.root.norms_mut(to);
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut outputs = Vec::new();
        if let Some(beside) = &self.beside {
            outputs.push(beside.forward(x.clone()));
        }
        let mut x = x;
        for subtree in &self.subtrees {
            x = subtree.forward(x);
            outputs.push(x.clone());
        }
        for block in [&self.left, &self.right] {
            x = block.forward(x);
            outputs.push(x.clone());
        }
        self.root.activated(Tensor::cat(outputs, 1))
    }

    fn record(&self, to: &mut Recording, name: String, x: Value) -> Result<Value, Error> {
        to.within(name, |to| {
            let mut outputs = Vec::new();
            if let Some(beside) = &self.beside {
                outputs.push(beside.record(to, "beside", x)?);
            }
            let mut x = x;
            for (i, subtree) in self.subtrees.iter().enumerate() {
                x = subtree.record(to, format!("subtrees.{i}"), x)?;
                outputs.push(x);
            }
            for (name, block) in [("left", &self.left), ("right", &self.right)] {
                x = block.record(to, name, x)?;
                outputs.push(x);
            }
            let joined = to.concat(&outputs);
            self.root.record_activated(to, "root", joined)
        })
    }
}

/// DLA in its form for CIFAR: three convolutions, four trees, a dense layer. Its blocks add their
/// branches.
#[derive(Module, Debug)]
pub struct Dla {
    stem: Vec<ConvNorm>,
    trees: Vec<Tree>,
    head: Linear,
}

impl Dla {
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
        let stem = [(channels, 16), (16, 16), (16, 32)];
        let stem = stem.map(|(ins, outs)| build.conv(ins, outs, 3, 1));
        let trees = [
            ((32, 64), 1, 1),
            ((64, 128), 2, 2),
            ((128, 256), 2, 2),
            ((256, 512), 1, 2),
        ];
        let trees =
            trees.map(|(channels, level, stride)| Tree::new(build, channels, level, stride));
        Ok(Self {
            stem: stem.into_iter().collect::<Result<_, _>>()?,
            trees: trees.into_iter().collect::<Result<_, _>>()?,
            head: LinearConfig::new(512, classes).init(device),
        })
    }

    pub(super) fn norms_mut<'a>(&'a mut self, to: &mut Vec<&'a mut BatchNorm>) {
        for layer in &mut self.stem {
            layer.norms_mut(to);
        }
        for tree in &mut self.trees {
            tree.norms_mut(to);
        }
    }

    /// Logits (examples, classes) of a batch (examples, channels, height, width).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.stem.iter().fold(x, |x, conv| conv.activated(x));
        let x = self.trees.iter().fold(x, |x, tree| tree.forward(x));
        self.head.forward(averaged(x))
    }
}

impl Export for Dla {
    fn record(&self, to: &mut Recording, x: Value) -> Result<Value, Error> {
        let mut x = x;
        for (i, conv) in self.stem.iter().enumerate() {
            x = conv.record_activated(to, &format!("stem.{i}"), x)?;
        }
        for (i, tree) in self.trees.iter().enumerate() {
            x = tree.record(to, format!("trees.{i}"), x)?;
        }
        let x = to.average(x);
        to.dense("head", &self.head, x)
    }
}
