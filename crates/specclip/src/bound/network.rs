//! The Lipschitz constant of a whole network, bounded from above.
//!
//! For each value of a [`Graph`], a number K is found such that the value moves by at most K times
//! what the network's input moves, both in the 2-norm. K is 1 for the input, and:
//!
//! - a linear layer multiplies K by a proven upper bound of its norm ([`interval`](super::interval));
//!   applied at many places at once, to disjoint parts of a value, its norm is the same;
//! - an activation multiplies K by its Lipschitz constant; max pooling by the root of the largest
//!   number of windows that share a sample (each window passes on the change of one of its samples);
//!   picking elements by the root of how often one is repeated;
//! - a sum of values has the sum of their K, each times its factor; a concatenation, and a maximum
//!   element by element, has the root of the sum of their squares.
//!
//! These rules are sound and often loose, for each takes the worst of every part: the norm of a
//! product is at most the product of the norms, and often far below it; x + (-x) is zero and has the
//! constant 2. So linear parts without anything nonlinear in them are also bounded as one operator,
//! and the smaller bound counts; one that may fail must be smaller by 0.1 %.
//!
//! - *Chains*, layers that follow each other, are composed. A convolution whose channels are then
//!   multiplied is a convolution, with all the bounds of one.
//! - *Regions*, values that are made of one source by layers, sums, concatenations, transposes and
//!   slices, are evaluated node by node. The source is the network's input, an activation, or a sum
//!   of values with different sources. Of such an operator only the actions are known: a small one is
//!   written out as a matrix, and for a large one the Krylov bound holds but for its probability.
//!   Regions of more than 2^22 elements in all values, or of more than 2e8 operations in one action
//!   (2e9 where the region is the whole network; a 3 x 3 convolution from 64 to 64 channels on
//!   32 x 32 samples has some 8e7), keep the bounds of their rules.
//!
//! Where the whole network is one chain or region from one input to one output (linear, or affine:
//! biases change no difference), its interval has a lower end as well. A nonlinear network has none,
//! for the largest slopes of its parts need not meet in any input.
//!
//! A network with several inputs is a function of all of them stacked into one vector, and several
//! outputs count as one stacked vector. The constant is that of the whole input space, not of a
//! region in which the data lie; a network that has none there (a product of two computed values,
//! layer normalisation, attention) is stopped at, by name.
//!
//! The rules are folklore (Szegedy et al., "Intriguing properties of neural networks", ICLR 2014,
//! section 4.3; Gouk et al., "Regularisation of neural networks by enforcing Lipschitz
//! continuity", Machine Learning 110, 2021).

mod compose;
mod factor;
mod region;
mod regions;
mod tape;

use super::{Argument, Interval, Params};
use crate::error::Error;
use crate::graph::Graph;
use crate::operator::BoxedOperator;

/// The layers of a [`Graph`], by their numbers.
///
/// A closure that returns operators is enough. Implement [`interval`](Self::interval) as well where
/// the layers' intervals are known already.
pub trait Layers {
    /// What can go wrong.
    type Error: From<Error>;

    /// The operator of one application of a layer.
    ///
    /// # Errors
    /// When there is no such layer or its weights cannot be used.
    fn operator(&mut self, layer: usize) -> Result<BoxedOperator<f64>, Self::Error>;

    /// An interval of the layer's norm.
    ///
    /// # Errors
    /// As [`operator`](Self::operator) and [`interval`](super::interval).
    fn interval(&mut self, layer: usize, params: &Params) -> Result<Interval, Self::Error> {
        Ok(super::interval(&self.operator(layer)?, params)?)
    }
}

impl<E, F> Layers for F
where
    E: From<Error>,
    F: FnMut(usize) -> Result<BoxedOperator<f64>, E>,
{
    type Error = E;

    fn operator(&mut self, layer: usize) -> Result<BoxedOperator<f64>, E> {
        self(layer)
    }
}

/// What is known about the Lipschitz constant of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkBound {
    /// The bound, or what stands in its way.
    pub outcome: Outcome,
    /// Where it comes from: the steps that it depends on, in the order in which they run. If the
    /// bound is stopped, the steps that come before.
    pub steps: Vec<Step>,
}

/// Whether there is a bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The constant lies between these ends.
    Bounded(Ends),
    /// Nothing is known about the constant: the outputs depend on these nodes, in the order in which
    /// they run.
    Stopped(Vec<Stop>),
}

/// An interval that contains the Lipschitz constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ends {
    /// No larger than the constant; only where the network is linear.
    pub lower: Option<f64>,
    /// No smaller than the constant, but for the failure probability.
    pub upper: f64,
    /// The probability with which the upper end fails: the sum over all random arguments.
    pub failure_probability: f64,
}

/// A node that no rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The node.
    pub name: String,
    /// Its operator's type.
    pub operator: String,
    /// Why it stops the bound, as a part of a sentence.
    pub reason: String,
}

/// One step from the input to the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The node, or the nodes of layers that were composed, joined by " + ".
    pub name: String,
    /// Their operators' types, joined alike.
    pub kind: String,
    /// The numbers of the linear layers that it includes.
    pub layers: Vec<usize>,
    /// What it multiplies the constant by; none for steps that join several values.
    pub factor: Option<f64>,
    /// Why.
    pub reason: Reason,
    /// The constants of the values that it reads.
    pub inputs: Vec<f64>,
    /// The constant of its value.
    pub constant: f64,
    /// The probability with which its factor is too small.
    pub failure_probability: f64,
    /// How many times smaller the network's bound would be if its factor were 1; larger than 1
    /// where the step increases the bound. None for steps without a factor, and without a bound.
    pub contribution: Option<f64>,
}

/// Why a step has its factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The norm of a linear layer, or of several composed, bounded by this argument.
    Norm(Argument),
    /// The Lipschitz constant of an activation.
    Lipschitz,
    /// The root of the number of windows that share a sample.
    Overlap,
    /// The root of the number of copies of an element.
    Copies,
    /// The largest constant that an element is multiplied by.
    Scale,
    /// The norm of a sum over axes.
    Axes,
    /// The sum of the inputs' constants.
    Sum,
    /// The root of the sum of the squares of the inputs' constants.
    Root,
}

impl Reason {
    /// The name in tables and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Norm(argument) => argument.name(),
            Self::Lipschitz => "lipschitz",
            Self::Overlap => "overlap",
            Self::Copies => "copies",
            Self::Scale => "scale",
            Self::Axes => "axes",
            Self::Sum => "sum",
            Self::Root => "root",
        }
    }
}

/// Bounds the Lipschitz constant of a network in the 2-norm.
///
/// `params` are those of [`interval`](super::interval) for every layer and composition; the failure
/// probability is that of each of them, and those that were used add up.
///
/// # Errors
/// When the graph has no output, a layer cannot be had or does not fit, no argument that was asked for
/// applies to a layer, or the bound is not finite. A node that no rule covers is no error but an
/// [`Outcome`].
pub fn bound<L: Layers + ?Sized>(
    graph: &Graph,
    layers: &mut L,
    params: &Params,
) -> Result<NetworkBound, L::Error> {
    if graph.outputs().is_empty() {
        let problem = "the graph has no output; declare one with Graph::output";
        return Err(Error::invalid(NAME, problem).into());
    }
    tape::Tape::record(graph, layers, params)?.finish()
}

const NAME: &str = "network bound";
