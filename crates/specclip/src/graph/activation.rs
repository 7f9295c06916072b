//! Activation functions and their Lipschitz constants.

use std::borrow::Cow;

use crate::error::Error;

/// A function with a known Lipschitz constant in the 2-norm, mostly one that acts on each element.
///
/// For a function of one number the constant is the supremum of |f'|; acting on every element of
/// an array, it is the same for the array. The constructors say how each supremum is found. Suprema
/// that have no closed form are rounded up in the last digit given.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    name: Cow<'static, str>,
    lipschitz: f64,
}

impl Activation {
    /// A function called `name` with the Lipschitz constant `lipschitz`, which the caller answers
    /// for.
    ///
    /// # Errors
    /// When the constant is negative or not finite.
    pub fn new(name: impl Into<Cow<'static, str>>, lipschitz: f64) -> Result<Self, Error> {
        let name = name.into();
        if !(lipschitz.is_finite() && lipschitz >= 0.0) {
            let problem = format!("{name} cannot have the Lipschitz constant {lipschitz}");
            return Err(Error::invalid("activation", problem));
        }
        Ok(Self { name, lipschitz })
    }

    const fn known(name: &'static str, lipschitz: f64) -> Self {
        Self {
            name: Cow::Borrowed(name),
            lipschitz,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A Lipschitz constant.
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }

    /// max(0, x): 1.
    pub const fn relu() -> Self {
        Self::known("relu", 1.0)
    }

    /// x for x > 0, else slope x, with one slope or several: the largest of 1 and |slope|.
    ///
    /// # Errors
    /// When a slope is not finite.
    pub fn leaky_relu(slopes: &[f64]) -> Result<Self, Error> {
        let largest = slopes.iter().fold(1.0, |l: f64, s| nan_max(l, s.abs()));
        Self::new("leaky_relu", largest)
    }

    /// tanh: 1, at 0.
    pub const fn tanh() -> Self {
        Self::known("tanh", 1.0)
    }

    /// 1 / (1 + exp(-x)): 1/4, at 0.
    pub const fn sigmoid() -> Self {
        Self::known("sigmoid", 0.25)
    }

    /// slope x + shift, kept between 0 and 1: |slope|.
    ///
    /// # Errors
    /// When the slope is not finite.
    pub fn hard_sigmoid(slope: f64) -> Result<Self, Error> {
        Self::new("hard_sigmoid", slope.abs())
    }

    /// x min(1, max(0, x / 6 + 1/2)): the derivative x / 3 + 1/2 on [-3, 3] reaches 3/2.
    pub const fn hard_swish() -> Self {
        Self::known("hard_swish", 1.5)
    }

    /// x for x > 0, else alpha (exp(x) - 1): the larger of 1 and |alpha|.
    ///
    /// # Errors
    /// When alpha is not finite.
    pub fn elu(alpha: f64) -> Result<Self, Error> {
        Self::new("elu", nan_max(alpha.abs(), 1.0))
    }

    /// gamma times elu with alpha: |gamma| times the larger of 1 and |alpha|, 1.7581 for the usual
    /// numbers (Klambauer et al. 2017).
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn selu(alpha: f64, gamma: f64) -> Result<Self, Error> {
        Self::new("selu", gamma.abs() * nan_max(alpha.abs(), 1.0))
    }

    /// x for x > 0, else alpha (exp(x / alpha) - 1): 1 for a positive alpha.
    ///
    /// # Errors
    /// When alpha is not positive; the function is unbounded then.
    pub fn celu(alpha: f64) -> Result<Self, Error> {
        if alpha > 0.0 {
            return Ok(Self::known("celu", 1.0));
        }
        let problem = format!("celu needs a positive alpha, found {alpha}");
        Err(Error::invalid("activation", problem))
    }

    /// log(1 + exp(x)): its derivative is the sigmoid, below 1.
    pub const fn softplus() -> Self {
        Self::known("softplus", 1.0)
    }

    /// x / (1 + |x|): 1, at 0.
    pub const fn softsign() -> Self {
        Self::known("softsign", 1.0)
    }

    /// x moved towards 0 by a threshold: 1.
    pub const fn soft_shrink() -> Self {
        Self::known("soft_shrink", 1.0)
    }

    /// x kept between two numbers: 1.
    pub const fn clip() -> Self {
        Self::known("clip", 1.0)
    }

    /// |x|: 1.
    pub const fn abs() -> Self {
        Self::known("abs", 1.0)
    }

    /// A sine or a cosine: 1.
    pub const fn sine() -> Self {
        Self::known("sine", 1.0)
    }

    /// The arc tangent: 1, at 0.
    pub const fn atan() -> Self {
        Self::known("atan", 1.0)
    }

    /// The inverse of the hyperbolic sine: 1, at 0.
    pub const fn asinh() -> Self {
        Self::known("asinh", 1.0)
    }

    /// The error function: 2 / sqrt(pi), at 0.
    pub const fn erf() -> Self {
        Self::known("erf", std::f64::consts::FRAC_2_SQRT_PI)
    }

    /// x Phi(x) with Phi the normal distribution function: 1.12891, at sqrt 2, where the second
    /// derivative (2 - x^2) phi(x) vanishes.
    pub const fn gelu() -> Self {
        Self::known("gelu", 1.128_905)
    }

    /// The approximation of gelu by tanh: 1.12900, at 1.4185.
    pub const fn gelu_tanh() -> Self {
        Self::known("gelu_tanh", 1.129)
    }

    /// x sigmoid(beta x), with any beta: 1.09984, at beta x = 2.39936.
    pub const fn silu() -> Self {
        Self::known("silu", 1.09984)
    }

    /// x tanh(softplus(x)): 1.08850, at 1.49057.
    pub const fn mish() -> Self {
        Self::known("mish", 1.088_499)
    }

    /// Softmax: 1/2. The derivative diag(p) - p p' is symmetric and semidefinite, and the absolute
    /// values of its row i add up to 2 p_i (1 - p_i).
    pub const fn softmax() -> Self {
        Self::known("softmax", 0.5)
    }

    /// The logarithm of softmax over `n` numbers: sqrt(n). The derivative I - 1 p' is a projection,
    /// as the p_i add up to 1, so its norm is that of the projection 1 p': sqrt(n) ||p||.
    pub fn log_softmax(n: usize) -> Self {
        Self::known("log_softmax", (n as f64).sqrt())
    }

    /// The 2-norms of disjoint sets of elements: 1.
    pub const fn norm() -> Self {
        Self::known("norm", 1.0)
    }

    /// The largest (or smallest) of disjoint sets of elements: 1.
    pub const fn extremum() -> Self {
        Self::known("extremum", 1.0)
    }
}

/// The larger of two numbers, NaN if one is: [`f64::max`] would hide it.
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
