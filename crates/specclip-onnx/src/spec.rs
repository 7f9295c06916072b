//! Everything about a layer that its operator needs, the weights still undecoded.

use std::sync::Arc;

use specclip::operator::{
    ConvParams, ConvTransposeParams, PaddingMode, PoolParams, ResampleParams,
};

use crate::constant::Constant;

/// What to build.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    /// A convolution, after `before` has padded its input.
    Conv {
        weight: Arc<Constant>,
        params: ConvParams,
        before: Vec<Padding>,
    },
    ConvTranspose {
        weight: Arc<Constant>,
        params: ConvTransposeParams,
    },
    /// `factor` times a matrix stored row by row, outputs x inputs.
    Dense {
        weight: Arc<Constant>,
        factor: f64,
    },
    BatchNorm {
        gamma: Arc<Constant>,
        variance: Arc<Constant>,
        epsilon: f64,
    },
    AvgPool(PoolParams),
    Resize(ResampleParams),
    /// `shape` is the input with an axis of length 1 or the channels in front.
    Pad {
        shape: Vec<usize>,
        padding: Padding,
    },
}

/// Samples added at the ends of each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Padding {
    pub amounts: Vec<(usize, usize)>,
    pub mode: PaddingMode,
}
