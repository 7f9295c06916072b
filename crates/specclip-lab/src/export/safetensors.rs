//! A recorded network as weights and the description of its layers (docs/layer-description.md).

use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use specclip::operator::ConvParams;

use super::recording::{Op, Parameter, Recording, Step};
use crate::error::Error;

/// The two files that stand for a network without its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// The safetensors file.
    pub bytes: Vec<u8>,
    /// The layer description, in TOML; a file of the same name beside the other.
    pub description: String,
}

#[derive(Serialize)]
struct Description<'a> {
    layer: Vec<Layer<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Layer<'a> {
    Conv {
        weight: String,
        input: &'a [usize],
        stride: &'a [usize],
        padding: &'a [(usize, usize)],
        padding_mode: &'static str,
        dilation: &'a [usize],
        groups: usize,
    },
    BatchNorm {
        weight: String,
        running_var: String,
        input: &'a [usize],
        eps: f64,
        after: &'a str,
    },
    Linear {
        weight: String,
        input: &'a [usize],
    },
}

pub(super) fn weights(network: &Recording) -> Result<Weights, Error> {
    let layer = network.steps.iter().filter_map(|step| layer(network, step));
    let description = Description {
        layer: layer.collect(),
    };
    let description = toml::to_string(&description)
        .map_err(|e| Error::Export(format!("its layers cannot be described ({e})")))?;
    Ok(Weights {
        bytes: file(&network.parameters)?,
        description,
    })
}

fn file(parameters: &[Parameter]) -> Result<Vec<u8>, Error> {
    let refuse = |e| Error::Export(format!("its weights cannot be written ({e})"));
    let little_endian =
        |p: &Parameter| -> Vec<u8> { p.values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let bytes: Vec<Vec<u8>> = parameters.iter().map(little_endian).collect();
    let views = parameters.iter().zip(&bytes).map(|(parameter, bytes)| {
        let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes)?;
        Ok((parameter.name.as_str(), view))
    });
    let views: Vec<(&str, TensorView)> = views.collect::<Result<_, _>>().map_err(refuse)?;
    safetensors::serialize(views, None).map_err(refuse)
}

/// What is to be said about a step, if it has a weight.
fn layer<'a>(network: &'a Recording, step: &'a Step) -> Option<Layer<'a>> {
    let source = &network.steps[*step.inputs.first()?];
    let weight = format!("{}.weight", step.name);
    Some(match &step.op {
        Op::Conv { params, .. } => conv(weight, &source.shape, params),
        Op::BatchNorm { eps } => Layer::BatchNorm {
            weight,
            running_var: format!("{}.running_var", step.name),
            input: &source.shape,
            eps: *eps,
            after: &source.name,
        },
        Op::Dense { .. } => Layer::Linear {
            weight,
            input: &source.shape,
        },
        _ => return None,
    })
}

fn conv<'a>(weight: String, input: &'a [usize], params: &'a ConvParams) -> Layer<'a> {
    Layer::Conv {
        weight,
        input,
        stride: &params.stride,
        padding: &params.padding,
        padding_mode: params.mode.name(),
        dilation: &params.dilation,
        groups: params.groups,
    }
}
