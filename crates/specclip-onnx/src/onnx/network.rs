//! Who computes and who reads each value.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::fact::Fact;
use super::graph::captured_names;
use super::infer::Analysis;
use super::proto::NodeProto;

/// A thousand paddings of large images.
const MOST_SAMPLES: usize = 1 << 27;

/// The analysed graph with its connections.
pub(crate) struct Network<'a> {
    pub analysis: &'a Analysis,
    producers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    /// Samples that the search for padding may still look at; one padding may be in front of many convolutions.
    pub samples: Cell<usize>,
    /// Values that something besides an ordinary node reads: outputs, and bodies of control flow.
    kept: HashSet<&'a str>,
}

/// Whether a node reads the numbers of its input, not only their type or shape. (PyTorch casts the
/// zero that stands for a missing bias to the type of the padded input.)
fn reads_numbers(node: &NodeProto, place: usize) -> bool {
    let about = match node.op_type.as_str() {
        "Shape" | "Size" => true,
        "CastLike" => place == 1,
        _ => false,
    };
    !(about && node.is_standard())
}

impl<'a> Network<'a> {
    pub(crate) fn new(analysis: &'a Analysis, outputs: &'a HashSet<String>) -> Self {
        let mut producers = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut captured = Vec::new();
        for (i, node) in analysis.nodes.iter().enumerate() {
            producers.extend(node.output.iter().map(|o| (o.as_str(), i)));
            for (place, name) in node.input.iter().enumerate() {
                if reads_numbers(node, place) {
                    readers.entry(name).or_default().push(i);
                }
            }
            node.bodies().for_each(|b| captured_names(b, &mut captured));
        }
        let kept = outputs.iter().map(String::as_str).chain(captured).collect();
        Self {
            analysis,
            producers,
            readers,
            samples: Cell::new(MOST_SAMPLES),
            kept,
        }
    }

    pub(crate) fn fact(&self, value: &str) -> Option<&'a Fact> {
        self.analysis.facts.get(value)
    }

    /// The node that computes a value.
    pub(crate) fn producer(&self, value: &str) -> Option<(usize, &'a NodeProto)> {
        let i = *self.producers.get(value)?;
        Some((i, &self.analysis.nodes[i]))
    }

    /// The nodes that read a value.
    pub(crate) fn readers(&self, value: &str) -> impl Iterator<Item = &'a NodeProto> {
        let readers = self.readers.get(value);
        let nodes = &self.analysis.nodes;
        readers.into_iter().flatten().map(|&i| &nodes[i])
    }

    /// The nodes that read a value; `None` when something else reads it too.
    pub(crate) fn only_readers(&self, value: &str) -> Option<Vec<(usize, &'a NodeProto)>> {
        if self.kept.contains(value) {
            return None;
        }
        let readers = self.readers.get(value)?;
        Some(
            readers
                .iter()
                .map(|&i| (i, &self.analysis.nodes[i]))
                .collect(),
        )
    }

    /// The node that alone reads a value, once.
    pub(crate) fn only_reader(&self, value: &str) -> Option<(usize, &'a NodeProto)> {
        match self.only_readers(value)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }
}
