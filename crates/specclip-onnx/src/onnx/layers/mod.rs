//! Goes through the analysed nodes and makes layers of the linear ones.

mod conv;
mod dense;
mod name;
mod norm;
mod resample;
mod unsupported;

use std::collections::{HashMap, HashSet};

use super::fact::{Batch, Fact};
use super::network::Network;
use super::proto::{GraphProto, NodeProto};
use crate::bounds;
use crate::model::{Layer, LayerKind, Skipped, WeightRef};
use crate::spec::Spec;

/// A layer without its name.
struct Draft {
    kind: LayerKind,
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    multiplicity: usize,
    weight: Option<WeightRef>,
    spec: Spec,
    /// Nodes whose work this layer includes.
    absorbed: Vec<usize>,
}

/// What a node is for this crate.
enum Finding {
    Layer(Box<Draft>),
    Skip(String),
    /// Not linear, or nothing but a rearrangement: nothing to report.
    Nothing,
}

impl From<Result<Draft, String>> for Finding {
    fn from(result: Result<Draft, String>) -> Self {
        match result {
            Ok(draft) => Self::Layer(Box::new(draft)),
            Err(reason) => Self::Skip(reason),
        }
    }
}

/// The layers of a network and the nodes that were left out.
pub(crate) struct Found {
    pub layers: Vec<Layer>,
    pub skipped: Vec<Skipped>,
    /// The node of each layer.
    pub places: Vec<usize>,
    /// Why nodes were left out.
    pub reasons: HashMap<usize, String>,
}

/// Finds the layers of a network.
pub(crate) fn extract(network: &Network) -> Found {
    let nodes = &network.analysis.nodes;
    let mut findings: Vec<Finding> = nodes.iter().map(|n| examine(network, n)).collect();
    let absorbed = fully_absorbed(network, &findings);
    let mut names = name::Names::default();
    let mut made: Vec<Made> = Vec::new();
    let mut skipped = Vec::new();
    let mut reasons = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for attribute in &node.attribute {
            for body in attribute.g.iter().chain(&attribute.graphs) {
                skip_body(body, node, &mut skipped);
            }
        }
        if absorbed.contains(&i) {
            continue;
        }
        match std::mem::replace(&mut findings[i], Finding::Nothing) {
            Finding::Nothing => {}
            Finding::Skip(reason) => {
                reasons.insert(i, reason.clone());
                skipped.push(Skipped {
                    name: name::suggest(network, node, None, i),
                    op: node.op(),
                    reason,
                });
            }
            Finding::Layer(draft) => {
                let name = names.unique(name::suggest(network, node, draft.weight.as_ref(), i));
                made.push(Made {
                    node: i,
                    layer: finish(*draft, name),
                });
            }
        }
    }
    Found {
        places: made.iter().map(|m| m.node).collect(),
        layers: link_batch_norms(network, made),
        skipped,
        reasons,
    }
}

/// A finished layer and the node that it came from.
struct Made {
    node: usize,
    layer: Layer,
}

/// Padding nodes that are part of convolutions and of nothing else.
fn fully_absorbed(network: &Network, findings: &[Finding]) -> HashSet<usize> {
    let mut users = HashSet::new();
    let mut absorbed = HashSet::new();
    for (i, finding) in findings.iter().enumerate() {
        if let Finding::Layer(draft) = finding
            && !draft.absorbed.is_empty()
        {
            users.insert(i);
            absorbed.extend(draft.absorbed.iter().copied());
        }
    }
    let nodes = &network.analysis.nodes;
    let inside = |i: &usize| {
        let outputs = nodes[*i].output.iter();
        outputs.filter_map(|o| network.only_readers(o)).count() == nodes[*i].output.len()
            && nodes[*i].output.iter().all(|o| {
                let readers = network.only_readers(o).unwrap_or_default();
                readers
                    .iter()
                    .all(|(r, _)| users.contains(r) || absorbed.contains(r))
            })
    };
    absorbed.iter().copied().filter(inside).collect()
}

fn finish(draft: Draft, name: String) -> Layer {
    Layer {
        name,
        kind: draft.kind,
        input_shape: draft.input_shape,
        output_shape: draft.output_shape,
        multiplicity: draft.multiplicity,
        weight: draft.weight,
        batch_norm: None,
        spec: draft.spec,
    }
}

/// Connects layers with the batch normalisation that alone reads their output.
fn link_batch_norms(network: &Network, mut made: Vec<Made>) -> Vec<Layer> {
    for i in 0..made.len() {
        let Made { node, layer } = &made[i];
        let node = &network.analysis.nodes[*node];
        let norm = node
            .output
            .first()
            .filter(|_| layer.kind.takes_batch_norm() && channels_are_outputs(network, node))
            .and_then(|o| norm_behind(network, o))
            .and_then(|norm| made.iter().position(|m| m.node == norm))
            .filter(|&n| {
                let norm = &made[n].layer;
                norm.kind == LayerKind::BatchNorm && norm.input_shape == layer.output_shape
            });
        made[i].layer.batch_norm = norm;
    }
    made.into_iter().map(|m| m.layer).collect()
}

/// Whether axis 1 of the node's output, the one that a batch normalisation scales, holds the operator's outputs. A matrix
/// on the left of its operand has its positions there.
fn channels_are_outputs(network: &Network, node: &NodeProto) -> bool {
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => true,
        "MatMul" | "Gemm" => computed(network, node, 0).is_ok_and(|f| !f.independent),
        _ => false,
    }
}

/// The batch normalisation that alone reads `value`, past nodes that copy it or add a constant: those shift the result
/// and leave the linear part as it is.
fn norm_behind(network: &Network, value: &str) -> Option<usize> {
    const FURTHEST: usize = 4;
    let mut value = value;
    for _ in 0..FURTHEST {
        let (index, node) = network.only_reader(value)?;
        let output = node.output.first()?;
        let same_shape = || {
            let dims = |v: &str| network.fact(v)?.known_dims().ok();
            dims(value).is_some() && dims(value) == dims(output)
        };
        let constant = |v: &String| v == value || network.fact(v).is_some_and(|f| f.independent);
        match node.op_type.as_str() {
            _ if !node.is_standard() => return None,
            "BatchNormalization" => return Some(index),
            "Identity" => {}
            "Add" if node.input.iter().all(constant) && same_shape() => {}
            _ => return None,
        }
        value = output;
    }
    None
}

/// What `node` is.
fn examine(network: &Network, node: &NodeProto) -> Finding {
    if let Some(finding) = unsupported::examine(network, node) {
        return finding;
    }
    let finding = match node.op_type.as_str() {
        "Conv" => conv::conv(network, node).into(),
        "ConvTranspose" => conv::conv_transpose(network, node).into(),
        "MatMul" => dense::matmul(network, node),
        "Gemm" => dense::gemm(network, node),
        "Einsum" => dense::einsum(network, node),
        "BatchNormalization" => norm::batch_norm(network, node),
        "AveragePool" => resample::average_pool(network, node).into(),
        "GlobalAveragePool" => resample::global_average_pool(network, node).into(),
        "ReduceMean" => resample::reduce_mean(network, node),
        "Resize" | "Upsample" => resample::resize(network, node).into(),
        "Pad" => resample::pad(network, node),
        _ => Finding::Nothing,
    };
    match finding {
        Finding::Layer(draft) => {
            match bounds::check(&draft.spec, &draft.input_shape, &draft.output_shape) {
                Ok(()) => Finding::Layer(draft),
                Err(reason) => Finding::Skip(reason),
            }
        }
        other => other,
    }
}

/// Reports what is linear in a body that may run any number of times.
fn skip_body(body: &GraphProto, owner: &NodeProto, skipped: &mut Vec<Skipped>) {
    for (i, node) in body.node.iter().enumerate() {
        if unsupported::is_linear(node) {
            skipped.push(Skipped {
                name: name::of_node(node, i),
                op: node.op(),
                reason: format!(
                    "it is inside the body of the {} node \"{}\", whose runs are not known",
                    owner.op_type,
                    owner.label()
                ),
            });
        }
        node.bodies()
            .for_each(|inner| skip_body(inner, node, skipped));
    }
}

/// The fact about input `i`, which must be a computed value: a constant input makes a constant, not a layer.
fn computed<'a>(network: &Network<'a>, node: &NodeProto, i: usize) -> Result<&'a Fact, String> {
    node.input_name(i)
        .and_then(|name| network.fact(name))
        .ok_or_else(|| format!("its input {i} is missing"))
}

/// The constant weight at input `i`.
fn weight(
    network: &Network,
    node: &NodeProto,
    i: usize,
) -> Result<std::sync::Arc<crate::constant::Constant>, String> {
    let fact = computed(network, node, i)?;
    if let Some(reason) = &fact.unread {
        return Err(format!("its weight is {reason}"));
    }
    let constant = fact.constant.as_ref().ok_or(if fact.independent {
        "its weight is computed inside the model by operators that are not followed; export it with constant folding"
    } else {
        "its weight is computed from the model's inputs, so it is not linear"
    })?;
    if !constant.is_float() {
        return Err("its weight is not of floating-point numbers".to_owned());
    }
    Ok(constant.clone())
}

/// How many times an operator that is applied to `total` positions of a batch is applied to one sample of the node's
/// output; 1 where `total` is unknown.
fn per_sample(network: &Network, node: &NodeProto, total: Option<usize>) -> usize {
    let output = node.output.first().and_then(|o| network.fact(o));
    let batch = output.map_or(Batch::Unknown, |f| f.batch);
    total.map_or(1, |n| batch.per_sample(n).max(1))
}
