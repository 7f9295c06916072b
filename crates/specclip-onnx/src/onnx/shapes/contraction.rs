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

/// An Einstein summation. The axes of an ellipsis have letters of their own, which no equation can spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Equation {
    pub inputs: Vec<Vec<char>>,
    pub output: Vec<char>,
}

impl Equation {
    /// The equation of an `Einsum` node.
    pub(crate) fn new(call: &Call) -> Result<Self, String> {
        let ranks = (0..call.inputs.len()).map(|i| call.input(i)?.rank());
        let ranks = ranks.collect::<Result<Vec<_>, String>>()?;
        Self::parse(call.node.text("equation").unwrap_or_default(), &ranks)
    }

    /// Reads `bij,jk->bik` or `...j,jk->...k` for operands of `ranks`.
    fn parse(text: &str, ranks: &[usize]) -> Result<Self, String> {
        if text.len() > LONGEST_EQUATION {
            return Err("its equation is too long".to_owned());
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err("its equation does not fit its inputs".to_owned());
        }
        // An ellipsis stands for the axes that the letters leave over; those of several operands are broadcast together.
        let left_over = |(term, &rank): (&&str, &usize)| match term.split_once("...") {
            Some((before, after)) => rank.checked_sub(before.len() + after.len()),
            None => (term.len() == rank).then_some(0),
        };
        let lengths: Option<Vec<usize>> = terms.iter().zip(ranks).map(left_over).collect();
        let lengths = lengths.ok_or("its equation does not fit its inputs")?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let inputs = terms
            .iter()
            .zip(&lengths)
            .map(|(term, &n)| letters(term, longest - n, longest))
            .collect::<Result<Vec<_>, _>>()?;
        let output = match right {
            Some(right) => letters(right, 0, longest)?,
            None => {
                // By convention: the ellipsis, then the letters that occur once, in alphabetical order.
                let all: Vec<char> = inputs.iter().flatten().copied().collect();
                let once = |c: &char| {
                    c.is_ascii_alphabetic() && all.iter().filter(|d| *d == c).count() == 1
                };
                let mut named: Vec<char> = all.iter().copied().filter(once).collect();
                named.sort_unstable();
                (0..longest).map(ellipsis_letter).chain(named).collect()
            }
        };
        Ok(Self { inputs, output })
    }
}

/// The letters of one operand, its ellipsis standing for the axes `from..to` of all.
fn letters(term: &str, from: usize, to: usize) -> Result<Vec<char>, String> {
    let plain = |s: &str| {
        let all = s.chars().all(|c| c.is_ascii_alphabetic());
        all.then(|| s.chars().collect::<Vec<char>>())
            .ok_or_else(|| format!("the term \"{term}\" of its equation is not understood"))
    };
    Ok(match term.split_once("...") {
        None => plain(term)?,
        Some((before, after)) => {
            let axes: Vec<char> = (from..to).map(ellipsis_letter).collect();
            [plain(before)?, axes, plain(after)?].concat()
        }
    })
}

/// A private letter for axis `i` of an ellipsis; arrays have few axes.
fn ellipsis_letter(i: usize) -> char {
    u32::try_from(i)
        .ok()
        .and_then(|i| char::from_u32(0xE000 + i))
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn einsum(call: &Call) -> Inferred {
    let equation = Equation::new(call)?;
    let mut sizes = std::collections::HashMap::new();
    for (i, letters) in equation.inputs.iter().enumerate() {
        for (letter, n) in letters.iter().zip(call.dims(i)?) {
            let known = sizes.entry(*letter).or_insert(*n);
            // An axis of length 1 is broadcast.
            *known = known.filter(|&k| k != 1).or(*n);
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
