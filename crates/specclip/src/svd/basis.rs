//! Orthonormal bases that grow.

use faer::{Mat, MatRef};

use crate::block::Block;
use crate::random::Random;

/// Subtracts x\[:, range\] c.
pub(super) fn subtract<B: Block>(
    y: &mut B,
    x: &B,
    range: std::ops::Range<usize>,
    c: MatRef<'_, f64>,
) {
    let minus = -c;
    y.add_combination(x, range, minus.as_ref());
}

/// A block made orthonormal: `block` = basis `against` + new vectors `within`.
pub(super) struct Orthonormal {
    /// Coefficients of the basis.
    pub(super) against: Mat<f64>,
    /// Coefficients of the new vectors: upper triangular.
    pub(super) within: Mat<f64>,
    /// New vectors: fewer than the block had when the space has no more dimensions.
    pub(super) kept: usize,
}

/// Makes the vectors of `x` orthonormal to the first `size` vectors of `basis` and to each other.
///
/// A vector that depends on the others (what is left is at most `negligible`) is replaced by a
/// random one with coefficient zero, so that the basis goes on growing through null spaces; when
/// there is no more room it is dropped.
///
/// One pass of classical Gram-Schmidt, and a second where the first cancelled more than half of a
/// vector (Daniel, Gragg, Kaufman & Stewart 1976; Giraud & Langou 2005: "twice is enough").
pub(super) fn orthonormalise<B: Block>(
    x: &mut B,
    basis: &B,
    size: usize,
    negligible: f64,
    random: &mut Random,
) -> Orthonormal {
    let width = x.cols();
    let mut against = project_out(x, basis, size);
    let mut within = Mat::zeros(width, width);
    let mut kept = 0;
    for j in 0..width {
        let mut column = x.columns(j..j + 1);
        let before = column.norms()[0];
        if kept > 0 {
            let c = project_out(&mut column, &*x, kept);
            for i in 0..kept {
                within[(i, j)] = c[(i, 0)];
            }
        }
        let mut norm = column.norms()[0];
        if norm < 0.5 * before && size > 0 {
            // Cancellation within the block brings the basis's rounding errors forward.
            let c = project_out(&mut column, basis, size);
            for i in 0..size {
                against[(i, j)] += c[(i, 0)];
            }
            norm = column.norms()[0];
        }
        let depends = norm <= negligible || norm.is_nan();
        if depends {
            if size + kept >= x.rows() {
                continue;
            }
            norm = fresh(&mut column, basis, size, x, kept, random);
        } else {
            within[(kept, j)] = norm;
        }
        column.scale(&[1.0 / norm]);
        x.set_columns(kept, &column);
        kept += 1;
    }
    Orthonormal {
        against,
        within: within.get(..kept, ..).to_owned(),
        kept,
    }
}

/// A random vector orthogonal to a basis and to the first vectors of a block; returns its norm.
fn fresh<B: Block>(
    column: &mut B,
    basis: &B,
    size: usize,
    x: &B,
    kept: usize,
    random: &mut Random,
) -> f64 {
    loop {
        random.fill(column);
        let before = column.norms()[0];
        for _ in 0..2 {
            project_out(column, basis, size);
            project_out(column, x, kept);
        }
        let norm = column.norms()[0];
        // There is room, so a random vector has some component in it.
        if norm > before * B::UNIT_ROUNDOFF * 16.0 {
            column.scale(&[1.0 / norm]);
            project_out(column, basis, size);
            project_out(column, x, kept);
            return column.norms()[0];
        }
    }
}

/// Removes the components along the first `size` vectors of an orthonormal basis; returns them.
fn project_out<B: Block>(x: &mut B, basis: &B, size: usize) -> Mat<f64> {
    if size == 0 {
        return Mat::zeros(0, x.cols());
    }
    let before = x.norms();
    let mut c = basis.gram(0..size, x);
    subtract(x, basis, 0..size, c.as_ref());
    let cancelled = x
        .norms()
        .iter()
        .zip(&before)
        .any(|(after, before)| *after < 0.5 * before);
    if cancelled {
        let again = basis.gram(0..size, x);
        subtract(x, basis, 0..size, again.as_ref());
        c += again;
    }
    c
}
