//! The two scalar types that weights and vectors may have.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Mul, MulAssign, Sub, SubAssign};

use crate::kernel::simd::Lanes;

/// A floating-point type in which operators are stored and applied: `f32` or `f64`.
///
/// The trait is sealed. Sums that decide the accuracy of a result (inner products, Gram matrices,
/// Frobenius norms) are carried in `f64` whatever the scalar type is.
pub trait Real:
    Lanes
    + Copy
    + Default
    + PartialOrd
    + Debug
    + Display
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Half the distance from 1 to the next larger number: the largest relative rounding error.
    const UNIT_ROUNDOFF: f64;

    /// Rounds to this type.
    fn from_f64(x: f64) -> Self;
    /// Exact conversion.
    fn to_f64(self) -> f64;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

    fn from_f64(x: f64) -> Self {
        x as f32
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

    fn from_f64(x: f64) -> Self {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

/// The Euclidean norm of many numbers, in `f64`, whatever their scale is.
pub(crate) fn norm<T: Real>(values: &[T]) -> f64 {
    let squares = sum_of_squares(values, 1.0);
    // Far above all that so many squares can have lost where they vanished.
    if (1e-280..=f64::MAX).contains(&squares) {
        return squares.sqrt();
    }
    // Squares that overflow or may vanish: once more, relative to the largest number.
    let largest = values.iter().fold(0.0, |m: f64, x| m.max(x.to_f64().abs()));
    if largest == 0.0 || !largest.is_finite() {
        return squares.sqrt();
    }
    sum_of_squares(values, largest).sqrt() * largest
}

/// In eight interleaved sums: fast, and in an order that depends on nothing else.
fn sum_of_squares<T: Real>(values: &[T], unit: f64) -> f64 {
    let inverse = 1.0 / unit;
    let square = |x: &T| {
        let x = x.to_f64() * inverse;
        x * x
    };
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(square).sum();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += square(x);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::norm;

    #[test]
    fn norms_have_no_scale() {
        for scale in [1e-300, 1e-160, 1.0, 1e160, 1e300] {
            assert!((norm(&[3.0 * scale; 16]) / (12.0 * scale) - 1.0).abs() < 1e-15);
        }
        assert!((norm(&[3e-40_f32; 4]) / 6e-40 - 1.0).abs() < 1e-5);
        assert!((norm(&[3e30_f32; 4]) / 6e30 - 1.0).abs() < 1e-6);
        assert_eq!(norm(&[0.0; 9]), 0.0);
        assert!(norm(&[f64::NAN, 1.0]).is_nan());
        assert_eq!(norm(&[f64::INFINITY, 1.0]), f64::INFINITY);
    }
}
