//! The element types of tensors that operators work with.

use burn::tensor::{DType, Element};
use specclip::Real;

/// A scalar type of the library that Burn's tensors have too.
pub trait Scalar: Real + Element {
    /// Its name in Burn.
    const DTYPE: DType;
}

impl Scalar for f32 {
    const DTYPE: DType = DType::F32;
}

impl Scalar for f64 {
    const DTYPE: DType = DType::F64;
}
