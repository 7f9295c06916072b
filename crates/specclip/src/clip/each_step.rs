//! What rivals do to a layer after each step of the optimiser, with a largest singular value that one
//! iteration of the power method follows.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, get_global_parallelism};

use super::warm::Followed;
use super::{is_weight, scale};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::operator::Structure;
use crate::random::Random;
use crate::weight::Parametric;

/// How a norm above c is brought down after each step of the optimiser. What is above is found by one
/// iteration of the power method, a lower estimate: none of these methods promises a norm of at most c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EachStep {
    /// All weights times c / sigma_1 (Gouk et al. 2021).
    Scale,
    /// The weight matrix of a dense layer through an odd polynomial that lowers its largest singular value
    /// to c and hardly touches small ones: the soft cap of Newhouse et al. 2025 ("Training Transformers with Enforced
    /// Lipschitz Constants"), x - a x^3 and then y + a y^3. Theirs chooses a for the largest norm that an update of bounded norm can
    /// lead to; here it is chosen for the norm that is there, as updates have no such bound.
    SoftCap,
    /// The largest singular value of a dense layer becomes c and the others stay: the hammer of
    /// Newhouse et al. 2025.
    Hammer,
}

impl EachStep {
    /// Whether a layer that is no dense one is refused.
    pub fn is_for_dense_layers(self) -> bool {
        matches!(self, Self::SoftCap | Self::Hammer)
    }

    /// Lowers the norm that was followed, which is above `c`.
    pub(super) fn apply<P: Parametric + ?Sized>(
        self,
        op: &mut P,
        c: f64,
        found: &Followed<P::Scalar>,
    ) -> Result<(), Error> {
        match self {
            Self::Scale => scale::multiply_at_once(op, c / found.sigma),
            Self::SoftCap => {
                let matrix = matrix(op, "soft cap")?;
                let capped = soft_cap(&matrix, found.sigma, c);
                // Singular values of more than about twice what was followed explode in the polynomial: what comes out
                // above all others is found at once.
                if norm_estimate(&capped) <= 1.5 * found.sigma {
                    write(op, capped.as_ref())
                } else {
                    scale::multiply_at_once(op, c / found.sigma)
                }
            }
            Self::Hammer => {
                let mut matrix = matrix(op, "hammer")?;
                let side = |x: &Columns<P::Scalar>| {
                    Mat::from_fn(x.as_slice().len(), 1, |i, _| x.as_slice()[i].to_f64())
                };
                let (u, v) = (side(&found.u), side(&found.v));
                let par = get_global_parallelism();
                matmul(
                    matrix.as_mut(),
                    Accum::Add,
                    u.as_ref(),
                    v.transpose(),
                    c - found.sigma,
                    par,
                );
                write(op, matrix.as_ref())
            }
        }
    }
}

/// The matrix of a dense layer.
fn matrix<P: Parametric + ?Sized>(op: &P, method: &'static str) -> Result<Mat<f64>, Error> {
    if let Structure::Matrix(matrix) = op.structure() {
        let cols = matrix.ncols().max(1);
        let entries = matrix.nrows() * matrix.ncols();
        let rows: Vec<f64> = (0..entries).map(|i| matrix[(i / cols, i % cols)]).collect();
        if is_weight(op, &rows) {
            return Ok(matrix);
        }
    }
    Err(Error::NotApplicable {
        method,
        reason: "it lowers the singular values of the weight matrix, and only those of a dense layer are those of the operator"
            .to_owned(),
    })
}

fn write<P: Parametric + ?Sized>(op: &mut P, matrix: MatRef<'_, f64>) -> Result<(), Error> {
    let cols = matrix.ncols().max(1);
    let entries = matrix.nrows() * matrix.ncols();
    let weight = (0..entries).map(|i| P::Scalar::from_f64(matrix[(i / cols, i % cols)]));
    op.set_weights(&[weight.collect()])
}

/// Down to this ratio of c to sigma_1 the polynomial grows on all singular values between zero and sigma_1.
const LEAST_RATIO: f64 = 0.77;

/// Lowers the largest singular value, `sigma`, to `c`, or to as much of itself as leaves the order of singular values
/// as it is; further steps do the rest.
fn soft_cap(matrix: &Mat<f64>, sigma: f64, c: f64) -> Mat<f64> {
    let ratio = (c / sigma).max(LEAST_RATIO);
    let a = strength(ratio) / (sigma * sigma);
    with_cubes(with_cubes(matrix.clone(), -a), a)
}

/// The t = a sigma^2 with which the polynomial brings sigma to `ratio` sigma: 1 - 3 t^2 + 3 t^3 - t^4, which
/// falls from 1 to 0 between 0 and 1.
fn strength(ratio: f64) -> f64 {
    let falls = |t: f64| 1.0 + t * t * (-3.0 + t * (3.0 - t));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let t = 0.5 * (low + high);
        if falls(t) > ratio {
            low = t;
        } else {
            high = t;
        }
    }
    high
}

/// The norm of a matrix by ten iterations of the power method: a lower estimate.
fn norm_estimate(matrix: &Mat<f64>) -> f64 {
    let mut random = Random::new(0);
    let mut v = Columns::<f64>::zeros(matrix.ncols(), 1);
    random.fill(&mut v);
    let mut v = Mat::from_fn(matrix.ncols(), 1, |i, _| v.as_slice()[i]);
    let mut norm = 0.0;
    for _ in 0..10 {
        let u = matrix * &v;
        norm = u.norm_l2() / v.norm_l2();
        v = matrix.transpose() * &u;
        v *= faer::Scale(1.0 / v.norm_l2());
    }
    norm
}

/// X + a X X'X.
fn with_cubes(x: Mat<f64>, a: f64) -> Mat<f64> {
    let par = get_global_parallelism();
    let wide = x.nrows() < x.ncols();
    let side = x.nrows().min(x.ncols());
    let mut gram = Mat::zeros(side, side);
    let mut result = x.clone();
    let (x, t) = (x.as_ref(), x.transpose());
    if wide {
        matmul(gram.as_mut(), Accum::Replace, x, t, 1.0, par);
        matmul(result.as_mut(), Accum::Add, gram.as_ref(), x, a, par);
    } else {
        matmul(gram.as_mut(), Accum::Replace, t, x, 1.0, par);
        matmul(result.as_mut(), Accum::Add, x, gram.as_ref(), a, par);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every singular value goes through the polynomial, and none overtakes another.
    #[test]
    fn a_soft_cap_is_a_function_of_singular_values() {
        for (rows, cols) in [(5, 5), (5, 9), (9, 5)] {
            let sigma = [3.0, 1.3, 1.0, 0.4, 0.01];
            let diagonal = Mat::from_fn(rows, cols, |i, j| if i == j { sigma[i] } else { 0.0 });
            for (c, largest) in [(2.7, 2.7), (1.0, 3.0 * LEAST_RATIO)] {
                let capped = soft_cap(&diagonal, 3.0, c);
                let after: Vec<f64> = (0..5).map(|i| capped[(i, i)]).collect();
                assert!((after[0] - largest).abs() < 1e-9, "{after:?}");
                assert!(after.windows(2).all(|w| w[0] > w[1]), "{after:?}");
                assert!((after[4] - 0.01).abs() < 1e-6, "{after:?}");
            }
        }
        let by_hand = |x: f64, a: f64| {
            let y = x - a * x.powi(3);
            y + a * y.powi(3)
        };
        let a = strength(0.9);
        assert!((by_hand(1.0, a) - 0.9).abs() < 1e-12);
    }
}
