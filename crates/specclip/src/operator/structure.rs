//! What is known about an operator beyond its actions.

use faer::Mat;

use super::{FilterBank, LinearOperator, separable::AxisMatrix};
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
    /// One operator after another, the first to act first; at least two, none of them unknown.
    Product(Vec<Part>),
    /// Operators with the same inputs and outputs, added up; none of them unknown.
    Sum(Vec<Structure>),
    /// Nothing is known.
    Unknown,
}

/// One factor of a product. The shapes at both sides of a seam have as many elements, but may
/// differ where there is a flattening.
#[derive(Debug, Clone)]
pub struct Part {
    pub(crate) structure: Structure,
    pub(crate) input_shape: Vec<usize>,
    pub(crate) output_shape: Vec<usize>,
}

impl Part {
    /// An operator's structure with its shapes.
    pub(crate) fn new<Op: LinearOperator + ?Sized>(op: &Op) -> Self {
        Self {
            structure: op.structure(),
            input_shape: op.input_shape().to_vec(),
            output_shape: op.output_shape().to_vec(),
        }
    }

    /// A term of this part's sum, as a part of its own.
    pub(crate) fn term(&self, structure: &Structure) -> Self {
        Self {
            structure: structure.clone(),
            input_shape: self.input_shape.clone(),
            output_shape: self.output_shape.clone(),
        }
    }

    pub(crate) fn transpose(self) -> Self {
        Self {
            structure: self.structure.transpose(),
            input_shape: self.output_shape,
            output_shape: self.input_shape,
        }
    }

    /// The factors of a product, or the part itself.
    fn factors(self) -> Vec<Self> {
        match self.structure {
            Structure::Product(parts) => parts,
            _ => vec![self],
        }
    }
}

impl Structure {
    /// The structure of the transpose.
    pub(crate) fn transpose(self) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.transpose().to_owned()),
            Self::Filters(bank) => Self::Filters(bank.transpose()),
            Self::Axes(axes) => Self::Axes(axes.iter().map(AxisMatrix::transpose).collect()),
            Self::Product(parts) => {
                Self::Product(parts.into_iter().rev().map(Part::transpose).collect())
            }
            Self::Sum(terms) => Self::Sum(terms.into_iter().map(Self::transpose).collect()),
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
            Self::Axes(mut axes) => match axes.first_mut() {
                Some(first) => {
                    first.scale(factor);
                    Self::Axes(axes)
                }
                None => Self::Unknown,
            },
            Self::Product(mut parts) => {
                let first = std::mem::replace(&mut parts[0].structure, Self::Unknown);
                parts[0].structure = first.scale(factor);
                match parts[0].structure {
                    Self::Unknown => Self::Unknown,
                    _ => Self::Product(parts),
                }
            }
            Self::Sum(terms) => Self::sum(terms.into_iter().map(|t| t.scale(factor)).collect()),
            Self::Unknown => self,
        }
    }

    /// The structure of a sum of operators with the same inputs and outputs.
    pub(crate) fn sum(mut terms: Vec<Self>) -> Self {
        if terms.iter().any(|t| matches!(t, Self::Unknown)) {
            return Self::Unknown;
        }
        match terms.len() {
            1 => terms.remove(0),
            _ => Self::Sum(terms),
        }
    }

    /// The structure of `outer` after `inner`. Neighbours that are one layer of a known kind
    /// become one: channels that are multiplied before or after a layer, and padding before a
    /// convolution.
    pub(crate) fn product(inner: Part, outer: Part) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for part in inner.factors().into_iter().chain(outer.factors()) {
            if matches!(part.structure, Self::Unknown) {
                return Self::Unknown;
            }
            match parts.pop() {
                None => parts.push(part),
                Some(before) => parts.extend(join(before, part)),
            }
        }
        match parts.len() {
            1 => parts.remove(0).structure,
            _ => Self::Product(parts),
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
            Self::Product(_) | Self::Sum(_) | Self::Unknown => None,
        }
    }
}

/// Two neighbours as one part where that is possible.
fn join(inner: Part, outer: Part) -> Vec<Part> {
    // After a flattening the outer channels are others than the inner ones.
    if inner.output_shape != outer.input_shape {
        return vec![inner, outer];
    }
    let joined = match (&inner.structure, &outer.structure) {
        (_, Structure::Channels(factors)) => scale_outputs(&inner.structure, factors),
        (Structure::Channels(factors), _) => {
            scale_outputs(&outer.structure.clone().transpose(), factors).map(Structure::transpose)
        }
        (Structure::Axes(axes), Structure::Filters(bank)) => {
            bank.after_padding(axes).map(Structure::Filters)
        }
        _ => None,
    };
    match joined {
        Some(structure) => vec![Part {
            structure,
            input_shape: inner.input_shape,
            output_shape: outer.output_shape,
        }],
        None => vec![inner, outer],
    }
}

/// Multiplies each output channel by a factor.
fn scale_outputs(structure: &Structure, factors: &[f64]) -> Option<Structure> {
    match structure {
        Structure::Matrix(m) => Some(Structure::Matrix(Mat::from_fn(
            m.nrows(),
            m.ncols(),
            |i, j| factors[i] * m[(i, j)],
        ))),
        Structure::Filters(bank) => Some(Structure::Filters(bank.clone().scale_outputs(factors))),
        Structure::Channels(inner) => Some(Structure::Channels(
            inner.iter().zip(factors).map(|(a, b)| a * b).collect(),
        )),
        _ => None,
    }
}
