//! What is known about one value of the graph.

use std::sync::Arc;

use crate::constant::Constant;
use crate::value::Value;

/// The dimensions of a value; `None` for a dimension that depends on data.
pub(crate) type Dims = Vec<Option<usize>>;

/// Arrays of more axes than this are not followed: their dimensions are copied to every value behind them.
pub(crate) const MOST_AXES: usize = 64;

/// Refuses a list of `n` axes that is too long.
pub(crate) fn few_axes(n: usize) -> Result<(), String> {
    if n > MOST_AXES {
        return Err(format!(
            "arrays of {n} axes are not followed, only of up to {MOST_AXES}"
        ));
    }
    Ok(())
}

/// How many samples a value holds the results of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// It depends on no input, or on the inputs' shapes alone.
    None,
    /// The length of the first axis of the inputs that it depends on.
    Of(usize),
    /// Those inputs disagree.
    Unknown,
}

impl Batch {
    /// The batch of a value that depends on two others.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            // A single sample is broadcast to many.
            (Self::None, b) | (b, Self::None | Self::Of(1)) | (Self::Of(1), b) => b,
            (Self::Of(a), Self::Of(b)) if a == b => Self::Of(a),
            _ => Self::Unknown,
        }
    }

    /// How many times an operator that is applied to `total` positions of a whole batch is applied to one sample;
    /// where the batch is unknown or `total` is no multiple of it, `total` itself.
    pub(crate) fn per_sample(self, total: usize) -> usize {
        match self {
            Self::Of(n) if n > 0 && total.is_multiple_of(n) => total / n,
            _ => total,
        }
    }
}

/// What is known about one value of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    /// The dimensions, or the reason why even their number is unknown.
    pub dims: Result<Dims, Arc<str>>,
    /// The numbers, when they are few and do not depend on the model's inputs' values.
    pub value: Option<Arc<Value>>,
    /// How the numbers follow from the file, when they do.
    pub constant: Option<Arc<Constant>>,
    /// Whether the numbers follow from the file, even where it is not known how. A branch or loop follows from it only
    /// if every value that its bodies read from around them does.
    pub independent: bool,
    /// Why the numbers are not read although they follow from the file: quantised, sparse, of another element type.
    pub unread: Option<Arc<str>>,
    /// The size of the batch that the value belongs to.
    pub batch: Batch,
}

impl Fact {
    /// A value of which only the dimensions are known.
    pub(crate) fn shaped(dims: Dims) -> Self {
        Self {
            dims: Ok(dims),
            value: None,
            constant: None,
            independent: false,
            unread: None,
            batch: Batch::None,
        }
    }

    /// A value with all dimensions known.
    pub(crate) fn fixed(dims: &[usize]) -> Self {
        Self::shaped(dims.iter().copied().map(Some).collect())
    }

    /// A value of which nothing is known.
    pub(crate) fn unknown(reason: impl Into<Arc<str>>) -> Self {
        Self {
            dims: Err(reason.into()),
            value: None,
            constant: None,
            independent: false,
            unread: None,
            batch: Batch::None,
        }
    }

    /// A small array of which at least some numbers are known.
    pub(crate) fn of_value(value: Value) -> Self {
        let mut fact = Self::fixed(&value.dims);
        let value = Arc::new(value);
        if value.known().is_some() {
            fact.constant = Some(Constant::value(value.clone()));
        }
        fact.value = Some(value);
        fact
    }

    /// An array that follows from the file.
    pub(crate) fn of_constant(constant: Arc<Constant>) -> Self {
        let mut fact = Self::fixed(&constant.dims);
        fact.constant = Some(constant);
        fact.independent = true;
        fact
    }

    /// The fact, without its dimensions if they are too many.
    pub(crate) fn bounded(self) -> Self {
        match self.dims.as_ref().map_or(Ok(()), |d| few_axes(d.len())) {
            Ok(()) => self,
            Err(reason) => Self {
                independent: self.independent,
                unread: self.unread,
                ..Self::unknown(reason)
            },
        }
    }

    /// The dimensions, if their number is known.
    pub(crate) fn dims(&self) -> Result<&Dims, String> {
        self.dims.as_ref().map_err(|reason| reason.to_string())
    }

    /// The dimensions, if all are known.
    pub(crate) fn known_dims(&self) -> Result<Vec<usize>, String> {
        let dims = self.dims()?;
        dims.iter()
            .copied()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| "its input has a dimension that depends on the data".to_owned())
    }

    /// The number of dimensions.
    pub(crate) fn rank(&self) -> Result<usize, String> {
        self.dims().map(Vec::len)
    }

    /// All numbers as integers.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        self.value.as_ref().and_then(|v| v.known_ints())
    }

    /// All numbers.
    pub(crate) fn floats(&self) -> Option<Vec<f64>> {
        self.value.as_ref().and_then(|v| v.known())
    }
}

/// `axis` counted from the front, for an array of `rank` axes.
pub(crate) fn axis_index(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 {
        axis + i64::try_from(rank).unwrap_or(i64::MAX)
    } else {
        axis
    };
    usize::try_from(from_front)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("axis {axis} does not exist in an array of {rank} axes"))
}

/// The product of dimensions, if all are known and it can be addressed.
pub(crate) fn count(dims: &[Option<usize>]) -> Option<usize> {
    let known: Vec<usize> = dims.iter().copied().collect::<Option<_>>()?;
    crate::input::element_count(&known)
}

/// The dimensions of two arrays broadcast together.
pub(crate) fn broadcast(a: &[Option<usize>], b: &[Option<usize>]) -> Result<Dims, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Option<usize>], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(j) => dims[j],
        None => Some(1),
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (Some(1), n) | (n, Some(1)) => Ok(n),
            (Some(n), Some(m)) if n == m => Ok(Some(n)),
            (Some(n), Some(m)) => Err(format!("dimensions {n} and {m} cannot be broadcast")),
            (Some(n), None) | (None, Some(n)) => Ok(Some(n)),
            (None, None) => Ok(None),
        })
        .collect()
}
