//! Operators that reduce axes: sums, means, extrema, and the largest elements.

use super::{Call, Inferred};
use crate::onnx::fact::{Dims, Fact, axis_index};
use crate::value::{Kind, Value};

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    let op = call.node.op_type.as_str();
    Some(match op {
        "ArgMax" | "ArgMin" => reduced_axis(call),
        "TopK" => top_k(call),
        _ if op.starts_with("Reduce") => reduced(call),
        _ => return None,
    })
}

/// The axes that a reduction reduces; all when it does not say.
pub(crate) fn reduced_axes(call: &Call) -> Result<Vec<usize>, String> {
    let rank = call.input(0)?.rank()?;
    match call.axes(1)?.filter(|axes| !axes.is_empty()) {
        Some(axes) => axes.iter().map(|&a| axis_index(a, rank)).collect(),
        None if call.node.flag("noop_with_empty_axes") => Ok(Vec::new()),
        None => Ok((0..rank).collect()),
    }
}

fn without(dims: &[Option<usize>], axes: &[usize], keep: bool) -> Dims {
    dims.iter()
        .enumerate()
        .filter(|(a, _)| keep || !axes.contains(a))
        .map(|(a, n)| if axes.contains(&a) { Some(1) } else { *n })
        .collect()
}

fn reduced(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let axes = reduced_axes(call)?;
    let keep = call.node.int("keepdims").unwrap_or(1) != 0;
    let mut fact = Fact::shaped(without(input.dims()?, &axes, keep));
    if axes.len() == input.rank()?
        && let Some(value) = input.value.as_ref()
        && let Some(number) = folded(&call.node.op_type, value)
    {
        let dims = fact.known_dims()?;
        fact = Fact::of_value(Value {
            kind: value.kind,
            dims,
            data: vec![Some(number)],
        });
    }
    Ok(vec![fact])
}

/// The reduction of a whole small array.
fn folded(op: &str, value: &Value) -> Option<f64> {
    let numbers = value.known().filter(|n| !n.is_empty())?;
    let fold = |f: fn(f64, f64) -> f64| {
        numbers
            .iter()
            .copied()
            .reduce(|a, b| value.kind.round(f(a, b)))
    };
    match op {
        "ReduceProd" => fold(|a, b| a * b),
        "ReduceSum" => fold(|a, b| a + b),
        "ReduceMax" => fold(f64::max),
        "ReduceMin" => fold(f64::min),
        _ => None,
    }
}

fn reduced_axis(call: &Call) -> Inferred {
    let dims = call.dims(0)?;
    let axis = axis_index(call.node.int("axis").unwrap_or(0), dims.len())?;
    let keep = call.node.int("keepdims").unwrap_or(1) != 0;
    Ok(vec![Fact::shaped(without(dims, &[axis], keep))])
}

fn top_k(call: &Call) -> Inferred {
    let mut dims = call.dims(0)?.clone();
    let axis = axis_index(call.node.int("axis").unwrap_or(-1), dims.len())?;
    let k = match call.optional(1) {
        Some(fact) => fact.value.as_ref().and_then(|v| v.scalar()),
        None => call.node.int("k").map(|k| k as f64),
    };
    dims[axis] = k.map(|k| Kind::Int.round(k) as usize);
    Ok(vec![Fact::shaped(dims.clone()), Fact::shaped(dims)])
}
