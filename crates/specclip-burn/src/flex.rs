//! Tensors of Burn's CPU backend as slices, and slices as tensors.

use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;

use crate::scalar::Scalar;

/// A scalar type that tensors are read as.
pub(crate) trait Element: Scalar + bytemuck::Pod {}
impl<T: Scalar + bytemuck::Pod> Element for T {}

/// The elements of a tensor that has been made contiguous.
pub(crate) fn elements<T: Element>(tensor: &FlexTensor) -> &[T] {
    // The tensors that come here have been made contiguous.
    tensor.as_slice().expect("a contiguous tensor")
}

pub(crate) fn tensor<T: Element>(elements: Vec<T>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, shape.into()))
}
