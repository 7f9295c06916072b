//! Every error of the library. A message says what was wrong, where, and what to try.

/// Why an operation of this library was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes that must agree do not.
    #[error("{operation}: expected shape {expected:?}, found {found:?}")]
    ShapeMismatch {
        /// The operation that was asked for.
        operation: &'static str,
        /// The shape that the operation needs.
        expected: Vec<usize>,
        /// The shape that it was given.
        found: Vec<usize>,
    },
    /// A parameter has a value for which the operator or method does not exist.
    #[error("{operation}: {problem}")]
    InvalidParameter {
        /// The operation that was asked for.
        operation: &'static str,
        /// The parameter, its value and what would be accepted.
        problem: String,
    },
    /// A weight or a vector has a NaN or an infinity.
    #[error(
        "{what} has the value {value} at index {index}: only finite numbers have singular values"
    )]
    NonFinite {
        /// What holds the value, for instance a layer's name.
        what: String,
        /// The flat, row-major index of the first such entry.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A closure declared linear (or affine) is not.
    #[error(
        "the function is not affine: at inputs of magnitude {magnitude:e} it departs from \
         linearity by {deviation:.1e} (relative; rounding explains {allowed:.1e}); only linear \
         layers have singular values, so cut the function before its activation"
    )]
    NotLinear {
        /// The magnitude of the probing vectors.
        magnitude: f64,
        /// The relative deviation that was seen.
        deviation: f64,
        /// The largest deviation that is accepted.
        allowed: f64,
    },
    /// The adjoint of a closure is not the adjoint of its forward action.
    #[error(
        "the function's adjoint is wrong: <y, M x> and <M' y, x> differ by {deviation:.1e} \
         (relative; rounding explains {allowed:.1e})"
    )]
    NotAdjoint {
        /// The relative deviation that was seen.
        deviation: f64,
        /// The largest deviation that is accepted.
        allowed: f64,
    },
    /// The method's conditions do not hold for this operator.
    #[error("{method} does not apply: {reason}")]
    NotApplicable {
        /// The method.
        method: &'static str,
        /// Which condition fails, and what to use instead.
        reason: String,
    },
    /// The exact computation would cost more than is allowed.
    #[error(
        "{operation}: {what} needs {gigabytes:.1} GB and about {teraflop:.1} Tflop; the limit is \
         {limit}, so ask for the leading values by lanczos instead"
    )]
    TooExpensive {
        /// What was asked for.
        operation: &'static str,
        /// The matrix or matrices to be decomposed.
        what: String,
        /// Their memory in 10^9 bytes.
        gigabytes: f64,
        /// Operations of the singular value decomposition in 10^12.
        teraflop: f64,
        /// What is accepted.
        limit: &'static str,
    },
    /// A product of dimensions does not fit in memory's address range.
    #[error("{operation}: the dimensions {dimensions:?} multiply to more than can be addressed")]
    TooLarge {
        /// What was asked for.
        operation: &'static str,
        /// The dimensions.
        dimensions: Vec<usize>,
    },
    /// A dense decomposition failed inside the linear algebra library.
    #[error("{operation}: the dense decomposition did not converge; try f64 or another method")]
    Decomposition {
        /// Which decomposition.
        operation: &'static str,
    },
}

impl Error {
    pub(crate) fn invalid(operation: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidParameter {
            operation,
            problem: problem.into(),
        }
    }

    pub(crate) fn shape(operation: &'static str, expected: &[usize], found: &[usize]) -> Self {
        Self::ShapeMismatch {
            operation,
            expected: expected.to_vec(),
            found: found.to_vec(),
        }
    }
}

/// The product of `dimensions`, or an error when it exceeds what memory can hold.
///
/// The limit is `isize::MAX / 16`: sixteen bytes an element, so that later arithmetic with offsets
/// cannot overflow either.
pub(crate) fn checked_product(
    operation: &'static str,
    dimensions: &[usize],
) -> Result<usize, Error> {
    dimensions
        .iter()
        .try_fold(1_usize, |product, &d| product.checked_mul(d))
        .filter(|&product| product <= isize::MAX as usize / 16)
        .ok_or_else(|| Error::TooLarge {
            operation,
            dimensions: dimensions.to_vec(),
        })
}

/// So many numbers are looked at together: a search that may end at any of them goes number by number.
const CHUNK: usize = 1 << 10;

/// Refuses NaN and infinities, naming the first.
pub(crate) fn check_finite<T: crate::Real>(what: &str, values: &[T]) -> Result<(), Error> {
    let all = |chunk: &[T]| chunk.iter().fold(true, |finite, x| finite & x.is_finite());
    let first = values.chunks(CHUNK).position(|chunk| !all(chunk));
    let rest = first.map_or(values.len(), |chunk| chunk * CHUNK)..values.len();
    match values[rest.clone()].iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(place) => Err(Error::NonFinite {
            what: what.to_owned(),
            index: rest.start + place,
            value: values[rest.start + place].to_f64(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In any chunk, and the first of several.
    #[test]
    fn the_first_that_is_no_number_is_named() {
        let mut values = vec![1.0; 3 * CHUNK + 5];
        assert!(check_finite("it", &values).is_ok());
        for place in [3 * CHUNK + 4, 2 * CHUNK, CHUNK + 7, 0] {
            values[place] = f64::NEG_INFINITY;
            match check_finite("it", &values) {
                Err(Error::NonFinite { index, .. }) => assert_eq!(index, place),
                found => panic!("{found:?}"),
            }
        }
    }
}
