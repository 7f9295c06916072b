//! Batch normalisation in training, by one kernel on the CPU.
//!
//! Burn's CPU backend composes it of a dozen operations, most of them on one thread, and each with a tensor of its
//! own. Here a pass makes the sums of each channel and another one the result, on all threads, and a ReLU behind the
//! normalisation comes with it. Sums are made in a fixed order, whatever the number of threads.

use burn::backend::{Dispatch, DispatchDevice};
use burn::nn::BatchNorm;
use burn::tensor::activation::relu;
use burn::tensor::{DType, Tensor};

mod autodiff;
mod flex;
mod ops;

pub use ops::BatchNormOps;

/// What is computed, besides the tensors.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation {
    /// Added to the variance.
    eps: f64,
    /// Whether a ReLU follows.
    relu: bool,
}

/// What [`BatchNorm::forward`] computes of a batch (examples, channels, sizes...), its running statistics
/// updated in training: in training on the CPU, with at least one size, by one operation instead of many.
///
/// # Panics
/// As [`BatchNorm::forward`].
pub fn batch_norm<const D: usize>(norm: &BatchNorm, x: Tensor<D>) -> Tensor<D> {
    if trains_here(norm, &x) {
        train(norm, x, false)
    } else {
        norm.forward(x)
    }
}

/// The ReLU of [`batch_norm`]: where that is one operation, so are the two together, and no tensor between them is kept.
///
/// # Panics
/// As [`BatchNorm::forward`].
pub fn batch_norm_relu<const D: usize>(norm: &BatchNorm, x: Tensor<D>) -> Tensor<D> {
    if trains_here(norm, &x) {
        train(norm, x, true)
    } else {
        relu(norm.forward(x))
    }
}

/// Whether it is to be normalised by the statistics of the batch, where the kernel is.
fn trains_here<const D: usize>(norm: &BatchNorm, x: &Tensor<D>) -> bool {
    let device = x.device();
    device.is_autodiff()
        && norm.training.is_enabled()
        && matches!(device.inner().as_dispatch(), DispatchDevice::Flex(_))
        && matches!(x.dtype(), DType::F32 | DType::F64)
        // What does not fit, Burn refuses; and of a dense layer's output a channel is not contiguous anywhere.
        && D >= 3
        && x.dims().iter().all(|&size| size > 0)
        && [&norm.gamma, &norm.beta]
            .iter()
            .all(|p| p.dtype() == x.dtype() && p.dims() == [x.dims()[1]])
}

fn train<const D: usize>(norm: &BatchNorm, x: Tensor<D>, relu: bool) -> Tensor<D> {
    let how = Normalisation {
        eps: norm.epsilon,
        relu,
    };
    let device = x.device();
    let (output, mean, variance) = <Dispatch as BatchNormOps>::specclip_batch_norm(
        x.into_dispatch(),
        norm.gamma.val().into_dispatch(),
        norm.beta.val().into_dispatch(),
        how,
    );
    for (running, of_batch) in [(&norm.running_mean, mean), (&norm.running_var, variance)] {
        let of_batch: Tensor<1> = Tensor::from_dispatch(of_batch);
        let old = running.value_sync().to_device(&device);
        let new = old * (1.0 - norm.momentum) + of_batch.detach() * norm.momentum;
        running.update(new.detach());
    }
    Tensor::from_dispatch(output)
}
