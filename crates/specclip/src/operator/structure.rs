//! What is known about an operator beyond its actions.

use faer::Mat;

use super::{FilterBank, separable::AxisMatrix};
use crate::real::norm;

/// The form of an operator, for the methods that look inside. Values are in `f64`, whatever the
/// operator's scalar type is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Structure {
    /// A matrix.
    Matrix(Mat<f64>),
    /// A convolution, or the transpose of one.
    Filters(FilterBank),
    /// One factor for each channel, the first axis of the shape.
    Channels(Vec<f64>),
    /// Every channel alike: the Kronecker product of one matrix for each further axis.
    Axes(Vec<AxisMatrix>),
    /// Nothing is known.
    Unknown,
}

impl Structure {
    /// The structure of the transpose.
    pub(crate) fn transpose(self) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.transpose().to_owned()),
            Self::Filters(bank) => Self::Filters(bank.transpose()),
            Self::Axes(axes) => Self::Axes(axes.iter().map(AxisMatrix::transpose).collect()),
            Self::Channels(_) | Self::Unknown => self,
        }
    }

    /// The structure of a multiple.
    pub(crate) fn scale(self, factor: f64) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix * faer::Scale(factor)),
            Self::Filters(bank) => Self::Filters(bank.scale(factor)),
            Self::Channels(factors) => {
                Self::Channels(factors.into_iter().map(|f| f * factor).collect())
            }
            Self::Axes(mut axes) => {
                if let Some(first) = axes.first_mut() {
                    first.scale(factor);
                }
                Self::Axes(axes)
            }
            Self::Unknown => self,
        }
    }

    /// The structure of `outer` after this one, whose output has the shape that `outer` takes.
    pub(crate) fn then(self, outer: Self) -> Self {
        let Self::Channels(factors) = outer else {
            return Self::Unknown;
        };
        match self {
            Self::Matrix(matrix) => {
                Self::Matrix(Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| {
                    factors[i] * matrix[(i, j)]
                }))
            }
            Self::Filters(bank) => Self::Filters(bank.scale_outputs(&factors)),
            Self::Channels(inner) => {
                Self::Channels(inner.iter().zip(&factors).map(|(a, b)| a * b).collect())
            }
            Self::Axes(_) | Self::Unknown => Self::Unknown,
        }
    }

    /// The Frobenius norm of an operator on inputs of `shape`.
    pub(crate) fn frobenius(&self, shape: &[usize]) -> Option<f64> {
        let plane: f64 = shape[1..].iter().map(|&n| n as f64).product();
        match self {
            Self::Matrix(matrix) => Some(matrix.norm_l2()),
            Self::Filters(bank) => Some(bank.frobenius()),
            Self::Channels(factors) => Some(plane.sqrt() * norm(factors)),
            Self::Axes(axes) => {
                let product: f64 = axes.iter().map(AxisMatrix::frobenius).product();
                Some((shape[0] as f64).sqrt() * product)
            }
            Self::Unknown => None,
        }
    }
}
