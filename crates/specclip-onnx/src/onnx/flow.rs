//! The whole network as a graph: every node that depends on the inputs, linear or not.

mod activation;
mod arithmetic;
mod gate;
mod layer;
mod place;

use std::collections::{HashMap, HashSet};
use std::fmt;

use specclip::graph::{Graph, Op, Value};

use super::fact::Fact;
use super::graph::captured_names;
use super::infer::Analysis;
use super::network::Network;
use super::proto::NodeProto;
use crate::Error;
use crate::change::Changes;
use crate::model::Layer;

/// Lists of places of all slices, gathers and repetitions together are no longer than this.
const MOST_PLACES: usize = 1 << 26;

/// What a graph is made from.
pub(crate) struct Source {
    pub analysis: Analysis,
    /// The node of each layer.
    pub places: Vec<usize>,
    /// Why linear nodes were left out.
    pub reasons: HashMap<usize, String>,
    pub inputs: Vec<(String, Vec<usize>)>,
    pub outputs: HashSet<String>,
}

impl fmt::Debug for Source {
    /// Short: the nodes hold every weight of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source of {} nodes", self.analysis.nodes.len())
    }
}

impl Source {
    /// The graph; its linear layers have their index in `layers`.
    pub(crate) fn graph(&self, layers: &[Layer], changes: &Changes) -> Result<Graph, Error> {
        let network = Network::new(&self.analysis, &self.outputs);
        let places = self.places.iter().enumerate();
        let mut flow = Flow {
            layer_of: places.map(|(layer, &node)| (node, layer)).collect(),
            source: self,
            network: &network,
            layers,
            changes,
            graph: Graph::new(),
            values: HashMap::new(),
            places_left: MOST_PLACES,
        };
        for (name, shape) in &self.inputs {
            let value = flow.graph.input(name, shape).map_err(Error::Graph)?;
            flow.values.insert(name, value);
        }
        for (i, node) in self.analysis.nodes.iter().enumerate() {
            flow.visit(i, node)?;
        }
        flow.finish()
    }
}

/// A graph in the making.
struct Flow<'a> {
    source: &'a Source,
    network: &'a Network<'a>,
    layers: &'a [Layer],
    changes: &'a Changes,
    /// The layer of each node that is one.
    layer_of: HashMap<usize, usize>,
    graph: Graph,
    /// The values that depend on the inputs, by name; the others are constants.
    values: HashMap<&'a str, Value>,
    places_left: usize,
}

/// The value that a node computes, or why nothing is known about it.
type Made = Result<Value, Stopped>;

/// Why a node has no place in the graph.
enum Stopped {
    /// No rule covers it.
    Because(String),
    /// The graph refused it, or a number cannot be read.
    Failed(Error),
}

impl From<String> for Stopped {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl From<&str> for Stopped {
    fn from(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }
}

impl<'a> Flow<'a> {
    /// Adds what `node` computes.
    fn visit(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Error> {
        let read = self.read(node);
        if read.is_empty() || self.only_shapes(node) {
            return Ok(());
        }
        let outputs = node.output.iter().filter(|o| !o.is_empty());
        for (place, output) in outputs.enumerate() {
            let lost = |v: &&Value| matches!(self.graph.nodes()[**v].op, Op::Unknown { .. });
            let value = match self.shape(output) {
                // What hides the shape of an input hides that of the output.
                Err(_) if read.iter().any(|v| lost(&v)) => read.iter().find(lost).copied(),
                _ => None,
            };
            let value = match value {
                Some(value) => value,
                None => match self.make(index, node, place, output) {
                    Ok(value) => value,
                    Err(Stopped::Failed(error)) => return Err(error),
                    Err(Stopped::Because(reason)) => {
                        let shape = self.shape(output).unwrap_or_default();
                        self.push(node, Op::unknown(reason), &read, &shape)?
                    }
                },
            };
            self.values.insert(output, value);
        }
        Ok(())
    }

    /// The values that depend on the inputs and that `node` or its bodies read.
    fn read(&self, node: &NodeProto) -> Vec<Value> {
        let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
        // The second input only gives its type.
        if node.op_type == "CastLike" {
            names.truncate(1);
        }
        node.bodies().for_each(|b| captured_names(b, &mut names));
        let mut read: Vec<Value> = names
            .iter()
            .filter_map(|name| self.values.get(name).copied())
            .collect();
        read.dedup();
        read
    }

    /// Whether a node reads shapes alone, which are constant.
    fn only_shapes(&self, node: &NodeProto) -> bool {
        let known = |o: &String| {
            let value = self.network.fact(o).and_then(|f| f.value.as_ref());
            o.is_empty() || value.is_some_and(|v| v.known().is_some())
        };
        node.output.iter().all(known)
    }

    /// The value of output number `place` of a node, called `output`.
    fn make(&mut self, index: usize, node: &'a NodeProto, place: usize, output: &str) -> Made {
        let shape = self.shape(output)?;
        if let Some(&layer) = self.layer_of.get(&index) {
            return self.layer(node, layer, &shape);
        }
        if !node.is_standard() && node.domain != "com.microsoft" {
            return Err("the operator is not part of the standard".into());
        }
        let rules = [
            Self::rearranged,
            Self::combined,
            Self::activated,
            Self::reduced,
        ];
        for rule in rules {
            if let Some(made) = rule(self, node, place, &shape) {
                return made;
            }
        }
        Err(match self.source.reasons.get(&index) {
            Some(reason) => reason.as_str().into(),
            None => layer::why_not(node).into(),
        })
    }

    /// Adds one node to the graph.
    fn push(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[Value],
        shape: &[usize],
    ) -> Result<Value, Error> {
        let pushed = self.graph.push(node.label(), &node.op(), op, inputs, shape);
        pushed.map_err(Error::Graph)
    }

    /// Adds one node that a rule makes.
    fn add(&mut self, node: &NodeProto, op: Op, inputs: &[Value], shape: &[usize]) -> Made {
        self.push(node, op, inputs, shape).map_err(Stopped::Failed)
    }

    /// The dimensions of a value, which must all be known and not zero.
    fn shape(&self, name: &str) -> Result<Vec<usize>, String> {
        let fact = self.network.fact(name).ok_or("its output is not known")?;
        let dims = fact
            .dims()
            .map_err(|reason| format!("the shape of its output is unknown: {reason}"))?;
        let dims: Option<Vec<usize>> = dims.iter().copied().collect();
        let dims = dims.ok_or("the shape of its output depends on the data")?;
        match crate::input::element_count(&dims) {
            Some(0) => Err("its output has no elements".to_owned()),
            None => Err("its output is too large".to_owned()),
            Some(_) => Ok(dims),
        }
    }

    /// Input `i` as a value that depends on the network's inputs.
    fn value(&self, node: &NodeProto, i: usize) -> Option<Value> {
        self.values.get(node.input_name(i)?).copied()
    }

    /// Input `i`, which must depend on the network's inputs.
    fn computed(&self, node: &NodeProto, i: usize) -> Result<Value, Stopped> {
        let value = self.value(node, i);
        Ok(value.ok_or_else(|| format!("its input {i} is a constant"))?)
    }

    /// Refuses a node one of whose inputs from `first` on is computed.
    fn constants_from(&self, node: &NodeProto, first: usize) -> Result<(), String> {
        match (first..node.input.len()).find(|&i| self.value(node, i).is_some()) {
            None => Ok(()),
            Some(i) => Err(format!(
                "its input {i} is computed, and a constant is needed"
            )),
        }
    }

    /// The fact about input `i`.
    fn fact(&self, node: &NodeProto, i: usize) -> Result<&'a Fact, String> {
        let fact = node.input_name(i).and_then(|name| self.network.fact(name));
        fact.ok_or_else(|| format!("its input {i} is missing"))
    }

    /// The numbers of input `i`, which must follow from the file, and their dimensions.
    fn numbers(&self, node: &NodeProto, i: usize) -> Result<(Vec<f64>, Vec<usize>), Stopped> {
        let fact = self.fact(node, i)?;
        let dims = fact.known_dims()?;
        if let Some(numbers) = fact.floats() {
            return Ok((numbers, dims));
        }
        if let Some(reason) = &fact.unread {
            return Err(format!("its input {i} is {reason}").into());
        }
        let constant = fact.constant.as_ref();
        let constant =
            constant.ok_or_else(|| format!("the numbers of its input {i} are not known"))?;
        let numbers = constant.values::<f64>(node.label(), self.changes);
        Ok((numbers.map_err(Stopped::Failed)?, dims))
    }

    /// Declares the outputs.
    fn finish(mut self) -> Result<Graph, Error> {
        let mut names: Vec<&str> = self.source.outputs.iter().map(String::as_str).collect();
        names.sort_unstable();
        for name in names {
            let value = match self.values.get(name) {
                Some(&value) => value,
                // An output that depends on no input.
                None => {
                    let shape = self.shape(name).unwrap_or_else(|_| vec![1]);
                    let pushed = self.graph.push(name, "", Op::Constant, &[], &shape);
                    pushed.map_err(Error::Graph)?
                }
            };
            self.graph.output(value).map_err(Error::Graph)?;
        }
        Ok(self.graph)
    }
}
