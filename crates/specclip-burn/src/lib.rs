//! # specclip-burn
//!
//! Singular values, bounds and clipping of layers of networks written with
//! [Burn](https://burn.dev), while they are trained.
//!
//! - [`AutodiffOperator`] makes an operator of any affine closure over tensors: its action is the
//!   closure, its transpose comes from automatic differentiation, and vectors stay on the closure's
//!   device. Every solver of [`specclip`] runs on it.
//! - [`Clipper`] finds every linear layer of a module by recording one forward pass ([`trace`](trace())),
//!   and measures and clips them between the steps of an optimiser; [`Method`] has the methods, rivals among them.
//! - [`conv`](conv()) and [`PaddedConv`] are convolutions with any padding, by specclip's kernel on the
//!   CPU, several times as fast there as Burn's own; [`batch_norm`] and [`batch_norm_relu`] train Burn's batch
//!   normalisation there by a kernel of their own.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use specclip::operator::{ConvParams, PaddingMode};
//! use specclip::svd::{Params, singular_values};
//! use specclip_burn::{AutodiffOperator, PaddedConv};
//!
//! let device = Device::flex();
//! let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
//! let conv = PaddedConv::new([8, 3, 3, 3], params, true, &device)?;
//! let operator = AutodiffOperator::<f32, _, 4, 4>::new(&[3, 16, 16], &device, |x: Tensor<4>| {
//!     conv.forward(x)
//! })?;
//! let top = singular_values(&operator, 1, &Params::default())?;
//! assert!(top.converged() && top.sigma[0] > 0.0);
//! # Ok::<(), specclip::Error>(())
//! ```

mod block;
mod clipper;
mod conv;
mod error;
mod flex;
mod layer;
mod norm;
mod operator;
mod scalar;
mod trace;

pub use block::TensorBlock;
pub use clipper::{BatchNorms, Clipper, ClipperState, LayerReport, Method};
pub use conv::{Call, ConvOps, PaddedConv, conv};
pub use error::Error;
pub use norm::{BatchNormOps, Normalisation, batch_norm, batch_norm_relu};
pub use operator::{AutodiffOperator, weight_gradient};
pub use scalar::Scalar;
pub use trace::{Kind, TracedLayer, trace};
