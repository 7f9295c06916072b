//! One `[[layer]]` table and the layer that it describes.

use std::sync::Arc;

use serde::Deserialize;
use specclip::operator::{ConvParams, ConvTransposeParams, PaddingMode};

use crate::bounds;
use crate::constant::Constant;
use crate::model::{Layer, LayerKind, WeightRef};
use crate::onnx::{Window, extent};
use crate::spec::Spec;

/// A layer by its kind. Weights are laid out as PyTorch has them.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Entry {
    Conv(ConvEntry),
    ConvTranspose(ConvTransposeEntry),
    Linear(LinearEntry),
    BatchNorm(BatchNormEntry),
}

/// One number for all axes, or one for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a whole number or a list with one for each axis"
)]
enum PerAxis {
    All(usize),
    Each(Vec<usize>),
}

/// One number for all sides, one for each axis, or a pair (before, after) for each axis.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a whole number, a list with one for each axis, or a list of pairs [before, after]"
)]
enum Sides {
    All(usize),
    Each(Vec<usize>),
    Pairs(Vec<(usize, usize)>),
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Zeros,
    Circular,
    Reflect,
    Replicate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConvEntry {
    name: Option<String>,
    weight: String,
    input: Vec<usize>,
    stride: Option<PerAxis>,
    padding: Option<Sides>,
    #[serde(default)]
    padding_mode: Mode,
    dilation: Option<PerAxis>,
    groups: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConvTransposeEntry {
    name: Option<String>,
    weight: String,
    input: Vec<usize>,
    stride: Option<PerAxis>,
    padding: Option<Sides>,
    output_padding: Option<PerAxis>,
    dilation: Option<PerAxis>,
    groups: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinearEntry {
    name: Option<String>,
    weight: String,
    input: Option<Vec<usize>>,
    positions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchNormEntry {
    name: Option<String>,
    weight: String,
    running_var: String,
    input: Vec<usize>,
    eps: Option<f64>,
    after: Option<String>,
}

impl PerAxis {
    fn expand(
        value: Option<&Self>,
        key: &str,
        axes: usize,
        default: usize,
    ) -> Result<Vec<usize>, String> {
        match value {
            None => Ok(vec![default; axes]),
            Some(Self::All(n)) => Ok(vec![*n; axes]),
            Some(Self::Each(list)) if list.len() == axes => Ok(list.clone()),
            Some(Self::Each(list)) => Err(format!(
                "{key} = {list:?} does not have one number for each of {axes} axes"
            )),
        }
    }
}

impl Sides {
    fn expand(value: Option<&Self>, axes: usize) -> Result<Vec<(usize, usize)>, String> {
        let sides = match value {
            None => vec![(0, 0); axes],
            Some(Self::All(n)) => vec![(*n, *n); axes],
            Some(Self::Each(list)) => list.iter().map(|&n| (n, n)).collect(),
            Some(Self::Pairs(list)) => list.clone(),
        };
        if sides.len() == axes {
            Ok(sides)
        } else {
            Err(format!(
                "padding does not have one entry for each of {axes} axes"
            ))
        }
    }
}

impl From<Mode> for PaddingMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Zeros => Self::Zeros,
            Mode::Circular => Self::Circular,
            Mode::Reflect => Self::Reflect,
            Mode::Replicate => Self::Replicate,
        }
    }
}

impl Entry {
    /// The word after `kind =`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::ConvTranspose(_) => "conv_transpose",
            Self::Linear(_) => "linear",
            Self::BatchNorm(_) => "batch_norm",
        }
    }

    /// The layer's name: the stated one, or the weight's without `.weight`.
    pub(super) fn name(&self) -> String {
        let (name, weight) = match self {
            Self::Conv(e) => (&e.name, &e.weight),
            Self::ConvTranspose(e) => (&e.name, &e.weight),
            Self::Linear(e) => (&e.name, &e.weight),
            Self::BatchNorm(e) => (&e.name, &e.weight),
        };
        let stem = || weight.strip_suffix(".weight").unwrap_or(weight).to_owned();
        name.clone().unwrap_or_else(stem)
    }

    /// The tensors that the layer needs.
    pub(super) fn tensor_names(&self) -> Vec<&str> {
        match self {
            Self::Conv(e) => vec![&e.weight],
            Self::ConvTranspose(e) => vec![&e.weight],
            Self::Linear(e) => vec![&e.weight],
            Self::BatchNorm(e) => vec![&e.weight, &e.running_var],
        }
    }

    /// The layer that a batch normalisation follows.
    pub(super) fn after(&self) -> Option<&str> {
        match self {
            Self::BatchNorm(e) => e.after.as_deref(),
            _ => None,
        }
    }

    /// The layer, from the tensors that [`Entry::tensor_names`] lists.
    pub(super) fn layer(&self, name: String, tensors: &[Arc<Constant>]) -> Result<Layer, String> {
        let weight = tensors.first().ok_or("it has no weight")?;
        let (kind, input_shape, output_shape, spec, multiplicity) = match self {
            Self::Conv(e) => e.shape(weight)?,
            Self::ConvTranspose(e) => e.shape(weight)?,
            Self::Linear(e) => e.shape(weight)?,
            Self::BatchNorm(e) => e.shape(weight, tensors.get(1).unwrap_or(weight))?,
        };
        bounds::check(&spec, &input_shape, &output_shape)?;
        Ok(Layer {
            name,
            kind,
            input_shape,
            output_shape,
            multiplicity,
            weight: WeightRef::new(weight),
            batch_norm: None,
            spec,
        })
    }
}

/// Kind, input shape, output shape, operator, multiplicity.
type Shape = Result<(LayerKind, Vec<usize>, Vec<usize>, Spec, usize), String>;

/// Channels and spatial dimensions of `input`, and the kernel's spatial dimensions.
fn split<'a>(
    input: &'a [usize],
    weight: &'a Constant,
) -> Result<(usize, &'a [usize], &'a [usize]), String> {
    let (Some((&channels, spatial)), Some(kernel)) = (input.split_first(), weight.dims.get(2..))
    else {
        return Err(format!(
            "the weight {:?} is no kernel for the input {input:?}",
            weight.dims
        ));
    };
    if spatial.is_empty() || kernel.len() != spatial.len() || kernel.contains(&0) {
        return Err(format!(
            "the weight {:?} does not fit the input {input:?}; input is [channels, sizes...] without a batch axis",
            weight.dims
        ));
    }
    Ok((channels, spatial, kernel))
}

fn positive(list: Vec<usize>, key: &str) -> Result<Vec<usize>, String> {
    if list.contains(&0) {
        Err(format!("{key} = {list:?} has a 0"))
    } else {
        Ok(list)
    }
}

fn with_channels(channels: usize, spatial: Vec<usize>) -> Vec<usize> {
    let mut shape = vec![channels];
    shape.extend(spatial);
    shape
}

impl ConvEntry {
    fn shape(&self, weight: &Arc<Constant>) -> Shape {
        let (channels, spatial, kernel) = split(&self.input, weight)?;
        let axes = spatial.len();
        let mut params = ConvParams::new(axes);
        params.stride = positive(
            PerAxis::expand(self.stride.as_ref(), "stride", axes, 1)?,
            "stride",
        )?;
        params.dilation = positive(
            PerAxis::expand(self.dilation.as_ref(), "dilation", axes, 1)?,
            "dilation",
        )?;
        params.padding = Sides::expand(self.padding.as_ref(), axes)?;
        params.mode = self.padding_mode.into();
        params.groups = self.groups.unwrap_or(1);
        if params.groups.checked_mul(weight.dims[1]) != Some(channels) {
            return Err(format!(
                "the weight {:?} in {} groups does not fit {channels} input channels",
                weight.dims, params.groups
            ));
        }
        let window = Window {
            kernel: kernel.to_vec(),
            stride: params.stride.clone(),
            padding: params.padding.clone(),
            dilation: params.dilation.clone(),
        };
        let padded = window.padded(spatial);
        let window = window.within(&padded);
        params.stride.clone_from(&window.stride);
        params.dilation.clone_from(&window.dilation);
        let output = with_channels(weight.dims[0], window.output(spatial, false)?);
        let spec = Spec::Conv {
            weight: weight.clone(),
            params,
            before: Vec::new(),
        };
        Ok((LayerKind::Conv(axes), self.input.clone(), output, spec, 1))
    }
}

impl ConvTransposeEntry {
    fn shape(&self, weight: &Arc<Constant>) -> Shape {
        let (channels, spatial, kernel) = split(&self.input, weight)?;
        let axes = spatial.len();
        let mut params = ConvTransposeParams::new(axes);
        params.stride = positive(
            PerAxis::expand(self.stride.as_ref(), "stride", axes, 1)?,
            "stride",
        )?;
        params.dilation = positive(
            PerAxis::expand(self.dilation.as_ref(), "dilation", axes, 1)?,
            "dilation",
        )?;
        params.padding = Sides::expand(self.padding.as_ref(), axes)?;
        params.output_padding =
            PerAxis::expand(self.output_padding.as_ref(), "output_padding", axes, 0)?;
        params.groups = self.groups.unwrap_or(1);
        if weight.dims[0] != channels {
            return Err(format!(
                "the weight {:?} does not fit {channels} input channels",
                weight.dims
            ));
        }
        let size = |a: usize| {
            let reach = spatial[a].checked_sub(1)?.checked_mul(params.stride[a])?;
            let full = reach
                .checked_add(extent(kernel[a], params.dilation[a]).ok()?)?
                .checked_add(params.output_padding[a])?;
            let (begin, end) = params.padding[a];
            full.checked_sub(begin.checked_add(end)?)
        };
        let sizes: Option<Vec<usize>> = (0..axes).map(size).collect();
        let sizes = sizes.ok_or("its padding leaves no output, or the output is too large")?;
        for (a, stride) in params.stride.iter_mut().enumerate() {
            // With a single input there is no second one that a longer stride could move.
            let (begin, end) = params.padding[a];
            *stride = (*stride).min(sizes[a].saturating_add(begin).saturating_add(end).max(1));
        }
        let outputs = weight.dims[1]
            .checked_mul(params.groups)
            .ok_or("it has too many groups")?;
        let spec = Spec::ConvTranspose {
            weight: weight.clone(),
            params,
        };
        let output = with_channels(outputs, sizes);
        Ok((
            LayerKind::ConvTranspose(axes),
            self.input.clone(),
            output,
            spec,
            1,
        ))
    }
}

impl LinearEntry {
    fn shape(&self, weight: &Arc<Constant>) -> Shape {
        let [outputs, inputs] = weight.dims[..] else {
            return Err(format!(
                "the weight {:?} is not a matrix (outputs, inputs)",
                weight.dims
            ));
        };
        if let Some(stated) = &self.input
            && *stated != [inputs]
        {
            return Err(format!(
                "the weight {:?} takes the input [{inputs}], not {stated:?}",
                weight.dims
            ));
        }
        let positions = self.positions.unwrap_or(1);
        if positions == 0 {
            return Err("positions = 0: a layer is applied at least once".to_owned());
        }
        let spec = Spec::Dense {
            weight: weight.clone(),
            factor: 1.0,
        };
        Ok((
            LayerKind::Dense,
            vec![inputs],
            vec![outputs],
            spec,
            positions,
        ))
    }
}

impl BatchNormEntry {
    fn shape(&self, gamma: &Arc<Constant>, variance: &Arc<Constant>) -> Shape {
        let channels = self.input.first().copied().unwrap_or(0);
        if gamma.dims != [channels] || variance.dims != [channels] {
            return Err(format!(
                "weight {:?} and running_var {:?} do not fit {channels} channels",
                gamma.dims, variance.dims
            ));
        }
        let spec = Spec::BatchNorm {
            gamma: gamma.clone(),
            variance: variance.clone(),
            epsilon: self.eps.unwrap_or(1e-5),
        };
        Ok((
            LayerKind::BatchNorm,
            self.input.clone(),
            self.input.clone(),
            spec,
            1,
        ))
    }
}
