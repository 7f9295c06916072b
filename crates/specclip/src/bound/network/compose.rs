//! Linear layers without anything nonlinear between them, bounded as one operator.
//!
//! Layers that follow each other form a *chain* when each application of one takes what one
//! application of the last gives. Two bounds of a chain are better than the product of its layers'
//! norms: a convolution whose channels are then multiplied is a convolution again, with bounds that
//! look inside (a *group* of the chain); and any product of operators is an operator.

use super::factor::Factor;
use super::tape::Tape;
use super::{Layers, NAME, Reason};
use crate::bound::choice::CLOSE;
use crate::bound::{Interval, Params, interval};
use crate::error::Error;
use crate::graph::{Graph, Linear, Node, Op, Scale, Value};
use crate::operator::{BoxedOperator, Compose, Diagonal, LinearOperator, Part, Scaled, Structure};

/// Replaces the rules of values by smaller ones, where composing linear layers gives such; returns a
/// lower end of the network's constant, where the whole network is a chain.
pub(super) fn improve<L: Layers + ?Sized>(
    tape: &mut Tape<'_>,
    layers: &mut L,
    params: &Params,
) -> Result<Option<f64>, L::Error> {
    let mut lower = None;
    for end in ends(tape) {
        let Some(chain) = Chain::ending_at(tape.graph, end) else {
            continue;
        };
        let whole = chain.improve(tape, layers, params)?;
        if let Some(factor) = chain.is_network(tape.graph, end) {
            // The rounding of the factors must not raise a lower end.
            let down = 1.0 - 8.0 * f64::EPSILON;
            lower = whole.map(|whole| whole.lower * factor * down);
        }
    }
    Ok(lower)
}

/// The values at which chains end: linear ones that no single node carries on.
fn ends(tape: &Tape<'_>) -> Vec<Value> {
    let graph = tape.graph;
    let used = graph.used();
    let mut readers: Vec<Vec<Value>> = vec![Vec::new(); used.len()];
    for (value, node) in graph.nodes().iter().enumerate() {
        for &input in node.inputs.iter().filter(|_| used[value]) {
            readers[input].push(value);
        }
    }
    let carried_on = |value: Value| {
        let [reader] = readers[value][..] else {
            return false;
        };
        let walk = walk(graph, reader);
        !graph.outputs().contains(&value) && walk.nodes.contains(&value)
    };
    (0..used.len())
        .filter(|&v| tape.entries[v].is_some() && links(&graph.nodes()[v]).is_some())
        .filter(|&v| !carried_on(v))
        .collect()
}

/// How a node can be part of a chain.
enum Link<'g> {
    Linear(&'g Linear),
    /// One factor for each of several elements.
    Scale(&'g Scale),
    /// One factor for all.
    Scalar(f64),
    Nothing,
}

fn links(node: &Node) -> Option<Link<'_>> {
    match &node.op {
        Op::Linear(linear) if linear.consecutive => Some(Link::Linear(linear)),
        Op::Scale(scale) => Some(match scale.factors[..] {
            [factor] => Link::Scalar(factor),
            _ => Link::Scale(scale),
        }),
        Op::Identity => Some(Link::Nothing),
        _ => None,
    }
}

/// The longest run of nodes that ends at a value.
pub(super) struct Walk {
    nodes: Vec<Value>,
    pub from: Value,
}

pub(super) fn walk(graph: &Graph, end: Value) -> Walk {
    let mut nodes = Vec::new();
    // Elements of one application at `value`, once they are known.
    let mut size: Option<usize> = None;
    let mut periods = Vec::new();
    let mut value = end;
    while let Some(link) = links(&graph.nodes()[value]) {
        match link {
            Link::Linear(linear) => {
                let fits = size.is_none_or(|n| n == linear.outputs)
                    && periods.iter().all(|&p| linear.outputs.is_multiple_of(p));
                if !fits {
                    break;
                }
                periods.clear();
                size = Some(linear.inputs);
            }
            Link::Scale(scale) => {
                let period = scale.factors.len() * scale.run;
                if size.is_some_and(|n| !n.is_multiple_of(period)) {
                    break;
                }
                periods.push(period);
            }
            Link::Scalar(_) | Link::Nothing => {}
        }
        nodes.push(value);
        value = graph.nodes()[value].inputs[0];
    }
    nodes.reverse();
    Walk { nodes, from: value }
}

/// Consecutive nodes of which at least one is a layer and at least the first and the last change
/// their input by more than a number.
struct Chain {
    nodes: Vec<Value>,
    /// The value that it starts from.
    from: Value,
}

/// Some nodes of a chain as one operator.
struct Group {
    operator: BoxedOperator<f64>,
    structure: Structure,
    nodes: Vec<Value>,
    /// Nodes that are more than a number.
    parts: usize,
}

impl Chain {
    fn ending_at(graph: &Graph, end: Value) -> Option<Self> {
        let Walk { nodes, from } = walk(graph, end);
        let acts = |v: &Value| {
            let link = links(&graph.nodes()[*v]);
            matches!(link, Some(Link::Linear(_) | Link::Scale(_)))
        };
        let first = nodes.iter().position(acts)?;
        let last = nodes.iter().rposition(acts)?;
        let is_layer = |v: &Value| matches!(graph.nodes()[*v].op, Op::Linear(_));
        nodes[first..=last].iter().any(is_layer).then_some(())?;
        Some(Self {
            from: if first == 0 { from } else { nodes[first - 1] },
            nodes: nodes[first..=last].to_vec(),
        })
    }

    /// Looks for smaller rules of the chain's values; returns the interval of the whole chain, where
    /// it is known.
    fn improve<L: Layers + ?Sized>(
        &self,
        tape: &mut Tape<'_>,
        layers: &mut L,
        params: &Params,
    ) -> Result<Option<Interval>, L::Error> {
        if let [only] = self.nodes[..]
            && let Op::Linear(linear) = &tape.graph.nodes()[only].op
        {
            return Ok(Some(layers.interval(linear.layer, params)?));
        }
        let groups = self.groups(tape.graph, layers)?;
        let mut from = self.from;
        let mut known = None;
        for group in &groups {
            known = None;
            if group.parts > 1 {
                known = applicable(interval(&group.operator, params))?;
                offer(tape, known, from, &group.nodes, group.nodes.clone());
            }
            from = group.nodes.last().copied().unwrap_or(from);
        }
        if groups.len() == 1 {
            return Ok(known);
        }
        let mut operators = groups.into_iter().map(|g| g.operator);
        let Some(first) = operators.next() else {
            return Ok(None);
        };
        let whole = operators.try_fold(first, |inner, outer| compose(outer, inner))?;
        let known = applicable(interval(&whole, params))?;
        offer(tape, known, self.from, &self.nodes, self.nodes.clone());
        Ok(known)
    }

    /// The chain in as few operators as keep their structure.
    fn groups<L: Layers + ?Sized>(
        &self,
        graph: &Graph,
        layers: &mut L,
    ) -> Result<Vec<Group>, L::Error> {
        let mut groups: Vec<Group> = Vec::new();
        for (i, &value) in self.nodes.iter().enumerate() {
            let node = &graph.nodes()[value];
            let operator: BoxedOperator<f64> = match links(node) {
                Some(Link::Linear(linear)) => {
                    checked(layers.operator(linear.layer)?, linear, node)?
                }
                Some(Link::Scale(scale)) => match groups.last() {
                    Some(group) => diagonal(scale, group.operator.output_shape())?,
                    None => diagonal(scale, &[self.first_size(graph, i)])?,
                },
                link => {
                    // A chain starts with a node that acts, so there is a group.
                    if let Some(group) = groups.pop() {
                        groups.push(group.scaled(link, value)?);
                    }
                    continue;
                }
            };
            match groups.pop() {
                None => groups.push(Group::new(operator, value)),
                Some(group) => groups.extend(group.then(operator, value)?),
            }
        }
        Ok(groups)
    }

    /// The elements that the first layer from node `i` on takes.
    fn first_size(&self, graph: &Graph, i: usize) -> usize {
        let layer = |&v: &Value| match &graph.nodes()[v].op {
            Op::Linear(linear) => Some(linear.inputs),
            _ => None,
        };
        self.nodes[i..].iter().find_map(layer).unwrap_or(1)
    }

    /// If the chain, up to a number, is the whole network, that number without its sign.
    fn is_network(&self, graph: &Graph, end: Value) -> Option<f64> {
        let Walk { nodes, from } = walk(graph, end);
        let inputs = |n: &&Node| matches!(n.op, Op::Input);
        let whole = graph.outputs() == [end]
            && matches!(graph.nodes()[from].op, Op::Input)
            && graph.nodes().iter().filter(inputs).count() == 1;
        let outside = nodes.iter().filter(|v| !self.nodes.contains(v));
        let factor = |v: &Value| match links(&graph.nodes()[*v]) {
            Some(Link::Scalar(factor)) => factor.abs(),
            _ => 1.0,
        };
        whole.then(|| outside.map(factor).product())
    }
}

impl Group {
    fn new(operator: BoxedOperator<f64>, node: Value) -> Self {
        Self {
            structure: operator.structure(),
            operator,
            nodes: vec![node],
            parts: 1,
        }
    }

    /// This group after a multiplication by a number, or after nothing.
    fn scaled(mut self, link: Option<Link<'_>>, node: Value) -> Result<Self, Error> {
        self.nodes.push(node);
        if let Some(Link::Scalar(factor)) = link {
            self.operator = Box::new(Scaled::new(self.operator, factor)?);
            self.structure = self.structure.scale(factor);
        }
        Ok(self)
    }

    /// This group with one more operator, or two groups where the product has no structure.
    fn then(mut self, operator: BoxedOperator<f64>, node: Value) -> Result<Vec<Self>, Error> {
        let channels = matches!(operator.structure(), Structure::Channels(_));
        if channels && operator.input_shape() == self.operator.output_shape() {
            let structure = Structure::product(Part::new(&self.operator), Part::new(&operator));
            if !matches!(structure, Structure::Unknown | Structure::Product(_)) {
                self.operator = compose(operator, self.operator)?;
                self.structure = structure;
                self.nodes.push(node);
                self.parts += 1;
                return Ok(vec![self]);
            }
        }
        Ok(vec![self, Self::new(operator, node)])
    }
}

fn compose(
    outer: BoxedOperator<f64>,
    inner: BoxedOperator<f64>,
) -> Result<BoxedOperator<f64>, Error> {
    Ok(Box::new(Compose::new(outer, inner)?))
}

/// The operator of a layer, if it has the sizes that the graph says.
pub(super) fn checked(
    operator: BoxedOperator<f64>,
    linear: &Linear,
    node: &Node,
) -> Result<BoxedOperator<f64>, Error> {
    let (inputs, outputs) = (operator.inputs(), operator.outputs());
    if (inputs, outputs) == (linear.inputs, linear.outputs) {
        return Ok(operator);
    }
    let problem = format!(
        "layer \"{}\" maps {inputs} to {outputs} elements, and the graph says {} to {}",
        node.name, linear.inputs, linear.outputs
    );
    Err(Error::invalid(NAME, problem))
}

/// A product with constants as an operator on values of `shape`, whose channels the constants are if
/// that is possible.
fn diagonal(scale: &Scale, shape: &[usize]) -> Result<BoxedOperator<f64>, Error> {
    let size: usize = shape.iter().product();
    let channels = size / scale.run;
    let factors = scale.factors.iter().copied().cycle().take(channels);
    let plain = [channels, scale.run];
    let shape = if shape[0] == channels { shape } else { &plain };
    Ok(Box::new(Diagonal::new(factors.collect(), shape)?))
}

/// The interval, none where no argument applies: the layers' own bounds remain.
pub(super) fn applicable(found: Result<Interval, Error>) -> Result<Option<Interval>, Error> {
    match found {
        Ok(interval) => Ok(Some(interval)),
        Err(Error::NotApplicable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a bound of the composition of `nodes` for the value of the last, if it is smaller than what
/// the tape has; `shown` are those that are named.
pub(super) fn offer(
    tape: &mut Tape<'_>,
    known: Option<Interval>,
    from: Value,
    nodes: &[Value],
    shown: Vec<Value>,
) {
    let (Some(interval), Some(&last)) = (known, nodes.last()) else {
        return;
    };
    let factor = Factor {
        upper: interval.upper,
        reason: Reason::Norm(interval.upper_by),
        failure: interval.failure_probability,
    };
    let constants = tape.constants(None);
    let entries = nodes.iter().filter_map(|&v| tape.entries[v].as_ref());
    let others: f64 = entries.map(|e| e.failure()).sum();
    // What holds always is worth a little more than what may fail.
    let worth = if factor.failure > others {
        1.0 + CLOSE
    } else {
        1.0
    };
    let smaller = factor.upper * constants[from] * worth < constants[last];
    // The smaller of two random bounds is wrong if one of them is.
    if smaller {
        if let Some(entry) = &mut tape.entries[last] {
            entry.replace(factor, from, shown);
            entry.other_failure = if factor.failure > 0.0 { others } else { 0.0 };
        }
    } else if others > 0.0 {
        let kept = tape.origin(last);
        if let Some(entry) = &mut tape.entries[kept] {
            entry.other_failure += factor.failure;
        }
    }
}
