//! Matrices U diag(s) V' of low rank, as large as the operator.

use faer::{Mat, Side};

use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::svd::failed;

/// U diag(s) V' with unit columns in U and V and s >= 0.
#[derive(Clone)]
pub(super) struct LowRank<T> {
    pub(super) u: Columns<T>,
    pub(super) s: Vec<f64>,
    pub(super) v: Columns<T>,
}

impl<T: Real> LowRank<T> {
    pub(super) fn new(u: Columns<T>, s: Vec<f64>, v: Columns<T>) -> Self {
        Self { u, s, v }
    }

    pub(super) fn rank(&self) -> usize {
        self.s.len()
    }

    /// The sum of s: no less than the nuclear norm.
    pub(super) fn sum(&self) -> f64 {
        self.s.iter().sum()
    }

    /// y += factor U diag(s) V' x.
    pub(super) fn add_product(&self, factor: f64, x: &Columns<T>, y: &mut Columns<T>) {
        add_product(factor, (&self.u, &self.s, &self.v), x, y);
    }

    /// x += factor V diag(s) U' y.
    pub(super) fn add_transposed(&self, factor: f64, y: &Columns<T>, x: &mut Columns<T>) {
        add_product(factor, (&self.v, &self.s, &self.u), y, x);
    }

    /// The same matrix with orthonormal U and V, and s no larger in sum.
    pub(super) fn compressed(self) -> Result<Self, Error> {
        let (u, v) = (orthonormal(self.u.clone())?, orthonormal(self.v.clone())?);
        let mut left = u.gram(0..Block::cols(&u), &self.u);
        for (j, s) in self.s.iter().enumerate() {
            for i in 0..left.nrows() {
                left[(i, j)] *= s;
            }
        }
        let right = v.gram(0..Block::cols(&v), &self.v);
        let svd = (&left * right.transpose()).thin_svd().map_err(failed)?;
        let mut compressed = Self::new(u, svd.S().column_vector().iter().copied().collect(), v);
        compressed.u.rotate(svd.U());
        compressed.v.rotate(svd.V());
        let rank = compressed.s.len();
        compressed.u.truncate(rank);
        compressed.v.truncate(rank);
        Ok(compressed)
    }

    /// The square of the Frobenius norm, for orthonormal U and V.
    pub(super) fn squares(&self) -> f64 {
        self.s.iter().map(|s| s * s).sum()
    }

    /// The Frobenius inner product with another.
    pub(super) fn dot(&self, other: &Self) -> f64 {
        if self.rank() == 0 || other.rank() == 0 {
            return 0.0;
        }
        let left = self.u.gram(0..self.rank(), &other.u);
        let right = self.v.gram(0..self.rank(), &other.v);
        let mut sum = 0.0;
        for j in 0..other.rank() {
            for i in 0..self.rank() {
                sum += self.s[i] * left[(i, j)] * right[(i, j)] * other.s[j];
            }
        }
        sum
    }
}

fn add_product<T: Real>(
    factor: f64,
    (left, s, right): (&Columns<T>, &[f64], &Columns<T>),
    x: &Columns<T>,
    y: &mut Columns<T>,
) {
    if s.is_empty() {
        return;
    }
    let mut c = right.gram(0..s.len(), x);
    for j in 0..c.ncols() {
        for (i, s) in s.iter().enumerate() {
            c[(i, j)] *= factor * s;
        }
    }
    y.add_combination(left, 0..s.len(), c.as_ref());
}

/// Makes the vectors of `x` orthonormal by the eigenvectors of their Gram matrix (Stathopoulos & Wu,
/// SIAM J. Sci. Comput. 23, 2002), dropping those that depend on others to rounding. All work is in
/// matrix products, so a hundred long vectors cost little.
///
/// # Errors
/// When the vectors are not finite.
pub(super) fn orthonormal<T: Real>(mut x: Columns<T>) -> Result<Columns<T>, Error> {
    // Of vectors that are far from orthogonal the first pass leaves an error of the rounding error
    // times the condition number of their Gram matrix; the second starts from nearly orthogonal ones.
    for _ in 0..2 {
        let inverse = x.norms().into_iter().map(inverse).collect::<Vec<_>>();
        x.scale(&inverse);
        let k = Block::cols(&x);
        let eigen = x
            .gram(0..k, &x)
            .self_adjoint_eigen(Side::Lower)
            .map_err(failed)?;
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let largest = values.last().copied().unwrap_or(0.0);
        let least = (64.0 * T::UNIT_ROUNDOFF * largest).max(f64::MIN_POSITIVE);
        let first = values.iter().take_while(|&&value| value <= least).count();
        let rotation = Mat::from_fn(k, k - first, |i, j| {
            eigen.U()[(i, first + j)] / values[first + j].sqrt()
        });
        x.rotate(rotation.as_ref());
        x.truncate(k - first);
        if values.first().is_some_and(|&value| value > 0.1 * largest) {
            break;
        }
    }
    Ok(x)
}

/// 1 / x, and 0 for 0.
pub(super) fn inverse(x: f64) -> f64 {
    if x > 0.0 { 1.0 / x } else { 0.0 }
}
