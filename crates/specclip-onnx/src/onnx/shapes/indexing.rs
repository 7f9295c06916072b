//! Operators that pick, join or make elements: slice, gather, concat, split, range and their kin.

use std::sync::Arc;

use super::{Call, Inferred};
use crate::constant::Constant;
use crate::onnx::fact::{Dims, Fact, axis_index, few_axes};
use crate::strided::{self, Range};
use crate::value::{Kind, LARGEST, Value, fits};

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    Some(match call.node.op_type.as_str() {
        "Slice" => slice(call),
        "Concat" => concat(call),
        "Split" => split(call),
        "Gather" => gather(call),
        "GatherElements" => call.dims(1).map(|d| vec![Fact::shaped(d.clone())]),
        "GatherND" => gather_nd(call),
        "ConstantOfShape" => constant_of_shape(call),
        "Range" => range(call),
        "OneHot" => one_hot(call),
        "NonZero" => non_zero(call),
        "NonMaxSuppression" => Ok(vec![Fact::shaped(vec![None, Some(3)])]),
        "GridSample" => grid_sample(call),
        "RandomNormal" | "RandomUniform" => call
            .node
            .sizes("shape")
            .and_then(|s| Ok(vec![Fact::fixed(&s.ok_or("it has no shape")?)])),
        _ => return None,
    })
}

/// What a `Slice` node takes of each axis; `None` for an axis that it slices at a place that is not known.
pub(crate) fn slice_ranges(call: &Call) -> Result<Vec<Option<Range>>, String> {
    let dims = call.dims(0)?;
    let list = |input: usize, name: &str| -> Result<Option<Vec<Option<i64>>>, String> {
        match call.optional(input) {
            Some(fact) => match &fact.value {
                Some(value) => {
                    few_axes(value.data.len())?;
                    Ok(Some(value.to_ints()))
                }
                None => match fact.known_dims()?.as_slice() {
                    [n] if *n <= dims.len() => Ok(Some(vec![None; *n])),
                    _ => Err(format!("its {name} depend on the data")),
                },
            },
            None => Ok(call
                .node
                .ints(name)
                .map(|v| v.iter().copied().map(Some).collect())),
        }
    };
    let starts = list(1, "starts")?.ok_or("it has no starts")?;
    let ends = list(2, "ends")?.ok_or("it has no ends")?;
    let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).map(Some).collect());
    let steps = list(4, "steps")?.unwrap_or_else(|| vec![Some(1); starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its starts, ends, axes and steps differ in number".to_owned());
    }
    let mut ranges: Vec<Option<Range>> = dims.iter().map(|d| d.map(Range::all)).collect();
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_index(axis.ok_or("its axes depend on the data")?, dims.len())?;
        ranges[axis] = match (start, end, step, dims[axis]) {
            (Some(start), Some(end), Some(step), Some(n)) => {
                Some(Range::clamp(*start, *end, *step, n).ok_or("it has a step of 0")?)
            }
            _ => None,
        };
    }
    Ok(ranges)
}

fn slice(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let ranges = slice_ranges(call)?;
    let mut fact = Fact::shaped(ranges.iter().map(|r| r.map(|r| r.count)).collect());
    if let Some(ranges) = ranges.into_iter().collect::<Option<Vec<Range>>>() {
        fact.constant = input.constant.as_ref().and_then(|c| c.slice(&ranges));
        fact.value = input
            .value
            .as_ref()
            .and_then(|v| v.viewed(&strided::slice(&v.dims, &ranges)).map(Arc::new));
    }
    Ok(vec![fact])
}

fn concat(call: &Call) -> Inferred {
    let first = call.dims(0)?;
    let axis = axis_index(call.node.int("axis").ok_or("it has no axis")?, first.len())?;
    let mut out = first.clone();
    for i in 1..call.inputs.len() {
        let dims = call.dims(i)?;
        if dims.len() != out.len() {
            return Err(format!(
                "it joins arrays of {} and {} axes",
                out.len(),
                dims.len()
            ));
        }
        for (a, (known, n)) in out.iter_mut().zip(dims).enumerate() {
            *known = match (*known, *n) {
                (Some(x), Some(y)) if a == axis => x.checked_add(y),
                _ if a == axis => None,
                (Some(x), Some(y)) if x != y => {
                    return Err(format!(
                        "it joins arrays whose axis {a} has lengths {x} and {y}"
                    ));
                }
                (x, y) => x.or(y),
            };
        }
    }
    let known: Option<Vec<usize>> = out.iter().copied().collect();
    let mut fact = Fact::shaped(out);
    if let Some(known) = known {
        fact.value = joined_value(call, axis, &known).map(Arc::new);
        let parts: Option<Vec<Arc<Constant>>> = (0..call.inputs.len())
            .map(|i| call.optional(i)?.constant.clone())
            .collect();
        fact.constant = parts.and_then(|parts| Constant::concat(&parts, axis, known));
    }
    Ok(vec![fact])
}

/// The joined small array; parts whose numbers are unknown leave holes.
fn joined_value(call: &Call, axis: usize, dims: &[usize]) -> Option<Value> {
    fits(dims)?;
    let parts: Vec<(Vec<usize>, Option<Arc<Value>>)> = (0..call.inputs.len())
        .map(|i| {
            let fact = call.optional(i)?;
            Some((fact.known_dims().ok()?, fact.value.clone()))
        })
        .collect::<Option<_>>()?;
    let kind = parts.iter().find_map(|(_, v)| v.as_ref().map(|v| v.kind))?;
    let data: Vec<Vec<Option<f64>>> = parts
        .iter()
        .map(|(dims, v)| match v {
            Some(v) => Some(v.data.clone()),
            None => Some(vec![None; fits(dims)?]),
        })
        .collect::<Option<_>>()?;
    let slices: Vec<(&[usize], &[Option<f64>])> = parts
        .iter()
        .zip(&data)
        .map(|((dims, _), data)| (dims.as_slice(), data.as_slice()))
        .collect();
    Some(Value {
        kind,
        dims: dims.to_vec(),
        data: strided::concat(&slices, axis),
    })
}

fn split(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let axis = axis_index(call.node.int("axis").unwrap_or(0), dims.len())?;
    let parts = call.node.output.len();
    let sizes: Vec<Option<usize>> = match call.optional(1) {
        Some(_) => sizes_of(&call.ints(1)?)?,
        None => match call.node.ints("split") {
            Some(list) if !list.is_empty() => sizes_of(list)?,
            _ => even_parts(dims[axis], parts),
        },
    };
    let mut facts = Vec::with_capacity(parts);
    let mut start = Some(0_usize);
    for size in sizes.iter().take(parts) {
        let mut out = dims.clone();
        out[axis] = *size;
        let mut fact = Fact::shaped(out);
        let all: Option<Vec<Range>> = dims.iter().map(|d| d.map(Range::all)).collect();
        if let (Some(start), Some(count), Some(mut ranges)) = (start, *size, all) {
            if start
                .checked_add(count)
                .is_none_or(|end| end > ranges[axis].count)
            {
                return Err(format!(
                    "it splits an axis of {} into {sizes:?}",
                    ranges[axis].count
                ));
            }
            ranges[axis] = Range {
                start,
                step: 1,
                count,
            };
            fact.constant = input.constant.as_ref().and_then(|c| c.slice(&ranges));
            fact.value = input
                .value
                .as_ref()
                .and_then(|v| v.viewed(&strided::slice(&v.dims, &ranges)).map(Arc::new));
        }
        facts.push(fact);
        start = start.zip(*size).map(|(a, b)| a + b);
    }
    Ok(facts)
}

fn sizes_of(list: &[i64]) -> Result<Vec<Option<usize>>, String> {
    list.iter()
        .map(|&n| usize::try_from(n).map(Some))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("it splits into {list:?}"))
}

/// Equal parts, the last one smaller when they do not divide the axis.
fn even_parts(length: Option<usize>, parts: usize) -> Vec<Option<usize>> {
    let Some(n) = length else {
        return vec![None; parts];
    };
    let part = n.div_ceil(parts.max(1));
    (0..parts)
        .map(|i| Some(n.saturating_sub(i.saturating_mul(part)).min(part)))
        .collect()
}

fn gather(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let indices = call.input(1)?;
    let dims = input.dims()?;
    let axis = axis_index(call.node.int("axis").unwrap_or(0), dims.len())?;
    let mut out: Dims = dims[..axis].to_vec();
    out.extend(indices.dims()?);
    out.extend(&dims[axis + 1..]);
    if let Some(value) = gathered(input, indices, axis, &out) {
        return Ok(vec![Fact::of_value(value)]);
    }
    let mut fact = Fact::shaped(out);
    fact.constant = gathered_constant(input, indices, axis);
    Ok(vec![fact])
}

/// One index of one axis is a slice without that axis.
fn gathered_constant(input: &Fact, indices: &Fact, axis: usize) -> Option<Arc<Constant>> {
    let constant = input.constant.as_ref()?;
    let index = indices.value.as_ref()?.scalar()? as i64;
    let mut ranges: Vec<Range> = constant.dims.iter().copied().map(Range::all).collect();
    let start = axis_index(index, constant.dims[axis]).ok()?;
    ranges[axis] = Range {
        start,
        step: 1,
        count: 1,
    };
    let mut dims = constant.dims.clone();
    dims.splice(axis..=axis, indices.known_dims().ok()?);
    constant.slice(&ranges)?.reshape(dims)
}

fn gathered(input: &Fact, indices: &Fact, axis: usize, out: &[Option<usize>]) -> Option<Value> {
    let value = input.value.as_ref()?;
    let indices = indices.value.as_ref()?.known_ints()?;
    let out: Vec<usize> = out.iter().copied().collect::<Option<_>>()?;
    fits(&out)?;
    let outer: usize = value.dims[..axis].iter().product();
    let length = value.dims[axis];
    let inner: usize = value.dims[axis + 1..].iter().product();
    let mut data = Vec::new();
    for o in 0..outer {
        for &i in &indices {
            let i = axis_index(i, length).ok()?;
            let from = (o * length + i) * inner;
            data.extend_from_slice(&value.data[from..from + inner]);
        }
    }
    Some(Value {
        kind: value.kind,
        dims: out,
        data,
    })
}

fn gather_nd(call: &Call) -> Inferred {
    let dims = call.dims(0)?;
    let indices = call.dims(1)?;
    let batch = usize::try_from(call.node.int("batch_dims").unwrap_or(0)).unwrap_or(usize::MAX);
    let depth = indices
        .last()
        .copied()
        .flatten()
        .ok_or("the depth of its indices is unknown")?;
    let taken = batch
        .checked_add(depth)
        .ok_or("its batch_dims are too many")?;
    let rest = dims
        .get(taken..)
        .ok_or("its indices are deeper than its data")?;
    let mut out: Dims = indices[..indices.len() - 1].to_vec();
    out.extend(rest);
    Ok(vec![Fact::shaped(out)])
}

fn constant_of_shape(call: &Call) -> Inferred {
    let dims: Dims = call
        .shape(0, "its shape depends on the data")?
        .into_iter()
        .map(|n| {
            n.map(|n| usize::try_from(n).map_err(|_| format!("it has a dimension {n}")))
                .transpose()
        })
        .collect::<Result<_, _>>()?;
    let known: Option<Vec<usize>> = dims.iter().copied().collect();
    let Some((known, n)) = known.and_then(|d| fits(&d).map(|n| (d, n))) else {
        return Ok(vec![Fact::shaped(dims)]);
    };
    let element = call.node.tensor("value").map(|proto| {
        let kind = Kind::from_onnx(i64::from(proto.data_type)).unwrap_or(Kind::F32);
        (kind, single_number(proto))
    });
    let (kind, number) = element.unwrap_or((Kind::F32, Some(0.0)));
    Ok(vec![Fact::of_value(Value {
        kind,
        dims: known,
        data: vec![number; n],
    })])
}

fn single_number(proto: &super::super::proto::TensorProto) -> Option<f64> {
    let origin = crate::onnx::initialiser::Origin {
        what: String::new(),
        path: None,
    };
    let tensor = crate::onnx::initialiser::read(&mut proto.clone(), &origin).ok()?;
    crate::onnx::initialiser::small_value(&tensor)?.scalar()
}

fn range(call: &Call) -> Inferred {
    let scalar = |i: usize| Ok::<_, String>(call.input(i)?.value.as_ref().and_then(|v| v.scalar()));
    let (Some(start), Some(limit), Some(step)) = (scalar(0)?, scalar(1)?, scalar(2)?) else {
        return Ok(vec![Fact::shaped(vec![None])]);
    };
    let n = ((limit - start) / step).ceil().max(0.0);
    if !n.is_finite() {
        return Err("it has a step of 0".to_owned());
    }
    if n > LARGEST as f64 {
        return Ok(vec![Fact::shaped(vec![Some(n as usize)])]);
    }
    let kind = call.input(0)?.value.as_ref().map_or(Kind::Int, |v| v.kind);
    let data: Vec<_> = (0..n as usize)
        .map(|i| Some(kind.round(start + i as f64 * step)))
        .collect();
    Ok(vec![Fact::of_value(Value {
        kind,
        dims: vec![data.len()],
        data,
    })])
}

fn one_hot(call: &Call) -> Inferred {
    let mut dims = call.dims(0)?.clone();
    let depth = call.input(1)?.value.as_ref().and_then(|v| v.scalar());
    let axis = axis_index(call.node.int("axis").unwrap_or(-1), dims.len() + 1)?;
    dims.insert(axis, depth.map(|d| d as usize));
    Ok(vec![Fact::shaped(dims)])
}

fn grid_sample(call: &Call) -> Inferred {
    let (dims, grid) = (call.dims(0)?, call.dims(1)?);
    if dims.len() < 3 || grid.len() != dims.len() {
        return Err(format!(
            "it samples {} axes by a grid of {}",
            dims.len(),
            grid.len()
        ));
    }
    let mut out = dims[..2].to_vec();
    out.extend(&grid[1..grid.len() - 1]);
    Ok(vec![Fact::shaped(out)])
}

fn non_zero(call: &Call) -> Inferred {
    let rank = call.input(0)?.rank()?;
    Ok(vec![Fact::shaped(vec![Some(rank), None])])
}
