//! Names of layers.

use std::collections::HashMap;

use crate::model::WeightRef;
use crate::onnx::network::Network;
use crate::onnx::proto::NodeProto;

/// Names given so far, so that every layer has its own.
#[derive(Default)]
pub(super) struct Names(HashMap<String, usize>);

impl Names {
    /// `name`, or `name#2` for its second use.
    pub(super) fn unique(&mut self, name: String) -> String {
        let uses = self.0.entry(name.clone()).or_insert(0);
        *uses += 1;
        if *uses == 1 {
            return name;
        }
        let again = format!("{name}#{uses}");
        self.unique(again)
    }
}

/// The weight's name without a trailing `.weight`; where an exporter made that name up, the name of the bias without
/// `.bias`; else the node's.
pub(super) fn suggest(
    network: &Network,
    node: &NodeProto,
    weight: Option<&WeightRef>,
    index: usize,
) -> String {
    let stem = |name: &str, suffix: &str| name.strip_suffix(suffix).unwrap_or(name).to_owned();
    let bias = bias(network, node);
    let unfit = |name: &str| is_made_up(name) || (bias.is_some() && is_an_operation(name));
    if let Some(weight) = weight.filter(|w| !unfit(&w.name)) {
        return stem(&weight.name, ".weight");
    }
    match bias {
        Some(bias) if weight.is_some() => stem(&stem(bias, ".bias"), "_bias"),
        _ => of_node(node, index),
    }
}

/// The name of a node, or one made of its operator and place.
pub(super) fn of_node(node: &NodeProto, index: usize) -> String {
    if node.name.is_empty() {
        format!("{}_{index}", node.op_type)
    } else {
        node.name.clone()
    }
}

/// Whether an exporter, not a person, named this value: `onnx::Conv_12`, `val_3`, `42`, `/fc/Constant_output_0`.
fn is_made_up(name: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit());
    name.is_empty()
        || name.starts_with("onnx::")
        || name.starts_with("const_fold_opt__")
        || (name.contains("Constant") && name.contains("_output_"))
        || name.strip_prefix("val_").is_some_and(digits)
        || digits(name.trim_start_matches('%'))
}

/// Whether a value may have its name from the operation that an exporter computed it by, as PyTorch's newer one does with
/// weight-normed (`mul_1`), spectral-normed (`div`) and transposed (`t`) weights. People use such names too.
fn is_an_operation(name: &str) -> bool {
    const OPERATIONS: &[&str] = &[
        "add",
        "clone",
        "div",
        "mul",
        "permute",
        "reshape",
        "select",
        "slice",
        "squeeze",
        "sub",
        "t",
        "to",
        "transpose",
        "unsqueeze",
        "view",
    ];
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    OPERATIONS.contains(&word.strip_suffix('_').unwrap_or(name))
}

/// The bias that belongs to the node: its own third input, or what is added to its output.
fn bias<'a>(network: &Network<'a>, node: &'a NodeProto) -> Option<&'a str> {
    let is_bias =
        |name: &&str| (name.ends_with(".bias") || name.ends_with("_bias")) && !is_made_up(name);
    if let Some(own) = node.input_name(2) {
        return Some(own).filter(is_bias);
    }
    let (_, add) = network.only_reader(node.output.first()?)?;
    (add.op_type == "Add" && add.is_standard()).then_some(())?;
    add.input.iter().map(String::as_str).find(is_bias)
}
