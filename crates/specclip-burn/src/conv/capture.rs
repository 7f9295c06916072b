//! How a convolution is written down where graphs are recorded.

use burn::backend::ir::{CustomOpIr, OperationIr, OperationOutput, ScalarIr, TensorIr};
use burn::backend::tensor::FloatTensor;
use burn_router::{BackendRouter, RouterChannel, RouterClient};
use specclip::operator::{ConvParams, PaddingMode};

use super::Call;
use super::ops::ConvOps;

/// The name of the operation in a graph: inputs (batch, weight), and as numbers the groups, the
/// place of the padding mode in [`MODES`], and for each axis stride, dilation and both paddings.
const CONV: &str = "specclip::conv";

const MODES: [PaddingMode; 4] = [
    PaddingMode::Zeros,
    PaddingMode::Reflect,
    PaddingMode::Replicate,
    PaddingMode::Circular,
];

fn numbers(params: &ConvParams) -> Vec<ScalarIr> {
    let mode = MODES.iter().position(|&mode| mode == params.mode);
    let mut numbers = vec![params.groups, mode.unwrap_or_default()];
    for (i, (before, after)) in params.padding.iter().enumerate() {
        numbers.extend([params.stride[i], params.dilation[i], *before, *after]);
    }
    numbers
        .into_iter()
        .map(|n| ScalarIr::UInt(n as u64))
        .collect()
}

/// The parameters of a recorded convolution; none for another operation.
pub(crate) fn recorded(operation: &CustomOpIr) -> Option<ConvParams> {
    if operation.id != CONV {
        return None;
    }
    let number = |scalar: &ScalarIr| match scalar {
        ScalarIr::UInt(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    let numbers: Option<Vec<usize>> = operation.scalars.iter().map(number).collect();
    let numbers = numbers?;
    let [groups, mode, axes @ ..] = &numbers[..] else {
        return None;
    };
    let axes: Vec<&[usize]> = axes.chunks_exact(4).collect();
    Some(ConvParams {
        stride: axes.iter().map(|a| a[0]).collect(),
        dilation: axes.iter().map(|a| a[1]).collect(),
        padding: axes.iter().map(|a| (a[2], a[3])).collect(),
        mode: *MODES.get(*mode)?,
        groups: *groups,
    })
}

impl<C: RouterChannel> ConvOps for BackendRouter<C> {
    fn specclip_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self> {
        let client = x.client.clone();
        let (x, weight) = (x.into_ir(), weight.into_ir());
        let shape = call.batch_shape(x.shape[0], &call.output_shape);
        let output = TensorIr::uninit(client.create_empty_handle(), shape.into(), x.dtype);
        let operation =
            CustomOpIr::with_scalars(CONV, &[x, weight], &[output], numbers(&call.params));
        client.register(OperationIr::Custom(operation)).output()
    }

    fn specclip_conv_x_backward(_output_grad: FloatTensor<Self>, _call: Call) -> FloatTensor<Self> {
        panic!("gradients are not recorded; record the forward pass of the module for inference")
    }

    fn specclip_conv_weight_backward(
        _x: FloatTensor<Self>,
        _output_grad: FloatTensor<Self>,
        _call: Call,
    ) -> FloatTensor<Self> {
        panic!("gradients are not recorded; record the forward pass of the module for inference")
    }
}
