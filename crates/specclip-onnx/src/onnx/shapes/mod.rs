//! Shape inference: from the facts about a node's inputs to the facts about its outputs.
//!
//! Only forwards, one node at a time, so an operator that is not understood hides the shapes behind it and nothing
//! else. Small integer and float arrays are computed along the way, because exporters compute shapes with
//! ordinary operators. No rule allocates more than [`value::LARGEST`](crate::value::LARGEST) elements.

mod arrays;
mod contraction;
mod elementwise;
mod indexing;
mod reduction;
pub(crate) mod window;

pub(crate) mod resize;

pub(crate) use arrays::pad_amounts;
pub(crate) use contraction::Equation;
pub(crate) use indexing::slice_ranges;
pub(crate) use reduction::reduced_axes;

use super::fact::{Dims, Fact, few_axes};
use super::proto::NodeProto;

/// Lists of axes, sizes and pads are no longer than this; one list may be read by many nodes.
const MOST_INTS: usize = 1 << 10;

/// A node with the facts about its inputs.
pub(crate) struct Call<'a> {
    pub node: &'a NodeProto,
    pub inputs: Vec<Option<&'a Fact>>,
    /// The version of the standard operator set.
    pub opset: i64,
}

/// Facts about outputs, or why there are none.
pub(crate) type Inferred = Result<Vec<Fact>, String>;

impl<'a> Call<'a> {
    /// Input `i`, if it is connected.
    pub(crate) fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.inputs.get(i).copied().flatten()
    }

    /// Input `i`.
    pub(crate) fn input(&self, i: usize) -> Result<&'a Fact, String> {
        self.optional(i)
            .ok_or_else(|| format!("its input {i} is missing"))
    }

    /// The dimensions of input `i`.
    pub(crate) fn dims(&self, i: usize) -> Result<&'a Dims, String> {
        self.input(i)?.dims()
    }

    /// The integers of input `i`, all known.
    pub(crate) fn ints(&self, i: usize) -> Result<Vec<i64>, String> {
        let fact = self.input(i)?;
        if fact
            .value
            .as_ref()
            .is_some_and(|v| v.data.len() > MOST_INTS)
        {
            return Err(format!("its input {i} has more than {MOST_INTS} numbers"));
        }
        fact.ints()
            .ok_or_else(|| format!("its input {i} depends on the data"))
    }

    /// Axes from input `i`, or from the attribute `axes` that older operator sets use.
    pub(crate) fn axes(&self, i: usize) -> Result<Option<Vec<i64>>, String> {
        let axes = match self.optional(i) {
            Some(_) => Some(self.ints(i)?),
            None => self.node.ints("axes").map(<[i64]>::to_vec),
        };
        few_axes(axes.as_ref().map_or(0, Vec::len))?;
        Ok(axes)
    }

    /// The dimensions that input `i` holds as numbers; `missing` is the error when it does not.
    pub(crate) fn shape(&self, i: usize, missing: &str) -> Result<Vec<Option<i64>>, String> {
        let value = self.input(i)?.value.as_ref().ok_or(missing)?;
        few_axes(value.data.len())?;
        Ok(value.to_ints())
    }
}

/// Facts about the outputs of `call`.
pub(crate) fn infer(call: &Call) -> Inferred {
    if !matches!(call.node.domain.as_str(), "" | "ai.onnx" | "com.microsoft") {
        return Err(not_known(call.node));
    }
    let rules = [
        elementwise::infer,
        window::infer,
        arrays::infer,
        indexing::infer,
        contraction::infer,
        reduction::infer,
    ];
    for rule in rules {
        if let Some(facts) = rule(call) {
            return facts;
        }
    }
    Err(not_known(call.node))
}

fn not_known(node: &NodeProto) -> String {
    match node.op_type.as_str() {
        "If" | "Loop" | "Scan" => "what its body computes depends on the data".to_owned(),
        _ => format!("the operator {} is not known", node.op()),
    }
}

/// Whether the operator of the standard has a shape rule.
pub(crate) fn is_shape_operator(op: &str) -> bool {
    const OTHERS: &[&str] = &[
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "Concat",
        "ConstantOfShape",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DeformConv",
        "DepthToSpace",
        "DynamicQuantizeLinear",
        "Einsum",
        "Expand",
        "Flatten",
        "GRU",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gemm",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "GridSample",
        "LSTM",
        "LpPool",
        "MatMul",
        "MatMulInteger",
        "MaxPool",
        "MaxRoiPool",
        "NonMaxSuppression",
        "NonZero",
        "OneHot",
        "Pad",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
        "RandomNormal",
        "RandomUniform",
        "Range",
        "Reshape",
        "Resize",
        "RoiAlign",
        "Shape",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    ];
    elementwise::SAME_SHAPE.contains(&op)
        || elementwise::BROADCAST.contains(&op)
        || op.starts_with("Reduce")
        || OTHERS.contains(&op)
}
