//! The rule of each operation: how the constant of a value follows from those of its inputs.

use super::{Layers, Reason};
use crate::bound::Params;
use crate::graph::{Graph, MaxPool, Node, Op, Value};

/// What a step multiplies a constant by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factor {
    pub upper: f64,
    pub reason: Reason,
    /// The probability with which `upper` is too small.
    pub failure: f64,
}

impl Factor {
    /// A factor that holds for certain.
    fn sure(upper: f64, reason: Reason) -> Self {
        Self {
            upper,
            reason,
            failure: 0.0,
        }
    }
}

/// How the constant of a value is found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// It is this: 1 for an input of the network, 0 for a constant.
    Given(f64),
    /// It is that of another value.
    Same(Value),
    /// It is a multiple of that of another value. `nodes` are what lies between.
    Times {
        factor: Factor,
        from: Value,
        nodes: Vec<Value>,
    },
    /// It is the sum of multiples of others.
    Sum(Vec<(f64, Value)>),
    /// It is the root of the sum of the squares of others.
    Root(Vec<Value>),
}

/// The rule of a node; a reason where there is none.
pub(super) fn rule<L: Layers + ?Sized>(
    graph: &Graph,
    value: Value,
    layers: &mut L,
    params: &Params,
) -> Result<Result<Rule, String>, L::Error> {
    let node = &graph.nodes()[value];
    let times = |factor| Rule::Times {
        factor,
        from: node.inputs[0],
        nodes: vec![value],
    };
    let input = || &graph.nodes()[node.inputs[0]];
    Ok(Ok(match &node.op {
        Op::Input => Rule::Given(1.0),
        Op::Constant => Rule::Given(0.0),
        Op::Identity | Op::Permute(_) => Rule::Same(node.inputs[0]),
        Op::Linear(linear) => {
            let interval = layers.interval(linear.layer, params)?;
            times(Factor {
                upper: interval.upper,
                reason: Reason::Norm(interval.upper_by),
                failure: interval.failure_probability,
            })
        }
        Op::Scale(scale) => {
            let largest = scale.factors.iter().fold(0.0, |m: f64, f| m.max(f.abs()));
            times(Factor::sure(largest, Reason::Scale))
        }
        Op::Index { axis, indices } => {
            let copies = most_copies(indices, input().shape[*axis]);
            match copies {
                1 => Rule::Same(node.inputs[0]),
                _ => times(Factor::sure((copies as f64).sqrt(), Reason::Copies)),
            }
        }
        Op::SumAxes { axes, factor } => {
            let shape = &input().shape;
            let terms: f64 = axes.iter().map(|&a| shape[a] as f64).product();
            times(Factor::sure(factor.abs() * terms.sqrt(), Reason::Axes))
        }
        Op::Add(factors) => {
            let terms = factors.iter().map(|f| f.abs());
            Rule::Sum(terms.zip(node.inputs.iter().copied()).collect())
        }
        Op::Concat { .. } | Op::Extremum => Rule::Root(node.inputs.clone()),
        Op::Activation(activation) => {
            times(Factor::sure(activation.lipschitz(), Reason::Lipschitz))
        }
        Op::MaxPool(pool) => {
            let overlap = overlap(pool, node);
            times(Factor::sure(overlap.sqrt(), Reason::Overlap))
        }
        Op::Unknown { reason } => return Ok(Err(reason.clone())),
    }))
}

/// How often the most used of `n` entries occurs.
pub(super) fn most_copies(indices: &[usize], n: usize) -> usize {
    let mut counts = vec![0; n];
    for &i in indices {
        counts[i] += 1;
    }
    counts.into_iter().max().unwrap_or(0)
}

/// A number of windows that no sample is part of more of: the product over the axes, as windows are
/// products of places on each.
fn overlap(pool: &MaxPool, node: &Node) -> f64 {
    let most = |a: usize| {
        windows_at(pool.kernel[a], pool.stride[a], pool.dilation[a]).min(node.shape[a + 2])
    };
    (0..pool.kernel.len()).map(|a| most(a) as f64).product()
}

/// How many windows share one place of an endless axis at most.
///
/// Windows that start less than the reach (kernel - 1) dilation before the place may have a tap
/// there, those whose distance is a multiple of the dilation do. Starts are multiples of the stride,
/// so these are one in dilation / gcd(stride, dilation). Without dilation: ceil(kernel / stride).
fn windows_at(kernel: usize, stride: usize, dilation: usize) -> usize {
    let within = (kernel - 1).saturating_mul(dilation) / stride;
    within / (dilation / gcd(stride, dilation)) + 1
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
