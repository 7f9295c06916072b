//! Every error of this crate. A message says what was wrong, where, and what to try.

use std::path::PathBuf;

/// Why a model file, or one of its layers, could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not a model that this crate reads.
    #[error("{what} is not a model this program reads: {found}; {advice}")]
    NotAModel {
        /// The file, or "the model in memory".
        what: String,
        /// What the bytes look like.
        found: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// The file contradicts itself: it is truncated, damaged or was written by a faulty program.
    #[error("{what} is damaged: {problem}; export or download it again")]
    Damaged {
        /// The file, or "the model in memory".
        what: String,
        /// The contradiction and where it is.
        problem: String,
    },
    /// The operator set is older than what this crate reads.
    #[error(
        "{what} uses operator set {version}; sets 9 to 22 are read, so convert it with \
         onnx.version_converter.convert_version(model, 18)"
    )]
    Opset {
        /// The file, or "the model in memory".
        what: String,
        /// The version that the file declares.
        version: i64,
    },
    /// The text of an input shape cannot be read.
    #[error(
        "the input shape \"{text}\" is not valid: {problem}; write 1x3x224x224 or name=1x3x224x224"
    )]
    InputSyntax {
        /// What was given.
        text: String,
        /// Why it is not a shape.
        problem: &'static str,
    },
    /// A shape was given for an input that the model does not have.
    #[error("the model has no input named \"{name}\"; its inputs are {inputs}")]
    UnknownInput {
        /// The name that was given.
        name: String,
        /// The inputs, with their declared shapes.
        inputs: String,
    },
    /// A shape was given without a name, and the model has several inputs, or several shapes were given.
    #[error(
        "an input shape without a name does not say which input it is for; write name=shape, the inputs are {inputs}"
    )]
    AmbiguousInput {
        /// The inputs, with their declared shapes.
        inputs: String,
    },
    /// The given shape contradicts the model's own.
    #[error("input \"{name}\" of the model has shape {declared}, but {given} was given: {problem}")]
    InputMismatch {
        /// The input.
        name: String,
        /// The shape in the file; names stand for free dimensions.
        declared: String,
        /// The shape that was given.
        given: String,
        /// Which of rank and dimensions differs.
        problem: String,
    },
    /// A dimension of an input is free in the file and was not given.
    #[error(
        "input \"{name}\" has shape {declared} and a value for {free} is needed; give the whole \
         shape, for example --input {example}"
    )]
    FreeDimension {
        /// The input.
        name: String,
        /// The shape in the file.
        declared: String,
        /// The dimension that has no value.
        free: String,
        /// A shape that would be accepted.
        example: String,
    },
    /// Data outside the model file cannot be used.
    #[error("tensor \"{tensor}\" is stored outside the model file: {problem}")]
    External {
        /// The tensor.
        tensor: String,
        /// Why its data cannot be read and what to try.
        problem: String,
    },
    /// A layer description (TOML) is not valid.
    #[error("the layer description {}: {problem}", path.display())]
    Description {
        /// The description file.
        path: PathBuf,
        /// The layer, the key and what is accepted.
        problem: String,
    },
    /// A weight has a NaN or an infinity.
    #[error(
        "layer \"{layer}\": weight \"{tensor}\" has the value {value} at index {index}; only finite \
         weights have singular values, so look at how the model was trained or saved"
    )]
    NonFinite {
        /// The layer.
        layer: String,
        /// The tensor in the file.
        tensor: String,
        /// The flat, row-major index of the first such entry in the tensor.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A weight is finite in the file but not in the precision in which the layer is built, or in the one to which the
    /// model converts it.
    #[error(
        "layer \"{layer}\": the value {value:e} at index {index} of its weight \"{tensor}\" {problem}"
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// The tensor in the file that the weight is, or is computed from.
        tensor: String,
        /// The flat, row-major index of the first such entry.
        index: usize,
        /// The value before it was rounded.
        value: f64,
        /// What it does not fit, and what to try.
        problem: String,
    },
    /// The library refused to build the layer's operator.
    #[error("layer \"{layer}\": {source}")]
    Operator {
        /// The layer.
        layer: String,
        /// What the library said.
        source: specclip::Error,
    },
    /// A layer's weight does not have the shape that its model says.
    #[error("layer \"{layer}\": {problem}; the model file contradicts itself, export it again")]
    Weight {
        /// The layer.
        layer: String,
        /// What does not fit.
        problem: String,
    },
    /// The network is asked for where only its layers are known.
    #[error(
        "a layer description lists layers and does not say how they are connected, so there is no network to bound; \
         give the ONNX file"
    )]
    NoGraph,
    /// The network's graph contradicts itself.
    #[error("the network cannot be followed: {0}; the model file may be damaged, export it again")]
    Graph(specclip::Error),
    /// A layer's weight cannot be given back to the file.
    #[error("layer \"{layer}\": its weight cannot be replaced in the file: {reason}")]
    Unwritable {
        /// The layer.
        layer: String,
        /// Why, and what to try.
        reason: String,
    },
    /// The model cannot be written under this name, or not at all.
    #[error("cannot write {}: {problem}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why, and what to try.
        problem: String,
    },
    /// There is no layer with this index.
    #[error("there is no layer {index}: the model has {count} layers")]
    NoSuchLayer {
        /// The index that was asked for.
        index: usize,
        /// The number of layers.
        count: usize,
    },
}

impl Error {
    pub(crate) fn damaged(what: &str, problem: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn read(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }
}
