//! The kernel on Burn's CPU backend.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, TensorData};
use burn_flex::FlexTensor;
use specclip::operator::ConvKernel;

use super::ops::ConvOps;
use super::{Call, Packed};
use crate::scalar::Scalar;

impl ConvOps for Flex {
    fn specclip_conv(
        x: FloatTensor<Flex>,
        weight: FloatTensor<Flex>,
        call: Call,
    ) -> FloatTensor<Flex> {
        match x.dtype() {
            DType::F64 => forward::<f64>(&x, &weight, &call),
            _ => forward::<f32>(&x, &weight, &call),
        }
    }

    fn specclip_conv_x_backward(
        weight: FloatTensor<Flex>,
        output_grad: FloatTensor<Flex>,
        call: Call,
    ) -> FloatTensor<Flex> {
        match output_grad.dtype() {
            DType::F64 => input_gradient::<f64>(&weight, &output_grad, &call),
            _ => input_gradient::<f32>(&weight, &output_grad, &call),
        }
    }

    fn specclip_conv_weight_backward(
        x: FloatTensor<Flex>,
        output_grad: FloatTensor<Flex>,
        call: Call,
    ) -> FloatTensor<Flex> {
        match output_grad.dtype() {
            DType::F64 => weight_gradient::<f64>(&x, &output_grad, &call),
            _ => weight_gradient::<f32>(&x, &output_grad, &call),
        }
    }
}

/// The kernel for a scalar type.
trait Kernel: Scalar + bytemuck::Pod {
    fn pack(kernel: ConvKernel<Self>) -> Packed;
    fn unpack(packed: &Packed) -> Option<&ConvKernel<Self>>;
}

impl Kernel for f32 {
    fn pack(kernel: ConvKernel<f32>) -> Packed {
        Packed::F32(kernel)
    }
    fn unpack(packed: &Packed) -> Option<&ConvKernel<f32>> {
        match packed {
            Packed::F32(kernel) => Some(kernel),
            Packed::F64(_) => None,
        }
    }
}

impl Kernel for f64 {
    fn pack(kernel: ConvKernel<f64>) -> Packed {
        Packed::F64(kernel)
    }
    fn unpack(packed: &Packed) -> Option<&ConvKernel<f64>> {
        match packed {
            Packed::F64(kernel) => Some(kernel),
            Packed::F32(_) => None,
        }
    }
}

/// Runs `work` with the kernel of a call, packed at its first use.
fn with_kernel<T: Kernel, R>(
    weight: &[T],
    call: &Call,
    work: impl FnOnce(&ConvKernel<T>) -> Result<R, specclip::Error>,
) -> R {
    let packed = call.packed.get_or_init(|| {
        let kernel = ConvKernel::new(weight, &call.weight_shape, &call.input_shape, &call.params);
        T::pack(kernel.unwrap_or_else(|error| panic!("{error}")))
    });
    // A convolution refuses tensors of different types.
    let kernel = T::unpack(packed).expect("a convolution of two element types");
    // The slices are whole batches by their shapes.
    work(kernel).unwrap_or_else(|error| panic!("{error}"))
}

fn forward<T: Kernel>(x: &FlexTensor, weight: &FlexTensor, call: &Call) -> FlexTensor {
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let batch = batch(&x);
    let shape = call.batch_shape(batch, &call.output_shape);
    let mut y = vec![T::default(); shape.iter().product()];
    with_kernel(elements::<T>(&weight), call, |k| {
        k.forward(elements(&x), &mut y)
    });
    tensor(y, shape)
}

fn input_gradient<T: Kernel>(weight: &FlexTensor, y: &FlexTensor, call: &Call) -> FlexTensor {
    let (y, weight) = (y.to_contiguous(), weight.to_contiguous());
    let shape = call.batch_shape(batch(&y), &call.input_shape);
    let mut x = vec![T::default(); shape.iter().product()];
    with_kernel(elements::<T>(&weight), call, |k| {
        k.input_gradient(elements(&y), &mut x)
    });
    tensor(x, shape)
}

fn weight_gradient<T: Kernel>(x: &FlexTensor, y: &FlexTensor, call: &Call) -> FlexTensor {
    let (x, y) = (x.to_contiguous(), y.to_contiguous());
    let none = vec![T::default(); call.weight_shape.iter().product()];
    let gradient = with_kernel(&none, call, |k| {
        k.weight_gradient(elements(&y), elements(&x))
    });
    tensor(gradient, call.weight_shape.clone())
}

fn batch(tensor: &FlexTensor) -> usize {
    tensor.layout().shape()[0]
}

fn elements<T: Kernel>(tensor: &FlexTensor) -> &[T] {
    // The tensors that come here have been made contiguous.
    tensor.as_slice().expect("a contiguous tensor")
}

fn tensor<T: Kernel>(elements: Vec<T>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, Shape::from(shape)))
}
