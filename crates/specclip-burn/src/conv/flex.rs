//! The kernel on Burn's CPU backend.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use specclip::operator::ConvKernel;

use super::Call;
use super::ops::ConvOps;
use crate::flex::{HostScalar, elements, tensor};

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

    fn specclip_conv_x_backward(output_grad: FloatTensor<Flex>, call: Call) -> FloatTensor<Flex> {
        match output_grad.dtype() {
            DType::F64 => input_gradient::<f64>(&output_grad, &call),
            _ => input_gradient::<f32>(&output_grad, &call),
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

/// The kernel of a call, which its forward pass has made.
fn kernel<T: HostScalar>(call: &Call) -> &ConvKernel<T> {
    let packed = call.packed.get().and_then(|kernel| kernel.downcast_ref());
    // A gradient follows the forward pass of its call, on tensors of the same type.
    packed.expect("a convolution's gradient before its value")
}

/// The slices hold whole batches by their shapes.
fn whole<R>(result: Result<R, specclip::Error>) -> R {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn forward<T: HostScalar>(x: &FlexTensor, weight: &FlexTensor, call: &Call) -> FlexTensor {
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let kernel = ConvKernel::<T>::new(
        elements(&weight),
        &call.weight_shape,
        &call.input_shape,
        &call.params,
    );
    let shape = call.batch_shape(batch(&x), &call.output_shape);
    let mut y = vec![T::default(); shape.iter().product()];
    let kernel = whole(kernel);
    whole(kernel.forward(elements(&x), &mut y));
    // One for the call and its gradients, each of which packs what it needs.
    call.packed.get_or_init(|| Box::new(kernel));
    tensor(y, shape)
}

fn input_gradient<T: HostScalar>(y: &FlexTensor, call: &Call) -> FlexTensor {
    let y = y.to_contiguous();
    let shape = call.batch_shape(batch(&y), &call.input_shape);
    let mut x = vec![T::default(); shape.iter().product()];
    whole(kernel::<T>(call).input_gradient(elements(&y), &mut x));
    tensor(x, shape)
}

fn weight_gradient<T: HostScalar>(x: &FlexTensor, y: &FlexTensor, call: &Call) -> FlexTensor {
    let (x, y) = (x.to_contiguous(), y.to_contiguous());
    let gradient = whole(kernel::<T>(call).weight_gradient(elements(&y), elements(&x)));
    tensor(gradient, call.weight_shape.clone())
}

fn batch(tensor: &FlexTensor) -> usize {
    tensor.layout().shape()[0]
}
