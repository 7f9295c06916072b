//! Tensors of Burn's CPU backend as slices, and slices as tensors.

use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;

use crate::scalar::Scalar;

/// A scalar type that tensors are read as.
pub(crate) trait HostScalar: Scalar + bytemuck::Pod {}
impl<T: Scalar + bytemuck::Pod> HostScalar for T {}

/// The elements of a tensor that has been made contiguous.
pub(crate) fn elements<T: HostScalar>(tensor: &FlexTensor) -> &[T] {
    // The tensors that come here have been made contiguous.
    tensor.as_slice().expect("a contiguous tensor")
}

pub(crate) fn tensor<T: HostScalar>(elements: Vec<T>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, shape.into()))
}
