//! The gradients of a convolution.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::Call;
use super::ops::ConvOps;

#[derive(Debug)]
struct ConvGradients;

impl<B: Backend + ConvOps> Backward<B, 2> for ConvGradients {
    type State = (NodeId, Call);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, call) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        if let Some(node) = node_x {
            let gradient = B::specclip_conv_x_backward(grad.clone(), call.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = node_weight {
            let gradient = B::specclip_conv_weight_backward(x, grad, call);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: Backend + ConvOps, C: CheckpointStrategy> ConvOps for Autodiff<B, C> {
    fn specclip_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        match ConvGradients.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), call.clone());
                let output = B::specclip_conv(x.into_primitive(), weight.into_primitive(), call);
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => {
                let output = B::specclip_conv(x.into_primitive(), weight.into_primitive(), call);
                prep.finish(output)
            }
        }
    }

    fn specclip_conv_x_backward(_output_grad: FloatTensor<Self>, _call: Call) -> FloatTensor<Self> {
        panic!("Burn differentiates once; the gradient of a convolution's gradient is not there")
    }

    fn specclip_conv_weight_backward(
        _x: FloatTensor<Self>,
        _output_grad: FloatTensor<Self>,
        _call: Call,
    ) -> FloatTensor<Self> {
        panic!("Burn differentiates once; the gradient of a convolution's gradient is not there")
    }
}
