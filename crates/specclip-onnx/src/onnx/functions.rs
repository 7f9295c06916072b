//! Expands the calls of functions that a model file defines for itself.

use std::collections::{HashMap, HashSet};

use super::initialiser::Origin;
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::Error;

/// Functions may call functions; deeper nesting than this is a recursion.
const DEEPEST: usize = 32;
/// An expansion to more nodes than this is refused.
const MOST_NODES: usize = 1 << 20;

/// The copies that an expansion makes may take this much memory beyond what the functions themselves take.
const MOST_BYTES: usize = 1 << 28;
/// Labels longer than this are not repeated in front of every name inside the function.
const LONGEST_LABEL: usize = 256;

type Functions<'a> = HashMap<(&'a str, &'a str), &'a FunctionProto>;

/// Replaces every call of a local function by the function's nodes, until none is left.
pub(crate) fn expand(
    graph: &mut GraphProto,
    functions: &[FunctionProto],
    origin: &Origin,
) -> Result<(), Error> {
    if functions.is_empty() {
        return Ok(());
    }
    let table: Functions = functions
        .iter()
        .map(|f| ((f.domain.as_str(), f.name.as_str()), f))
        .collect();
    let own: usize = functions.iter().map(size::of_function).sum();
    let mut expansion = Expansion {
        nodes: Vec::new(),
        labels: HashSet::new(),
        calls: 0,
        bytes_left: MOST_BYTES.saturating_add(own),
    };
    for _ in 0..DEEPEST {
        let called = |n: &NodeProto| table.contains_key(&(n.domain.as_str(), n.op_type.as_str()));
        if !graph.node.iter().any(called) {
            return Ok(());
        }
        for node in std::mem::take(&mut graph.node) {
            match table.get(&(node.domain.as_str(), node.op_type.as_str())) {
                Some(function) => expansion.instantiate(function, &node),
                None => {
                    expansion.nodes.push(node);
                    Some(())
                }
            }
            .filter(|()| expansion.nodes.len() <= MOST_NODES)
            .ok_or_else(|| {
                let problem =
                    "its functions expand to more than a million nodes, or to too much memory";
                Error::damaged(&origin.what, problem)
            })?;
        }
        graph.node = std::mem::take(&mut expansion.nodes);
    }
    Err(Error::damaged(
        &origin.what,
        "its functions call each other without end",
    ))
}

/// The nodes of one round of expansion, and what all rounds have used up.
struct Expansion {
    nodes: Vec<NodeProto>,
    labels: HashSet<String>,
    calls: usize,
    bytes_left: usize,
}

impl Expansion {
    fn charge(&mut self, bytes: usize) -> Option<()> {
        self.bytes_left = self.bytes_left.checked_sub(bytes)?;
        Some(())
    }

    /// What stands in front of the names inside one call: the call's own label where it is short and not used before.
    fn prefix(&mut self, call: &NodeProto) -> String {
        self.calls += 1;
        let label = call.label();
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return format!("call_{}", self.calls);
        }
        if self.labels.insert(label.to_owned()) {
            return label.to_owned();
        }
        format!("{label}#{}", self.calls)
    }

    /// Appends the nodes of one call, their values renamed so that calls do not collide; `None` when that takes too much
    /// memory.
    fn instantiate(&mut self, function: &FunctionProto, call: &NodeProto) -> Option<()> {
        let label = self.prefix(call);
        let mut names: HashMap<&str, &str> = HashMap::new();
        for (i, formal) in function.input.iter().enumerate() {
            names.insert(formal, call.input.get(i).map_or("", String::as_str));
        }
        for (i, formal) in function.output.iter().enumerate() {
            // An output that the caller leaves out still needs a name inside the function.
            if let Some(actual) = call.output.get(i).filter(|o| !o.is_empty()) {
                names.insert(formal, actual);
            }
        }
        let rename = |name: &String| match names.get(name.as_str()) {
            Some(&actual) => actual.to_owned(),
            None if name.is_empty() => String::new(),
            None => format!("{label}/{name}"),
        };
        for inner in &function.node {
            let own_name = [&inner.name, &inner.op_type]
                .into_iter()
                .find(|n| !n.is_empty());
            let mut node = NodeProto {
                input: inner.input.iter().map(rename).collect(),
                output: inner.output.iter().map(rename).collect(),
                name: format!("{label}/{}", own_name.map_or("", String::as_str)),
                op_type: inner.op_type.clone(),
                domain: inner.domain.clone(),
                attribute: Vec::with_capacity(inner.attribute.len()),
            };
            self.charge(size::of_names(&node))?;
            for attribute in &inner.attribute {
                if !attribute.ref_attr_name.is_empty() {
                    self.charge(call.attribute.len() + function.attribute_proto.len())?;
                }
                let Some(actual) = resolve(attribute, function, call) else {
                    continue;
                };
                // Before it is copied: an attribute may hold a large array.
                self.charge(size::of_attribute(actual))?;
                let mut copy = actual.clone();
                copy.name.clone_from(&attribute.name);
                for body in copy.g.iter_mut().chain(&mut copy.graphs) {
                    rename_captures(body, &rename);
                }
                node.attribute.push(copy);
            }
            self.nodes.push(node);
        }
        Some(())
    }
}

/// The attribute itself, or what the caller passes for it.
fn resolve<'a>(
    attribute: &'a AttributeProto,
    function: &'a FunctionProto,
    call: &'a NodeProto,
) -> Option<&'a AttributeProto> {
    let reference = &attribute.ref_attr_name;
    if reference.is_empty() {
        return Some(attribute);
    }
    let mut defaults = function.attribute_proto.iter();
    call.attr(reference)
        .or_else(|| defaults.find(|a| a.name == *reference))
}

/// How much memory copies of messages take. Raw data is not counted: copies share it.
mod size {
    use super::super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto};

    pub(super) fn of_function(f: &FunctionProto) -> usize {
        let nodes: usize = f.node.iter().map(of_node).sum();
        let defaults: usize = f.attribute_proto.iter().map(of_attribute).sum();
        let names: usize = f.input.iter().chain(&f.output).map(|n| of_name(n)).sum();
        nodes + defaults + names
    }

    fn of_node(node: &NodeProto) -> usize {
        of_names(node) + node.attribute.iter().map(of_attribute).sum::<usize>()
    }

    /// Everything but the attributes.
    pub(super) fn of_names(node: &NodeProto) -> usize {
        let names = node.input.iter().chain(&node.output);
        let names = names.chain([&node.name, &node.op_type, &node.domain]);
        size_of::<NodeProto>() + names.map(|n| of_name(n)).sum::<usize>()
    }

    pub(super) fn of_attribute(a: &AttributeProto) -> usize {
        let graphs: usize = a.g.iter().chain(&a.graphs).map(of_graph).sum();
        let lists = 4 * a.floats.len() + 8 * a.ints.len() + 32 * a.strings.len();
        size_of::<AttributeProto>()
            + a.name.len()
            + a.ref_attr_name.len()
            + lists
            + a.t.iter().map(of_tensor).sum::<usize>()
            + graphs
    }

    fn of_graph(g: &GraphProto) -> usize {
        let values = g.input.iter().chain(&g.output).chain(&g.value_info);
        // Types are small, except in files that are made to be large.
        let values: usize = values
            .map(|v| of_name(&v.name) + prost::Message::encoded_len(v) * 8)
            .sum();
        size_of::<GraphProto>()
            + g.node.iter().map(of_node).sum::<usize>()
            + g.initializer.iter().map(of_tensor).sum::<usize>()
            + values
    }

    fn of_tensor(t: &TensorProto) -> usize {
        let wide = t.dims.len() + t.int64_data.len() + t.uint64_data.len() + t.double_data.len();
        let narrow = t.float_data.len() + t.int32_data.len();
        let external: usize = t
            .external_data
            .iter()
            .map(|e| of_name(&e.key) + of_name(&e.value))
            .sum();
        size_of::<TensorProto>() + of_name(&t.name) + 8 * wide + 4 * narrow + external
    }

    fn of_name(name: &str) -> usize {
        size_of::<String>() + name.len()
    }
}

/// Renames all values of a body: its own and those of the function around it alike.
fn rename_captures(body: &mut GraphProto, rename: &impl Fn(&String) -> String) {
    for value in body
        .input
        .iter_mut()
        .chain(&mut body.output)
        .chain(&mut body.value_info)
    {
        value.name = rename(&value.name);
    }
    for tensor in &mut body.initializer {
        tensor.name = rename(&tensor.name);
    }
    for node in &mut body.node {
        node.input = node.input.iter().map(rename).collect();
        node.output = node.output.iter().map(rename).collect();
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                rename_captures(inner, rename);
            }
        }
    }
}
