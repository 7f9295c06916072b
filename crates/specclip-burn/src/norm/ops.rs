//! The operations that a backend adds for batch normalisation.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::Normalisation;

/// Batch normalisation by the statistics of the batch and its gradients, on the CPU and under automatic differentiation.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormOps: Backend {
    /// The output, and mean and variance (without Bessel's correction) of each channel.
    fn specclip_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients with respect to the batch, gamma and beta, from that with respect to the output.
    fn specclip_batch_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
