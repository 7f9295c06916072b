//! From the numbers that a layer should have to those that the file must store: expressions of constants, backwards.

use std::sync::Arc;

use crate::Error;
use crate::change::{Changes, encode};
use crate::constant::{Arithmetic, Constant, Source, rounded};
use crate::strided;
use crate::tensor::{ElementType, Tensor};

/// What to store for each element; `None` keeps what is there.
pub(crate) type Wanted = Vec<Option<f64>>;

impl Constant {
    /// Stores numbers in the file's tensors such that the elements become `wanted`, up to the rounding of the stored type.
    ///
    /// # Errors
    /// The reason why there are no such numbers.
    pub(crate) fn store(
        &self,
        wanted: &[Option<f64>],
        layer: &str,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        if wanted.iter().all(Option::is_none) {
            return Ok(());
        }
        let before = self.values::<f64>(layer, changes)?;
        self.push(wanted.to_vec(), layer, changes)?;
        // An expression that uses a number twice cannot give two different elements.
        let after = self.values::<f64>(layer, changes)?;
        let largest = before.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let coarseness = self.coarseness();
        let subnormal = if coarseness == HALF {
            SMALLEST_HALF
        } else {
            0.0
        };
        let allowed =
            4.0 * coarseness * wanted.iter().flatten().fold(largest, |m, x| m.max(x.abs()))
                + subnormal;
        let expected = wanted.iter().zip(&before).map(|(w, b)| w.unwrap_or(*b));
        if expected.zip(&after).any(|(e, a)| (e - a).abs() > allowed) {
            let reason = "the model makes several of its elements from one number";
            return Err(refused(layer, reason));
        }
        Ok(())
    }

    fn push(&self, wanted: Wanted, layer: &str, changes: &mut Changes) -> Result<(), Error> {
        if wanted.iter().all(Option::is_none) {
            return Ok(());
        }
        match self.source() {
            Source::Tensor(tensor) => self.replace(tensor, &wanted, layer, changes),
            Source::Value(_) => Err(refused(
                layer,
                "the model computes it by operators that cannot be undone; export it with constant folding",
            )),
            Source::Reshape(c) => c.push(wanted, layer, changes),
            Source::Transpose(c, perm) => {
                let view = strided::transpose(&c.dims, perm);
                c.push(scatter(c, &view, wanted), layer, changes)
            }
            Source::Slice(c, ranges) => {
                let view = strided::slice(&c.dims, ranges);
                c.push(scatter(c, &view, wanted), layer, changes)
            }
            Source::Concat(parts, axis) => {
                for (part, wanted) in split(parts, *axis, &self.dims, &wanted) {
                    part.push(wanted, layer, changes)?;
                }
                Ok(())
            }
            Source::Round(c, element) => {
                let round = |x: Option<f64>| x.map(|x| rounded(x, *element));
                c.push(wanted.into_iter().map(round).collect(), layer, changes)
            }
            Source::Arithmetic(operation, a, b) => {
                self.unscale(*operation, a, b, wanted, layer, changes)
            }
        }
    }

    /// Multiplication and division by constants: the factor stays, the larger operand takes the change.
    fn unscale(
        &self,
        operation: Arithmetic,
        a: &Arc<Self>,
        b: &Arc<Self>,
        wanted: Wanted,
        layer: &str,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let cannot = || {
            refused(
                layer,
                "the model computes it by arithmetic that cannot be undone",
            )
        };
        let stored = |c: &Self| c.root().map_or(0, |t| t.len());
        let (weight, factor) = match operation {
            Arithmetic::Mul if stored(b) > stored(a) => (b, a),
            Arithmetic::Mul | Arithmetic::Div => (a, b),
            Arithmetic::Add | Arithmetic::Sub => return Err(cannot()),
        };
        let view = strided::broadcast(&factor.dims, &self.dims).ok_or_else(cannot)?;
        if weight.dims != self.dims {
            return Err(cannot());
        }
        let factors = view.read(&factor.values::<f64>(layer, changes)?);
        let inverse = |(x, f): (Option<f64>, &f64)| {
            let Some(x) = x else { return Ok(None) };
            let stored = match operation {
                Arithmetic::Div => x * f,
                _ => x / f,
            };
            if stored.is_finite() {
                Ok(Some(stored))
            } else {
                Err(cannot())
            }
        };
        let wanted = wanted.into_iter().zip(&factors).map(inverse);
        weight.push(wanted.collect::<Result<_, _>>()?, layer, changes)
    }

    fn replace(
        &self,
        tensor: &Arc<Tensor>,
        wanted: &[Option<f64>],
        layer: &str,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let size = tensor.element.size().unwrap_or(0);
        let old = match changes.get(tensor) {
            Some(bytes) => bytes.to_vec(),
            None => tensor.bytes()?,
        };
        let mut new = Vec::with_capacity(old.len());
        for (index, (wanted, old)) in wanted.iter().zip(old.chunks(size.max(1))).enumerate() {
            let Some(x) = *wanted else {
                new.extend(old);
                continue;
            };
            encode(x, tensor.element, &mut new).ok_or_else(|| {
                let problem = format!(
                    "does not fit {}, as which it is stored",
                    tensor.element.name()
                );
                self.overflow(layer, index, x, problem)
            })?;
        }
        changes
            .put(tensor, new.into())
            .map_err(|reason| refused(layer, reason))
    }

    /// The largest relative rounding error of the types in which the elements are stored or to which they are rounded.
    fn coarseness(&self) -> f64 {
        let unit = |element: ElementType| match element {
            ElementType::BF16 => 2_f64.powi(-8),
            ElementType::F16 => HALF,
            ElementType::F32 => 2_f64.powi(-24),
            _ => 2_f64.powi(-53),
        };
        let largest = |parts: &mut dyn Iterator<Item = f64>| parts.fold(0.0, f64::max);
        match self.source() {
            Source::Tensor(t) => unit(t.element),
            Source::Value(_) => 0.0,
            Source::Reshape(c) | Source::Transpose(c, _) | Source::Slice(c, _) => c.coarseness(),
            Source::Round(c, element) => unit(*element).max(c.coarseness()),
            Source::Concat(parts, _) => largest(&mut parts.iter().map(|c| c.coarseness())),
            Source::Arithmetic(_, a, b) => a.coarseness().max(b.coarseness()),
        }
    }
}

/// The largest relative rounding error of float16.
const HALF: f64 = 1.0 / 2048.0;
/// The smallest positive float16; numbers near 0 are rounded to multiples of it.
const SMALLEST_HALF: f64 = 1.0 / (1 << 24) as f64;

/// The wish for what `view` reads of `constant`, as a wish for the whole of it.
fn scatter(constant: &Constant, view: &strided::View, wanted: Wanted) -> Wanted {
    let count = crate::input::element_count(&constant.dims).unwrap_or(0);
    let places = view.read(&(0..count).collect::<Vec<_>>());
    let mut whole = vec![None; count];
    for (place, wanted) in places.into_iter().zip(wanted) {
        whole[place] = wanted;
    }
    whole
}

/// The wishes for the parts that were joined along `axis` to an array of `dims`.
fn split<'a>(
    parts: &'a [Arc<Constant>],
    axis: usize,
    dims: &[usize],
    wanted: &[Option<f64>],
) -> Vec<(&'a Arc<Constant>, Wanted)> {
    let mut start = 0;
    let mut wishes = Vec::with_capacity(parts.len());
    for part in parts {
        let mut ranges: Vec<strided::Range> =
            dims.iter().copied().map(strided::Range::all).collect();
        let count = part.dims.get(axis).copied().unwrap_or(0);
        ranges[axis] = strided::Range {
            start,
            step: 1,
            count,
        };
        wishes.push((part, strided::slice(dims, &ranges).read(wanted)));
        start += count;
    }
    wishes
}

/// The refusal to give a layer's weight back to the file.
pub(crate) fn refused(layer: &str, reason: impl Into<String>) -> Error {
    Error::Unwritable {
        layer: layer.to_owned(),
        reason: reason.into(),
    }
}
