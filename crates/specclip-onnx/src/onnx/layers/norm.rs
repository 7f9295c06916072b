//! Batch normalisation in inference form.

use super::{Draft, Finding, computed, per_sample, weight};
use crate::model::{LayerKind, WeightRef};
use crate::onnx::network::Network;
use crate::onnx::proto::NodeProto;
use crate::spec::Spec;

pub(super) fn batch_norm(network: &Network, node: &NodeProto) -> Finding {
    if node.flag("training_mode") || node.output.iter().skip(1).any(|o| !o.is_empty()) {
        let reason = "it is in training form, where its factors depend on the batch; export the model after \
                      model.eval()";
        return Finding::Skip(reason.to_owned());
    }
    inference(network, node).into()
}

fn inference(network: &Network, node: &NodeProto) -> Result<Draft, String> {
    let gamma = weight(network, node, 1)?;
    let variance = weight(network, node, 4)?;
    let input = computed(network, node, 0)?;
    let dims = input
        .dims()
        .map_err(|reason| format!("the shape of its input is unknown: {reason}"))?;
    let shape: Vec<usize> = dims
        .iter()
        .skip(1)
        .copied()
        .collect::<Option<_>>()
        .ok_or("a dimension of its input depends on the data")?;
    let channels = shape.first().copied().unwrap_or(0);
    if gamma.dims != [channels] || variance.dims != [channels] {
        return Err(format!(
            "its scale of shape {:?} and variance of shape {:?} do not fit {channels} channels",
            gamma.dims, variance.dims
        ));
    }
    let epsilon = node.float("epsilon").unwrap_or(1e-5);
    // Real variances are few enough to be known here.
    let variances = computed(network, node, 4)?.floats().unwrap_or_default();
    let bad = |v: &f64| v + epsilon <= 0.0 || epsilon.is_nan();
    if let Some(channel) = variances.iter().position(bad) {
        return Err(format!(
            "channel {channel} has the variance {}, which with epsilon = {epsilon} is not positive",
            variances[channel]
        ));
    }
    Ok(Draft {
        kind: LayerKind::BatchNorm,
        input_shape: shape.clone(),
        output_shape: shape,
        multiplicity: per_sample(network, node, dims[0]),
        weight: WeightRef::new(&gamma),
        spec: Spec::BatchNorm {
            gamma,
            variance,
            epsilon,
        },
        absorbed: Vec::new(),
    })
}
