//! Layers without weights: average pooling, resampling, padding.

use specclip::operator::{Coordinates, NearestRounding, PoolParams, ResampleMode, ResampleParams};

use super::{Draft, Finding, computed, per_sample};
use crate::model::LayerKind;
use crate::onnx::fact::Fact;
use crate::onnx::network::Network;
use crate::onnx::padding::pad_mode;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::window::{spatial, window};
use crate::onnx::shapes::{pad_amounts, reduced_axes, resize as resizing};
use crate::spec::{Padding, Spec};

/// The input without its batch axis.
fn sample(fact: &Fact) -> Result<Vec<usize>, String> {
    let dims = fact
        .dims()
        .map_err(|reason| format!("the shape of its input is unknown: {reason}"))?;
    dims.iter()
        .skip(1)
        .copied()
        .collect::<Option<_>>()
        .ok_or_else(|| "a dimension of its input depends on the data".to_owned())
}

fn draft(
    network: &Network,
    node: &NodeProto,
    input: &Fact,
    kind: LayerKind,
    shape: Vec<usize>,
    output_shape: Vec<usize>,
    spec: Spec,
) -> Result<Draft, String> {
    Ok(Draft {
        kind,
        input_shape: shape,
        output_shape,
        multiplicity: per_sample(network, node, input.dims()?.first().copied().flatten()),
        weight: None,
        spec,
        absorbed: Vec::new(),
    })
}

pub(super) fn average_pool(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let input = computed(network, node, 0)?;
    let shape = sample(input)?;
    let spatial = spatial(input)?;
    let kernel = node.sizes("kernel_shape")?.unwrap_or_default();
    let window = window(node, &spatial, &kernel)?;
    let ceil_mode = node.flag("ceil_mode");
    let mut output = vec![shape[0]];
    output.extend(window.output(&spatial, ceil_mode)?);
    let mut params = PoolParams::new(kernel);
    params.stride = window.stride;
    params.padding = window.padding;
    params.dilation = window.dilation;
    params.ceil_mode = ceil_mode;
    params.count_include_pad = node.flag("count_include_pad");
    draft(
        network,
        node,
        input,
        LayerKind::AvgPool,
        shape,
        output,
        Spec::AvgPool(params),
    )
}

pub(super) fn global_average_pool(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let input = computed(network, node, 0)?;
    let shape = sample(input)?;
    let spatial = spatial(input)?;
    let mut output = vec![1; shape.len()];
    output[0] = shape[0];
    let spec = Spec::AvgPool(PoolParams::new(spatial));
    draft(
        network,
        node,
        input,
        LayerKind::AvgPool,
        shape,
        output,
        spec,
    )
}

/// A mean over all spatial axes is global average pooling. Means that a normalisation takes are part of it, and it is not
/// linear.
pub(super) fn reduce_mean(network: &Network, node: &NodeProto) -> Finding {
    let Ok(input) = computed(network, node, 0) else {
        return Finding::Nothing;
    };
    if input.independent || input.value.is_some() || is_statistic(network, node) {
        return Finding::Nothing;
    }
    let rank = input.rank().unwrap_or(0);
    match reduced_axes(&network.analysis.call(node)) {
        Err(reason) => Finding::Skip(reason),
        Ok(axes) if axes.is_empty() => Finding::Nothing,
        Ok(mut axes) => {
            axes.sort_unstable();
            if rank >= 3 && axes.iter().copied().eq(2..rank) {
                global_average_pool(network, node).into()
            } else {
                Finding::Skip(format!(
                    "it averages over the axes {axes:?}; only means over all spatial axes are analysed"
                ))
            }
        }
    }
}

/// Whether a mean is the mean or the variance of a normalisation that is written out: subtracted from what it was taken
/// of, or taken of squares.
fn is_statistic(network: &Network, node: &NodeProto) -> bool {
    let (Some(source), Some(mean)) = (node.input_name(0), node.output.first()) else {
        return false;
    };
    let squares = network.producer(source).is_some_and(|(_, p)| {
        p.op_type == "Pow" || (p.op_type == "Mul" && p.input_name(0) == p.input_name(1))
    });
    let subtracted = |r: &NodeProto| r.op_type == "Sub" && r.input_name(0) == Some(source);
    squares || network.readers(mean).any(subtracted)
}

pub(super) fn resize(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let call = network.analysis.call(node);
    let input = computed(network, node, 0)?;
    let shape = sample(input)?;
    let target = resizing::target(&call)?;
    let dims = input.dims()?;
    if dims.len() < 3 || target.dims[..2] != dims[..2] {
        return Err("it resizes the batch or channel axis".to_owned());
    }
    let output: Vec<usize> = target
        .dims
        .iter()
        .skip(1)
        .copied()
        .collect::<Option<_>>()
        .ok_or("its output size depends on the data")?;
    let params = ResampleParams {
        mode: mode(node, call.opset)?,
        coordinates: coordinates(node, call.opset)?,
        scales: target.scales.map(|s| s[2..].to_vec()),
    };
    if node.flag("antialias") {
        return Err("antialiased resizing is not analysed".to_owned());
    }
    draft(
        network,
        node,
        input,
        LayerKind::Resize,
        shape,
        output,
        Spec::Resize(params),
    )
}

fn mode(node: &NodeProto, opset: i64) -> Result<ResampleMode, String> {
    match node.text("mode").unwrap_or("nearest") {
        "nearest" => {
            // Before operator set 11 the nearest sample was the one before.
            let default = if opset < 11 {
                "floor"
            } else {
                "round_prefer_floor"
            };
            Ok(ResampleMode::Nearest(
                match node.text("nearest_mode").unwrap_or(default) {
                    "round_prefer_floor" => NearestRounding::RoundPreferFloor,
                    "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
                    "floor" => NearestRounding::Floor,
                    "ceil" => NearestRounding::Ceil,
                    other => return Err(format!("its nearest_mode \"{other}\" is not known")),
                },
            ))
        }
        "linear" | "bilinear" | "trilinear" => Ok(ResampleMode::Linear),
        other => Err(format!("{other} resizing is not analysed")),
    }
}

fn coordinates(node: &NodeProto, opset: i64) -> Result<Coordinates, String> {
    let default = if opset < 11 {
        "asymmetric"
    } else {
        "half_pixel"
    };
    match node
        .text("coordinate_transformation_mode")
        .unwrap_or(default)
    {
        "half_pixel" => Ok(Coordinates::HalfPixel),
        "half_pixel_symmetric" => Ok(Coordinates::HalfPixelSymmetric),
        "pytorch_half_pixel" => Ok(Coordinates::PytorchHalfPixel),
        "align_corners" => Ok(Coordinates::AlignCorners),
        "asymmetric" => Ok(Coordinates::Asymmetric),
        "tf_half_pixel_for_nn" => Ok(Coordinates::TfHalfPixelForNn),
        other => Err(format!(
            "resizing with the coordinates {other} is not analysed"
        )),
    }
}

/// Padding that no convolution takes in.
pub(super) fn pad(network: &Network, node: &NodeProto) -> Finding {
    let amounts = pad_amounts(&network.analysis.call(node));
    if amounts
        .as_ref()
        .is_ok_and(|a| a.iter().all(|&p| p == (0, 0)))
    {
        return Finding::Nothing;
    }
    // Shapes are padded too: arrays that do not depend on the input's values are no layers.
    if computed(network, node, 0).is_ok_and(|f| f.value.is_some() || f.constant.is_some()) {
        return Finding::Nothing;
    }
    amounts
        .and_then(|amounts| padded(network, node, &amounts))
        .into()
}

fn padded(network: &Network, node: &NodeProto, amounts: &[(i64, i64)]) -> Result<Draft, String> {
    let input = computed(network, node, 0)?;
    let shape = sample(input)?;
    let mode = pad_mode(node).ok_or("its mode is not known")?;
    if amounts.first().is_some_and(|&p| p != (0, 0)) {
        return Err("it pads the batch axis".to_owned());
    }
    let amounts: Vec<(usize, usize)> = amounts
        .iter()
        .skip(1)
        .map(|&(begin, end)| Some((usize::try_from(begin).ok()?, usize::try_from(end).ok()?)))
        .collect::<Option<_>>()
        .ok_or("it removes samples")?;
    let output = shape
        .iter()
        .zip(&amounts)
        .map(|(n, (begin, end))| n.checked_add(*begin)?.checked_add(*end))
        .collect::<Option<Vec<usize>>>()
        .ok_or("its padding is too large")?;
    draft_pad(
        network,
        node,
        input,
        shape,
        output,
        Padding { amounts, mode },
    )
}

fn draft_pad(
    network: &Network,
    node: &NodeProto,
    input: &Fact,
    shape: Vec<usize>,
    output: Vec<usize>,
    mut padding: Padding,
) -> Result<Draft, String> {
    // The operator pads every axis but its first; padded channels become an axis after a first one of length 1.
    let channels_alone = shape.len() > 1 && padding.amounts[0] == (0, 0);
    let inner = if channels_alone {
        padding.amounts.remove(0);
        shape.clone()
    } else {
        [&[1], shape.as_slice()].concat()
    };
    let spec = Spec::Pad {
        shape: inner,
        padding,
    };
    draft(network, node, input, LayerKind::Pad, shape, output, spec)
}
