//! Batch normalisation in training, by one kernel on the CPU.
//!
//! Burn's CPU backend composes it of a dozen operations, most of them on one thread, and each with a tensor of its
//! own. Here each of the two directions reads its tensors twice and writes one, on all threads, and a ReLU behind the
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
/// updated in training. In training on the CPU several times as fast.
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

/// The ReLU of [`batch_norm`]: in training on the CPU it costs nothing, and no tensor between the two is kept.
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
        && norm.gamma.dtype() == x.dtype()
        // What does not fit, Burn refuses.
        && D >= 2
        && x.dims()[1] == norm.gamma.dims()[0]
        && x.dims().iter().all(|&size| size > 0)
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
