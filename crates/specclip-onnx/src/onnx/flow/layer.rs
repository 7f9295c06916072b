//! Linear layers, and why other nodes have no rule.

use specclip::graph::{Linear, Op};

use super::{Flow, Made, Stopped};
use crate::model::Layer;
use crate::onnx::padding;
use crate::onnx::proto::NodeProto;
use crate::spec::Spec;

impl<'a> Flow<'a> {
    /// A node that is a layer of the model.
    pub(super) fn layer(&mut self, node: &'a NodeProto, layer: usize, shape: &[usize]) -> Made {
        let described = &self.layers[layer];
        let (operand, input) = self.operand(node, described)?;
        for i in (0..node.input.len()).filter(|&i| i != operand) {
            if self.value(node, i).is_some() {
                return Err(format!("its input {i} is computed, and a constant is needed").into());
            }
        }
        let linear = Linear {
            layer,
            inputs: described.input_shape.iter().product(),
            outputs: described.output_shape.iter().product(),
            consecutive: self.consecutive(node, operand, shape),
        };
        let (name, op) = (&described.name, Op::Linear(linear));
        let pushed = self.graph.push(name, &node.op(), op, &[input], shape);
        pushed.map_err(|e| Stopped::Failed(crate::Error::Graph(e)))
    }

    /// Which input a layer is applied to, and its value: of a convolution with padding in front, what is
    /// padded.
    fn operand(
        &self,
        node: &'a NodeProto,
        layer: &Layer,
    ) -> Result<(usize, specclip::graph::Value), Stopped> {
        if matches!(layer.spec, Spec::Conv { .. }) {
            // As when the layer was made.
            let name = node.input_name(0).unwrap_or_default();
            let padded = self
                .network
                .producer(name)
                .and_then(|(_, p)| p.output.iter().find(|o| *o == name))
                .and_then(|name| padding::find(self.network, name));
            if let Some(value) = padded.and_then(|p| self.values.get(p.source)) {
                return Ok((0, *value));
            }
        }
        let operand = usize::from(self.value(node, 0).is_none());
        Ok((operand, self.computed(node, operand)?))
    }

    /// Whether the layer takes and gives consecutive elements, one application after the other.
    fn consecutive(&self, node: &NodeProto, operand: usize, shape: &[usize]) -> bool {
        match node.op_type.as_str() {
            "Einsum" => false,
            // A matrix on the left acts on columns.
            "MatMul" => operand == 0 || shape.len() < 2 || shape[shape.len() - 1] == 1,
            "Gemm" => operand == 0 && !node.flag("transA"),
            _ => true,
        }
    }
}

/// Why a node that no rule covers has none.
pub(super) fn why_not(node: &NodeProto) -> &'static str {
    match node.op_type.as_str() {
        "LayerNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "RMSNormalization"
        | "SimplifiedLayerNormalization"
        | "SkipLayerNormalization"
        | "SkipSimplifiedLayerNormalization"
        | "MeanVarianceNormalization"
        | "LpNormalization"
        | "LRN" => "it divides by a deviation or norm of its input, which may be arbitrarily small",
        "Pow" | "Exp" | "Sqrt" | "Log" | "Reciprocal" | "Tan" | "Sinh" | "Cosh" | "Asin"
        | "Acos" | "Acosh" | "Atanh" | "ReduceSumSquare" | "ReduceProd" => "its slope has no bound",
        "Floor"
        | "Ceil"
        | "Round"
        | "Sign"
        | "Hardmax"
        | "ArgMax"
        | "ArgMin"
        | "Equal"
        | "Greater"
        | "GreaterOrEqual"
        | "Less"
        | "LessOrEqual"
        | "Not"
        | "And"
        | "Or"
        | "Xor"
        | "QuantizeLinear"
        | "DynamicQuantizeLinear"
        | "NonZero"
        | "NonMaxSuppression"
        | "Bernoulli"
        | "Multinomial" => "it jumps, so it has no Lipschitz constant",
        "MatMul" | "Gemm" | "Einsum" | "Mul" | "Attention" => {
            "a product of two computed values has no Lipschitz constant"
        }
        "Div" => "a quotient of two computed values has no Lipschitz constant",
        "If" | "Loop" | "Scan" => "what its body computes is not followed",
        _ => "no rule bounds its Lipschitz constant",
    }
}
