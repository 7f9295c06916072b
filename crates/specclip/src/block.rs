//! Blocks of vectors, wherever they live.
//!
//! A solver never looks inside a vector. It asks for Gram products, linear combinations and norms;
//! the only matrices that it sees are small ones, in `f64` on the host. Host memory is one place
//! for a block ([`Columns`]); a tensor on an accelerator is another.

use std::ops::Range;

use faer::{Mat, MatRef};

mod columns;
pub use columns::Columns;

/// A block of k vectors of length n: an n x k matrix.
///
/// Coefficients go in and come out in `f64`. Long sums (Gram products, norms) must be accumulated
/// so that their relative error does not grow with n: in chunks or in `f64`.
pub trait Block: Clone + Send + Sync {
    /// The largest relative rounding error of one stored element.
    const UNIT_ROUNDOFF: f64;

    /// The length n of each vector.
    fn rows(&self) -> usize;
    /// The number k of vectors.
    fn cols(&self) -> usize;
    /// A block of `cols` zero vectors of the same length, in the same place.
    fn zeros_like(&self, cols: usize) -> Self;
    /// The small matrix X\[:, `range`\]' `other`.
    ///
    /// # Panics
    /// When the lengths differ or the range is out of bounds, as slices do.
    fn gram(&self, range: Range<usize>, other: &Self) -> Mat<f64>;
    /// `self` += `x`\[:, `range`\] `coefficients`, with one column of coefficients for each vector.
    ///
    /// # Panics
    /// When the sizes do not fit.
    fn add_combination(&mut self, x: &Self, range: Range<usize>, coefficients: MatRef<'_, f64>);
    /// Replaces the first `coefficients.ncols()` vectors by combinations of the first
    /// `coefficients.nrows()`, in place.
    ///
    /// # Panics
    /// When there are fewer vectors than rows or columns of coefficients.
    fn rotate(&mut self, coefficients: MatRef<'_, f64>);
    /// Multiplies each vector by a factor.
    fn scale(&mut self, factors: &[f64]);
    /// The Euclidean norm of each vector.
    fn norms(&self) -> Vec<f64>;
    /// A copy of some of the vectors.
    fn columns(&self, range: Range<usize>) -> Self;
    /// Drops all but the first `cols` vectors.
    fn truncate(&mut self, cols: usize);
    /// Overwrites vectors from `start` on with those of `other`.
    fn set_columns(&mut self, start: usize, other: &Self);
    /// Overwrites all vectors with values from the host, vector after vector.
    fn upload(&mut self, values: &[f64]);
    /// Copies all vectors to the host, vector after vector.
    fn download(&self) -> Vec<f64>;
}
