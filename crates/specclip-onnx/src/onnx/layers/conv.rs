//! Convolutions and transposed convolutions.

use specclip::operator::{ConvParams, ConvTransposeParams, PaddingMode};

use super::{Draft, computed, per_sample, weight};
use crate::model::{LayerKind, WeightRef};
use crate::onnx::fact::Fact;
use crate::onnx::network::Network;
use crate::onnx::padding;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::window::{spatial, transposed_window, window};
use crate::spec::{Padding, Spec};

fn groups(node: &NodeProto) -> Result<usize, String> {
    let groups = node.int("group").unwrap_or(1);
    usize::try_from(groups)
        .ok()
        .filter(|&g| g > 0)
        .ok_or_else(|| format!("its group = {groups} is not a positive number"))
}

/// Channels and spatial dimensions of a computed input.
fn image(fact: &Fact) -> Result<(usize, Vec<usize>), String> {
    let dims = fact
        .dims()
        .map_err(|reason| format!("the shape of its input is unknown: {reason}"))?;
    let spatial = spatial(fact)?;
    let channels = dims[1].ok_or("the number of channels of its input is unknown")?;
    Ok((channels, spatial))
}

fn with_channels(channels: usize, spatial: &[usize]) -> Vec<usize> {
    let mut shape = vec![channels];
    shape.extend(spatial);
    shape
}

/// The kernel's spatial size, which a `kernel_shape` attribute must not contradict.
fn kernel(node: &NodeProto, dims: &[usize], axes: usize) -> Result<Vec<usize>, String> {
    let kernel = dims.get(2..).unwrap_or_default().to_vec();
    if kernel.len() != axes || kernel.contains(&0) {
        return Err(format!(
            "its weight of shape {dims:?} does not fit an input with {axes} spatial axes"
        ));
    }
    match node.sizes("kernel_shape")? {
        Some(stated) if !stated.is_empty() && stated != kernel => Err(format!(
            "its kernel_shape = {stated:?} contradicts its weight of shape {dims:?}"
        )),
        _ => Ok(kernel),
    }
}

pub(super) fn conv(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let weight = weight(network, node, 1)?;
    let input = computed(network, node, 0)?;
    let (channels, padded) = image(input)?;
    let kernel = kernel(node, &weight.dims, padded.len())?;
    let window = window(node, &padded, &kernel)?;
    let output = window.output(&padded, false)?;
    let mut params = ConvParams::new(padded.len());
    params.stride = window.stride;
    params.padding = window.padding;
    params.dilation = window.dilation;
    params.groups = groups(node)?;
    if params.groups.checked_mul(weight.dims[1]) != Some(channels) {
        return Err(format!(
            "its weight of shape {:?} in {} groups does not fit {channels} input channels",
            weight.dims, params.groups
        ));
    }
    if !weight.dims[0].is_multiple_of(params.groups) {
        return Err(format!(
            "its {} output channels do not divide into {} groups",
            weight.dims[0], params.groups
        ));
    }
    let name = node.input_name(0).unwrap_or_default();
    let name = network
        .producer(name)
        .and_then(|(_, p)| p.output.iter().find(|o| *o == name));
    let source = name.and_then(|name| padding::find(network, name));
    let (spatial, before, absorbed) = match source {
        None => (padded, Vec::new(), Vec::new()),
        Some(source) => {
            let fact = network.fact(source.source).ok_or("its input is missing")?;
            let (_, spatial) = image(fact)?;
            (spatial, merge(&mut params, source.steps), source.nodes)
        }
    };
    Ok(Draft {
        kind: LayerKind::Conv(spatial.len()),
        input_shape: with_channels(channels, &spatial),
        output_shape: with_channels(weight.dims[0], &output),
        multiplicity: per_sample(network, node, input.dims()?[0]),
        weight: WeightRef::new(&weight),
        spec: Spec::Conv {
            weight,
            params,
            before,
        },
        absorbed,
    })
}

/// Lets the convolution do as much of the padding in front of it as it can; what remains must run before.
fn merge(params: &mut ConvParams, steps: Vec<Padding>) -> Vec<Padding> {
    let own = params.padding.iter().any(|&p| p != (0, 0));
    if let [step] = steps.as_slice()
        && step.mode != PaddingMode::Zeros
        && !own
    {
        params.padding.clone_from(&step.amounts);
        params.mode = step.mode;
        return Vec::new();
    }
    let (zeros, others): (Vec<Padding>, Vec<Padding>) = steps
        .into_iter()
        .partition(|s| s.mode == PaddingMode::Zeros);
    // Zeros around zeros are more zeros, and the other modes pad other axes.
    for step in zeros {
        for (own, more) in params.padding.iter_mut().zip(step.amounts) {
            *own = (own.0 + more.0, own.1 + more.1);
        }
    }
    others
}

pub(super) fn conv_transpose(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let weight = weight(network, node, 1)?;
    let input = computed(network, node, 0)?;
    let (channels, spatial) = image(input)?;
    let kernel = kernel(node, &weight.dims, spatial.len())?;
    let geometry = transposed_window(node, &spatial, &kernel)?;
    let groups = groups(node)?;
    if weight.dims[0] != channels || !channels.is_multiple_of(groups) {
        return Err(format!(
            "its weight of shape {:?} in {groups} groups does not fit {channels} input channels",
            weight.dims
        ));
    }
    let outputs = weight.dims[1]
        .checked_mul(groups)
        .ok_or("it has too many output channels")?;
    let mut params = ConvTransposeParams::new(spatial.len());
    params.stride = geometry.window.stride;
    params.padding = geometry.window.padding;
    params.dilation = geometry.window.dilation;
    params.output_padding = geometry.output_padding;
    params.groups = groups;
    Ok(Draft {
        kind: LayerKind::ConvTranspose(spatial.len()),
        input_shape: with_channels(channels, &spatial),
        output_shape: with_channels(outputs, &geometry.output),
        multiplicity: per_sample(network, node, input.dims()?[0]),
        weight: WeightRef::new(&weight),
        spec: Spec::ConvTranspose { weight, params },
        absorbed: Vec::new(),
    })
}
