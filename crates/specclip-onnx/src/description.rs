//! safetensors weights with a layer description in TOML (`docs/layer-description.md`).

mod entry;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::Error;
use crate::constant::Constant;
use crate::input::shape_text;
use crate::model::{Layer, LayerKind, Model, Skipped};
use crate::tensor::{ElementType, Payload, Tensor};
use crate::write::ModelFile;
use entry::Entry;

/// The whole description.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The safetensors file, relative to the description; by default the file of the same name.
    weights: Option<PathBuf>,
    /// The layers in network order.
    #[serde(default)]
    layer: Vec<toml::Table>,
}

/// Reads the description at `path`. `weights` is the safetensors file when the user named that one.
pub(crate) fn load(path: &Path, weights: Option<&Path>) -> Result<Model, Error> {
    let refuse = |problem: String| Error::Description {
        path: path.to_owned(),
        problem,
    };
    if let Some(weights) = weights
        && !path.exists()
    {
        let (_, tensors) = read_weights(weights)?;
        return Err(refuse(missing(weights, &tensors)));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
    let description: Description = toml::from_str(&text).map_err(|e| refuse(flatten(&e)))?;
    let weights = match (weights, description.weights) {
        (Some(named), _) => named.to_owned(),
        (None, Some(stated)) => path.parent().unwrap_or(Path::new("")).join(stated),
        (None, None) => path.with_extension("safetensors"),
    };
    let (bytes, tensors) = read_weights(&weights)?;
    let mut builder = Builder {
        tensors: &tensors,
        weights: &weights,
        model: Model {
            layers: Vec::new(),
            skipped: Vec::new(),
            inputs: Vec::new(),
            source: None,
            file: ModelFile::new(bytes, Some(&weights), Some(path)),
        },
    };
    for (i, table) in description.layer.into_iter().enumerate() {
        let label = match table.get("name").or_else(|| table.get("weight")) {
            Some(toml::Value::String(name)) => format!("layer {} (\"{name}\")", i + 1),
            _ => format!("layer {}", i + 1),
        };
        Entry::deserialize(table)
            .map_err(|e| flatten(&e))
            .and_then(|entry| builder.add(entry))
            .map_err(|problem| refuse(format!("{label}: {problem}")))?;
    }
    Ok(builder.model)
}

/// A parser's message on one line.
fn flatten(error: &toml::de::Error) -> String {
    let lines: Vec<&str> = error.message().lines().map(str::trim).collect();
    lines.join(" ")
}

fn missing(weights: &Path, tensors: &Tensors) -> String {
    let mut kernels: Vec<String> = tensors
        .values()
        .filter(|t| t.dims.len() >= 2)
        .map(|t| format!("{} ({})", t.name, shape_text(&t.dims)))
        .collect();
    kernels.sort();
    kernels.truncate(3);
    format!(
        "it does not exist, and {} holds weights only; write it with one [[layer]] table for each layer (kind, weight, \
         input, stride, padding, ...; see docs/layer-description.md). Tensors in the file: {}",
        weights.display(),
        if kernels.is_empty() {
            "no matrix or kernel".to_owned()
        } else {
            kernels.join(", ")
        }
    )
}

type Tensors = HashMap<String, Arc<Tensor>>;

/// The file's bytes, and the tensors in them.
fn read_weights(path: &Path) -> Result<(Bytes, Tensors), Error> {
    let bytes = Bytes::from(std::fs::read(path).map_err(|e| Error::read(path, e))?);
    let what = path.display().to_string();
    if bytes.is_empty() {
        return Err(Error::NotAModel {
            what,
            found: "it is empty",
            advice: "export or download it again",
        });
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        Error::damaged(
            &what,
            format!("its safetensors header is truncated or invalid ({e})"),
        )
    })?;
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let tensor = Tensor {
                name: name.clone(),
                element: element(view.dtype()),
                dims: view.shape().to_vec(),
                payload: Payload::Raw(bytes.slice_ref(view.data())),
            };
            (name, Arc::new(tensor))
        })
        .collect();
    Ok((bytes, tensors))
}

fn element(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::I8 => ElementType::I8,
        Dtype::I16 => ElementType::I16,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        Dtype::U8 => ElementType::U8,
        Dtype::U16 => ElementType::U16,
        Dtype::U32 => ElementType::U32,
        Dtype::U64 => ElementType::U64,
        Dtype::BOOL => ElementType::Bool,
        Dtype::F8_E4M3 => ElementType::Other("float8_e4m3"),
        Dtype::F8_E5M2 => ElementType::Other("float8_e5m2"),
        _ => ElementType::Other("a type that is not read"),
    }
}

struct Builder<'a> {
    tensors: &'a Tensors,
    weights: &'a Path,
    model: Model,
}

impl Builder<'_> {
    fn tensor(&self, name: &str) -> Result<Arc<Constant>, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| {
            let mut names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            names.sort_unstable();
            names.truncate(5);
            format!(
                "{} has no tensor \"{name}\"; it has {} such as {}",
                self.weights.display(),
                self.tensors.len(),
                names.join(", ")
            )
        })?;
        Ok(Constant::tensor(tensor.clone()))
    }

    fn add(&mut self, entry: Entry) -> Result<(), String> {
        let names = entry.tensor_names();
        let name = entry.name();
        if self.model.layers.iter().any(|l| l.name == name) {
            return Err(format!(
                "two layers are named \"{name}\"; give one another name"
            ));
        }
        let tensors = names
            .iter()
            .map(|n| self.tensor(n))
            .collect::<Result<Vec<_>, _>>()?;
        let stored = |c: &Arc<Constant>| c.root().map_or("", |t| t.element.name());
        if let Some(constant) = tensors.iter().find(|c| !c.is_float()) {
            self.model.skipped.push(Skipped {
                name,
                op: entry.kind().to_owned(),
                reason: format!(
                    "its weight is stored as {}: quantised weights are not analysed",
                    stored(constant)
                ),
            });
            return Ok(());
        }
        let before = entry.after().map(|first| {
            let place = self.model.layers.iter().position(|l| l.name == first);
            place.ok_or_else(|| format!("there is no layer \"{first}\" before it"))
        });
        let before = before.transpose()?;
        let layer = entry.layer(name, &tensors)?;
        if let Some(first) = before {
            self.link(first, &layer)?;
        }
        self.model.layers.push(layer);
        Ok(())
    }

    /// Notes that `norm`, about to be added, follows layer `first`.
    fn link(&mut self, first: usize, norm: &Layer) -> Result<(), String> {
        let index = self.model.layers.len();
        let layer = &mut self.model.layers[first];
        if norm.kind != LayerKind::BatchNorm || !layer.kind.takes_batch_norm() {
            return Err(format!("a {} cannot follow \"{}\"", norm.kind, layer.name));
        }
        if layer.output_shape != norm.input_shape {
            return Err(format!(
                "its input {} is not the output {} of \"{}\"",
                shape_text(&norm.input_shape),
                shape_text(&layer.output_shape),
                layer.name
            ));
        }
        layer.batch_norm = Some(index);
        Ok(())
    }
}
