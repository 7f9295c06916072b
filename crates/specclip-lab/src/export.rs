//! Networks as files that other programs read.
//!
//! A network is written in its inference form: batch normalisations use their running statistics. Parameters have the
//! names of the module's fields, joined by dots, and those of PyTorch's layers at the end (`weight`, `bias`,
//! `running_mean`, `running_var`), and the shapes that PyTorch gives them: a dense layer's weight is (outputs, inputs).
//! So `blocks.0.first.conv.weight` is the same numbers in both formats, and the layer is `blocks.0.first.conv` to
//! [`specclip_burn::trace`](specclip_burn::trace()) as to the readers of files.
//!
//! - [`onnx`] makes an ONNX model with a free batch axis. Padding with zeros is the convolution's own; every other
//!   padding is a `Pad` node before it.
//! - [`safetensors`] makes the weights alone, and the description that
//!   `docs/layer-description.md` defines, which says what the layers do with them.

use burn::module::Module;

use crate::error::Error;
use recording::{Recording, Value};

mod onnx;
pub(crate) mod recording;
mod safetensors;

pub use safetensors::Weights;

/// A network that can be written to a file.
pub trait Export: Module {
    /// Notes every step from an example to the logits.
    #[doc(hidden)]
    fn record(&self, to: &mut Recording, x: Value) -> Result<Value, Error>;
}

/// The bytes of an ONNX model (operator set 19) with one input `image` of shape (batch, channels, height, width) and
/// one output `logits` of shape (batch, classes).
///
/// # Errors
/// When examples of `input_shape` (channels, height, width) do not fit the network.
pub fn onnx(network: &impl Export, input_shape: [usize; 3]) -> Result<Vec<u8>, Error> {
    Ok(onnx::model(&recorded(network, input_shape)?))
}

/// The weights of a network as a safetensors file, and the layers that use them on examples of `input_shape` (channels,
/// height, width) as a layer description.
///
/// # Errors
/// As for [`onnx`].
pub fn safetensors(network: &impl Export, input_shape: [usize; 3]) -> Result<Weights, Error> {
    safetensors::weights(&recorded(network, input_shape)?)
}

fn recorded(network: &impl Export, input_shape: [usize; 3]) -> Result<Recording, Error> {
    // Running statistics of a network in training may lag behind.
    let network = network.valid();
    let mut recording = Recording::new(input_shape)?;
    network.record(&mut recording, Value::INPUT)?;
    Ok(recording)
}
