//! Runs shape inference over a whole graph.

use std::collections::HashMap;
use std::sync::Arc;

use super::fact::{Batch, Fact};
use super::graph::{Graph, captured_names};
use super::initialiser::{self, Origin};
use super::inputs::{self, Inputs};
use super::proto::{GraphProto, NodeProto, SparseTensorProto};
use super::shapes::{self, Call};
use crate::constant::Constant;
use crate::tensor::{ElementType, Tensor};

/// Branches inside branches deeper than this are not followed.
const DEEPEST: usize = 16;
/// Small arrays are followed until there are this many elements of them in all.
const MOST_ELEMENTS: usize = 1 << 22;
/// Why a sparse weight makes no layer.
const SPARSE: &str = "stored as a sparse array, which is not read";
/// Messages quote this much of a name or a list.
const MOST_LETTERS: usize = 240;

/// The nodes that run, and what is known about their values.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// In execution order; a branch whose condition is known has taken the place of its `If`.
    pub nodes: Vec<NodeProto>,
    /// By the name of the value.
    pub facts: HashMap<String, Fact>,
    /// The version of the standard operator set.
    pub opset: i64,
}

impl Analysis {
    /// The facts about the inputs of `node`.
    pub(crate) fn call<'a>(&'a self, node: &'a NodeProto) -> Call<'a> {
        call(node, &self.facts, self.opset)
    }
}

fn call<'a>(node: &'a NodeProto, facts: &'a HashMap<String, Fact>, opset: i64) -> Call<'a> {
    let known = |name: &String| facts.get(name).filter(|_| !name.is_empty());
    Call {
        node,
        inputs: node.input.iter().map(known).collect(),
        opset,
    }
}

/// The facts about the values that the bodies of `node` read from around them; a body's own values have none.
fn captured<'a>(node: &NodeProto, facts: &'a HashMap<String, Fact>) -> Vec<&'a Fact> {
    let mut names = Vec::new();
    node.bodies().for_each(|b| captured_names(b, &mut names));
    names.iter().filter_map(|&name| facts.get(name)).collect()
}

/// Whether the node, or one inside its bodies, gives other numbers every time.
fn is_random(node: &NodeProto) -> bool {
    node.op_type.starts_with("Random")
        || matches!(node.op_type.as_str(), "Bernoulli" | "Multinomial")
        || node.bodies().any(|body| body.node.iter().any(is_random))
}

/// The start of a text of any length, for messages that are kept for every node.
pub(crate) fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(MOST_LETTERS).map(|(i, _)| i);
    &text[..end.unwrap_or(text.len())]
}

/// The batch of what `call` computes from values of the batches `inputs`.
fn batch(call: &Call, inputs: impl Iterator<Item = Batch>) -> Batch {
    let batch = inputs.fold(Batch::None, Batch::and);
    // The first axis of an image is its batch by definition, which shows when the first axis of an input was not.
    let first = match call.node.op_type.as_str() {
        "AveragePool"
        | "BatchNormalization"
        | "Conv"
        | "ConvTranspose"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "InstanceNormalization"
        | "MaxPool"
            if call.node.is_standard() =>
        {
            let dims = call.optional(0).and_then(|f| f.dims.as_ref().ok());
            dims.and_then(|d| d.first().copied().flatten())
        }
        _ => None,
    };
    match (batch, first) {
        (Batch::Of(n), Some(first)) if n > 0 && first.is_multiple_of(n) => batch,
        (Batch::Of(_) | Batch::Unknown, Some(first)) => Batch::Of(first),
        _ => batch,
    }
}

/// Infers everything about the values of `graph`.
pub(crate) fn run(graph: &mut Graph, inputs: &Inputs, origin: &Origin) -> Analysis {
    let mut state = State {
        analysis: Analysis {
            nodes: Vec::with_capacity(graph.nodes.len()),
            facts: HashMap::new(),
            opset: graph.opset,
        },
        graph,
        inputs,
        origin,
        followed: 0,
    };
    state.start();
    for node in std::mem::take(&mut state.graph.nodes) {
        state.visit(node, 0);
    }
    state.analysis
}

struct State<'a> {
    analysis: Analysis,
    graph: &'a mut Graph,
    inputs: &'a Inputs,
    origin: &'a Origin,
    /// Elements of small arrays so far.
    followed: usize,
}

impl State<'_> {
    fn start(&mut self) {
        let facts = &mut self.analysis.facts;
        for input in &self.graph.inputs {
            let reason = format!("input \"{}\" is not a tensor", input.name);
            facts.insert(input.name.clone(), Fact::unknown(reason));
        }
        for (name, shape) in &self.inputs.shapes {
            let mut fact = Fact::fixed(shape);
            fact.batch = shape.first().map_or(Batch::None, |&n| Batch::Of(n));
            facts.insert(name.clone(), fact.bounded());
        }
        let sparse = std::mem::take(&mut self.graph.sparse);
        sparse.iter().for_each(|proto| self.add_sparse(proto));
        let mut tensors: Vec<Arc<Tensor>> = self.graph.tensors.values().cloned().collect();
        // The smallest first: shapes and axes are small.
        tensors.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.name.cmp(&b.name)));
        tensors.iter().for_each(|tensor| self.add_tensor(tensor));
    }

    /// Sparse arrays only give the layers that they are weights of a reason.
    fn add_sparse(&mut self, proto: &SparseTensorProto) {
        let dims = proto.dims.iter().map(|&n| usize::try_from(n).ok());
        let mut fact = Fact::shaped(dims.collect());
        fact.independent = true;
        fact.unread = Some(SPARSE.into());
        if let Some(values) = &proto.values {
            let name = values.name.clone();
            self.analysis.facts.insert(name, fact.bounded());
        }
    }

    fn add_tensor(&mut self, tensor: &Arc<Tensor>) {
        let mut fact = Fact::of_constant(Constant::tensor(tensor.clone()));
        if let ElementType::Other(name) = tensor.element {
            fact.constant = None;
            fact.unread = Some(format!("stored as {name}, which is not read").into());
        }
        if self.followed + tensor.len().min(MOST_ELEMENTS) <= MOST_ELEMENTS {
            fact.value = initialiser::small_value(tensor).map(Arc::new);
        }
        self.followed += fact.value.as_ref().map_or(0, |v| v.data.len());
        self.analysis
            .facts
            .insert(tensor.name.clone(), fact.bounded());
    }

    fn visit(&mut self, node: NodeProto, depth: usize) {
        if node.op_type == "If" && node.is_standard() && depth < DEEPEST {
            let condition = call(&node, &self.analysis.facts, 0)
                .optional(0)
                .and_then(|f| f.value.as_ref()?.scalar());
            let taken = match condition {
                Some(0.0) => Some("else_branch"),
                Some(_) => Some("then_branch"),
                None => None,
            };
            if let Some(branch) = taken.and_then(|name| node.attr(name)?.g.clone()) {
                return self.inline(&node, branch, depth);
            }
        }
        self.infer(&node);
        self.analysis.nodes.push(node);
    }

    /// Puts the nodes of the branch that is taken in the place of the `If`.
    fn inline(&mut self, node: &NodeProto, mut branch: GraphProto, depth: usize) {
        branch
            .sparse_initializer
            .iter()
            .for_each(|proto| self.add_sparse(proto));
        for proto in &mut branch.initializer {
            if let Ok(tensor) = initialiser::read(proto, self.origin) {
                self.add_tensor(&tensor);
            }
        }
        for mut inner in branch.node {
            if inner.op_type == "Constant"
                && inner.is_standard()
                && let Ok(Some(tensor)) = initialiser::constant_node(&mut inner, self.origin)
            {
                self.add_tensor(&tensor);
                continue;
            }
            self.visit(inner, depth + 1);
        }
        for (from, to) in branch.output.iter().zip(&node.output) {
            let link = NodeProto {
                op_type: "Identity".to_owned(),
                input: vec![from.name.clone()],
                output: vec![to.clone()],
                ..NodeProto::default()
            };
            self.visit(link, depth + 1);
        }
    }

    fn infer(&mut self, node: &NodeProto) {
        let call = call(node, &self.analysis.facts, self.analysis.opset);
        let captured = captured(node, &self.analysis.facts);
        let hidden = call
            .inputs
            .iter()
            .flatten()
            .find_map(|f| f.dims.as_ref().err().cloned());
        let (mut facts, reason) = match shapes::infer(&call) {
            Ok(facts) => (facts, None),
            // What hides an input is the better explanation.
            Err(problem) => {
                let own = || {
                    let (label, op) = (shortened(node.label()), node.op());
                    format!(
                        "node \"{label}\" ({}): {}",
                        shortened(&op),
                        shortened(&problem)
                    )
                };
                (Vec::new(), Some(hidden.unwrap_or_else(|| own().into())))
            }
        };
        let read = || call.inputs.iter().flatten().chain(&captured);
        let independent = !is_random(node) && read().all(|f| f.independent);
        let batch = batch(&call, read().map(|f| f.batch));
        let unread = match node.op_type.as_str() {
            "DequantizeLinear" => Some("quantised (it comes from DequantizeLinear)".into()),
            "Constant" if node.attr("sparse_value").is_some() => Some(SPARSE.into()),
            _ => read().find_map(|f| f.unread.clone()),
        };
        facts.truncate(node.output.len());
        let reason =
            reason.unwrap_or_else(|| "its operator has outputs that are not followed".into());
        facts.resize_with(node.output.len(), || Fact::unknown(reason.clone()));
        for (name, mut fact) in node.output.iter().zip(facts) {
            if !name.is_empty() {
                // A node without inputs may be anything, unless it says that it is a constant.
                fact.independent =
                    independent && (!node.input.is_empty() || node.op_type == "Constant");
                if fact.independent && fact.constant.is_none() {
                    fact.unread.clone_from(&unread);
                }
                self.followed += fact.value.as_ref().map_or(0, |v| v.data.len());
                if self.followed > MOST_ELEMENTS && fact.value.is_some() {
                    fact.value = None;
                    fact.constant = None;
                }
                self.refine(name, &mut fact);
                // Shapes that are computed belong to no sample.
                fact.batch = match fact.value {
                    Some(_) => Batch::None,
                    None => batch,
                };
                self.analysis.facts.insert(name.clone(), fact.bounded());
            }
        }
    }

    /// Fills in what inference left open from the types that the file states.
    fn refine(&self, name: &str, fact: &mut Fact) {
        let open = fact.dims.as_ref().map_or(true, |d| d.contains(&None));
        if !open {
            return;
        }
        let Some(declared) = self.graph.declared.get(name) else {
            return;
        };
        let Some(stated) = inputs::declared_dims(declared, &self.inputs.symbols) else {
            return;
        };
        match &mut fact.dims {
            Err(_) => fact.dims = Ok(stated),
            Ok(dims) if dims.len() == stated.len() => {
                dims.iter_mut().zip(stated).for_each(|(d, s)| *d = d.or(s));
            }
            Ok(_) => {}
        }
    }
}
