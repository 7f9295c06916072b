//! Activation functions and max pooling.

use specclip::graph::{Activation, MaxPool, Op};

use super::{Flow, Made, Stopped};
use crate::onnx::fact::axis_index;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::window::{spatial, window};

impl<'a> Flow<'a> {
    /// Operators that act on each element, or on each window.
    pub(super) fn activated(
        &mut self,
        node: &'a NodeProto,
        place: usize,
        shape: &[usize],
    ) -> Option<Made> {
        if node.op_type == "MaxPool" {
            return Some(self.max_pool(node, place, shape));
        }
        let found = match self.function(node)? {
            Ok(activation) => activation,
            Err(stopped) => return Some(Err(stopped)),
        };
        let input = match self.computed(node, 0) {
            Ok(input) => input,
            Err(stopped) => return Some(Err(stopped)),
        };
        if let Err(reason) = self.constants_from(node, 1) {
            return Some(Err(reason.into()));
        }
        Some(self.add(node, found.into(), &[input], shape))
    }

    /// The function that a node applies; none where it is no activation.
    fn function(&self, node: &NodeProto) -> Option<Result<Activation, Stopped>> {
        let float = |name: &str, default: f64| node.float(name).unwrap_or(default);
        let found = match node.op_type.as_str() {
            "Relu" => Ok(Activation::relu()),
            "LeakyRelu" => Activation::leaky_relu(&[float("alpha", 0.01)]),
            "PRelu" => match self.numbers(node, 1) {
                Ok((slopes, _)) => Activation::leaky_relu(&slopes),
                Err(stopped) => return Some(Err(stopped)),
            },
            "ThresholdedRelu" if float("alpha", 1.0) == 0.0 => Ok(Activation::relu()),
            // With a negative threshold every input is moved away from zero, so there is a jump at it.
            "Shrink" if float("bias", 0.0) == float("lambd", 0.5) && float("lambd", 0.5) >= 0.0 => {
                Ok(Activation::soft_shrink())
            }
            "ThresholdedRelu" | "Shrink" => {
                return Some(Err("it jumps, so it has no Lipschitz constant".into()));
            }
            "Tanh" => Ok(Activation::tanh()),
            "Sigmoid" => Ok(Activation::sigmoid()),
            "HardSigmoid" => Activation::hard_sigmoid(float("alpha", 0.2)),
            "HardSwish" => Ok(Activation::hard_swish()),
            "Elu" => Activation::elu(float("alpha", 1.0)),
            "Selu" => Activation::selu(
                float("alpha", 1.673_263_192_176_818_8),
                float("gamma", 1.050_701_022_148_132_3),
            ),
            "Celu" => Activation::celu(float("alpha", 1.0)),
            "Softplus" => Ok(Activation::softplus()),
            "Softsign" => Ok(Activation::softsign()),
            "Clip" => Ok(Activation::clip()),
            "Abs" => Ok(Activation::abs()),
            "Sin" | "Cos" => Ok(Activation::sine()),
            "Atan" => Ok(Activation::atan()),
            "Asinh" => Ok(Activation::asinh()),
            "Erf" => Ok(Activation::erf()),
            "Gelu" if node.text("approximate") == Some("tanh") => Ok(Activation::gelu_tanh()),
            "Gelu" | "BiasGelu" => Ok(Activation::gelu()),
            "FastGelu" => Ok(Activation::gelu_tanh()),
            "Swish" | "QuickGelu" => Ok(Activation::silu()),
            "Mish" => Ok(Activation::mish()),
            "Softmax" => Ok(Activation::softmax()),
            "LogSoftmax" => return Some(self.log_softmax(node)),
            _ => return None,
        };
        Some(found.map_err(|e| e.to_string().into()))
    }

    fn log_softmax(&self, node: &NodeProto) -> Result<Activation, Stopped> {
        let dims = self.fact(node, 0)?.known_dims()?;
        let joined = self.network.analysis.opset < 13;
        let axis = node.int("axis").unwrap_or(if joined { 1 } else { -1 });
        let axis = axis_index(axis, dims.len())?;
        // Before operator set 13 all axes from this one on were one.
        let n = if joined {
            dims[axis..].iter().product()
        } else {
            dims[axis]
        };
        Ok(Activation::log_softmax(n))
    }

    fn max_pool(&mut self, node: &NodeProto, place: usize, shape: &[usize]) -> Made {
        if place > 0 {
            return Err("the places of its maxima are read, and they jump".into());
        }
        let input = self.computed(node, 0)?;
        let spatial = spatial(self.fact(node, 0)?)?;
        let kernel = node.sizes("kernel_shape")?.unwrap_or_default();
        let window = window(node, &spatial, &kernel)?;
        let pool = MaxPool {
            kernel,
            stride: window.stride,
            padding: window.padding.iter().map(|p| p.0).collect(),
            dilation: window.dilation,
        };
        self.add(node, Op::MaxPool(pool), &[input], shape)
    }
}
