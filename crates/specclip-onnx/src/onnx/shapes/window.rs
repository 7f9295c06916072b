//! Operators that slide a window over spatial axes: convolutions and poolings.

use super::{Call, Inferred};
use crate::onnx::fact::{Dims, Fact};
use crate::onnx::proto::NodeProto;

/// The geometry of a sliding window, one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub kernel: Vec<usize>,
    pub stride: Vec<usize>,
    pub padding: Vec<(usize, usize)>,
    pub dilation: Vec<usize>,
}

/// Who decides the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

fn auto_pad(node: &NodeProto) -> Result<AutoPad, String> {
    match node.text("auto_pad").unwrap_or("NOTSET") {
        "NOTSET" | "" => Ok(AutoPad::Explicit),
        "SAME_UPPER" => Ok(AutoPad::SameUpper),
        "SAME_LOWER" => Ok(AutoPad::SameLower),
        "VALID" => Ok(AutoPad::Valid),
        other => Err(format!("its auto_pad \"{other}\" is not defined")),
    }
}

/// `total` samples of padding on two sides; the odd one goes to the end for `SAME_UPPER`.
fn halves(total: usize, auto: AutoPad) -> (usize, usize) {
    let (less, more) = (total / 2, total - total / 2);
    if auto == AutoPad::SameUpper {
        (less, more)
    } else {
        (more, less)
    }
}

/// A list attribute with one positive entry for each axis, all 1 when it is missing.
fn per_axis(node: &NodeProto, name: &str, axes: usize) -> Result<Vec<usize>, String> {
    match node.sizes(name)? {
        None => Ok(vec![1; axes]),
        Some(list) if list.is_empty() => Ok(vec![1; axes]),
        Some(list) if list.len() == axes && list.iter().all(|&n| n > 0) => Ok(list),
        Some(list) => Err(format!(
            "its attribute {name} = {list:?} does not have one positive entry for each of {axes} axes"
        )),
    }
}

fn explicit_pads(node: &NodeProto, axes: usize) -> Result<Vec<(usize, usize)>, String> {
    match node.sizes("pads")? {
        None => Ok(vec![(0, 0); axes]),
        Some(pads) if pads.is_empty() => Ok(vec![(0, 0); axes]),
        Some(pads) if pads.len() == 2 * axes => Ok(pads[..axes]
            .iter()
            .copied()
            .zip(pads[axes..].iter().copied())
            .collect()),
        Some(pads) => Err(format!(
            "its attribute pads = {pads:?} does not fit {axes} spatial axes"
        )),
    }
}

/// The samples that a kernel spans.
pub(crate) fn extent(kernel: usize, dilation: usize) -> Result<usize, String> {
    kernel
        .checked_sub(1)
        .and_then(|k| k.checked_mul(dilation))
        .and_then(|k| k.checked_add(1))
        .ok_or_else(|| {
            format!("a kernel of size {kernel} with dilation {dilation} is not possible")
        })
}

/// The window of a convolution or pooling over an input with `spatial` dimensions.
pub(crate) fn window(
    node: &NodeProto,
    spatial: &[usize],
    kernel: &[usize],
) -> Result<Window, String> {
    let axes = spatial.len();
    if kernel.len() != axes {
        return Err(format!(
            "a kernel with {} axes cannot slide over {axes} axes",
            kernel.len()
        ));
    }
    let stride = per_axis(node, "strides", axes)?;
    let dilation = per_axis(node, "dilations", axes)?;
    let auto = auto_pad(node)?;
    let padding = match auto {
        AutoPad::Explicit => explicit_pads(node, axes)?,
        AutoPad::Valid => vec![(0, 0); axes],
        AutoPad::SameUpper | AutoPad::SameLower => (0..axes)
            .map(|a| {
                let out = spatial[a].div_ceil(stride[a]);
                let reach = out.saturating_sub(1).saturating_mul(stride[a]);
                let needed = reach.saturating_add(extent(kernel[a], dilation[a])?);
                Ok(halves(needed.saturating_sub(spatial[a]), auto))
            })
            .collect::<Result<_, String>>()?,
    };
    let window = Window {
        kernel: kernel.to_vec(),
        stride,
        padding,
        dilation,
    };
    let padded = window.padded(spatial);
    Ok(window.within(&padded))
}

impl Window {
    /// The lengths of the axes with padding.
    pub(crate) fn padded(&self, spatial: &[usize]) -> Vec<usize> {
        let add = |(n, (begin, end)): (&usize, &(usize, usize))| {
            n.saturating_add(*begin).saturating_add(*end)
        };
        spatial.iter().zip(&self.padding).map(add).collect()
    }

    /// The window with strides and dilations no longer than the axes that it slides over. It does the same: there is no
    /// second position, or no second tap, that the difference could move.
    pub(crate) fn within(mut self, lengths: &[usize]) -> Self {
        for list in [&mut self.stride, &mut self.dilation] {
            for (step, &length) in list.iter_mut().zip(lengths) {
                *step = (*step).min(length.max(1));
            }
        }
        self
    }

    /// The output's spatial dimensions. With `ceil` a last, partial window counts if it starts inside the input or
    /// the padding before it, as PyTorch and ONNX Runtime have it.
    pub(crate) fn output(&self, spatial: &[usize], ceil: bool) -> Result<Vec<usize>, String> {
        (0..spatial.len())
            .map(|a| {
                let (begin, end) = self.padding[a];
                let span = extent(self.kernel[a], self.dilation[a])?;
                let padded = spatial[a]
                    .checked_add(begin)
                    .and_then(|n| n.checked_add(end))
                    .ok_or("its padding is not possible")?;
                let room = padded.checked_sub(span).ok_or_else(|| {
                    format!("a kernel spanning {span} samples does not fit into {padded}")
                })?;
                let stride = self.stride[a];
                let full = room / stride + 1;
                let partial = ceil
                    && room % stride != 0
                    && full
                        .checked_mul(stride)
                        .is_some_and(|start| start < spatial[a] + begin);
                Ok(full + usize::from(partial))
            })
            .collect()
    }
}

/// The geometry of a transposed convolution, one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransposedWindow {
    pub window: Window,
    pub output_padding: Vec<usize>,
    pub output: Vec<usize>,
}

/// The window of a `ConvTranspose` node; `output_shape` and `auto_pad` are turned into padding as the standard says.
pub(crate) fn transposed_window(
    node: &NodeProto,
    spatial: &[usize],
    kernel: &[usize],
) -> Result<TransposedWindow, String> {
    let axes = spatial.len();
    if kernel.len() != axes {
        return Err(format!(
            "a kernel with {} axes cannot slide over {axes} axes",
            kernel.len()
        ));
    }
    let stride = per_axis(node, "strides", axes)?;
    let dilation = per_axis(node, "dilations", axes)?;
    let mut output_padding = match node.sizes("output_padding")? {
        Some(list) if list.len() == axes => list,
        Some(list) if !list.is_empty() => {
            return Err(format!(
                "its output_padding = {list:?} does not fit {axes} spatial axes"
            ));
        }
        _ => vec![0; axes],
    };
    let auto = auto_pad(node)?;
    let wanted = wanted_output(node, spatial, &stride, auto)?;
    let mut padding = explicit_pads(node, axes)?;
    if auto == AutoPad::Valid {
        padding = vec![(0, 0); axes];
    }
    let mut output = Vec::with_capacity(axes);
    let mut lengths = Vec::with_capacity(axes);
    for a in 0..axes {
        let span = extent(kernel[a], dilation[a])?;
        let full = spatial[a]
            .checked_sub(1)
            .and_then(|n| n.checked_mul(stride[a]))
            .and_then(|n| n.checked_add(span))
            .and_then(|n| n.checked_add(output_padding[a]))
            .ok_or("its output would be too large")?;
        lengths.push(wanted.as_ref().map_or(full, |w| full.max(w[a])));
        if let Some(wanted) = &wanted {
            padding[a] = halves(full.saturating_sub(wanted[a]), auto);
            // An output larger than what the kernel reaches ends in samples that only the bias reaches.
            output_padding[a] = output_padding[a].saturating_add(wanted[a].saturating_sub(full));
            output.push(wanted[a]);
        } else {
            let (begin, end) = padding[a];
            let cut = begin.saturating_add(end);
            let left = full.checked_sub(cut).filter(|&n| n > 0);
            output
                .push(left.ok_or_else(|| format!("its padding leaves nothing of {full} samples"))?);
        }
    }
    let window = Window {
        kernel: kernel.to_vec(),
        stride,
        padding,
        dilation,
    };
    Ok(TransposedWindow {
        window: window.within(&lengths),
        output_padding,
        output,
    })
}

/// The spatial size that a transposed convolution is asked to have, if any.
fn wanted_output(
    node: &NodeProto,
    spatial: &[usize],
    stride: &[usize],
    auto: AutoPad,
) -> Result<Option<Vec<usize>>, String> {
    if let Some(shape) = node.sizes("output_shape")?.filter(|s| !s.is_empty()) {
        // Some exporters include the batch and channel axes.
        let skip = if shape.len() == spatial.len() + 2 {
            2
        } else {
            0
        };
        let wanted = shape[skip..].to_vec();
        return if wanted.len() == spatial.len() && wanted.iter().all(|&n| n > 0) {
            Ok(Some(wanted))
        } else {
            Err(format!(
                "its output_shape = {shape:?} does not fit {} spatial axes",
                spatial.len()
            ))
        };
    }
    if matches!(auto, AutoPad::SameUpper | AutoPad::SameLower) {
        let sizes = spatial.iter().zip(stride).map(|(n, s)| n.checked_mul(*s));
        let wanted: Option<Vec<usize>> = sizes.collect();
        return wanted
            .map(Some)
            .ok_or_else(|| "its output would be too large".to_owned());
    }
    Ok(None)
}

/// The spatial dimensions of an input with batch and channel axes, all known.
pub(crate) fn spatial(fact: &Fact) -> Result<Vec<usize>, String> {
    let dims = fact.dims()?;
    if dims.len() < 3 {
        return Err(format!(
            "its input has {} axes and so no spatial axis",
            dims.len()
        ));
    }
    dims[2..]
        .iter()
        .copied()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| "a spatial dimension of its input depends on the data".to_owned())
}

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    let weight_input = match call.node.op_type.as_str() {
        "QLinearConv" => 3,
        _ => 1,
    };
    Some(match call.node.op_type.as_str() {
        "Conv" | "FusedConv" | "ConvInteger" | "QLinearConv" => conv(call, weight_input),
        "ConvTranspose" => conv_transpose(call),
        "AveragePool" | "MaxPool" | "LpPool" => pool(call),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => call.dims(0).map(|dims| {
            let mut out = dims.clone();
            out.iter_mut().skip(2).for_each(|n| *n = Some(1));
            vec![Fact::shaped(out)]
        }),
        "MaxRoiPool" | "RoiAlign" => region_pool(call),
        "DeformConv" => conv(call, 1),
        _ => return None,
    })
}

fn with_spatial(batch: Option<usize>, channels: Option<usize>, spatial: &[usize]) -> Dims {
    let mut dims = vec![batch, channels];
    dims.extend(spatial.iter().copied().map(Some));
    dims
}

fn conv(call: &Call, weight: usize) -> Inferred {
    let input = call.input(0)?;
    let spatial = spatial(input)?;
    let weight = call.dims(weight)?;
    let kernel = match call.node.sizes("kernel_shape")? {
        Some(kernel) if !kernel.is_empty() => kernel,
        _ => weight
            .get(2..)
            .and_then(|k| k.iter().copied().collect::<Option<Vec<_>>>())
            .ok_or("the shape of its kernel is unknown")?,
    };
    let out = window(call.node, &spatial, &kernel)?.output(&spatial, false)?;
    let channels = weight.first().copied().flatten();
    Ok(vec![Fact::shaped(with_spatial(
        input.dims()?[0],
        channels,
        &out,
    ))])
}

fn conv_transpose(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let spatial = spatial(input)?;
    let weight = call.dims(1)?;
    let kernel = weight
        .get(2..)
        .and_then(|k| k.iter().copied().collect::<Option<Vec<_>>>())
        .ok_or("the shape of its kernel is unknown")?;
    let out = transposed_window(call.node, &spatial, &kernel)?.output;
    let groups = usize::try_from(call.node.int("group").unwrap_or(1)).unwrap_or(1);
    let channels = weight[1].and_then(|n| n.checked_mul(groups));
    Ok(vec![Fact::shaped(with_spatial(
        input.dims()?[0],
        channels,
        &out,
    ))])
}

fn pool(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let spatial = spatial(input)?;
    let kernel = call.node.sizes("kernel_shape")?.unwrap_or_default();
    let window = window(call.node, &spatial, &kernel)?;
    let out = window.output(&spatial, call.node.flag("ceil_mode"))?;
    let dims = input.dims()?;
    let fact = Fact::shaped(with_spatial(dims[0], dims[1], &out));
    Ok(vec![fact.clone(), fact])
}

fn region_pool(call: &Call) -> Inferred {
    let channels = call.dims(0)?.get(1).copied().flatten();
    let regions = call.dims(1)?.first().copied().flatten();
    let size = |name: &str| {
        call.node
            .int(name)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1)
    };
    let out = match call.node.sizes("pooled_shape")? {
        Some(shape) => shape,
        None => vec![size("output_height"), size("output_width")],
    };
    Ok(vec![Fact::shaped(with_spatial(regions, channels, &out))])
}
