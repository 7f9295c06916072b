//! Leading singular values and vectors of any operator.
//!
//! [`singular_values`] picks a solver: an exact one where the operator's structure gives its values
//! away, a dense decomposition for small operators, else thick-restart block Golub-Kahan-Lanczos; [`Params::method`] forces one. The result is a list of [`Triplets`]
//! (u, sigma, v), each with its residual ||M' u - sigma v|| and its [`State`]. Some singular value
//! of M lies within the residual of each sigma; that it is the i-th is what the solvers' restarts
//! check (see `lanczos`), and what only an exact decomposition proves.

use crate::block::Block;
use crate::error::Error;
use crate::operator::{LinearOperator, Structure};

pub(crate) mod basis;
mod circulant;
mod exact;
mod lanczos;
mod power_qr;
mod structured;

pub(crate) use exact::failed;

/// Operators whose smaller dimension is at most this go to a dense decomposition.
const DENSE_LIMIT: usize = 300;

/// The larger dimension up to which that holds.
const DENSE_LENGTH: usize = 1 << 15;

/// How singular values are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// Structured where that applies, dense when the smaller dimension is at most 300, else Lanczos.
    #[default]
    Auto,
    /// Thick-restart block Golub-Kahan-Lanczos bidiagonalisation.
    Lanczos,
    /// PowerQR: subspace iteration on mu I + M'M, the reference method.
    PowerQr,
    /// Singular value decomposition of the materialised operator.
    Dense,
    /// Decomposition by frequencies, for convolutions with circular padding.
    Circulant,
    /// Exact, from the operator's structure: one factor for each channel (batch normalisation),
    /// convolutions with single taps, one matrix for each axis (pooling, resampling, padding).
    Structured,
}

/// The shift mu of PowerQR.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    /// A number; 1 is the paper's code, 0 has no trouble with small singular values.
    Fixed(f64),
    /// This factor times the first estimate of sigma_1 squared: the same behaviour at any scale.
    Relative(f64),
}

/// What a solver is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// The solver.
    pub method: Method,
    /// A triplet has converged when its residual is at most `tolerance` times sigma_1. Values that
    /// differ by less than that cannot be told apart.
    pub tolerance: f64,
    /// Seed of the random start vectors.
    pub seed: u64,
    /// Actions of M and of its transpose, together, after which an iterative solver gives up.
    pub max_matvecs: usize,
    /// Vectors multiplied at one time by Lanczos; chosen by the number of values when `None`.
    pub block: Option<usize>,
    /// Shift of PowerQR.
    pub shift: Shift,
    /// Iterations of PowerQR: exactly so many, instead of until convergence.
    pub iterations: Option<usize>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            tolerance: 1e-4,
            seed: 0,
            max_matvecs: 20_000,
            block: None,
            shift: Shift::Fixed(1.0),
            iterations: None,
        }
    }
}

/// Whether a triplet meets the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The residual is at most the tolerance times sigma_1.
    Converged,
    /// It is not: sigma is a lower estimate.
    NotConverged,
}

/// Singular triplets, largest first: M v_i = sigma_i u_i and M' u_i = sigma_i v_i up to the residual.
#[derive(Debug, Clone)]
pub struct Triplets<B> {
    /// Left singular vectors, one column each.
    pub u: B,
    /// Singular values, in descending order.
    pub sigma: Vec<f64>,
    /// Right singular vectors, one column each.
    pub v: B,
    /// ||M' u_i - sigma_i v_i||, computed with the operator itself.
    pub residuals: Vec<f64>,
    /// Whether each triplet meets the tolerance.
    pub states: Vec<State>,
    /// Actions of M and of its transpose, together, each on one vector.
    pub matvecs: usize,
    /// The solver that ran.
    pub method: Method,
}

impl<B> Triplets<B> {
    /// Whether all triplets have converged.
    pub fn converged(&self) -> bool {
        self.states.iter().all(|&s| s == State::Converged)
    }
}

/// All singular values of an operator.
#[derive(Debug, Clone)]
pub struct Spectrum {
    /// In descending order, each as often as it occurs; min(inputs, outputs) of them.
    pub sigma: Vec<f64>,
    /// The exact method: [`Method::Structured`], [`Method::Circulant`] or [`Method::Dense`].
    pub method: Method,
}

/// The `k` largest singular triplets of an operator, or all where there are fewer.
///
/// # Errors
/// When `k` is zero, a parameter is out of range, or the method does not apply.
///
/// ```
/// use specclip::operator::{Conv, ConvParams, PaddingMode};
/// use specclip::svd::{Params, singular_values};
///
/// // sigma_1 and sigma_2 of this layer differ by 1.2e-4 of their size.
/// let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
/// let conv = Conv::<f64>::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, 32, 32], &params)?;
/// let accurate = Params { tolerance: 1e-7, ..Params::default() };
/// let top = singular_values(&conv, 1, &accurate)?;
/// assert!(top.converged() && (top.sigma[0] - 9.316035).abs() < 1e-6);
/// # Ok::<(), specclip::Error>(())
/// ```
pub fn singular_values<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
) -> Result<Triplets<Op::Block>, Error> {
    solve(op, k, params, None)
}

/// [`singular_values`] from earlier right singular vectors: fewer actions when they still nearly
/// fit. Methods that do not iterate ignore them.
///
/// # Errors
/// As [`singular_values`], and when the vectors have another length than the operator's inputs.
pub fn singular_values_from<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
    start: &Op::Block,
) -> Result<Triplets<Op::Block>, Error> {
    if start.rows() != op.inputs() || start.cols() == 0 {
        return Err(Error::shape(
            "warm start",
            &[op.inputs(), k],
            &[start.rows(), start.cols()],
        ));
    }
    solve(op, k, params, Some(start))
}

fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
    start: Option<&Op::Block>,
) -> Result<Triplets<Op::Block>, Error> {
    const NAME: &str = "singular values";
    if k == 0 {
        return Err(Error::invalid(NAME, "ask for at least one value"));
    }
    if !params.tolerance.is_finite() || params.tolerance <= 0.0 {
        return Err(Error::invalid(
            NAME,
            format!("the tolerance {} must be positive", params.tolerance),
        ));
    }
    if params.block == Some(0) {
        return Err(Error::invalid(NAME, "a block needs at least one vector"));
    }
    let smaller = op.inputs().min(op.outputs());
    let k = k.min(smaller);
    let small = smaller <= DENSE_LIMIT && op.inputs().max(op.outputs()) <= DENSE_LENGTH;
    // On a thread of the pool: entering it anew for every action would cost more than a small one.
    rayon::scope(|_| match params.method {
        Method::Auto => match structured::solve(op, k, params)? {
            Some(triplets) => Ok(triplets),
            None if small => exact::solve(op, k, params),
            None => lanczos::solve(op, k, params, start),
        },
        Method::Structured => {
            structured::solve(op, k, params)?.ok_or_else(|| Error::NotApplicable {
                method: "structured",
                reason: "the operator's structure does not give its singular values; use auto"
                    .to_owned(),
            })
        }
        Method::Lanczos => lanczos::solve(op, k, params, start),
        Method::PowerQr => power_qr::solve(op, k, params, start),
        Method::Dense => exact::solve(op, k, params),
        Method::Circulant => circulant::solve(op, k, params),
    })
}

/// Every singular value, where an exact method can afford it: from the operator's structure, by
/// frequencies where it is circulant, else densely up to a smaller dimension of 3000.
///
/// # Errors
/// [`Error::TooExpensive`] with the cost of the decomposition when that is too large.
pub fn full_spectrum<Op: LinearOperator + ?Sized>(op: &Op) -> Result<Spectrum, Error> {
    if let Some(sigma) = structured::spectrum(op)? {
        return Ok(Spectrum {
            sigma,
            method: Method::Structured,
        });
    }
    if let Structure::Filters(bank) = op.structure()
        && let Ok(circulant) = circulant::Circulant::new(bank)
    {
        return Ok(Spectrum {
            sigma: circulant.spectrum()?,
            method: Method::Circulant,
        });
    }
    Ok(Spectrum {
        sigma: exact::values(op)?,
        method: Method::Dense,
    })
}

/// Measures residuals with the operator itself and judges them.
fn finish<Op: LinearOperator + ?Sized>(
    op: &Op,
    (u, sigma, v): (Op::Block, Vec<f64>, Op::Block),
    params: &Params,
    matvecs: usize,
    method: Method,
) -> Result<Triplets<Op::Block>, Error> {
    let k = sigma.len();
    let mut residual = op.input_block(k);
    op.adjoint(&u, &mut residual)?;
    let minus = faer::Mat::from_fn(k, k, |i, j| if i == j { -sigma[i] } else { 0.0 });
    residual.add_combination(&v, 0..k, minus.as_ref());
    let residuals = residual.norms();
    let most = params.tolerance * sigma.first().copied().unwrap_or(0.0);
    let states = residuals
        .iter()
        .map(|&r| {
            if r <= most {
                State::Converged
            } else {
                State::NotConverged
            }
        })
        .collect();
    Ok(Triplets {
        u,
        sigma,
        v,
        residuals,
        states,
        matvecs: matvecs + k,
        method,
    })
}
