//! Proven intervals around the spectral norm: bounds, never mixed with estimates.

use std::fmt;

use crate::error::Error;
use crate::operator::LinearOperator;

/// Why one end of an interval holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Argument {
    /// Lower: ||M v|| / ||v|| of one vector.
    Vector,
    /// The Gram iteration on a matrix (Delattre et al. 2023).
    Gram,
    /// The largest norm of a frequency block of a circular convolution that contains the operator.
    Frequency,
    /// The supremum over all frequencies, bounded from a grid (LipGrid: Araujo et al. 2021).
    LipGrid,
    /// The supremum over all frequencies, bounded by four reshaped norms (Singla & Feizi 2021).
    FantasticFour,
    /// sqrt(||M||_1 ||M||_inf) (Schur's test).
    Schur,
    /// The Frobenius norm.
    Frobenius,
    /// The largest factor of a layer that multiplies channels, such as batch normalisation.
    Channels,
    /// The product of the norms along each axis (pooling, resampling, padding).
    Axes,
    /// The product of the bounds of the parts.
    Composition,
    /// The sum of the bounds of the terms.
    Sum,
    /// The Krylov space of random vectors (Kuczynski & Wozniakowski 1992); holds with a probability.
    Krylov,
}

impl Argument {
    /// The name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Gram => "gram",
            Self::Frequency => "frequency",
            Self::LipGrid => "lipgrid",
            Self::FantasticFour => "fantastic-four",
            Self::Schur => "schur",
            Self::Frobenius => "frobenius",
            Self::Channels => "channels",
            Self::Axes => "axes",
            Self::Composition => "composition",
            Self::Sum => "sum",
            Self::Krylov => "krylov",
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How an interval is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// The arguments that may be used for the upper end; empty for the tightest that are affordable.
    pub arguments: Vec<Argument>,
    /// The probability with which a random argument may fail; 0 allows none.
    pub failure_probability: f64,
    /// Seed of the random start vectors.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            failure_probability: 1e-9,
            seed: 0,
        }
    }
}

/// An interval that contains the spectral norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// No larger than the spectral norm.
    pub lower: f64,
    /// No smaller than the spectral norm, but for the failure probability.
    pub upper: f64,
    /// Why the lower end holds.
    pub lower_by: Argument,
    /// Why the upper end holds.
    pub upper_by: Argument,
    /// The probability with which the upper end fails: 0 for a deterministic argument.
    pub failure_probability: f64,
}

impl Interval {
    /// The width relative to the lower end.
    pub fn gap(&self) -> f64 {
        if self.upper == self.lower {
            0.0
        } else {
            self.upper / self.lower - 1.0
        }
    }
}

/// An interval that contains the spectral norm of an operator.
///
/// # Errors
/// [`Error::NotApplicable`] when no argument that was asked for applies, and what the operator refuses.
pub fn interval<Op: LinearOperator + ?Sized>(op: &Op, params: &Params) -> Result<Interval, Error> {
    let _ = params;
    let upper = op.frobenius().ok_or_else(|| Error::NotApplicable {
        method: "frobenius",
        reason: "the operator's entries are not known".to_owned(),
    })?;
    Ok(Interval {
        lower: 0.0,
        upper,
        lower_by: Argument::Vector,
        upper_by: Argument::Frobenius,
        failure_probability: 0.0,
    })
}
