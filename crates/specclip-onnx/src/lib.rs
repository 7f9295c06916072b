//! Model files as named linear layers.
//!
//! A trained network reaches other people as a file. This crate reads two kinds of them and finds in both the same
//! thing: the layers that are linear, each with a name, its static input and output shape, and everything its operator
//! needs, so that [`specclip`] can be asked for the singular values of what really runs.
//!
//! - **ONNX** (operator sets 9 to 22, weights inside or beside the file): [`load`] infers every shape from the
//!   model's inputs. Newer sets are tried: operators that they add are left out with a reason, and those that they
//!   change are read as they were in set 22. Free dimensions take their size from [`Options::inputs`], a free batch axis is 1.
//! - **safetensors** with a layer description in TOML, for people who only have weights. The format is described
//!   in `docs/layer-description.md`.
//!
//! [`build`] writes networks that another program holds as ONNX models.
//!
//! Three decisions shape the crate. *Nothing linear is dropped silently*: what cannot be analysed (quantised weights,
//! cubic resizing, products of two activations, operators outside the standard) is in [`Model::skipped`] with the
//! reason, and one operator that is not understood never costs the layers that are. *The layer is what runs*: padding
//! that an exporter wrote as separate nodes is part of the convolution that reads it, `auto_pad` and
//! `output_shape` become numbers, a constant matrix is one operator however many positions it is applied to
//! ([`Layer::multiplicity`]). *A file is not trusted*: declared sizes are checked against the bytes that are there, no array
//! that shape inference computes exceeds a few thousand elements, external data must lie in the model's folder, and
//! weights are decoded only when [`Model::operator`] builds the operator that needs them.
//!
//! ```no_run
//! use specclip::LinearOperator;
//! use specclip_onnx::{Options, load};
//!
//! let options = Options {
//!     inputs: vec!["1x3x224x224".parse()?],
//! };
//! let model = load("resnet18.onnx".as_ref(), &options)?;
//! for (i, layer) in model.layers.iter().enumerate() {
//!     let operator = model.operator::<f32>(i)?;
//!     println!("{} ({}): {:?}", layer.name, layer.kind, operator.frobenius());
//! }
//! # Ok::<(), specclip_onnx::Error>(())
//! ```

mod bounds;
pub mod build;
mod change;
mod constant;
mod description;
mod error;
mod input;
mod invert;
mod model;
mod onnx;
mod operator;
mod output;
mod spec;
mod splice;
mod strided;
mod tensor;
mod value;
mod write;

use std::path::Path;

use bytes::Bytes;

pub use error::Error;
pub use input::{InputShape, Options};
pub use model::{Layer, LayerKind, Model, Skipped, WeightRef};
pub use output::{same_file, without_temporary, write_new};

/// Reads a model: a `.toml` layer description, a `.safetensors` file with a description of the same name beside it, or
/// (whatever else it is called) an ONNX file.
///
/// # Errors
/// When the file cannot be read, is damaged or is something else, an input needs a shape or was given one that does
/// not fit. Layers that cannot be analysed are no error; see [`Model::skipped`].
pub fn load(path: &Path, options: &Options) -> Result<Model, Error> {
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("toml") => description::load(path, None),
        Some("safetensors") => description::load(&path.with_extension("toml"), Some(path)),
        _ => {
            let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
            onnx::load(Bytes::from(bytes), Some(path), options)
        }
    }
}

/// Reads an ONNX model in memory. Weights outside the model cannot be found.
///
/// # Errors
/// As for [`load`].
pub fn load_bytes(bytes: &[u8], options: &Options) -> Result<Model, Error> {
    onnx::load(Bytes::copy_from_slice(bytes), None, options)
}
