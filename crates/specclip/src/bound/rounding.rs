//! Rounding errors of `f64` arithmetic, bounded from above.
//!
//! The model is the standard one (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
//! ed., chapter 3): each operation has a relative error of at most u = 2^-53, and a sum of n
//! products, in any order and with or without fused operations, differs from the exact one by at
//! most gamma_n = n u / (1 - n u) times the sum of the products' absolute values. Complex products
//! are sums of twice as many real ones. Underflow is not modelled: weights are scaled to a largest
//! one near 1 first, which makes it negligible beside u.

use faer::{Mat, MatRef, c64};

use crate::real::norm;

/// Unit roundoff of `f64`.
pub(super) const U: f64 = f64::EPSILON / 2.0;

/// The relative error of a structure's numbers against the exact products of the layer's own
/// weights and factors: each is the product of a few of them, with one rounding each.
pub(super) const ENTRY: f64 = 64.0 * U;

/// How many times the error of plain sums that of a fast convolution may be: the transforms of
/// F(2 x 2, 3 x 3) with absolute values have, by Schur's test, at most 6 * 12 times the norm of the
/// filter with absolute values (rows of 6 and columns of 12, to the power 1/2 for each axis).
pub(super) const FAST: usize = 128;

/// gamma_n, rounded up.
pub(super) fn gamma(n: usize) -> f64 {
    // Twice n u is larger than gamma_n wherever n u is below one half; beyond, nothing is known.
    match n as f64 * U {
        nu if nu < 0.25 => nu * (1.0 + 2.0 * nu) * (1.0 + 8.0 * U),
        _ => f64::INFINITY,
    }
}

/// A number that a few operations computed, rounded up for them.
pub(super) fn up(x: f64) -> f64 {
    x * (1.0 + 16.0 * U)
}

/// What a product of positive numbers is taken for where it would vanish: far above all that the
/// numbers close to zero have lost, so that later factors cannot bring it back below the truth.
const LEAST_PRODUCT: f64 = 1e-290;

/// A product of numbers that are not negative, rounded up, and not to zero unless one of them is zero.
pub(super) fn times(a: f64, b: f64) -> f64 {
    if a > 0.0 && b > 0.0 {
        up(a * b).max(LEAST_PRODUCT)
    } else {
        a * b
    }
}

/// A number that a few operations computed, rounded down for them.
pub(super) fn down(x: f64) -> f64 {
    x * (1.0 - 16.0 * U)
}

/// A scalar of the matrices whose norms are bounded.
pub(super) trait Scalar: faer::traits::ComplexField<Real = f64> + Copy {
    /// Real products that one product is made of, for each of its parts.
    const PRODUCTS: usize;
    /// |x|^2.
    fn square(self) -> f64;
    /// The largest absolute value of a part.
    fn size(self) -> f64;
    /// The real part.
    fn re(self) -> f64;
    fn conjugate(self) -> Self;
    fn scaled(self, factor: f64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn real(x: f64) -> Self;
}

impl Scalar for f64 {
    const PRODUCTS: usize = 1;
    fn square(self) -> f64 {
        self * self
    }
    fn size(self) -> f64 {
        self.abs()
    }
    fn re(self) -> f64 {
        self
    }
    fn conjugate(self) -> Self {
        self
    }
    fn scaled(self, factor: f64) -> Self {
        self * factor
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn real(x: f64) -> Self {
        x
    }
}

impl Scalar for c64 {
    const PRODUCTS: usize = 2;
    fn square(self) -> f64 {
        self.re * self.re + self.im * self.im
    }
    fn size(self) -> f64 {
        self.re.abs().max(self.im.abs())
    }
    fn re(self) -> f64 {
        self.re
    }
    fn conjugate(self) -> Self {
        Self::new(self.re, -self.im)
    }
    fn scaled(self, factor: f64) -> Self {
        Self::new(self.re * factor, self.im * factor)
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn real(x: f64) -> Self {
        Self::new(x, 0.0)
    }
}

/// The error of an entry of a product of matrices with `inner` terms, relative to the product of
/// the absolute values.
pub(super) fn product_error<E: Scalar>(inner: usize) -> f64 {
    // The parts of a complex number: a factor of at most the root of 2 for its absolute value.
    let parts = (E::PRODUCTS as f64).sqrt() * (1.0 + 2.0 * U);
    parts * gamma(E::PRODUCTS * inner + 2)
}

/// Sums of squares beside which squares that vanish do not count: fewer than 2^60 numbers lose less than 2^-1015
/// together, far below a rounding error of the sum. (A sum that is merely a normal number may have lost a part of
/// itself.)
const SUMS: std::ops::RangeInclusive<f64> = 1e-280..=f64::MAX;

/// No less than the Frobenius norm, whatever the entries' scale is.
pub(super) fn frobenius_above<E: Scalar>(matrix: MatRef<'_, E>) -> f64 {
    let (rows, cols) = matrix.shape();
    let squares: Vec<f64> = (0..cols)
        .map(|j| (0..rows).map(|i| matrix[(i, j)].square()).sum())
        .collect();
    let total: f64 = squares.iter().sum();
    if SUMS.contains(&total) {
        // Sums of columns, then a sum over columns: additions on any path from a term to the total.
        return up((total * (1.0 + gamma(rows + cols + 4))).sqrt());
    }
    let unit = unit(matrix);
    if unit == 1.0 {
        return total;
    }
    let scaled = Mat::from_fn(rows, cols, |i, j| matrix[(i, j)].scaled(1.0 / unit));
    frobenius_above(scaled.as_ref()) * unit
}

/// A power of two near to the largest entry where squares of the entries might overflow or vanish,
/// else 1.
pub(super) fn unit<E: Scalar>(matrix: MatRef<'_, E>) -> f64 {
    let (rows, cols) = matrix.shape();
    let places = (0..cols).flat_map(|j| (0..rows).map(move |i| (i, j)));
    let largest = places.fold(0.0, |m: f64, at| m.max(matrix[at].size()));
    if largest == 0.0 || !largest.is_finite() || (1e-100..1e100).contains(&largest) {
        return 1.0;
    }
    power_of_two(largest)
}

/// A power of two near to a positive number.
pub(super) fn power_of_two(x: f64) -> f64 {
    x.log2().round().clamp(-1000.0, 1000.0).exp2()
}

/// No less than the norm of a vector.
pub(super) fn norm_above(x: &[f64]) -> f64 {
    up(norm(x) * (1.0 + gamma(x.len() / 8 + 16)))
}

/// No more than the norm of a vector.
pub(super) fn norm_below(x: &[f64]) -> f64 {
    down(norm(x) * (1.0 - gamma(x.len() / 8 + 16)))
}

#[cfg(test)]
mod tests {
    use super::times;

    /// A million squares that vanish beside one that does not: their sum is more than all rounding errors.
    #[test]
    fn squares_that_vanish_are_not_lost() {
        let (large, small, side) = (2.0_f64.powi(-511), 1.4 * 2.0_f64.powi(-538), 1 << 10);
        assert!((large * large).is_normal() && small * small == 0.0);
        let values: Vec<f64> = [vec![large], vec![small; side * side - 1]].concat();
        // The sum is 2^-1022 (1 + 2^-33.03), and the root of it is more than this.
        let least = large * (1.0 + 2.0_f64.powi(-35));
        let matrix = faer::MatRef::from_column_major_slice(&values, side, side);
        let bound = super::frobenius_above(matrix);
        assert!(bound >= least && bound <= least * (1.0 + 1e-9), "{bound:e}");
        let bound = super::norm_above(&values);
        assert!(bound >= least && bound <= least * (1.0 + 1e-9), "{bound:e}");
        assert!(super::norm_below(&values) <= large * (1.0 + 2.0_f64.powi(-34)));
    }

    #[test]
    fn a_product_that_vanishes_on_the_way_is_not_below_the_truth() {
        let through = |factors: &[f64]| factors.iter().fold(1.0, |p, &f| times(p, f));
        assert!(through(&[1e-200, 1e-200, 1e200, 1e200]) >= 1.0);
        let halves = [
            1.000001e-160,
            1.000001e-160,
            1.0 / 1.000001e-160,
            1.0 / 1.000001e-160,
        ];
        assert!(through(&halves) >= 1.0);
        assert_eq!(through(&[1e-200, 0.0, 1e200]), 0.0);
        assert!((through(&[3.0, 5.0]) - 15.0).abs() < 1e-13);
    }
}
