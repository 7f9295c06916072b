//! A network as data: which values it computes from which, and how.
//!
//! A [`Graph`] holds no weights and runs nothing. It says how linear layers, activations, sums and
//! concatenations are connected, with every shape; the layers themselves are numbered, and whoever
//! made the graph knows their operators. Model files and traced modules become graphs;
//! [`bound::network`](crate::bound::network) reads them.
//!
//! Each node computes one value from earlier ones, so the nodes are in an order of execution. A
//! value is an array of any shape, its batch axis included, and its norm is the 2-norm of all its
//! elements. Shapes are row-major: the last axis varies fastest.
//!
//! ```
//! use specclip::graph::{Activation, Graph, Op};
//!
//! // y = x + relu(layer 0 of x)
//! let mut graph = Graph::new();
//! let x = graph.input("x", &[1, 8])?;
//! let layer = Op::linear(0, 8, 8);
//! let h = graph.push("fc", "Gemm", layer, &[x], &[1, 8])?;
//! let h = graph.push("relu", "Relu", Activation::relu().into(), &[h], &[1, 8])?;
//! let y = graph.push("add", "Add", Op::add(2), &[x, h], &[1, 8])?;
//! graph.output(y)?;
//! # Ok::<(), specclip::Error>(())
//! ```

mod activation;
mod check;

pub use activation::Activation;

use crate::error::Error;

/// The place of a value, and of the node that computes it, in [`Graph::nodes`].
pub type Value = usize;

/// A network: nodes in an order of execution, and which of their values it returns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<Value>,
}

/// One step of a network, which computes one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What the node is called in its model; need not be unique.
    pub name: String,
    /// The operator's type in the model's own words, for instance `MaxPool`.
    pub operator: String,
    /// What is computed.
    pub op: Op,
    /// The values that it is computed from, in the operator's order.
    pub inputs: Vec<Value>,
    /// The shape of the value, batch axis included. Empty for a single number, and where the
    /// operation is unknown.
    pub shape: Vec<usize>,
}

impl Node {
    /// The number of elements of the value.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the value has no elements. No node of a [`Graph`] is empty.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// An input of the network.
    Input,
    /// Numbers that depend on no input.
    Constant,
    /// A linear layer, perhaps with a bias.
    Linear(Linear),
    /// Each element times a constant.
    Scale(Scale),
    /// The same elements in the same order, perhaps plus a constant: reshape, flatten, dropout in
    /// inference, the addition of a bias.
    Identity,
    /// The axes in another order: axis `i` of the value is axis `axes[i]` of the input.
    Permute(Vec<usize>),
    /// The entries `indices` of one axis, in that order: slices, splits and gathers at constant
    /// places, and repetitions.
    Index {
        /// The axis.
        axis: usize,
        /// Which of its entries; an entry may be repeated.
        indices: Vec<usize>,
    },
    /// A multiple of the sum over some axes, which are removed or kept with length 1: sums and
    /// means.
    SumAxes {
        /// The axes of the input that are summed over.
        axes: Vec<usize>,
        /// What the sum is multiplied by; for a mean one over the number of terms.
        factor: f64,
    },
    /// The sum of the inputs, which have one shape, each times its factor.
    Add(Vec<f64>),
    /// The inputs joined along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// An activation function.
    Activation(Activation),
    /// The largest element in each window.
    MaxPool(MaxPool),
    /// The largest (or the smallest) of the inputs, which have one shape, element by element.
    Extremum,
    /// Anything else: something that has no Lipschitz constant, or that nothing is known about.
    Unknown {
        /// Why, as a part of a sentence.
        reason: String,
    },
}

/// A linear layer, applied to one or many parts of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// The number of the layer.
    pub layer: usize,
    /// Elements that one application takes.
    pub inputs: usize,
    /// Elements that one application gives.
    pub outputs: usize,
    /// Whether each application takes consecutive elements of the input and gives consecutive
    /// elements of the output, one application after the other. If not, it only has to take and
    /// give disjoint sets of elements.
    pub consecutive: bool,
}

/// A product with constants: element `e` is multiplied by `factors[(e / run) % factors.len()]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The constants.
    pub factors: Vec<f64>,
    /// How many consecutive elements share a factor: for one factor for each channel, the elements
    /// of a channel.
    pub run: usize,
}

/// Max pooling over the axes after the first two; samples outside the input never win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxPool {
    /// Samples of a window along each axis.
    pub kernel: Vec<usize>,
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Samples added before the first.
    pub padding: Vec<usize>,
    /// Distance between the samples of a window.
    pub dilation: Vec<usize>,
}

impl Op {
    /// Layer `layer`, which takes `inputs` consecutive elements and gives `outputs`.
    pub fn linear(layer: usize, inputs: usize, outputs: usize) -> Self {
        Self::Linear(Linear {
            layer,
            inputs,
            outputs,
            consecutive: true,
        })
    }

    /// The sum of `terms` inputs.
    pub fn add(terms: usize) -> Self {
        Self::Add(vec![1.0; terms])
    }

    /// Each element times `factor`.
    pub fn scale(factor: f64) -> Self {
        Self::Scale(Scale {
            factors: vec![factor],
            run: 1,
        })
    }

    /// Something without a bound, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    /// Whether the value is a linear (or affine) function of the inputs.
    pub fn is_linear(&self) -> bool {
        match self {
            Self::Linear(_)
            | Self::Scale(_)
            | Self::Identity
            | Self::Permute(_)
            | Self::Index { .. }
            | Self::SumAxes { .. }
            | Self::Add(_)
            | Self::Concat { .. }
            | Self::Input
            | Self::Constant => true,
            Self::Activation(_) | Self::MaxPool(_) | Self::Extremum | Self::Unknown { .. } => false,
        }
    }
}

impl From<Activation> for Op {
    fn from(activation: Activation) -> Self {
        Self::Activation(activation)
    }
}

impl Graph {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input of the network.
    ///
    /// # Errors
    /// When the shape has no elements or too many to address.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<Value, Error> {
        self.push(name, "Input", Op::Input, &[], shape)
    }

    /// Adds a node that computes `op` of earlier values; returns its value.
    ///
    /// # Errors
    /// When an input does not exist, or the operation does not make a value of `shape` of them. A
    /// shape without elements is refused; that of an unknown operation is not looked at.
    pub fn push(
        &mut self,
        name: &str,
        operator: &str,
        op: Op,
        inputs: &[Value],
        shape: &[usize],
    ) -> Result<Value, Error> {
        let node = Node {
            name: name.to_owned(),
            operator: operator.to_owned(),
            op,
            inputs: inputs.to_vec(),
            shape: shape.to_vec(),
        };
        check::node(self, &node)?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// Makes a value an output of the network.
    ///
    /// # Errors
    /// When there is no such value.
    pub fn output(&mut self, value: Value) -> Result<(), Error> {
        check::exists(self, value)?;
        self.outputs.push(value);
        Ok(())
    }

    /// The nodes, each after those that it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The values that the network returns.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// For each node, whether an output depends on it.
    pub fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.nodes.len()];
        for &output in &self.outputs {
            used[output] = true;
        }
        for i in (0..used.len()).rev() {
            if used[i] {
                for &input in &self.nodes[i].inputs {
                    used[input] = true;
                }
            }
        }
        used
    }
}
