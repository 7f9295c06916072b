//! What a model file becomes: named layers with static shapes, and a list of what was left out.

use std::fmt;
use std::sync::Arc;

use specclip::graph::Graph;

use crate::Error;
use crate::constant::Constant;
use crate::onnx::Source;
use crate::spec::Spec;
use crate::write::ModelFile;

/// The linear layers of a model, in the order in which they run. A clone shares the file's bytes and has weights of its
/// own.
#[derive(Debug, Clone)]
pub struct Model {
    /// The layers.
    pub layers: Vec<Layer>,
    /// Linear or possibly linear nodes that cannot be analysed, with the reason.
    pub skipped: Vec<Skipped>,
    /// The model's inputs with the shapes that were used, batch axis included.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// What the layers were found in; a layer description says nothing about how its layers are connected.
    pub(crate) source: Option<Arc<Source>>,
    pub(crate) file: ModelFile,
}

impl Model {
    /// The whole network as data: how the layers, numbered as in [`Model::layers`], are connected with everything that
    /// is not linear. Nodes that are not understood are in it as [`Op::Unknown`](specclip::graph::Op::Unknown), with the
    /// reason.
    ///
    /// # Errors
    /// When the model is a layer description, a constant that the network multiplies by cannot be read, or the file
    /// contradicts itself.
    pub fn graph(&self) -> Result<Graph, Error> {
        match &self.source {
            Some(source) => source.graph(&self.layers, &self.file.changes),
            None => Err(Error::NoGraph),
        }
    }
}

/// A node that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name that its layer would have had.
    pub name: String,
    /// The operator, for instance `QLinearConv`.
    pub op: String,
    /// Why it cannot be analysed.
    pub reason: String,
}

/// One linear layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Unique in the model: the weight's name in the file without a trailing `.weight`, else the node's name.
    pub name: String,
    /// What the layer is.
    pub kind: LayerKind,
    /// The operator's input shape, channels first, without the batch axis.
    pub input_shape: Vec<usize>,
    /// The operator's output shape, channels first, without the batch axis.
    pub output_shape: Vec<usize>,
    /// How many times the operator is applied to one sample: the positions of a MatMul, the windows of windowed
    /// attention, the regions of a detector; 1 for ordinary layers. Every singular value of the whole is one of the
    /// operator's, repeated this often.
    ///
    /// The first axis of the model's inputs is taken for the batch. Where a layer depends on several inputs that disagree
    /// about its length, this is the count for the whole batch.
    pub multiplicity: usize,
    /// The weight in the file, if the layer has one.
    pub weight: Option<WeightRef>,
    /// The index of the batch normalisation that is the only reader of this convolution's output.
    pub batch_norm: Option<usize>,
    pub(crate) spec: Spec,
}

/// A weight as the model file stores it.
#[derive(Debug, Clone)]
pub struct WeightRef {
    /// The tensor's name in the file; several layers may share it.
    pub name: String,
    /// The tensor's shape in the file.
    pub shape: Vec<usize>,
}

impl WeightRef {
    pub(crate) fn new(constant: &Arc<Constant>) -> Option<Self> {
        let tensor = constant.root()?;
        Some(Self {
            name: tensor.name.clone(),
            shape: tensor.dims.clone(),
        })
    }
}

/// What a layer is. `Display` gives the short words of tables: `conv2d`, `dense`, `batch_norm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerKind {
    /// A convolution over this many spatial axes, its padding included.
    Conv(usize),
    /// A transposed convolution over this many spatial axes.
    ConvTranspose(usize),
    /// A matrix.
    Dense,
    /// Batch normalisation in inference form: one factor for each channel.
    BatchNorm,
    /// Average pooling, global or not.
    AvgPool,
    /// Nearest or linear resampling.
    Resize,
    /// Padding that no convolution absorbs.
    Pad,
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(axes) => f.pad(&format!("conv{axes}d")),
            Self::ConvTranspose(axes) => f.pad(&format!("conv_transpose{axes}d")),
            Self::Dense => f.pad("dense"),
            Self::BatchNorm => f.pad("batch_norm"),
            Self::AvgPool => f.pad("avg_pool"),
            Self::Resize => f.pad("resize"),
            Self::Pad => f.pad("pad"),
        }
    }
}
