//! The convolution's hot loops.
//!
//! Every action of a convolution is a *correlation*: each point of a regular grid of outputs is a
//! sum over taps and channels of weights times a padded source. The forward action is one
//! correlation; its adjoint with stride s is s^d of them, one for each residue of the input
//! coordinate, over the zero-padded output. A correlation is computed as a matrix product whose
//! right-hand side (the im2col matrix) exists only a tile at a time, in cache:
//!
//! * `geometry` turns the parameters of a convolution into padded sizes and index maps;
//! * `padding` writes the padded source and folds gradients back;
//! * `correlation` holds packed weights, cuts the grid into tiles and spreads them over threads;
//! * `micro` is the innermost product on registers; `simd` names its instructions;
//! * `winograd` is a correlation of 3 x 3 taps with fewer multiplications;
//! * `unpacked` runs both actions once without packing the weights;
//! * `gradient` is the weight gradient; `convolution` puts all of it together.
//!
//! Vectors stay channels-first: the innermost product broadcasts weights and loads runs of
//! neighbouring positions, so no transposition of the data is needed (the channels-last form needs
//! two per action, which cost more than they saved on layers of 64 channels).

pub(crate) mod convolution;
mod correlation;
pub(crate) mod geometry;
mod gradient;
mod micro;
mod padding;
pub(crate) mod scratch;
pub(crate) mod simd;
mod unpacked;
mod winograd;
