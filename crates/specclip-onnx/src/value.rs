//! Small arrays whose numbers are known while shapes are inferred: shapes, axes, pads, scales.

use crate::strided;

/// No array larger than this is followed; shapes, axes and pads are far smaller.
pub(crate) const LARGEST: usize = 1 << 14;

/// The arithmetic that a value obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    F32,
    F64,
    Bool,
}

impl Kind {
    /// The kind of an ONNX element type number; half precision is followed as f32.
    pub(crate) fn from_onnx(number: i64) -> Option<Self> {
        match number {
            1 | 10 | 16 => Some(Self::F32),
            2..=7 | 12 | 13 => Some(Self::Int),
            9 => Some(Self::Bool),
            11 => Some(Self::F64),
            _ => None,
        }
    }

    /// The nearest number that this kind can hold.
    pub(crate) fn round(self, x: f64) -> f64 {
        match self {
            Self::Int => x.trunc(),
            Self::F32 => f64::from(x as f32),
            Self::F64 => x,
            Self::Bool => f64::from(u8::from(x != 0.0)),
        }
    }
}

/// An array some of whose numbers may be unknown (`None`).
///
/// Integers are held as f64: those beyond 2^53 only occur as "to the end" in slices, where saturation is harmless.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub kind: Kind,
    pub dims: Vec<usize>,
    pub data: Vec<Option<f64>>,
}

impl Value {
    /// A one-dimensional integer array.
    pub(crate) fn ints(data: Vec<Option<f64>>) -> Self {
        Self {
            kind: Kind::Int,
            dims: vec![data.len()],
            data,
        }
    }

    /// All numbers as integers, `None` where unknown.
    pub(crate) fn to_ints(&self) -> Vec<Option<i64>> {
        self.data.iter().map(|x| x.map(|x| x as i64)).collect()
    }

    /// All numbers as integers, if every one is known.
    pub(crate) fn known_ints(&self) -> Option<Vec<i64>> {
        self.to_ints().into_iter().collect()
    }

    /// All numbers, if every one is known.
    pub(crate) fn known(&self) -> Option<Vec<f64>> {
        self.data.iter().copied().collect()
    }

    /// The only number.
    pub(crate) fn scalar(&self) -> Option<f64> {
        match self.data.as_slice() {
            [x] => *x,
            _ => None,
        }
    }

    /// The same numbers with other dimensions.
    pub(crate) fn reshaped(&self, dims: Vec<usize>) -> Self {
        Self {
            dims,
            ..self.clone()
        }
    }

    /// The elements that `view` reads.
    pub(crate) fn viewed(&self, view: &strided::View) -> Option<Self> {
        let data = view.read(&self.data);
        (Some(data.len()) == fits(&view.dims)).then(|| Self {
            kind: self.kind,
            dims: view.dims.clone(),
            data,
        })
    }

    /// The array repeated along axes of length 1 until it has dimensions `dims`.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> Option<Self> {
        fits(dims)?;
        self.viewed(&strided::broadcast(&self.dims, dims)?)
    }

    /// `f` of every number.
    pub(crate) fn map(&self, kind: Kind, f: impl Fn(f64) -> f64) -> Self {
        Self {
            kind,
            dims: self.dims.clone(),
            data: self
                .data
                .iter()
                .map(|x| x.map(|x| kind.round(f(x))))
                .collect(),
        }
    }

    /// `f` of every pair of numbers; both arrays already have the same dimensions.
    pub(crate) fn zip(&self, other: &Self, kind: Kind, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            kind,
            dims: self.dims.clone(),
            data: self
                .data
                .iter()
                .zip(&other.data)
                .map(|(a, b)| Some(kind.round(f((*a)?, (*b)?))))
                .collect(),
        }
    }
}

/// The number of elements of `dims` when it is small enough to be followed.
pub(crate) fn fits(dims: &[usize]) -> Option<usize> {
    crate::input::element_count(dims).filter(|&n| n <= LARGEST)
}
