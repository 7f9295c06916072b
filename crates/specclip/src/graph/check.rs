//! What a node of a graph must obey.

use super::{Graph, Linear, MaxPool, Node, Op, Scale, Value};
use crate::error::{Error, checked_product};

const NAME: &str = "network graph";

pub(super) fn exists(graph: &Graph, value: Value) -> Result<(), Error> {
    let count = graph.nodes.len();
    if value < count {
        return Ok(());
    }
    let problem = format!("there is no value {value}: the graph has {count} nodes");
    Err(Error::invalid(NAME, problem))
}

/// Refuses a node that its inputs do not fit.
pub(super) fn node(graph: &Graph, node: &Node) -> Result<(), Error> {
    for &input in &node.inputs {
        exists(graph, input)?;
    }
    if matches!(node.op, Op::Unknown { .. }) {
        return Ok(());
    }
    if node.is_empty() {
        let shape = &node.shape;
        return Err(refused(
            node,
            format!("its shape {shape:?} has no elements"),
        ));
    }
    checked_product(NAME, &node.shape)?;
    let inputs: Vec<&Node> = node.inputs.iter().map(|&i| &graph.nodes[i]).collect();
    if inputs.iter().any(|i| matches!(i.op, Op::Unknown { .. })) {
        // Nothing is known of the shapes behind it.
        return Ok(());
    }
    fits(node, &inputs).map_err(|problem| refused(node, problem))
}

fn refused(node: &Node, problem: String) -> Error {
    let (name, operator) = (&node.name, &node.operator);
    Error::invalid(NAME, format!("node \"{name}\" ({operator}): {problem}"))
}

type Check = Result<(), String>;

fn fits(node: &Node, inputs: &[&Node]) -> Check {
    let single = || match inputs {
        [one] => Ok(*one),
        _ => Err(format!("it has {} inputs and needs one", inputs.len())),
    };
    match &node.op {
        Op::Input | Op::Constant if inputs.is_empty() => Ok(()),
        Op::Input | Op::Constant => Err("it is given, and has inputs".to_owned()),
        Op::Linear(linear) => applications(linear, single()?, node),
        Op::Scale(factors) => scale(factors, single()?, node),
        Op::Identity => same_count(single()?, node),
        Op::Permute(axes) => permutation(axes, single()?, node),
        Op::Index { axis, indices } => index(*axis, indices, single()?, node),
        Op::SumAxes { axes, factor } => sum_axes(axes, *factor, single()?, node),
        Op::Add(factors) => {
            if factors.len() != inputs.len() || !factors.iter().all(|f| f.is_finite()) {
                return Err("it needs one finite factor for each input".to_owned());
            }
            same_shapes(inputs, node)
        }
        Op::Extremum => same_shapes(inputs, node),
        Op::Concat { axis } => concat(*axis, inputs, node),
        // The largest of several elements is one: the shape may change.
        Op::Activation(_) => single().map(drop),
        Op::MaxPool(pool) => max_pool(pool, single()?, node),
        Op::Unknown { .. } => Ok(()),
    }
}

fn same_count(input: &Node, node: &Node) -> Check {
    if input.len() == node.len() {
        return Ok(());
    }
    Err(shapes(&input.shape, node))
}

fn shapes(input: &[usize], node: &Node) -> String {
    format!("it cannot make {:?} of {input:?}", node.shape)
}

fn same_shapes(inputs: &[&Node], node: &Node) -> Check {
    if inputs.is_empty() {
        return Err("it has no inputs".to_owned());
    }
    match inputs.iter().find(|i| i.shape != node.shape) {
        None => Ok(()),
        Some(other) => Err(shapes(&other.shape, node)),
    }
}

fn applications(linear: &Linear, input: &Node, node: &Node) -> Check {
    let Linear {
        inputs, outputs, ..
    } = *linear;
    let whole = inputs > 0
        && outputs > 0
        && input.len().is_multiple_of(inputs)
        && node.len().is_multiple_of(outputs)
        && input.len() / inputs == node.len() / outputs;
    if whole {
        return Ok(());
    }
    Err(format!(
        "a layer from {inputs} to {outputs} elements cannot make {:?} of {:?}",
        node.shape, input.shape
    ))
}

fn scale(scale: &Scale, input: &Node, node: &Node) -> Check {
    let period = scale.factors.len().checked_mul(scale.run);
    let whole = period.is_some_and(|p| p > 0 && node.len().is_multiple_of(p));
    if !whole || !scale.factors.iter().all(|f| f.is_finite()) {
        return Err(format!(
            "{} factors for {} elements each do not fit {:?}, or are not finite",
            scale.factors.len(),
            scale.run,
            node.shape
        ));
    }
    same_count(input, node)
}

fn permutation(axes: &[usize], input: &Node, node: &Node) -> Check {
    let rank = input.shape.len();
    let mut seen = axes.to_vec();
    seen.sort_unstable();
    let shape = axes.iter().map(|&a| input.shape.get(a).copied());
    if seen.into_iter().eq(0..rank) && shape.eq(node.shape.iter().copied().map(Some)) {
        return Ok(());
    }
    let text = shapes(&input.shape, node);
    Err(format!("{text} with the axes in the order {axes:?}"))
}

fn index(axis: usize, indices: &[usize], input: &Node, node: &Node) -> Check {
    let mut shape = input.shape.clone();
    if axis < shape.len() && indices.iter().all(|&i| i < shape[axis]) {
        shape[axis] = indices.len();
        if shape == node.shape {
            return Ok(());
        }
    }
    let text = shapes(&input.shape, node);
    Err(format!(
        "{text} with {} entries of axis {axis}",
        indices.len()
    ))
}

fn sum_axes(axes: &[usize], factor: f64, input: &Node, node: &Node) -> Check {
    if !factor.is_finite() {
        return Err(format!("its factor {factor} is not finite"));
    }
    let rank = input.shape.len();
    let mut seen = axes.to_vec();
    seen.sort_unstable();
    seen.dedup();
    let kept = |a: &usize| !axes.contains(a);
    let left: usize = (0..rank).filter(kept).map(|a| input.shape[a]).product();
    if seen.len() == axes.len() && seen.iter().all(|&a| a < rank) && left == node.len() {
        return Ok(());
    }
    let text = shapes(&input.shape, node);
    Err(format!("{text} by a sum over the axes {axes:?}"))
}

fn concat(axis: usize, inputs: &[&Node], node: &Node) -> Check {
    let rank = node.shape.len();
    let fits = |i: &&Node| {
        i.shape.len() == rank && (0..rank).all(|a| a == axis || i.shape[a] == node.shape[a])
    };
    if inputs.is_empty() || axis >= rank {
        return Err(format!("it joins nothing, or has no axis {axis}"));
    }
    if let Some(other) = inputs.iter().find(|i| !fits(i)) {
        return Err(shapes(&other.shape, node));
    }
    let total: usize = inputs.iter().map(|i| i.shape[axis]).sum();
    if total == node.shape[axis] {
        return Ok(());
    }
    Err(format!("its parts have {total} entries along axis {axis}"))
}

fn max_pool(pool: &MaxPool, input: &Node, node: &Node) -> Check {
    let axes = pool.kernel.len();
    let lists = [&pool.stride, &pool.padding, &pool.dilation];
    let positive = |list: &[usize]| list.iter().all(|&n| n > 0);
    let fits = lists.iter().all(|l| l.len() == axes)
        && positive(&pool.kernel)
        && positive(&pool.stride)
        && positive(&pool.dilation)
        && input.shape.len() == axes + 2
        && node.shape.len() == axes + 2
        && input.shape[..2] == node.shape[..2];
    if fits {
        return Ok(());
    }
    let text = shapes(&input.shape, node);
    Err(format!("{text} with windows of {:?}", pool.kernel))
}
