//! Products of a value with a function of itself: activations that exporters write out.

use specclip::graph::Activation;

use super::Flow;
use crate::onnx::proto::NodeProto;

/// A chain of sums and products with numbers is not followed further than this.
const DEEPEST: usize = 4;

/// sup |erf(t) + 2 t exp(-t^2) / sqrt(pi)|, at t = 1, rounded up.
const ERF_GATE: f64 = 1.257_809;

impl Flow<'_> {
    /// The function that `node`, a product of two computed values, is of one of them: its name and the function.
    pub(super) fn gated<'n>(&self, node: &'n NodeProto) -> Option<(&'n str, Activation)> {
        let (a, b) = (node.input_name(0)?, node.input_name(1)?);
        let shape = self.shape(node.output.first()?).ok()?;
        let alike = |name: &str| self.shape(name).is_ok_and(|s| s == shape);
        (alike(a) && alike(b)).then_some(())?;
        let found = |x: &'n str, gate: &str| Some((x, self.gate(gate, x)?));
        found(a, b).or_else(|| found(b, a))
    }

    /// The function x -> x g(x), where the value `gate` is g of the value `x`.
    fn gate(&self, gate: &str, x: &str) -> Option<Activation> {
        let (_, node) = self.network.producer(gate)?;
        node.is_standard().then_some(())?;
        let input = node.input_name(0)?;
        match node.op_type.as_str() {
            "Sigmoid" => (self.affine(input, x, 0)?.1 == 0.0).then(Activation::silu),
            "HardSigmoid" => {
                let (slope, shift) = self.affine(input, x, 0)?;
                let alpha = node.float("alpha").unwrap_or(0.2);
                let beta = node.float("beta").unwrap_or(0.5);
                clipped(alpha * slope, alpha * shift + beta, (0.0, 1.0))
            }
            "Clip" => {
                let (slope, shift) = self.affine(input, x, 0)?;
                let end = |i: usize, name: &str| match node.input_name(i) {
                    Some(_) => self.number(node, i),
                    None => node.float(name),
                };
                clipped(slope, shift, (end(1, "min")?, end(2, "max")?))
            }
            "Tanh" => {
                let (_, inner) = self.network.producer(input)?;
                let softplus = inner.op_type == "Softplus" && inner.is_standard();
                (softplus && inner.input_name(0) == Some(x)).then(Activation::mish)
            }
            "Add" => self.erf_gate(node, x),
            _ => None,
        }
    }

    /// x (c + erf(s x)): its slope is c + erf(t) + 2 t exp(-t^2) / sqrt(pi) at t = s x.
    fn erf_gate(&self, node: &NodeProto, x: &str) -> Option<Activation> {
        let place = usize::from(self.value(node, 0).is_none());
        let c = self.number(node, 1 - place)?;
        let (_, erf) = self.network.producer(node.input_name(place)?)?;
        (erf.op_type == "Erf" && erf.is_standard()).then_some(())?;
        (self.affine(erf.input_name(0)?, x, 0)?.1 == 0.0).then_some(())?;
        Activation::new("erf gate", c.abs() + ERF_GATE).ok()
    }

    /// `value` as slope x + shift.
    fn affine(&self, value: &str, x: &str, depth: usize) -> Option<(f64, f64)> {
        if value == x {
            return Some((1.0, 0.0));
        }
        let (_, node) = self.network.producer(value)?;
        (node.is_standard() && depth < DEEPEST).then_some(())?;
        let place = usize::from(self.value(node, 0).is_none());
        let (slope, shift) = self.affine(node.input_name(place)?, x, depth + 1)?;
        let other = || self.number(node, 1 - place);
        Some(match node.op_type.as_str() {
            "Identity" => (slope, shift),
            "Add" => (slope, shift + other()?),
            "Mul" => {
                let factor = other()?;
                (slope * factor, shift * factor)
            }
            "Div" if place == 0 => {
                let divisor = other()?;
                (slope / divisor, shift / divisor)
            }
            _ => return None,
        })
    }

    /// The only number of a constant input.
    fn number(&self, node: &NodeProto, i: usize) -> Option<f64> {
        match self.numbers(node, i).ok()?.0.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }
}

/// x times slope x + shift kept between two ends. Where it is kept the slope is an end; between them, with u = slope x +
/// shift, it is 2 u - shift, which is largest at an end.
fn clipped(slope: f64, shift: f64, (low, high): (f64, f64)) -> Option<Activation> {
    (slope.is_finite() && low <= high).then_some(())?;
    let slopes = [low, high, 2.0 * low - shift, 2.0 * high - shift];
    let steepest = slopes.iter().fold(0.0, |m: f64, s| m.max(s.abs()));
    Activation::new("clip gate", steepest).ok()
}
