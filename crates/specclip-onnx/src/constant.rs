//! Constants: initialisers, and what simple chains of operators make of them.
//!
//! Exporters rarely connect a weight straight to its layer: PyTorch transposes it, PaddlePaddle stores it in a
//! `Constant` node, TensorFlow reshapes it. Such chains are kept as an expression, and its values are computed
//! only when the operator of a layer is built.

use std::sync::Arc;

use specclip::Real;

use crate::Error;
use crate::change::Changes;
use crate::input::element_count;
use crate::strided::{self, Range};
use crate::tensor::{ElementType, Tensor, decode_bytes};
use crate::value::Value;

/// Chains longer than this are not followed; real ones have two or three links.
const DEEPEST: u32 = 32;
/// Constants are not followed beyond this many element operations, or [`MOST_PASSES`] over the largest tensor that
/// they are made of. Expressions may share parts, and each use of a part counts: sixty lines that each add a constant
/// to itself stand for 2^60 operations.
const COSTLIEST: u64 = 1 << 24;
const MOST_PASSES: u64 = 64;

/// Arithmetic between constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

impl Arithmetic {
    pub(crate) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
        }
    }
}

/// How the elements follow from the file.
#[derive(Debug)]
pub(crate) enum Source {
    Tensor(Arc<Tensor>),
    Value(Arc<Value>),
    Reshape(Arc<Constant>),
    Transpose(Arc<Constant>, Vec<usize>),
    Slice(Arc<Constant>, Vec<Range>),
    Concat(Vec<Arc<Constant>>, usize),
    Round(Arc<Constant>, ElementType),
    Arithmetic(Arithmetic, Arc<Constant>, Arc<Constant>),
}

/// An array that does not depend on the model's inputs.
#[derive(Debug)]
pub(crate) struct Constant {
    /// The dimensions.
    pub dims: Vec<usize>,
    source: Source,
    is_float: bool,
    depth: u32,
    /// Element operations that computing the elements takes.
    cost: u64,
    /// Elements of the largest array that is not computed.
    stored: u64,
}

impl Constant {
    /// The array of an initialiser or a Constant node.
    pub(crate) fn tensor(tensor: Arc<Tensor>) -> Arc<Self> {
        Arc::new(Self {
            dims: tensor.dims.clone(),
            is_float: tensor.element.is_float(),
            cost: tensor.len() as u64,
            stored: tensor.len() as u64,
            depth: 0,
            source: Source::Tensor(tensor),
        })
    }

    /// A small array that shape inference computed; all its numbers are known.
    pub(crate) fn value(value: Arc<Value>) -> Arc<Self> {
        Arc::new(Self {
            dims: value.dims.clone(),
            is_float: matches!(
                value.kind,
                crate::value::Kind::F32 | crate::value::Kind::F64
            ),
            cost: value.data.len() as u64,
            stored: value.data.len() as u64,
            depth: 0,
            source: Source::Value(value),
        })
    }

    fn derived(dims: Vec<usize>, source: Source, from: &[&Arc<Self>]) -> Option<Arc<Self>> {
        let elements = element_count(&dims)? as u64;
        let depth = 1 + from.iter().map(|c| c.depth).max()?;
        // An empty array costs something too, or its expression could have any size.
        let cost = from
            .iter()
            .fold(elements.max(1), |sum, c| sum.saturating_add(c.cost));
        let stored = from.iter().map(|c| c.stored).max()?;
        let affordable = cost <= COSTLIEST.max(stored.saturating_mul(MOST_PASSES));
        (depth <= DEEPEST && affordable).then(|| {
            Arc::new(Self {
                dims,
                source,
                is_float: from.iter().all(|c| c.is_float),
                depth,
                cost,
                stored,
            })
        })
    }

    /// The same elements with other dimensions.
    pub(crate) fn reshape(self: &Arc<Self>, dims: Vec<usize>) -> Option<Arc<Self>> {
        (element_count(&dims)? == element_count(&self.dims)?).then_some(())?;
        Self::derived(dims, Source::Reshape(self.clone()), &[self])
    }

    /// Axis `i` of the result is axis `perm[i]`.
    pub(crate) fn transpose(self: &Arc<Self>, perm: &[usize]) -> Option<Arc<Self>> {
        let dims = perm
            .iter()
            .map(|&p| self.dims.get(p).copied())
            .collect::<Option<Vec<_>>>()?;
        // Exporters transpose what a layer transposes back.
        if let Source::Transpose(original, first) = &self.source
            && perm.iter().map(|&p| first[p]).eq(0..first.len())
        {
            return Some(original.clone());
        }
        Self::derived(
            dims,
            Source::Transpose(self.clone(), perm.to_vec()),
            &[self],
        )
    }

    /// The elements of `ranges`, one for each axis.
    pub(crate) fn slice(self: &Arc<Self>, ranges: &[Range]) -> Option<Arc<Self>> {
        (ranges.len() == self.dims.len()).then_some(())?;
        let dims = ranges.iter().map(|r| r.count).collect();
        Self::derived(dims, Source::Slice(self.clone(), ranges.to_vec()), &[self])
    }

    /// The parts joined along `axis` to an array of `dims`.
    pub(crate) fn concat(parts: &[Arc<Self>], axis: usize, dims: Vec<usize>) -> Option<Arc<Self>> {
        let from: Vec<&Arc<Self>> = parts.iter().collect();
        Self::derived(dims, Source::Concat(parts.to_vec(), axis), &from)
    }

    /// The elements rounded to a floating-point type.
    pub(crate) fn round(self: &Arc<Self>, element: ElementType) -> Option<Arc<Self>> {
        element.is_float().then_some(())?;
        let source = Source::Round(self.clone(), element);
        let mut rounded = Self::derived(self.dims.clone(), source, &[self])?;
        Arc::get_mut(&mut rounded)?.is_float = true;
        Some(rounded)
    }

    /// Elementwise arithmetic with broadcasting to `dims`.
    pub(crate) fn arithmetic(
        operation: Arithmetic,
        left: &Arc<Self>,
        right: &Arc<Self>,
        dims: Vec<usize>,
    ) -> Option<Arc<Self>> {
        strided::broadcast(&left.dims, &dims)?;
        strided::broadcast(&right.dims, &dims)?;
        let source = Source::Arithmetic(operation, left.clone(), right.clone());
        Self::derived(dims, source, &[left, right])
    }

    /// How the elements follow from the file.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether the elements are floating-point numbers.
    pub(crate) fn is_float(&self) -> bool {
        self.is_float
    }

    /// The tensor in the file that the elements come from; of several, the largest.
    pub(crate) fn root(&self) -> Option<&Arc<Tensor>> {
        match &self.source {
            Source::Tensor(tensor) => Some(tensor),
            Source::Value(_) => None,
            Source::Reshape(c)
            | Source::Transpose(c, _)
            | Source::Slice(c, _)
            | Source::Round(c, _) => c.root(),
            Source::Concat(parts, _) => parts
                .iter()
                .filter_map(|c| c.root())
                .max_by_key(|t| t.len()),
            Source::Arithmetic(_, a, b) => match (a.root(), b.root()) {
                (Some(a), Some(b)) => Some(if b.len() > a.len() { b } else { a }),
                (a, b) => a.or(b),
            },
        }
    }

    /// Adds every tensor that the elements are computed from.
    pub(crate) fn tensors<'a>(&'a self, found: &mut Vec<&'a Arc<Tensor>>) {
        match &self.source {
            Source::Tensor(tensor) => found.push(tensor),
            Source::Value(_) => {}
            Source::Reshape(c)
            | Source::Transpose(c, _)
            | Source::Slice(c, _)
            | Source::Round(c, _) => c.tensors(found),
            Source::Concat(parts, _) => parts.iter().for_each(|c| c.tensors(found)),
            Source::Arithmetic(_, a, b) => [a, b].iter().for_each(|c| c.tensors(found)),
        }
    }

    /// The elements in row-major order, as they are after `changes`. NaN and infinities, in the file or made of its
    /// numbers, are refused in the name of `layer`.
    pub(crate) fn values<T: Real>(&self, layer: &str, changes: &Changes) -> Result<Vec<T>, Error> {
        let values = self.compute::<T>(layer, changes)?;
        match values.iter().position(|x| !x.is_finite()) {
            None => Ok(values),
            Some(index) => {
                let problem =
                    "is what the model computes; only finite weights have singular values";
                let value = values[index].to_f64();
                Err(self.overflow(layer, index, value, problem.to_owned()))
            }
        }
    }

    /// The refusal of one element.
    pub(crate) fn overflow(&self, layer: &str, index: usize, value: f64, problem: String) -> Error {
        Error::Overflow {
            layer: layer.to_owned(),
            tensor: self.root().map_or_else(String::new, |t| t.name.clone()),
            index,
            value,
            problem,
        }
    }

    fn stored<T: Real>(
        &self,
        tensor: &Tensor,
        layer: &str,
        changes: &Changes,
    ) -> Result<Vec<T>, Error> {
        let values = match changes.get(tensor) {
            Some(bytes) => decode_bytes(bytes, tensor.element, T::from_f64),
            None => tensor.decode(T::from_f64)?,
        };
        let Some(index) = values.iter().position(|x| !x.is_finite()) else {
            return Ok(values);
        };
        // What the file holds, which T may not hold.
        let held = match changes.get(tensor) {
            Some(bytes) => decode_bytes(bytes, tensor.element, |x| x),
            None => tensor.decode(|x| x)?,
        };
        let value = held.get(index).copied().unwrap_or(f64::NAN);
        if value.is_finite() {
            return Err(self.overflow(layer, index, value, does_not_fit::<T>()));
        }
        Err(Error::NonFinite {
            layer: layer.to_owned(),
            tensor: tensor.name.clone(),
            index,
            value,
        })
    }

    fn compute<T: Real>(&self, layer: &str, changes: &Changes) -> Result<Vec<T>, Error> {
        Ok(match &self.source {
            Source::Tensor(tensor) => self.stored(tensor, layer, changes)?,
            Source::Value(value) => value
                .data
                .iter()
                .map(|x| T::from_f64(x.unwrap_or(f64::NAN)))
                .collect(),
            Source::Reshape(c) => c.values(layer, changes)?,
            Source::Transpose(c, perm) => {
                strided::transpose(&c.dims, perm).read(&c.values::<T>(layer, changes)?)
            }
            Source::Slice(c, ranges) => {
                strided::slice(&c.dims, ranges).read(&c.values::<T>(layer, changes)?)
            }
            Source::Concat(parts, axis) => {
                let data = parts
                    .iter()
                    .map(|c| c.values::<T>(layer, changes))
                    .collect::<Result<Vec<_>, _>>()?;
                let parts: Vec<(&[usize], &[T])> = parts
                    .iter()
                    .zip(&data)
                    .map(|(c, d)| (c.dims.as_slice(), d.as_slice()))
                    .collect();
                strided::concat(&parts, *axis)
            }
            Source::Round(c, element) => {
                let values = c.values::<T>(layer, changes)?;
                let rounded: Vec<T> = values.iter().map(|&x| round(x, *element)).collect();
                if let Some(i) = rounded.iter().position(|x| !x.is_finite()) {
                    let problem = format!(
                        "does not fit {}, to which the model converts it; export it without that conversion",
                        element.name()
                    );
                    return Err(self.overflow(layer, i, values[i].to_f64(), problem));
                }
                rounded
            }
            Source::Arithmetic(operation, a, b) => {
                let a = broadcast_values(a, &self.dims, layer, changes)?;
                let b = broadcast_values(b, &self.dims, layer, changes)?;
                let pairs = a.iter().zip(&b);
                pairs
                    .enumerate()
                    .map(|(i, (x, y)): (usize, (&T, &T))| {
                        let exact = operation.apply(x.to_f64(), y.to_f64());
                        let fits = T::from_f64(exact);
                        if exact.is_finite() && !fits.is_finite() {
                            return Err(self.overflow(layer, i, exact, does_not_fit::<T>()));
                        }
                        Ok(fits)
                    })
                    .collect::<Result<_, _>>()?
            }
        })
    }
}

fn broadcast_values<T: Real>(
    constant: &Constant,
    dims: &[usize],
    layer: &str,
    changes: &Changes,
) -> Result<Vec<T>, Error> {
    let values = constant.values::<T>(layer, changes)?;
    Ok(match strided::broadcast(&constant.dims, dims) {
        Some(view) => view.read(&values),
        // The dimensions were checked when the expression was made.
        None => values,
    })
}

fn round<T: Real>(x: T, element: ElementType) -> T {
    T::from_f64(rounded(x.to_f64(), element))
}

/// The nearest number that a floating-point type can hold.
pub(crate) fn rounded(x: f64, element: ElementType) -> f64 {
    match element {
        ElementType::F16 => half::f16::from_f64(x).to_f64(),
        ElementType::BF16 => half::bf16::from_f64(x).to_f64(),
        ElementType::F32 => f64::from(x as f32),
        _ => x,
    }
}

/// What is wrong with a number that is infinite in `T`.
pub(crate) fn does_not_fit<T>() -> String {
    let precision = std::any::type_name::<T>();
    let advice = if precision == "f32" {
        "; try --precision f64"
    } else {
        ""
    };
    format!("does not fit {precision}{advice}")
}
