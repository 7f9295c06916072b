//! Operators that rearrange arrays: reshape, transpose, squeeze, expand, tile, pad and their kin.

use std::sync::Arc;

use super::{Call, Inferred, resize};
use crate::constant::Constant;
use crate::onnx::fact::{Dims, Fact, axis_index, broadcast, count};
use crate::strided;
use crate::value::{Kind, Value, fits};

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    Some(match call.node.op_type.as_str() {
        "Shape" => shape(call),
        "Size" => call.dims(0).map(|dims| {
            vec![Fact::of_value(Value {
                kind: Kind::Int,
                dims: Vec::new(),
                data: vec![count(dims).map(|n| n as f64)],
            })]
        }),
        "Reshape" => reshape(call),
        "Flatten" => flatten(call),
        "Squeeze" => squeeze(call),
        "Unsqueeze" => unsqueeze(call),
        "Transpose" => transpose(call),
        "Expand" => expand(call),
        "Tile" => tile(call),
        "Pad" => pad(call),
        "Resize" | "Upsample" => resize::infer(call),
        "DepthToSpace" => depth_space(call, true),
        "SpaceToDepth" => depth_space(call, false),
        _ => return None,
    })
}

fn shape(call: &Call) -> Inferred {
    let dims = call.dims(0)?;
    let rank = dims.len() as i64;
    let from_front =
        |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let start = from_front(call.node.int("start").unwrap_or(0));
    let end = from_front(call.node.int("end").unwrap_or(rank)).max(start);
    let sizes = dims[start..end]
        .iter()
        .map(|d| d.map(|n| n as f64))
        .collect();
    Ok(vec![Fact::of_value(Value::ints(sizes))])
}

/// The same elements under other dimensions.
fn relabelled(input: &Fact, dims: Dims) -> Fact {
    let known: Option<Vec<usize>> = dims.iter().copied().collect();
    let mut fact = Fact::shaped(dims);
    if let Some(known) = known {
        let constant = |c: &Arc<Constant>| c.reshape(known.clone());
        fact.constant = input.constant.as_ref().and_then(constant);
        fact.value = input
            .value
            .as_ref()
            .filter(|v| crate::input::element_count(&known) == Some(v.data.len()))
            .map(|v| Arc::new(v.reshaped(known)));
    }
    fact
}

fn reshape(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let target = match call.optional(1) {
        Some(_) => call.shape(1, "the shape that it reshapes to depends on the data")?,
        None => call
            .node
            .ints("shape")
            .unwrap_or_default()
            .iter()
            .copied()
            .map(Some)
            .collect(),
    };
    let zero_is_zero = call.node.flag("allowzero");
    let dims = input.dims.as_ref().ok();
    let mut out: Dims = Vec::with_capacity(target.len());
    let mut inferred = None;
    for (i, size) in target.iter().enumerate() {
        out.push(match size {
            Some(-1) if inferred.is_none() => {
                inferred = Some(i);
                None
            }
            Some(0) if !zero_is_zero => dims.and_then(|d| d.get(i)).copied().flatten(),
            Some(n) => Some(usize::try_from(*n).map_err(|_| format!("it reshapes to {target:?}"))?),
            None => None,
        });
    }
    if let Some(total) = dims.and_then(|d| count(d)) {
        complete(&mut out, total)
            .map_err(|problem| format!("it reshapes {total} elements to {target:?}, {problem}"))?;
    }
    Ok(vec![relabelled(input, out)])
}

/// Fills in the only unknown dimension of an array of `total` elements.
fn complete(dims: &mut [Option<usize>], total: usize) -> Result<(), String> {
    let known: Vec<usize> = dims.iter().copied().flatten().collect();
    let product = crate::input::element_count(&known).ok_or("which is too large")?;
    let mut unknown = dims.iter_mut().filter(|d| d.is_none());
    match (unknown.next(), unknown.next()) {
        (None, _) if product != total => Err("which does not fit".to_owned()),
        (Some(_), None) if product == 0 || !total.is_multiple_of(product) => {
            Err("which does not fit".to_owned())
        }
        (Some(dim), None) => {
            *dim = Some(total / product);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn flatten(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let axis = call.node.int("axis").unwrap_or(1);
    // The axis may also be one past the last.
    let axis = if axis == dims.len() as i64 {
        dims.len()
    } else {
        axis_index(axis, dims.len())?
    };
    let out = vec![count(&dims[..axis]), count(&dims[axis..])];
    Ok(vec![relabelled(input, out)])
}

fn squeeze(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let dropped: Vec<usize> = match call.axes(1)? {
        Some(axes) => axes
            .iter()
            .map(|&a| axis_index(a, dims.len()))
            .collect::<Result<_, _>>()?,
        None if dims.iter().any(Option::is_none) => {
            return Err(
                "it drops axes of length 1 of an array whose dimensions depend on the data"
                    .to_owned(),
            );
        }
        None => (0..dims.len()).filter(|&a| dims[a] == Some(1)).collect(),
    };
    if let Some(a) = dropped.iter().find(|&&a| dims[a].is_some_and(|n| n != 1)) {
        return Err(format!("it drops axis {a}, whose length is not 1"));
    }
    let kept = (0..dims.len()).filter(|a| !dropped.contains(a));
    Ok(vec![relabelled(input, kept.map(|a| dims[a]).collect())])
}

fn unsqueeze(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let axes = call.axes(1)?.ok_or("it does not say which axes to add")?;
    let rank = dims.len() + axes.len();
    let added: Vec<usize> = axes
        .iter()
        .map(|&a| axis_index(a, rank))
        .collect::<Result<_, _>>()?;
    let mut old = dims.iter();
    let out: Option<Dims> = (0..rank)
        .map(|a| {
            if added.contains(&a) {
                Some(Some(1))
            } else {
                old.next().copied()
            }
        })
        .collect();
    // Repeated axes would leave places that no old axis fills.
    let out = out.ok_or_else(|| format!("it adds the axes {axes:?}"))?;
    Ok(vec![relabelled(input, out)])
}

fn transpose(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let perm: Vec<usize> = match call.node.ints("perm") {
        Some(perm) if !perm.is_empty() || dims.is_empty() => perm
            .iter()
            .map(|&p| axis_index(p, dims.len()))
            .collect::<Result<_, _>>()?,
        _ => (0..dims.len()).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..dims.len()) {
        return Err(format!("it permutes {} axes by {perm:?}", dims.len()));
    }
    let mut fact = Fact::shaped(perm.iter().map(|&p| dims[p]).collect());
    fact.constant = input.constant.as_ref().and_then(|c| c.transpose(&perm));
    fact.value = input
        .value
        .as_ref()
        .and_then(|v| v.viewed(&strided::transpose(&v.dims, &perm)).map(Arc::new));
    Ok(vec![fact])
}

fn expand(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let target: Dims = call
        .shape(1, "its shape depends on the data")?
        .into_iter()
        .map(|n| n.and_then(|n| usize::try_from(n).ok()))
        .collect();
    let out = broadcast(input.dims()?, &target)?;
    let known: Option<Vec<usize>> = out.iter().copied().collect();
    Ok(vec![match (known, &input.value) {
        (Some(known), Some(value)) if fits(&known).is_some() => value
            .broadcast(&known)
            .map_or_else(|| Fact::fixed(&known), Fact::of_value),
        _ => Fact::shaped(out),
    }])
}

fn tile(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let dims = input.dims()?;
    let repeats = call.ints(1)?;
    if repeats.len() != dims.len() {
        return Err(format!("it repeats {} axes by {repeats:?}", dims.len()));
    }
    let out: Dims = dims
        .iter()
        .zip(&repeats)
        .map(|(d, &r)| d.and_then(|n| n.checked_mul(usize::try_from(r).ok()?)))
        .collect();
    Ok(vec![Fact::shaped(out)])
}

/// The samples that a `Pad` node adds (or, negative, removes) on both sides of every axis.
pub(crate) fn pad_amounts(call: &Call) -> Result<Vec<(i64, i64)>, String> {
    let rank = call.input(0)?.rank()?;
    let pads = match call.optional(1) {
        Some(_) => call.ints(1)?,
        None => call.node.ints("pads").unwrap_or_default().to_vec(),
    };
    let axes: Vec<usize> = match call.optional(3) {
        Some(_) => call
            .ints(3)?
            .iter()
            .map(|&a| axis_index(a, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("its pads {pads:?} do not fit {} axes", axes.len()));
    }
    let mut amounts = vec![(0, 0); rank];
    for (i, &axis) in axes.iter().enumerate() {
        amounts[axis] = (pads[i], pads[axes.len() + i]);
    }
    Ok(amounts)
}

fn pad(call: &Call) -> Inferred {
    let amounts = pad_amounts(call)?;
    let grown = |(dim, (begin, end)): (&Option<usize>, &(i64, i64))| {
        let Some(n) = dim else {
            return Ok(None);
        };
        i64::try_from(*n)
            .ok()
            .and_then(|n| n.checked_add(*begin)?.checked_add(*end))
            .and_then(|n| usize::try_from(n).ok())
            .map(Some)
            .ok_or_else(|| format!("it pads {n} samples by {begin} and {end}"))
    };
    let out: Dims = call
        .dims(0)?
        .iter()
        .zip(&amounts)
        .map(grown)
        .collect::<Result<_, String>>()?;
    Ok(vec![Fact::shaped(out)])
}

fn depth_space(call: &Call, to_space: bool) -> Inferred {
    let dims = call.dims(0)?;
    let block = call
        .node
        .int("blocksize")
        .and_then(|b| usize::try_from(b).ok())
        .filter(|&b| b > 0)
        .ok_or("it has no positive blocksize")?;
    let [batch, channels, height, width] = dims[..] else {
        return Err(format!("it needs 4 axes and has {}", dims.len()));
    };
    let larger = |n: Option<usize>, by: usize| n.and_then(|n| n.checked_mul(by));
    let smaller = |n: Option<usize>, by: usize| n.map(|n| n / by);
    let area = block
        .checked_mul(block)
        .ok_or("its blocksize is too large")?;
    Ok(vec![Fact::shaped(if to_space {
        vec![
            batch,
            smaller(channels, area),
            larger(height, block),
            larger(width, block),
        ]
    } else {
        vec![
            batch,
            larger(channels, area),
            smaller(height, block),
            smaller(width, block),
        ]
    })])
}
