//! The model's graph made simple: local functions expanded, nodes in execution order, every name defined once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::functions;
use super::initialiser::{self, Origin};
use super::proto::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TypeProto, ValueInfo};
use crate::Error;
use crate::tensor::Tensor;

/// The oldest operator set whose operators mean what this crate takes them to mean.
const OLDEST_OPSET: i64 = 9;

/// A model ready for shape inference.
#[derive(Debug)]
pub(crate) struct Graph {
    /// In an order in which they can be executed.
    pub nodes: Vec<NodeProto>,
    /// Initialisers and `Constant` nodes by the name of their value.
    pub tensors: HashMap<String, Arc<Tensor>>,
    /// Initialisers that list their non-zero numbers only.
    pub sparse: Vec<SparseTensorProto>,
    /// Inputs that the user provides (not those that an initialiser gives a value).
    pub inputs: Vec<ValueInfo>,
    /// Names of the outputs.
    pub outputs: HashSet<String>,
    /// Types that the file states for intermediate values and outputs.
    pub declared: HashMap<String, TypeProto>,
    /// The version of the standard operator set.
    pub opset: i64,
}

impl Graph {
    /// Takes a decoded model apart.
    pub(crate) fn new(mut model: ModelProto, origin: &Origin) -> Result<Self, Error> {
        let opset = opset(&model, origin)?;
        let mut graph = model
            .graph
            .take()
            .ok_or_else(|| Error::damaged(&origin.what, "it holds no graph"))?;
        functions::expand(&mut graph, &model.functions, origin)?;
        let mut tensors = HashMap::new();
        for proto in &mut graph.initializer {
            let tensor = initialiser::read(proto, origin)?;
            let name = tensor.name.clone();
            if tensors.insert(name.clone(), tensor).is_some() {
                let problem = format!("two initialisers are named \"{name}\"");
                return Err(Error::damaged(&origin.what, problem));
            }
        }
        let mut nodes = Vec::with_capacity(graph.node.len());
        for mut node in std::mem::take(&mut graph.node) {
            if node.op_type == "Constant"
                && node.is_standard()
                && node.output.len() == 1
                && let Some(tensor) = initialiser::constant_node(&mut node, origin)?
            {
                let name = node.output.swap_remove(0);
                if tensors.insert(name.clone(), tensor).is_some() {
                    return Err(twice(&name, origin));
                }
                continue;
            }
            nodes.push(node);
        }
        let inputs: Vec<ValueInfo> = graph
            .input
            .iter()
            .filter(|i| !tensors.contains_key(&i.name))
            .cloned()
            .collect();
        let known = known_names(&graph, &tensors, &inputs);
        let nodes = in_execution_order(nodes, known, origin)?;
        let declared = graph
            .value_info
            .iter()
            .chain(&graph.output)
            .filter_map(|v| Some((v.name.clone(), v.r#type.clone()?)))
            .collect();
        Ok(Self {
            nodes,
            tensors,
            inputs,
            sparse: graph.sparse_initializer,
            outputs: graph.output.into_iter().map(|o| o.name).collect(),
            declared,
            opset,
        })
    }
}

fn opset(model: &ModelProto, origin: &Origin) -> Result<i64, Error> {
    let standard = |d: &str| matches!(d, "" | "ai.onnx");
    let version = model
        .opset_import
        .iter()
        .filter(|o| standard(&o.domain))
        .map(|o| o.version)
        .max()
        .ok_or_else(|| {
            let problem = "it does not say which operator set it uses (a sign of truncation)";
            Error::damaged(&origin.what, problem)
        })?;
    if version < OLDEST_OPSET {
        return Err(Error::Opset {
            what: origin.what.clone(),
            version,
        });
    }
    Ok(version)
}

fn known_names(
    graph: &GraphProto,
    tensors: &HashMap<String, Arc<Tensor>>,
    inputs: &[ValueInfo],
) -> HashSet<String> {
    let sparse = graph
        .sparse_initializer
        .iter()
        .filter_map(|s| s.values.as_ref())
        .map(|v| &v.name);
    let named = inputs.iter().map(|i| &i.name);
    tensors.keys().chain(named).chain(sparse).cloned().collect()
}

fn twice(name: &str, origin: &Origin) -> Error {
    Error::damaged(
        &origin.what,
        format!("two nodes compute the value \"{name}\""),
    )
}

/// Sorts nodes so that each comes after those it reads (Kahn's method), keeping the file's order where it can.
fn in_execution_order(
    nodes: Vec<NodeProto>,
    known: HashSet<String>,
    origin: &Origin,
) -> Result<Vec<NodeProto>, Error> {
    let mut producer = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if known.contains(output) || producer.insert(output.clone(), i).is_some() {
                return Err(twice(output, origin));
            }
        }
    }
    let mut waits = vec![0_usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let mut reads: HashSet<usize> = HashSet::new();
        for name in node.input.iter().filter(|n| !n.is_empty()) {
            match producer.get(name) {
                Some(&p) => drop(reads.insert(p)),
                None if known.contains(name) => {}
                None => {
                    let problem = format!(
                        "node \"{}\" reads \"{name}\", which nothing computes",
                        node.label()
                    );
                    return Err(Error::damaged(&origin.what, problem));
                }
            }
        }
        // Bodies read outer values by name; names that are not outer belong to the body itself.
        let mut captured = Vec::new();
        node.bodies().for_each(|b| captured_names(b, &mut captured));
        reads.extend(captured.iter().filter_map(|name| producer.get(*name)));
        waits[i] = reads.len();
        reads.iter().for_each(|&p| readers[p].push(i));
    }
    let order = kahn(waits, &readers);
    if order.len() < nodes.len() {
        let done: HashSet<usize> = order.into_iter().collect();
        let stuck = (0..nodes.len()).find(|i| !done.contains(i)).unwrap_or(0);
        let problem = format!("node \"{}\" is part of a cycle", nodes[stuck].label());
        return Err(Error::damaged(&origin.what, problem));
    }
    let mut slots: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
    Ok(order.iter().filter_map(|&i| slots[i].take()).collect())
}

/// An order of execution; shorter than `waits` when there is a cycle.
fn kahn(mut waits: Vec<usize>, readers: &[Vec<usize>]) -> Vec<usize> {
    if (0..waits.len()).all(|i| readers[i].iter().all(|&r| r > i)) {
        return (0..waits.len()).collect();
    }
    let mut ready: VecDeque<usize> = (0..waits.len()).filter(|&i| waits[i] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(i) = ready.pop_front() {
        order.push(i);
        for &r in &readers[i] {
            waits[r] -= 1;
            if waits[r] == 0 {
                ready.push_back(r);
            }
        }
    }
    order
}

/// Every name that the nodes of `graph` and of its bodies read.
pub(crate) fn captured_names<'a>(graph: &'a GraphProto, names: &mut Vec<&'a str>) {
    names.extend(graph.output.iter().map(|o| o.name.as_str()));
    for node in &graph.node {
        names.extend(node.input.iter().map(String::as_str));
        node.bodies().for_each(|b| captured_names(b, names));
    }
}
