//! Nodes that are linear, or may be, and cannot be analysed: each is named with a true reason.

use super::Finding;
use crate::onnx::network::Network;
use crate::onnx::proto::NodeProto;

/// Operators of the standard that are linear in their data.
const LINEAR: &[&str] = &[
    "AveragePool",
    "BatchNormalization",
    "Col2Im",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DFT",
    "DeformConv",
    "Einsum",
    "GRU",
    "Gemm",
    "GlobalAveragePool",
    "LSTM",
    "MatMul",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
    "Resize",
    "STFT",
    "Upsample",
];

/// Operators outside the standard's own set whose meaning is known and not linear.
const NONLINEAR_EXTENSIONS: &[&str] = &[
    "BiasGelu",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "FastGelu",
    "Gelu",
    "LayerNormalization",
    "QuantizeLinear",
    "QuickGelu",
    "RotaryEmbedding",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Whether a node applies a linear map (with whatever weights) to its input.
pub(super) fn is_linear(node: &NodeProto) -> bool {
    node.is_standard() && LINEAR.contains(&node.op_type.as_str())
}

/// A reason why `node` is left out; `None` when it may be a layer or is not linear.
pub(super) fn examine(network: &Network, node: &NodeProto) -> Option<Finding> {
    let op = node.op_type.as_str();
    let skip = |reason: &str| Some(Finding::Skip(reason.to_owned()));
    if !node.is_standard() {
        return extension(node);
    }
    match op {
        "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger" => {
            skip("its weights and its input are quantised, so that it rounds and is not linear")
        }
        "LSTM" | "GRU" | "RNN" => {
            skip("a recurrent layer is not linear; its gates are not taken apart")
        }
        "DeformConv" => skip("where it reads depends on a second input"),
        "DFT" | "STFT" => skip("Fourier transforms are not analysed"),
        "Attention" => skip("attention is not linear"),
        _ if constant_result(network, node) => Some(Finding::Nothing),
        "Col2Im" => skip("it sums overlapping patches, which is linear but not analysed"),
        _ if is_known(op) => None,
        _ => skip("the operator is not known, so it cannot be told whether it is linear"),
    }
}

fn extension(node: &NodeProto) -> Option<Finding> {
    let reason = match (node.domain.as_str(), node.op_type.as_str()) {
        ("com.microsoft", op) if NONLINEAR_EXTENSIONS.contains(&op) => {
            return Some(Finding::Nothing);
        }
        ("com.microsoft", "FusedConv" | "FusedGemm") => {
            "it is fused with an activation; export the model without runtime optimisation"
        }
        ("com.microsoft", op)
            if op.starts_with("QLinear") || op.contains("Integer") || op.ends_with("NBits") =>
        {
            "its weights are quantised"
        }
        ("com.microsoft", op) if op.contains("Attention") => "attention is not linear",
        _ => "the operator is not part of the standard, so it cannot be told whether it is linear",
    };
    Some(Finding::Skip(reason.to_owned()))
}

/// Whether the node computes something that does not depend on the model's inputs.
fn constant_result(network: &Network, node: &NodeProto) -> bool {
    let constant =
        |name: &String| name.is_empty() || network.fact(name).is_some_and(|f| f.independent);
    is_linear(node) && !node.input.is_empty() && node.input.iter().all(constant)
}

/// Whether the standard's operator is one that this crate has heard of.
fn is_known(op: &str) -> bool {
    use crate::onnx::shapes::is_shape_operator;
    is_shape_operator(op) || is_other(op)
}

/// Standard operators without a shape rule that are certainly no linear layer.
fn is_other(op: &str) -> bool {
    const OTHER: &[&str] = &[
        "AffineGrid",
        "BitCast",
        "BlackmanWindow",
        "CenterCropPad",
        "Compress",
        "ConcatFromSequence",
        "Constant",
        "Det",
        "HammingWindow",
        "HannWindow",
        "If",
        "ImageDecoder",
        "Loop",
        "MaxUnpool",
        "MelWeightMatrix",
        "Multinomial",
        "NegativeLogLikelihoodLoss",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "Scan",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SequenceMap",
        "SoftmaxCrossEntropyLoss",
        "SplitToSequence",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "TensorScatter",
        "TfIdfVectorizer",
        "Unique",
    ];
    OTHER.contains(&op)
}
