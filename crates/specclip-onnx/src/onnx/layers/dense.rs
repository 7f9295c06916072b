//! Products with a constant matrix.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Draft, Finding, computed, per_sample, weight};
use crate::constant::Constant;
use crate::model::{LayerKind, WeightRef};
use crate::onnx::fact::{Fact, count};
use crate::onnx::network::Network;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::Equation;
use crate::spec::Spec;

/// Which operand is the weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The operand that is constant; a reason when neither is (a product of two activations is not linear).
fn side(network: &Network, node: &NodeProto) -> Result<Side, String> {
    let constant = |i: usize| {
        let fact = computed(network, node, i)?;
        Ok::<_, String>(fact.constant.is_some() || fact.independent)
    };
    match (constant(0)?, constant(1)?) {
        (_, true) => Ok(Side::Right),
        (true, false) => Ok(Side::Left),
        (false, false) => Err("both operands are computed, so it is not linear".to_owned()),
    }
}

/// `matrix` is outputs x inputs.
fn draft(
    matrix: Arc<Constant>,
    factor: f64,
    multiplicity: usize,
    root: &Arc<Constant>,
) -> Result<Draft, String> {
    let [outputs, inputs] = matrix.dims[..] else {
        return Err(format!(
            "its weight of shape {:?} is not a matrix",
            matrix.dims
        ));
    };
    Ok(Draft {
        kind: LayerKind::Dense,
        input_shape: vec![inputs],
        output_shape: vec![outputs],
        multiplicity,
        weight: WeightRef::new(root),
        spec: Spec::Dense {
            weight: matrix,
            factor,
        },
        absorbed: Vec::new(),
    })
}

fn too_long() -> String {
    "its weight is computed in too many steps".to_owned()
}

/// The weight as a matrix: leading axes of length 1 dropped, a vector made a column (right) or row (left).
fn as_matrix(weight: &Arc<Constant>, side: Side) -> Result<Arc<Constant>, String> {
    let dims = weight.dims.as_slice();
    match dims {
        [_, _] => Ok(weight.clone()),
        [n] if side == Side::Right => weight.reshape(vec![*n, 1]).ok_or_else(too_long),
        [n] => weight.reshape(vec![1, *n]).ok_or_else(too_long),
        [ones @ .., rows, cols] if ones.iter().all(|&n| n == 1) => {
            weight.reshape(vec![*rows, *cols]).ok_or_else(too_long)
        }
        _ => Err(format!(
            "its weight of shape {dims:?} is a stack of different matrices"
        )),
    }
}

/// The rows (left operand) or columns (right operand) that a matrix is applied to.
fn positions(network: &Network, node: &NodeProto, x: &Fact, weight: Side) -> usize {
    let Ok(dims) = x.dims() else {
        return 1;
    };
    let Some(last) = dims.len().checked_sub(1) else {
        return 1;
    };
    match weight {
        Side::Right => per_sample(network, node, count(&dims[..last])),
        // x is a stack of matrices whose columns are the positions.
        Side::Left if last == 0 => 1,
        Side::Left => {
            let mut others = dims.clone();
            others.remove(last - 1);
            per_sample(network, node, count(&others))
        }
    }
}

/// The length that the computed operand must have along the contracted axis.
fn check_length(x: &Fact, from_end: usize, expected: usize) -> Result<(), String> {
    let dims = x
        .dims()
        .map_err(|reason| format!("the shape of its input is unknown: {reason}"))?;
    let from_end = from_end.min(dims.len());
    match dims
        .len()
        .checked_sub(from_end)
        .and_then(|i| dims.get(i))
        .copied()
        .flatten()
    {
        Some(n) if n != expected => Err(format!(
            "its input has {n} features where its weight has {expected}"
        )),
        _ => Ok(()),
    }
}

pub(super) fn matmul(network: &Network, node: &NodeProto) -> Finding {
    let make = || {
        let side = side(network, node)?;
        let (w, x) = if side == Side::Right { (1, 0) } else { (0, 1) };
        let root = weight(network, node, w)?;
        let x = computed(network, node, x)?;
        let stored = as_matrix(&root, side)?;
        let matrix = match side {
            Side::Right => stored.transpose(&[1, 0]).ok_or_else(too_long)?,
            Side::Left => stored,
        };
        check_length(x, if side == Side::Right { 1 } else { 2 }, matrix.dims[1])?;
        draft(matrix, 1.0, positions(network, node, x, side), &root)
    };
    make().into()
}

pub(super) fn gemm(network: &Network, node: &NodeProto) -> Finding {
    let make = || {
        let side = side(network, node)?;
        let (w, x) = if side == Side::Right { (1, 0) } else { (0, 1) };
        let root = weight(network, node, w)?;
        if root.dims.len() != 2 {
            return Err(format!(
                "its weight of shape {:?} is not a matrix",
                root.dims
            ));
        }
        let flag = |i: usize| node.flag(if i == 0 { "transA" } else { "transB" });
        // alpha A B: on rows of A the operator is B', on columns of B it is A.
        let matrix = if flag(w) == (side == Side::Right) {
            root.clone()
        } else {
            root.transpose(&[1, 0]).ok_or_else(too_long)?
        };
        let x_fact = computed(network, node, x)?;
        let features_last = flag(x) != (side == Side::Right);
        check_length(x_fact, if features_last { 1 } else { 2 }, matrix.dims[1])?;
        let positions = x_fact.dims().ok().and_then(|d| match d.as_slice() {
            [rows, cols] => {
                if features_last {
                    *rows
                } else {
                    *cols
                }
            }
            _ => None,
        });
        let alpha = node.float("alpha").unwrap_or(1.0);
        if !alpha.is_finite() {
            return Err(format!("its factor alpha = {alpha} is not finite"));
        }
        draft(matrix, alpha, per_sample(network, node, positions), &root)
    };
    make().into()
}

/// Letters of the weight that the other operand shares are summed over; the others are outputs.
pub(super) fn einsum(network: &Network, node: &NodeProto) -> Finding {
    let make = || {
        if node.input.len() != 2 {
            return Err("an Einsum of other than two operands is not analysed".to_owned());
        }
        let side = side(network, node)?;
        let (w, x) = if side == Side::Right { (1, 0) } else { (0, 1) };
        let root = weight(network, node, w)?;
        let equation = Equation::new(&network.analysis.call(node))?;
        let [wl, xl] = [w, x].map(|i| equation.inputs.get(i).map_or(&[][..], Vec::as_slice));
        let summed: Vec<char> = wl.iter().copied().filter(|c| xl.contains(c)).collect();
        let free: Vec<char> = wl.iter().copied().filter(|c| !xl.contains(c)).collect();
        let repeated = |l: &[char]| l.iter().enumerate().any(|(i, c)| l[..i].contains(c));
        let plain = summed.iter().all(|c| !equation.output.contains(c))
            && free.iter().all(|c| equation.output.contains(c))
            && xl
                .iter()
                .all(|c| summed.contains(c) || equation.output.contains(c));
        if !plain || repeated(wl) || repeated(xl) || wl.len() != root.dims.len() {
            return Err("its equation is not a product with one matrix".to_owned());
        }
        let x = computed(network, node, x)?;
        let dims = x
            .dims()
            .map_err(|reason| format!("the shape of its input is unknown: {reason}"))?;
        let sizes: HashMap<char, Option<usize>> =
            xl.iter().copied().zip(dims.iter().copied()).collect();
        let place = |c: &char| wl.iter().position(|l| l == c).unwrap_or(0);
        let perm: Vec<usize> = free.iter().chain(&summed).map(place).collect();
        let size = |letters: &[char]| {
            letters
                .iter()
                .map(|c| root.dims[place(c)])
                .product::<usize>()
        };
        if summed.iter().any(|c| {
            sizes
                .get(c)
                .copied()
                .flatten()
                .is_some_and(|n| n != root.dims[place(c)])
        }) {
            return Err("its operands do not fit".to_owned());
        }
        let matrix = root
            .transpose(&perm)
            .and_then(|t| t.reshape(vec![size(&free), size(&summed)]))
            .ok_or_else(too_long)?;
        let rest: Vec<Option<usize>> = xl
            .iter()
            .filter(|c| !summed.contains(c))
            .map(|c| sizes.get(c).copied().flatten())
            .collect();
        draft(matrix, 1.0, per_sample(network, node, count(&rest)), &root)
    };
    make().into()
}
