//! Operators whose output has the shape of an input, or of its inputs broadcast together.

use std::sync::Arc;

use super::{Call, Inferred};
use crate::constant::{Arithmetic, Constant};
use crate::onnx::fact::{Fact, broadcast};
use crate::tensor::ElementType;
use crate::value::{Kind, Value, fits};

/// Operators whose first output has the shape of their first input.
pub(crate) const SAME_SHAPE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Bernoulli",
    "BiasGelu",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "FastGelu",
    "Floor",
    "Gelu",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "PRelu",
    "QuantizeLinear",
    "QuickGelu",
    "RMSNormalization",
    "RandomNormalLike",
    "RandomUniformLike",
    "Reciprocal",
    "Relu",
    "ReverseSequence",
    "RotaryEmbedding",
    "Round",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "SimplifiedLayerNormalization",
    "Sin",
    "Sinh",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Trilu",
    "BatchNormalization",
];

/// Operators whose inputs are broadcast together.
pub(crate) const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

pub(super) fn infer(call: &Call) -> Option<Inferred> {
    let op = call.node.op_type.as_str();
    if SAME_SHAPE.contains(&op) {
        Some(same_shape(call))
    } else if BROADCAST.contains(&op) {
        Some(broadcasting(call))
    } else if op == "DynamicQuantizeLinear" {
        Some(call.dims(0).map(|d| {
            let scalar = || Fact::shaped(Vec::new());
            vec![Fact::shaped(d.clone()), scalar(), scalar()]
        }))
    } else {
        None
    }
}

fn same_shape(call: &Call) -> Inferred {
    let input = call.input(0)?;
    let mut fact = Fact::shaped(input.dims()?.clone());
    fact.value = folded(call, input).map(Arc::new);
    fact.constant = constant(call, input, fact.value.as_ref());
    let mask = Fact::shaped(input.dims()?.clone());
    Ok(match call.node.op_type.as_str() {
        "Dropout" => vec![fact, mask],
        // The fourth output of a skip normalisation is the sum that it normalises.
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            let none = || Fact::unknown("a statistic of a normalisation is not followed");
            vec![fact, none(), none(), mask]
        }
        _ => vec![fact],
    })
}

/// The value of a unary operator of a small array.
fn folded(call: &Call, input: &Fact) -> Option<Value> {
    let value = input.value.as_ref()?;
    let kind = value.kind;
    let same = |f: fn(f64) -> f64| Some(value.map(kind, f));
    match call.node.op_type.as_str() {
        "Identity" => Some(Value::clone(value)),
        "Cast" => Some(value.map(Kind::from_onnx(call.node.int("to")?)?, |x| x)),
        "CastLike" => Some(value.map(call.optional(1)?.value.as_ref()?.kind, |x| x)),
        "Abs" => same(f64::abs),
        "Neg" => same(|x| -x),
        "Ceil" => same(f64::ceil),
        "Floor" => same(f64::floor),
        "Round" => same(f64::round_ties_even),
        "Sqrt" => same(f64::sqrt),
        "Reciprocal" => same(f64::recip),
        "Exp" => same(f64::exp),
        "Log" => same(f64::ln),
        "Relu" => same(|x| x.max(0.0)),
        "Not" => same(|x| f64::from(u8::from(x == 0.0))),
        _ => None,
    }
}

fn constant(call: &Call, input: &Fact, value: Option<&Arc<Value>>) -> Option<Arc<Constant>> {
    let derived = || match call.node.op_type.as_str() {
        "Identity" => input.constant.clone(),
        "Cast" => {
            let to = i32::try_from(call.node.int("to")?).ok()?;
            input.constant.as_ref()?.round(ElementType::from_onnx(to))
        }
        _ => None,
    };
    derived().or_else(|| small_constant(value))
}

fn small_constant(value: Option<&Arc<Value>>) -> Option<Arc<Constant>> {
    value
        .filter(|v| v.known().is_some())
        .map(|v| Constant::value(v.clone()))
}

fn broadcasting(call: &Call) -> Inferred {
    let mut dims = call.dims(0)?.clone();
    for i in 1..call.inputs.len() {
        if call.optional(i).is_some() {
            dims = broadcast(&dims, call.dims(i)?)?;
        }
    }
    let known: Option<Vec<usize>> = dims.iter().copied().collect();
    let mut fact = Fact::shaped(dims);
    if let Some(known) = known {
        fact.value = folded_broadcast(call, &known).map(Arc::new);
        fact.constant = arithmetic(call, known).or_else(|| small_constant(fact.value.as_ref()));
    }
    Ok(vec![fact])
}

/// Arithmetic between large constants.
fn arithmetic(call: &Call, dims: Vec<usize>) -> Option<Arc<Constant>> {
    let operation = match call.node.op_type.as_str() {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        "Div" => Arithmetic::Div,
        _ => return None,
    };
    let left = call.optional(0)?.constant.as_ref()?;
    let right = call.optional(1)?.constant.as_ref()?;
    // Integers divide differently, and no weight is one.
    (left.is_float() && right.is_float()).then_some(())?;
    Constant::arithmetic(operation, left, right, dims)
}

fn folded_broadcast(call: &Call, dims: &[usize]) -> Option<Value> {
    fits(dims)?;
    let operand = |i: usize| call.optional(i)?.value.as_ref()?.broadcast(dims);
    if call.node.op_type == "Where" {
        return select(&operand(0)?, &operand(1)?, &operand(2)?);
    }
    let mut result = operand(0)?;
    for i in 1..call.inputs.len() {
        let other = operand(i)?;
        let (kind, f) = binary(&call.node.op_type, result.kind)?;
        result = result.zip(&other, kind, f);
    }
    Some(result)
}

fn select(condition: &Value, yes: &Value, no: &Value) -> Option<Value> {
    let choose = |((c, y), n): ((&Option<f64>, &Option<f64>), &Option<f64>)| match c {
        Some(c) if *c != 0.0 => *y,
        Some(_) => *n,
        None if y == n => *y,
        None => None,
    };
    let zipped = condition.data.iter().zip(&yes.data).zip(&no.data);
    Some(Value {
        kind: yes.kind,
        dims: yes.dims.clone(),
        data: zipped.map(choose).collect(),
    })
}

type Binary = fn(f64, f64) -> f64;

fn binary(op: &str, kind: Kind) -> Option<(Kind, Binary)> {
    fn truth(b: bool) -> f64 {
        f64::from(u8::from(b))
    }
    let f: (Kind, Binary) = match op {
        "Add" | "Sum" => (kind, |a, b| a + b),
        "Sub" => (kind, |a, b| a - b),
        "Mul" => (kind, |a, b| a * b),
        // Integer division truncates when the kind rounds its result; by zero it has no value.
        "Div" => (kind, |a, b| a / b),
        "Pow" => (kind, f64::powf),
        "Min" => (kind, f64::min),
        "Max" => (kind, f64::max),
        // The sign of the divisor, as ONNX's integer Mod has it.
        "Mod" => (kind, |a, b| a - b * (a / b).floor()),
        "Equal" => (Kind::Bool, |a, b| truth(a == b)),
        "Greater" => (Kind::Bool, |a, b| truth(a > b)),
        "GreaterOrEqual" => (Kind::Bool, |a, b| truth(a >= b)),
        "Less" => (Kind::Bool, |a, b| truth(a < b)),
        "LessOrEqual" => (Kind::Bool, |a, b| truth(a <= b)),
        "And" => (Kind::Bool, |a, b| truth(a != 0.0 && b != 0.0)),
        "Or" => (Kind::Bool, |a, b| truth(a != 0.0 || b != 0.0)),
        _ => return None,
    };
    Some(f)
}
