//! The gradients of a batch normalisation.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::Normalisation;
use super::ops::BatchNormOps;

#[derive(Debug)]
struct BatchNormGradients;

impl<B: Backend + BatchNormOps> Backward<B, 3> for BatchNormGradients {
    /// The three inputs, mean and variance.
    type State = ([NodeId; 3], [FloatTensor<B>; 2], Normalisation);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let (inputs, [mean, variance], how) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [x, gamma, beta] =
            inputs.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let (x, gamma, beta) =
            B::specclip_batch_norm_backward(x, gamma, beta, mean, variance, grad, how);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Backend + BatchNormOps, C: CheckpointStrategy> BatchNormOps for Autodiff<B, C> {
    fn specclip_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let prepared = BatchNormGradients.prepare::<C>(nodes);
        let (output, mean, variance) = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [&x, &gamma, &beta].map(|tensor| prep.checkpoint(tensor));
                let (output, mean, variance) = B::specclip_batch_norm(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    how,
                );
                let state = (inputs, [mean.clone(), variance.clone()], how);
                (prep.finish(state, output), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                let (output, mean, variance) = B::specclip_batch_norm(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    how,
                );
                (prep.finish(output), mean, variance)
            }
        };
        // The statistics only feed running averages: nothing is differentiated through them.
        (
            output,
            FloatTensor::<Self>::new(mean),
            FloatTensor::<Self>::new(variance),
        )
    }

    fn specclip_batch_norm_backward(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _variance: FloatTensor<Self>,
        _output_grad: FloatTensor<Self>,
        _how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!(
            "Burn differentiates once; the gradient of a batch normalisation's gradient is not there"
        )
    }
}
