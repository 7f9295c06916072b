//! Convolutions with any padding, in one to three dimensions, by the library's kernel on the CPU.
//!
//! Burn's own convolutions pad zeros only, and on the CPU they spend most of their time in copies.
//! [`conv`] adds one operation to Burn's CPU backend (and to its automatic differentiation, and to
//! its recording of graphs); on other devices it is composed of Burn's operations.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use burn::backend::Dispatch;
use burn::tensor::module::{conv2d, conv3d};
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{DType, Tensor};
use specclip::operator::{ConvKernel, ConvParams, PaddingMode};

mod autodiff;
mod capture;
mod flex;
mod layer;
mod ops;

pub use layer::PaddedConv;
pub use ops::ConvOps;

pub(crate) use capture::recorded;

/// One call of a convolution: its parameters and shapes, and the weights as the kernel packs them,
/// once for the call and its gradients.
#[derive(Clone)]
pub struct Call {
    params: ConvParams,
    /// Channels and sizes.
    input_shape: Vec<usize>,
    weight_shape: Vec<usize>,
    output_shape: Vec<usize>,
    /// A [`ConvKernel`] of the tensors' type, made by the forward pass.
    packed: Arc<OnceLock<Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} on {:?}", self.params, self.input_shape)
    }
}

impl Call {
    /// Refuses what does not fit, in one sentence.
    fn new(input_shape: &[usize], weight_shape: &[usize], params: &ConvParams) -> Self {
        let shape = ConvKernel::<f32>::output_shape(weight_shape, input_shape, params);
        Self {
            params: params.clone(),
            input_shape: input_shape.to_vec(),
            weight_shape: weight_shape.to_vec(),
            // As Burn's own layers do: a forward pass has no other way to say that shapes do not fit.
            output_shape: shape.unwrap_or_else(|error| panic!("{error}")),
            packed: Arc::default(),
        }
    }

    /// Batch first.
    fn batch_shape(&self, batch: usize, shape: &[usize]) -> Vec<usize> {
        let mut all = vec![batch];
        all.extend(shape);
        all
    }
}

/// The convolution of a batch of D - 2 dimensional images (examples, channels, sizes...) with a
/// weight (output channels, input channels / groups, taps...), as PyTorch lays them out, plus a bias
/// for each output channel.
///
/// # Panics
/// When the types, the shapes, the parameters and the number of dimensions (3, 4 or 5) do not fit each other,
/// as Burn's convolutions do.
pub fn conv<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<D>,
    bias: Option<Tensor<1>>,
    params: &ConvParams,
) -> Tensor<D> {
    assert_eq!(
        x.dtype(),
        weight.dtype(),
        "a convolution's input and weight must be of one type"
    );
    if let Some(bias) = &bias {
        let channels = weight.dims()[0];
        assert_eq!(
            bias.dims(),
            [channels],
            "a bias has one number for each output channel"
        );
    }
    let call = Call::new(&x.dims()[1..], &weight.dims(), params);
    let output = if has_kernel(&x) {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        Tensor::from_dispatch(<Dispatch as ConvOps>::specclip_conv(x, weight, call))
    } else {
        composed(x, weight, &call)
    };
    match bias {
        None => output,
        Some(bias) => {
            let mut shape = [1; D];
            shape[1] = bias.dims()[0];
            output + bias.reshape(shape)
        }
    }
}

/// Whether the operation exists where the tensor is.
fn has_kernel<const D: usize>(x: &Tensor<D>) -> bool {
    use burn::backend::DispatchDevice;
    match x.device().inner().as_dispatch() {
        DispatchDevice::Capture(_) => true,
        DispatchDevice::Flex(_) => matches!(x.dtype(), DType::F32 | DType::F64),
        #[allow(unreachable_patterns)] // Others exist where a user's features of Burn add them.
        _ => false,
    }
}

/// The same convolution in Burn's operations. One axis is made two: a gradient of Burn 0.22.1's conv1d
/// is wrong with groups and strides, that of its conv2d is not.
fn composed<const D: usize>(x: Tensor<D>, weight: Tensor<D>, call: &Call) -> Tensor<D> {
    let params = &call.params;
    let batch = x.dims()[0];
    let x = pad(x, &params.padding, params.mode);
    let output = call.batch_shape(batch, &call.output_shape);
    let output: [usize; D] = std::array::from_fn(|i| output[i]);
    if D == 5 {
        let options = ConvOptions::new(
            spread(&params.stride),
            [0; 3],
            spread(&params.dilation),
            params.groups,
        );
        conv3d(raised(x), raised(weight), None, options).reshape(output)
    } else {
        let options = ConvOptions::new(
            spread(&params.stride),
            [0; 2],
            spread(&params.dilation),
            params.groups,
        );
        conv2d(raised(x), raised(weight), None, options).reshape(output)
    }
}

/// The values of the last axes, and 1 for those before.
fn spread<const N: usize>(values: &[usize]) -> [usize; N] {
    let missing = N - values.len();
    std::array::from_fn(|i| if i < missing { 1 } else { values[i - missing] })
}

/// The same tensor with as many axes as R asks for, of size 1, behind the first two.
fn raised<const D: usize, const R: usize>(tensor: Tensor<D>) -> Tensor<R> {
    let dims = tensor.dims();
    let missing = R - D;
    tensor.reshape(std::array::from_fn(|i| match i {
        0 | 1 => dims[i],
        _ if i < 2 + missing => 1,
        _ => dims[i - missing],
    }))
}

/// Pads the last axes.
pub(crate) fn pad<const D: usize>(
    x: Tensor<D>,
    padding: &[(usize, usize)],
    mode: PaddingMode,
) -> Tensor<D> {
    if padding.iter().all(|&pair| pair == (0, 0)) {
        return x;
    }
    match mode {
        PaddingMode::Zeros => x.pad(padding, PadMode::Constant(0.0)),
        PaddingMode::Reflect => x.pad(padding, PadMode::Reflect),
        PaddingMode::Replicate => x.pad(padding, PadMode::Edge),
        PaddingMode::Circular => {
            let first = D - padding.len();
            let wrap = |x, (i, &pair)| wrapped(x, first + i, pair);
            padding.iter().enumerate().fold(x, wrap)
        }
    }
}

/// Periodic samples before and after an axis; more than one period where it is short.
fn wrapped<const D: usize>(
    x: Tensor<D>,
    axis: usize,
    (before, after): (usize, usize),
) -> Tensor<D> {
    let size = x.dims()[axis];
    let part = |from: usize, to: usize| x.clone().narrow(axis, from, to - from);
    let mut pieces = Vec::new();
    if !before.is_multiple_of(size) {
        pieces.push(part(size - before % size, size));
    }
    let periods = before / size + 1 + after / size;
    pieces.extend(std::iter::repeat_n(x.clone(), periods));
    if !after.is_multiple_of(size) {
        pieces.push(part(0, after % size));
    }
    Tensor::cat(pieces, axis)
}
