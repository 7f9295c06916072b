//! What a linear layer of a neural network really does, as the operator that runs.
//!
//! A layer is *implicitly linear* when f(x) = M x + b for a matrix M that nobody forms: every
//! convolution (with its padding, stride, dilation, groups and input size), transposed
//! convolution, dense layer, evaluation-mode batch normalisation, average pooling, linear
//! resampling, and every composition or sum of them. This library holds such layers as
//! [`LinearOperator`]s: the action M x, the transposed action M' y, and, where there are weights,
//! the weight gradient ([`Parametric`]).
//!
//! ```
//! use specclip::operator::{Conv, ConvParams, PaddingMode};
//! use specclip::LinearOperator;
//!
//! // A 3 x 3 box filter on 32 x 32 samples with reflect padding.
//! let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
//! let conv = Conv::<f64>::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, 32, 32], &params)?;
//! let mut x = conv.input_block(1);
//! let mut y = conv.output_block(1);
//! x.as_mut_slice().fill(1.0);
//! conv.apply(&x, &mut y)?;
//! assert!(y.as_slice().iter().all(|&y| y == 9.0));
//! # Ok::<(), specclip::Error>(())
//! ```

pub mod block;
pub mod bound;
pub mod clip;
pub mod error;
mod frequency;
pub mod graph;
mod kernel;
pub mod laws;
pub mod operator;
pub mod parallel;
mod random;
mod real;
pub mod svd;
pub mod weight;

pub use block::{Block, Columns};
pub use error::Error;
pub use operator::{BoxedOperator, LinearOperator};
pub use real::Real;
pub use weight::{BoxedParametric, Parametric};
