//! ONNX files.
//!
//! The protobuf messages are declared in [`proto`] and shapes are inferred by this crate's own rules ([`shapes`]). An
//! inference engine would do both, but it folds constants of any size, stops or panics at the first operator that it
//! does not implement, and takes longer to compile than the rest of the workspace.

mod attributes;
mod fact;
mod flow;
mod functions;
mod graph;
mod infer;
mod initialiser;
mod inputs;
mod layers;
mod network;
mod padding;
pub(crate) mod proto;
mod shapes;
mod wire;
mod write;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::model::Model;
use crate::write::ModelFile;
use crate::{Error, Options};
use graph::Graph;
use initialiser::Origin;
use network::Network;

pub(crate) use flow::Source;
pub(crate) use shapes::window::{Window, extent};
pub(crate) use write::{DataFiles, edits};

/// Reads a model from bytes; `path` is where they come from, for messages and external data.
pub(crate) fn load(bytes: Bytes, path: Option<&Path>, options: &Options) -> Result<Model, Error> {
    let origin = Origin {
        what: path.map_or_else(
            || "the model in memory".to_owned(),
            |p| p.display().to_string(),
        ),
        path: path.map(Path::to_owned),
    };
    refuse_other_formats(&bytes, &origin.what)?;
    let file = ModelFile::new(bytes.clone(), path, None);
    let proto = proto::ModelProto::decode(bytes).map_err(|e| {
        let problem = format!("its protobuf structure breaks off or is invalid ({e})");
        Error::damaged(&origin.what, problem)
    })?;
    let mut graph = Graph::new(proto, &origin)?;
    let inputs = inputs::resolve(&graph.inputs, &options.inputs)?;
    let analysis = infer::run(&mut graph, &inputs, &origin);
    let network = Network::new(&analysis, &graph.outputs);
    let found = layers::extract(&network);
    let source = Source {
        places: found.places,
        reasons: found.reasons,
        inputs: inputs.shapes.clone(),
        outputs: graph.outputs,
        analysis,
    };
    Ok(Model {
        layers: found.layers,
        skipped: found.skipped,
        inputs: inputs.shapes,
        source: Some(Arc::new(source)),
        file,
    })
}

/// Recognises what people try instead of ONNX files.
fn refuse_other_formats(bytes: &[u8], what: &str) -> Result<(), Error> {
    let (found, advice) = if bytes.is_empty() {
        ("it is empty", "export or download it again")
    } else if bytes.starts_with(b"PK\x03\x04") {
        (
            "it is a zip archive, such as torch.save and Keras write",
            "load it in Python and export it with torch.onnx.export or tf2onnx",
        )
    } else if bytes.starts_with(b"\x89HDF") {
        ("it is an HDF5 file", "export the Keras model with tf2onnx")
    } else if bytes.starts_with(b"version https://git-lfs") {
        (
            "it is a Git LFS pointer",
            "fetch the file itself with git lfs pull",
        )
    } else if bytes.len() > 8 && bytes[4..8] == *b"TFL3" {
        ("it is a TensorFlow Lite file", "convert it with tf2onnx")
    } else if looks_like_text(bytes) {
        (
            "it is a text file",
            "give an ONNX file, or a layer description whose name ends in .toml",
        )
    } else {
        return Ok(());
    };
    Err(Error::NotAModel {
        what: what.to_owned(),
        found,
        advice,
    })
}

/// Whether the first bytes are printable. An ONNX file begins with a field number and a version, both control characters.
fn looks_like_text(bytes: &[u8]) -> bool {
    let printable = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..);
    bytes.iter().take(64).all(printable)
}
