//! Initialisers and Constant nodes as [`Tensor`]s, their declared sizes checked against the data that is there.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::proto::{EXTERNAL, NodeProto, TensorProto};
use crate::Error;
use crate::input::{element_count, shape_text};
use crate::tensor::{ElementType, Payload, Tensor};
use crate::value::{self, Kind, Value};

/// What is being read: for messages, and for finding external data.
pub(crate) struct Origin {
    /// How messages name the file.
    pub what: String,
    /// The model file; `None` for a model in memory.
    pub path: Option<PathBuf>,
}

/// Takes the data out of `proto`.
pub(crate) fn read(proto: &mut TensorProto, origin: &Origin) -> Result<Arc<Tensor>, Error> {
    let dims = dimensions(proto, origin)?;
    let element = ElementType::from_onnx(proto.data_type);
    let mut tensor = Tensor {
        name: std::mem::take(&mut proto.name),
        element,
        dims,
        payload: Payload::Opaque,
    };
    tensor.payload = if matches!(element, ElementType::Other(_)) {
        Payload::Opaque
    } else if proto.data_location == EXTERNAL {
        external(proto, &tensor, origin)?
    } else {
        internal(proto, &tensor, origin)?
    };
    Ok(Arc::new(tensor))
}

fn dimensions(proto: &TensorProto, origin: &Origin) -> Result<Vec<usize>, Error> {
    let refuse = |problem: &str| {
        Error::damaged(
            &origin.what,
            format!(
                "tensor \"{}\" declares the shape {:?}, {problem}",
                proto.name, proto.dims
            ),
        )
    };
    let dims = proto
        .dims
        .iter()
        .map(|&n| usize::try_from(n))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| refuse("which has a negative dimension"))?;
    element_count(&dims)
        .ok_or_else(|| refuse("whose dimensions multiply to more than can be addressed"))?;
    Ok(dims)
}

/// Data inside the model file: raw bytes, or one of the typed lists.
fn internal(proto: &mut TensorProto, tensor: &Tensor, origin: &Origin) -> Result<Payload, Error> {
    use ElementType as E;
    let refuse = |found: String| {
        Error::damaged(
            &origin.what,
            format!(
                "tensor \"{}\" declares the shape {} of {} but holds {found}",
                tensor.name,
                shape_text(&tensor.dims),
                tensor.element.name(),
            ),
        )
    };
    if !proto.raw_data.is_empty() {
        let bytes = std::mem::take(&mut proto.raw_data);
        if bytes.len() != tensor.byte_len() {
            let needed = tensor.byte_len();
            return Err(refuse(format!("{} bytes instead of {needed}", bytes.len())));
        }
        return Ok(Payload::Raw(bytes));
    }
    let (payload, found) = match tensor.element {
        E::F32 => {
            let data = std::mem::take(&mut proto.float_data);
            let n = data.len();
            (Payload::F32(data), n)
        }
        E::F64 => {
            let data = std::mem::take(&mut proto.double_data);
            let n = data.len();
            (Payload::F64(data), n)
        }
        E::I64 => {
            let data = std::mem::take(&mut proto.int64_data);
            let n = data.len();
            (Payload::I64(data), n)
        }
        E::U32 | E::U64 => {
            let data = std::mem::take(&mut proto.uint64_data);
            let n = data.len();
            (Payload::U64(data), n)
        }
        _ => {
            let data = std::mem::take(&mut proto.int32_data);
            let n = data.len();
            (Payload::I32(data), n)
        }
    };
    if found != tensor.len() {
        return Err(refuse(format!(
            "{found} numbers instead of {}",
            tensor.len()
        )));
    }
    Ok(payload)
}

/// Data in another file, which must lie in the model's folder.
fn external(proto: &TensorProto, tensor: &Tensor, origin: &Origin) -> Result<Payload, Error> {
    let refuse = |problem: String| Error::External {
        tensor: tensor.name.clone(),
        problem,
    };
    let entry = |key: &str| {
        let found = proto.external_data.iter().find(|e| e.key == key);
        found.map(|e| e.value.as_str())
    };
    let number = |key: &str| {
        let parse = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| refuse(format!("its {key} \"{text}\" is not a number of bytes")))
        };
        entry(key).map(parse).transpose()
    };
    let Some(model) = &origin.path else {
        return Err(refuse(
            "a model in memory has no folder; load it from its file".to_owned(),
        ));
    };
    let location = entry("location").ok_or_else(|| refuse("no file is named".to_owned()))?;
    let path = resolve(model, location).map_err(refuse)?;
    let available = std::fs::metadata(&path)
        .map_err(|e| Error::read(&path, e))?
        .len();
    let offset = number("offset")?.unwrap_or(0);
    let needed = tensor.byte_len() as u64;
    let length = number("length")?.unwrap_or(needed);
    if length != needed {
        let shape = shape_text(&tensor.dims);
        return Err(refuse(format!(
            "it declares the shape {shape} of {}, {needed} bytes, but a length of {length} bytes",
            tensor.element.name()
        )));
    }
    if offset.checked_add(needed).is_none_or(|end| end > available) {
        return Err(refuse(format!(
            "{} has {available} bytes, too few for {needed} bytes from offset {offset}; copy the data file \
             again",
            path.display()
        )));
    }
    Ok(Payload::File(path, offset))
}

/// The data file named by `location`, if it lies inside the folder of the model.
///
/// A model may itself be a link into a store of files (as model hubs keep them), so the folder where it really lies
/// counts as well as the folder where it was named.
pub(crate) fn resolve(model: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let inside = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(inside) {
        return Err(format!(
            "\"{location}\" leads out of the model's folder, which is not allowed; move the data file next to \
             the model"
        ));
    }
    let folder = match model.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let missing = |e| {
        let wanted = folder.join(relative);
        format!(
            "{} cannot be opened ({e}); keep the data file next to the model",
            wanted.display()
        )
    };
    let real = folder.join(relative).canonicalize().map_err(missing)?;
    let allowed = [
        folder.canonicalize().ok(),
        model
            .canonicalize()
            .ok()
            .and_then(|m| m.parent().map(Path::to_owned)),
    ];
    if allowed
        .iter()
        .flatten()
        .any(|folder| real.starts_with(folder))
    {
        Ok(real)
    } else {
        Err(format!(
            "\"{location}\" is a link that leads out of the model's folder, which is not allowed; copy the data \
             file next to the model"
        ))
    }
}

/// The array of a `Constant` node; `None` for strings and sparse arrays.
pub(crate) fn constant_node(
    node: &mut NodeProto,
    origin: &Origin,
) -> Result<Option<Arc<Tensor>>, Error> {
    let name = node.output.first().cloned().unwrap_or_default();
    for attribute in &mut node.attribute {
        let ints = |dims: Vec<usize>, data: Vec<i64>| (dims, ElementType::I64, Payload::I64(data));
        let floats =
            |dims: Vec<usize>, data: Vec<f32>| (dims, ElementType::F32, Payload::F32(data));
        let (dims, element, payload) = match attribute.name.as_str() {
            "value" => {
                let Some(proto) = &mut attribute.t else {
                    continue;
                };
                proto.name.clone_from(&name);
                return read(proto, origin).map(Some);
            }
            "value_int" => ints(Vec::new(), vec![attribute.i]),
            "value_float" => floats(Vec::new(), vec![attribute.f]),
            "value_ints" => {
                let data = std::mem::take(&mut attribute.ints);
                ints(vec![data.len()], data)
            }
            "value_floats" => {
                let data = std::mem::take(&mut attribute.floats);
                floats(vec![data.len()], data)
            }
            _ => continue,
        };
        return Ok(Some(Arc::new(Tensor {
            name,
            element,
            dims,
            payload,
        })));
    }
    Ok(None)
}

/// The numbers of a small tensor, for shape inference.
pub(crate) fn small_value(tensor: &Tensor) -> Option<Value> {
    value::fits(&tensor.dims)?;
    let kind = match tensor.element {
        ElementType::Other(_) => return None,
        ElementType::Bool => Kind::Bool,
        ElementType::F64 => Kind::F64,
        element if element.is_float() => Kind::F32,
        _ => Kind::Int,
    };
    Some(Value {
        kind,
        dims: tensor.dims.clone(),
        data: tensor.decode(Some).ok()?,
    })
}
