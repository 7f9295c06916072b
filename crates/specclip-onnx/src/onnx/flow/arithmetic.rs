//! Operators that combine values element by element, and sums over axes.

use specclip::graph::{Activation, Op, Scale, Value};

use super::{Flow, Made, Stopped};
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::reduced_axes;
use crate::strided;

/// A product with more different factors than this is bounded by its largest, and written as one.
const MOST_FACTORS: usize = 1 << 22;

impl<'a> Flow<'a> {
    /// Operators between values.
    pub(super) fn combined(
        &mut self,
        node: &'a NodeProto,
        _: usize,
        shape: &[usize],
    ) -> Option<Made> {
        let n = node.input.len();
        Some(match node.op_type.as_str() {
            _ if !node.is_standard() => return None,
            "Add" | "Sum" => self.sum(node, &vec![1.0; n], shape),
            "Sub" => self.sum(node, &[1.0, -1.0], shape),
            "Mean" => self.sum(node, &vec![1.0 / n as f64; n], shape),
            "Neg" => match self.computed(node, 0) {
                Ok(input) => self.add(node, Op::scale(-1.0), &[input], shape),
                Err(stopped) => Err(stopped),
            },
            "Mul" => self.product(node, shape)?,
            "Div" => self.quotient(node, shape)?,
            "Max" | "Min" => self.extremum(node, shape),
            _ => return None,
        })
    }

    /// The computed inputs, repeated to `shape`, with their places.
    fn operands(
        &mut self,
        node: &NodeProto,
        shape: &[usize],
    ) -> Result<Vec<(usize, Value)>, Stopped> {
        let mut operands = Vec::new();
        for i in 0..node.input.len() {
            if let Some(value) = self.value(node, i) {
                operands.push((i, self.repeat(node, value, shape)?));
            }
        }
        Ok(operands)
    }

    /// The sum of the inputs times `factors`; constants only shift it.
    fn sum(&mut self, node: &NodeProto, factors: &[f64], shape: &[usize]) -> Made {
        if factors.len() != node.input.len() {
            return Err("it does not have the inputs that it needs".into());
        }
        let operands = self.operands(node, shape)?;
        match operands.as_slice() {
            [(i, value)] if factors[*i] == 1.0 => self.add(node, Op::Identity, &[*value], shape),
            several => {
                let factors = several.iter().map(|(i, _)| factors[*i]).collect();
                let values: Vec<Value> = several.iter().map(|(_, v)| *v).collect();
                self.add(node, Op::Add(factors), &values, shape)
            }
        }
    }

    /// A product with a constant, or of a value with a function of itself.
    fn product(&mut self, node: &NodeProto, shape: &[usize]) -> Option<Made> {
        let (constant, computed) = match (self.value(node, 0), self.value(node, 1)) {
            (Some(value), None) => (1, value),
            (None, Some(value)) => (0, value),
            _ => {
                let (name, function) = self.gated(node)?;
                let input = *self.values.get(name)?;
                return Some(self.add(node, function.into(), &[input], shape));
            }
        };
        Some(self.scaled(node, computed, constant, shape, |c| c))
    }

    fn quotient(&mut self, node: &NodeProto, shape: &[usize]) -> Option<Made> {
        match (self.value(node, 0), self.value(node, 1)) {
            (Some(value), None) => Some(self.scaled(node, value, 1, shape, f64::recip)),
            _ => None,
        }
    }

    /// `value` times a function of the constant at input `i`.
    fn scaled(
        &mut self,
        node: &NodeProto,
        value: Value,
        i: usize,
        shape: &[usize],
        factor: fn(f64) -> f64,
    ) -> Made {
        let (numbers, dims) = self.numbers(node, i)?;
        let numbers: Vec<f64> = numbers.into_iter().map(factor).collect();
        if !numbers.iter().all(|f| f.is_finite()) {
            return Err("it divides by zero".into());
        }
        let value = self.repeat(node, value, shape)?;
        let scale = Op::Scale(scale(&numbers, &dims, shape)?);
        self.add(node, scale, &[value], shape)
    }

    fn extremum(&mut self, node: &NodeProto, shape: &[usize]) -> Made {
        let operands = self.operands(node, shape)?;
        let values: Vec<Value> = operands.into_iter().map(|(_, v)| v).collect();
        match values.as_slice() {
            [only] => self.add(node, Activation::clip().into(), &[*only], shape),
            several => self.add(node, Op::Extremum, several, shape),
        }
    }

    /// Sums, means, norms and extrema over axes.
    pub(super) fn reduced(
        &mut self,
        node: &'a NodeProto,
        _: usize,
        shape: &[usize],
    ) -> Option<Made> {
        let op = node.op_type.as_str();
        let largest = matches!(op, "ReduceMax" | "ReduceMin" | "GlobalMaxPool");
        let linear = matches!(op, "ReduceSum" | "ReduceMean");
        if !node.is_standard() || !(largest || linear || op == "ReduceL2") {
            return None;
        }
        Some(self.reduction(node, largest, shape))
    }

    fn reduction(&mut self, node: &NodeProto, largest: bool, shape: &[usize]) -> Made {
        let input = self.computed(node, 0)?;
        self.constants_from(node, 1)?;
        if largest {
            return self.add(node, Activation::extremum().into(), &[input], shape);
        }
        if node.op_type == "ReduceL2" {
            return self.add(node, Activation::norm().into(), &[input], shape);
        }
        let axes = reduced_axes(&self.network.analysis.call(node))?;
        let dims = self.fact(node, 0)?.known_dims()?;
        let terms: f64 = axes.iter().map(|&a| dims[a] as f64).product();
        let factor = if node.op_type == "ReduceMean" {
            terms.recip()
        } else {
            1.0
        };
        self.add(node, Op::SumAxes { axes, factor }, &[input], shape)
    }
}

/// The factors of a constant of `dims` broadcast to `shape`.
fn scale(numbers: &[f64], dims: &[usize], shape: &[usize]) -> Result<Scale, String> {
    if let [factor] = numbers {
        return Ok(Scale {
            factors: vec![*factor],
            run: 1,
        });
    }
    // Axes of length 1 at the end share a factor; those in front repeat the list.
    let longer = |&n: &usize| n != 1;
    let last = dims.iter().rposition(longer).unwrap_or(0);
    let first = dims.iter().position(longer).unwrap_or(0);
    let front = shape.len() - dims.len();
    let run = shape[front + last + 1..].iter().product();
    let (inner, target) = (&dims[first..=last], &shape[front + first..=front + last]);
    let count = crate::input::element_count(target).filter(|&n| n <= MOST_FACTORS);
    count.ok_or("it multiplies by too many different constants")?;
    let view = strided::broadcast(inner, target).ok_or("its operands do not fit")?;
    Ok(Scale {
        factors: view.read(numbers),
        run,
    })
}
