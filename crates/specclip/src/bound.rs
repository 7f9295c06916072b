//! Proven intervals around the spectral norm: bounds, never mixed with estimates.
//!
//! [`interval`] brackets the norm with the tightest affordable [`Argument`]; [`upper`] says what one
//! argument gives; [`krylov`] fixes the size of a Krylov space. [`gram_gradient`] and
//! [`norm_gradient`] are for penalties in training.

use std::fmt;

mod action;
mod choice;
mod cost;
mod cover;
mod dense;
mod double;
mod frequency;
mod gradient;
mod gram;
mod krylov;
pub mod network;
mod normal;
mod rounding;
mod schur;
mod torus;

pub use gradient::{Gradient, gram_gradient, norm_gradient};
pub use krylov::Krylov;

use crate::error::Error;
use crate::operator::LinearOperator;

/// Products of the Gram iteration behind [`Argument::Gram`]: it exceeds the norm of a matrix with n
/// equal singular values by a factor of n^(1/128), 5 % for n = 512, and that of others by less.
pub const GRAM_PRODUCTS: usize = 6;

/// Why one end of an interval holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Argument {
    /// Lower: ||M v|| / ||v|| of one vector.
    Vector,
    /// The Gram iteration on a matrix (Delattre et al. 2023).
    Gram,
    /// M'M is below a multiple of the identity, by a Cholesky factorisation of the difference (after
    /// Rump 2006).
    Cholesky,
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
    /// All that bound from above.
    pub const UPPER: [Self; 12] = [
        Self::Gram,
        Self::Cholesky,
        Self::Frequency,
        Self::LipGrid,
        Self::FantasticFour,
        Self::Schur,
        Self::Frobenius,
        Self::Channels,
        Self::Axes,
        Self::Composition,
        Self::Sum,
        Self::Krylov,
    ];

    /// The name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Gram => "gram",
            Self::Cholesky => "cholesky",
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

/// The value of one argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upper {
    /// No smaller than the spectral norm, but for the failure probability.
    pub value: f64,
    /// The probability with which that fails: 0 for a deterministic argument.
    pub failure_probability: f64,
}

/// An interval that contains the spectral norm of an operator.
///
/// The lower end is ||M v|| / ||v|| for the leading singular vector v that the default solver finds,
/// computed anew in `f64`. The upper end is the tightest of the affordable arguments (those that take at
/// most several times as long as the largest singular value), or of those that [`Params::arguments`] names; a random argument is used only where
/// the deterministic ones leave a gap of more than 2 %.
///
/// M is the operator with its weights and factors taken as exact numbers, whatever type it computes
/// in, and both ends allow for all rounding of this computation (see the modules' sources for the
/// error terms; results below 1e-290 are not covered, for there numbers vanish). Of a closure nothing
/// is known but its values: then M is what the closure computes, and its own rounding is not covered.
///
/// # Errors
/// [`Error::NotApplicable`] when no argument that was asked for applies, and what the operator refuses.
///
/// ```
/// use specclip::bound::{Params, interval};
/// use specclip::operator::{Conv, ConvParams, PaddingMode};
///
/// let params = ConvParams::new(2).padding(1, PaddingMode::Zeros);
/// let conv = Conv::<f32>::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, 32, 32], &params)?;
/// let norm = interval(&conv, &Params::default())?;
/// assert!(norm.lower > 8.93 && norm.upper <= 9.0 && norm.failure_probability == 0.0);
/// # Ok::<(), specclip::Error>(())
/// ```
pub fn interval<Op: LinearOperator + ?Sized>(op: &Op, params: &Params) -> Result<Interval, Error> {
    check(params)?;
    choice::interval(op, params)
}

/// What one argument says, even where another is tighter.
///
/// # Errors
/// [`Error::NotApplicable`] where the argument says nothing about such an operator, and what the
/// operator refuses.
pub fn upper<Op: LinearOperator + ?Sized>(
    op: &Op,
    argument: Argument,
    params: &Params,
) -> Result<Upper, Error> {
    check(params)?;
    choice::upper(op, argument, params)
}

/// The probabilistic bound with a Krylov space of a given size.
///
/// # Errors
/// [`Error::NotApplicable`] where a space of this size says nothing at this probability, and what
/// the operator refuses.
pub fn krylov<Op: LinearOperator + ?Sized>(
    op: &Op,
    size: &Krylov,
    params: &Params,
) -> Result<Upper, Error> {
    check(params)?;
    if size.steps == 0 || size.block == 0 {
        return Err(Error::invalid(
            "krylov",
            "steps and vectors must be at least 1",
        ));
    }
    let value = size.bound(op, params.failure_probability, params.seed)?;
    Ok(Upper {
        value,
        failure_probability: params.failure_probability,
    })
}

fn check(params: &Params) -> Result<(), Error> {
    if (0.0..1.0).contains(&params.failure_probability) {
        return Ok(());
    }
    Err(Error::invalid(
        "bound",
        format!(
            "the failure probability {} must be at least 0 and below 1",
            params.failure_probability
        ),
    ))
}
