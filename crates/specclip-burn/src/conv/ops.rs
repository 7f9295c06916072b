//! The operations that a backend adds for convolutions.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::Call;

/// A padded convolution and its gradients, on the CPU, under automatic differentiation, and where
/// graphs are recorded.
#[backend_extension(Flex, Capture, Autodiff)]
pub trait ConvOps: Backend {
    /// The convolution of a batch.
    fn specclip_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self>;

    /// The gradient with respect to the batch, from that with respect to the output.
    fn specclip_conv_x_backward(output_grad: FloatTensor<Self>, call: Call) -> FloatTensor<Self>;

    /// The gradient with respect to the weights, from that with respect to the output.
    fn specclip_conv_weight_backward(
        x: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self>;
}
