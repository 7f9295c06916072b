//! Expands the calls of functions that a model file defines for itself.

use std::collections::HashMap;

use super::initialiser::Origin;
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::Error;

/// Functions may call functions; deeper nesting than this is a recursion.
const DEEPEST: usize = 32;
/// An expansion to more nodes than this is refused.
const MOST_NODES: usize = 1 << 20;

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
    for _ in 0..DEEPEST {
        let calls = |n: &NodeProto| table.contains_key(&(n.domain.as_str(), n.op_type.as_str()));
        if !graph.node.iter().any(calls) {
            return Ok(());
        }
        let mut expanded = Vec::with_capacity(graph.node.len());
        for (i, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
            match table.get(&(node.domain.as_str(), node.op_type.as_str())) {
                Some(function) => instantiate(function, &node, i, &mut expanded),
                None => expanded.push(node),
            }
            if expanded.len() > MOST_NODES {
                let problem = "its functions expand to more than a million nodes";
                return Err(Error::damaged(&origin.what, problem));
            }
        }
        graph.node = expanded;
    }
    Err(Error::damaged(
        &origin.what,
        "its functions call each other without end",
    ))
}

/// Appends the nodes of one call, their values renamed so that calls do not collide.
fn instantiate(
    function: &FunctionProto,
    call: &NodeProto,
    index: usize,
    nodes: &mut Vec<NodeProto>,
) {
    let label = if call.label().is_empty() {
        format!("{}_{index}", call.op_type)
    } else {
        call.label().to_owned()
    };
    let mut names: HashMap<&str, String> = HashMap::new();
    for (i, formal) in function.input.iter().enumerate() {
        names.insert(formal, call.input.get(i).cloned().unwrap_or_default());
    }
    for (i, formal) in function.output.iter().enumerate() {
        // An output that the caller leaves out still needs a name inside the function.
        if let Some(actual) = call.output.get(i).filter(|o| !o.is_empty()) {
            names.insert(formal, actual.clone());
        }
    }
    let rename = |name: &String| match names.get(name.as_str()) {
        Some(actual) => actual.clone(),
        None if name.is_empty() => String::new(),
        None => format!("{label}/{name}"),
    };
    for inner in &function.node {
        let mut node = inner.clone();
        node.input = inner.input.iter().map(rename).collect();
        node.output = inner.output.iter().map(rename).collect();
        node.name = if inner.name.is_empty() {
            format!("{label}/{}", inner.op_type)
        } else {
            format!("{label}/{}", inner.name)
        };
        node.attribute = inner
            .attribute
            .iter()
            .filter_map(|a| resolve(a, function, call))
            .collect();
        for attribute in &mut node.attribute {
            for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                rename_captures(body, &rename);
            }
        }
        nodes.push(node);
    }
}

/// The attribute itself, or what the caller passes for it.
fn resolve(
    attribute: &AttributeProto,
    function: &FunctionProto,
    call: &NodeProto,
) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let default = || {
        let mut defaults = function.attribute_proto.iter();
        defaults.find(|a| a.name == attribute.ref_attr_name)
    };
    let mut actual = call
        .attr(&attribute.ref_attr_name)
        .or_else(default)?
        .clone();
    actual.name.clone_from(&attribute.name);
    Some(actual)
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
