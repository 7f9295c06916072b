//! Matrix products: `MatMul`, `Gemm`, `Einsum` and their relatives.

use super::{Call, Inferred};
use crate::onnx::fact::{Dims, Fact, broadcast};

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    Some(match call.node.op_type.as_str() {
        "MatMul" | "MatMulInteger" => product(call, 0, 1),
        "QLinearMatMul" => product(call, 0, 3),
        "FusedMatMul" if !call.node.flag("transA") && !call.node.flag("transB") => {
            product(call, 0, 1)
        }
        "Gemm" | "FusedGemm" => gemm(call),
        "MatMulNBits" => packed(call),
        "Einsum" => einsum(call),
        "LSTM" | "GRU" | "RNN" => recurrent(call),
        _ => return None,
    })
}

fn product(call: &Call, left: usize, right: usize) -> Inferred {
    let (a, b) = (call.dims(left)?, call.dims(right)?);
    let (&[.., k], &[.., _]) = (a.as_slice(), b.as_slice()) else {
        return Err("it multiplies scalars".to_owned());
    };
    let inner = if b.len() == 1 { b[0] } else { b[b.len() - 2] };
    if let (Some(k), Some(inner)) = (k, inner)
        && k != inner
    {
        return Err(format!(
            "it multiplies matrices with inner dimensions {k} and {inner}"
        ));
    }
    let batch = |dims: &[Option<usize>]| dims[..dims.len().saturating_sub(2)].to_vec();
    let mut out: Dims = broadcast(&batch(a), &batch(b))?;
    if a.len() > 1 {
        out.push(a[a.len() - 2]);
    }
    if b.len() > 1 {
        out.push(b[b.len() - 1]);
    }
    Ok(vec![Fact::shaped(out)])
}

fn gemm(call: &Call) -> Inferred {
    let matrix = |i: usize, flag: &str| match call.dims(i)?.as_slice() {
        &[rows, cols] if call.node.flag(flag) => Ok((cols, rows)),
        &[rows, cols] => Ok((rows, cols)),
        dims => Err(format!(
            "it needs matrices, and input {i} has {} axes",
            dims.len()
        )),
    };
    let (rows, k) = matrix(0, "transA")?;
    let (inner, cols) = matrix(1, "transB")?;
    if let (Some(k), Some(inner)) = (k, inner)
        && k != inner
    {
        return Err(format!(
            "it multiplies matrices with inner dimensions {k} and {inner}"
        ));
    }
    Ok(vec![Fact::shaped(vec![rows, cols])])
}

/// A product with a quantised matrix that states its size in attributes.
fn packed(call: &Call) -> Inferred {
    let mut out = call.dims(0)?.clone();
    let outputs = call.node.int("N").and_then(|n| usize::try_from(n).ok());
    *out.last_mut().ok_or("it multiplies a scalar")? = outputs;
    Ok(vec![Fact::shaped(out)])
}

/// There are 52 letters, and each operand has few.
const LONGEST_EQUATION: usize = 1 << 10;

/// An Einstein summation of two arrays, without ellipsis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Equation {
    pub inputs: Vec<Vec<char>>,
    pub output: Vec<char>,
}

impl Equation {
    /// Reads `bij,jk->bik`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_EQUATION {
            return Err("its equation is too long".to_owned());
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let refuse = || format!("the equation \"{text}\" is not understood");
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let letters = |s: &str| {
            let all = s.chars().all(|c| c.is_ascii_alphabetic());
            all.then(|| s.chars().collect::<Vec<char>>())
                .ok_or_else(refuse)
        };
        let inputs = left
            .split(',')
            .map(letters)
            .collect::<Result<Vec<_>, _>>()?;
        let output = match right {
            Some(right) => letters(right)?,
            None => {
                // By convention: the letters that occur once, in alphabetical order.
                let all: Vec<char> = inputs.iter().flatten().copied().collect();
                let once = |c: &&char| all.iter().filter(|d| d == c).count() == 1;
                let mut output: Vec<char> = all.iter().filter(once).copied().collect();
                output.sort_unstable();
                output
            }
        };
        Ok(Self { inputs, output })
    }
}

fn einsum(call: &Call) -> Inferred {
    let equation = Equation::parse(call.node.text("equation").unwrap_or_default())?;
    if equation.inputs.len() != call.inputs.len() {
        return Err("its equation does not fit its inputs".to_owned());
    }
    let mut sizes = std::collections::HashMap::new();
    for (i, letters) in equation.inputs.iter().enumerate() {
        let dims = call.dims(i)?;
        if dims.len() != letters.len() {
            return Err("its equation does not fit its inputs".to_owned());
        }
        for (letter, n) in letters.iter().zip(dims) {
            let known = sizes.entry(*letter).or_insert(*n);
            *known = known.or(*n);
        }
    }
    let out = equation.output.iter().map(|c| sizes.get(c).copied());
    let out: Option<Dims> = out.collect();
    Ok(vec![Fact::shaped(
        out.ok_or("its equation makes up an axis")?,
    )])
}

fn recurrent(call: &Call) -> Inferred {
    let [sequence, batch, _] = call.dims(0)?[..] else {
        return Err("its input does not have three axes".to_owned());
    };
    let directions = call.dims(1)?.first().copied().flatten();
    let hidden = call
        .node
        .int("hidden_size")
        .and_then(|n| usize::try_from(n).ok());
    let state = Fact::shaped(vec![directions, batch, hidden]);
    if call.node.flag("layout") {
        // With layout 1 the first two axes of the input are swapped.
        return Ok(vec![Fact::shaped(vec![
            sequence, batch, directions, hidden,
        ])]);
    }
    let all = Fact::shaped(vec![sequence, directions, batch, hidden]);
    Ok(vec![all, state.clone(), state])
}
