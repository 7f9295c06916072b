//! Linear operators: the actions M x and M' y, and one file for each kind of layer.
//!
//! An operator has an input shape and an output shape (channels first, without a batch axis) and
//! acts on blocks of flattened vectors. Biases never take part: M x = f(x) - f(0).
//!
//! | Layer | Operator |
//! |---|---|
//! | dense (fully connected) | [`Dense`] |
//! | convolution, 1-D to 3-D, any padding mode | [`Conv`] |
//! | transposed convolution, 1-D to 3-D | [`ConvTranspose`] |
//! | batch normalisation in evaluation mode | [`Diagonal`] |
//! | average pooling, linear and nearest resampling, padding | [`Separable`] |
//! | one after the other; side by side added up | [`Compose`]; [`Sum`] |
//! | a multiple; the transpose | [`Scaled`]; [`Adjoint`] |
//! | a closure | [`Function`] |

use faer::Mat;

use crate::block::{Block, Columns};
use crate::error::{Error, checked_product};

mod compose;
mod conv;
mod conv_kernel;
mod conv_transpose;
mod dense;
mod diagonal;
mod filter_bank;
mod function;
mod pool;
mod resample;
mod separable;
mod structure;
mod sum;
mod view;

pub use compose::Compose;
pub use conv::{Conv, ConvParams};
pub use conv_kernel::ConvKernel;
pub use conv_transpose::{ConvTranspose, ConvTransposeParams};
pub use dense::Dense;
pub use diagonal::Diagonal;
pub use filter_bank::{FilterBank, FilterParts};
pub use function::{Function, enlarged};
pub use pool::PoolParams;
pub use resample::{Coordinates, NearestRounding, ResampleMode, ResampleParams};
pub use separable::{AxisMatrix, Separable};
pub use structure::{Part, Structure};
pub use sum::Sum;
pub use view::{Adjoint, Scaled};

/// What a convolution reads outside its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaddingMode {
    /// Zeros.
    Zeros,
    /// The other end of the input, as if it were periodic.
    Circular,
    /// The input mirrored at its first and last samples, which are not repeated.
    Reflect,
    /// The first and last samples.
    Replicate,
}

impl PaddingMode {
    /// PyTorch's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zeros => "zeros",
            Self::Circular => "circular",
            Self::Reflect => "reflect",
            Self::Replicate => "replicate",
        }
    }
}

/// A linear map that can be applied and whose transpose can be applied.
///
/// An implementation promises that `apply` is linear and that `adjoint` is its exact transpose up
/// to rounding. Solvers trust both: with a wrong adjoint they converge to singular values of no
/// operator at all. [`laws`](crate::laws) checks a new implementation.
pub trait LinearOperator: Send + Sync {
    /// Where the vectors live.
    type Block: Block;

    /// Shape of one input, channels first, without a batch axis.
    fn input_shape(&self) -> &[usize];

    /// Shape of one output, channels first, without a batch axis.
    fn output_shape(&self) -> &[usize];

    /// `k` zero vectors of the input's length.
    fn input_block(&self, k: usize) -> Self::Block;

    /// `k` zero vectors of the output's length.
    fn output_block(&self, k: usize) -> Self::Block;

    /// `y` <- M `x`, for each vector of the block.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a block does not fit the operator or the blocks have
    /// different numbers of vectors.
    fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error>;

    /// `x` <- M' `y`, for each vector of the block.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error>;

    /// The number n of inputs: the columns of M.
    fn inputs(&self) -> usize {
        self.input_shape().iter().product()
    }

    /// The number m of outputs: the rows of M.
    fn outputs(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// The Frobenius norm of M, exact up to rounding and found without forming M; `None` where
    /// that is not possible.
    fn frobenius(&self) -> Option<f64> {
        self.structure().frobenius(self.input_shape())
    }

    /// What is known about the operator beyond its actions. Methods that use it believe it.
    fn structure(&self) -> Structure {
        Structure::Unknown
    }
}

/// A host operator of unknown kind.
pub type BoxedOperator<T> = Box<dyn LinearOperator<Block = Columns<T>>>;

macro_rules! delegate {
    ($($pointer:ty),*) => {$(
        impl<Op: LinearOperator + ?Sized> LinearOperator for $pointer {
            type Block = Op::Block;

            fn input_shape(&self) -> &[usize] {
                (**self).input_shape()
            }
            fn output_shape(&self) -> &[usize] {
                (**self).output_shape()
            }
            fn input_block(&self, k: usize) -> Self::Block {
                (**self).input_block(k)
            }
            fn output_block(&self, k: usize) -> Self::Block {
                (**self).output_block(k)
            }
            fn apply(&self, x: &Self::Block, y: &mut Self::Block) -> Result<(), Error> {
                (**self).apply(x, y)
            }
            fn adjoint(&self, y: &Self::Block, x: &mut Self::Block) -> Result<(), Error> {
                (**self).adjoint(y, x)
            }
            fn frobenius(&self) -> Option<f64> {
                (**self).frobenius()
            }
            fn structure(&self) -> Structure {
                (**self).structure()
            }
        }
    )*};
}

delegate!(Box<Op>, &Op);

/// Checks the blocks of an action from vectors of `from` elements to vectors of `to` elements, for those
/// who implement [`LinearOperator`].
///
/// # Errors
/// [`Error::ShapeMismatch`] as [`LinearOperator::apply`] promises it.
pub fn check_action<B: Block>(
    operation: &'static str,
    (from, x): (usize, &B),
    (to, y): (usize, &B),
) -> Result<(), Error> {
    if x.rows() != from {
        return Err(Error::shape(
            operation,
            &[from, x.cols()],
            &[x.rows(), x.cols()],
        ));
    }
    if y.rows() != to || y.cols() != x.cols() {
        return Err(Error::shape(
            operation,
            &[to, x.cols()],
            &[y.rows(), y.cols()],
        ));
    }
    Ok(())
}

/// Refuses empty shapes and shapes too large to address; returns the number of elements.
pub(crate) fn check_shape(operation: &'static str, shape: &[usize]) -> Result<usize, Error> {
    if shape.is_empty() || shape.contains(&0) {
        return Err(Error::invalid(
            operation,
            format!("the shape {shape:?} has no elements; every size must be at least 1"),
        ));
    }
    checked_product(operation, shape)
}

/// The matrix of an operator, column by column: m x n entries, n actions.
///
/// Meant for tests and small operators: a 64-channel layer on 32 x 32 samples has a matrix of
/// 34 GB.
///
/// # Errors
/// [`Error::TooLarge`] when the matrix has more than 2^28 entries (2 GB), and whatever the action
/// refuses.
pub fn materialise<Op: LinearOperator + ?Sized>(op: &Op) -> Result<Mat<f64>, Error> {
    let (rows, cols) = (op.outputs(), op.inputs());
    let entries = checked_product("materialise", &[rows, cols])?;
    if entries > 1 << 28 {
        return Err(Error::TooLarge {
            operation: "materialise",
            dimensions: vec![rows, cols],
        });
    }
    let width = 64.min(cols);
    let mut matrix = Mat::zeros(rows, cols);
    for start in (0..cols).step_by(width) {
        let width = width.min(cols - start);
        let mut identity = vec![0.0; cols * width];
        for j in 0..width {
            identity[j * cols + start + j] = 1.0;
        }
        let mut x = op.input_block(width);
        let mut y = op.output_block(width);
        x.upload(&identity);
        op.apply(&x, &mut y)?;
        let columns = y.download();
        for j in 0..width {
            for i in 0..rows {
                matrix[(i, start + j)] = columns[j * rows + i];
            }
        }
    }
    Ok(matrix)
}
