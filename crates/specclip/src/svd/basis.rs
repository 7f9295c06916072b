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
pub(crate) struct Orthonormal {
    /// Coefficients of the basis.
    pub(crate) against: Mat<f64>,
    /// Coefficients of the new vectors: upper triangular.
    pub(crate) within: Mat<f64>,
    /// New vectors: fewer than the block had when the space has no more dimensions.
    pub(crate) kept: usize,
}

/// Sums of a [`Watch`]. Two overlook nine tenths of a component once in 150 steps; the component grows
/// by a small factor from step to step, and the next step sees it.
const SUMS: usize = 2;

/// Tells how far vectors are from orthogonal to a basis without reading the basis.
///
/// It keeps sums of the basis's vectors with random signs. The inner products of a vector with
/// these sums are as large, on average, as the vector's component in the basis. Reading two
/// vectors instead of a hundred is what makes steps with long vectors cheap: a Lanczos recurrence
/// keeps its vectors orthogonal for many steps by itself, and full passes are only needed where
/// that is about to end. A basis that is orthogonal to the square root of the rounding error gives
/// Ritz values that are right to rounding (Simon, Linear Algebra Appl. 61, 1984); Ritz vectors are
/// as good as the basis, so it must be better than the tolerance.
pub(crate) struct Watch<B> {
    sums: B,
    /// The component that is accepted, relative to the vector.
    allowed: f64,
}

impl<B: Block> Watch<B> {
    /// Watches an empty basis of vectors like those of `like`, from which triplets with residuals
    /// of `tolerance` will be made.
    pub(super) fn new(like: &B, tolerance: f64) -> Self {
        let roundoff = B::UNIT_ROUNDOFF;
        Self {
            sums: like.zeros_like(SUMS),
            allowed: (tolerance / 100.0).clamp(4.0 * roundoff, roundoff.sqrt() / 4.0),
        }
    }

    /// The basis is another one: the first `size` of `vectors`.
    pub(super) fn restart(&mut self, vectors: &B, size: usize, random: &mut Random) {
        self.sums.scale(&[0.0; SUMS]);
        self.add(vectors, 0..size, random);
    }

    /// Vectors have joined the basis.
    pub(super) fn add(&mut self, vectors: &B, range: std::ops::Range<usize>, random: &mut Random) {
        let count = range.len();
        let signs: Vec<f64> = random.normals(count * SUMS);
        let signs = Mat::from_fn(count, SUMS, |i, j| signs[j * count + i].signum());
        self.sums.add_combination(vectors, range, signs.as_ref());
    }

    /// Whether a vector of length `norm` has lost its orthogonality to the basis.
    fn is_lost(&self, column: &B, norm: f64) -> bool {
        let products = self.sums.gram(0..SUMS, column);
        let component = products.norm_l2() / (SUMS as f64).sqrt();
        component > self.allowed * norm
    }
}

/// The basis that vectors are made orthogonal to: the first `size` of `vectors`.
pub(crate) struct Basis<'a, B> {
    vectors: &'a B,
    size: usize,
    /// So many of them are compared with every vector; all of them with vectors that are lost.
    always: usize,
    watch: Option<&'a Watch<B>>,
}

impl<'a, B> Basis<'a, B> {
    /// Every vector is compared with all of the basis.
    pub(crate) fn whole(vectors: &'a B, size: usize) -> Self {
        Self {
            vectors,
            size,
            always: size,
            watch: None,
        }
    }

    /// The caller has removed what it knows of the components beyond the first `always`; only
    /// vectors that `watch` finds lost are compared with all of the basis.
    pub(super) fn watched(vectors: &'a B, size: usize, always: usize, watch: &'a Watch<B>) -> Self {
        Self {
            vectors,
            size,
            always,
            watch: Some(watch),
        }
    }
}

/// Makes the vectors of `x` orthonormal to a basis and to each other; keeps those that are new.
///
/// A vector that depends on the others (what is left is at most `negligible`, or rounding errors of
/// the vector) is replaced by a random one with coefficient zero, so that the basis goes on growing
/// through null spaces; when there is no more room it is dropped.
///
/// A comparison is one pass of classical Gram-Schmidt, and a second where the first cancelled more
/// than half of a vector (Daniel, Gragg, Kaufman & Stewart 1976; Giraud & Langou 2005: "twice is
/// enough").
pub(crate) fn orthonormalise<B: Block>(
    x: &mut B,
    basis: &Basis<B>,
    negligible: f64,
    random: &mut Random,
) -> Orthonormal {
    let (vectors, size) = (basis.vectors, basis.size);
    let width = x.cols();
    let mut against = Mat::zeros(size, width);
    let sizes = x.norms();
    let first = project_out(x, vectors, basis.always);
    against.get_mut(..basis.always, ..).copy_from(&first);
    let mut within = Mat::zeros(width, width);
    let mut kept = 0;
    for j in 0..width {
        // A single vector is worked on in its place: copies of long vectors cost as much as sums.
        let mut column = match width {
            1 => std::mem::replace(x, x.zeros_like(0)),
            _ => x.columns(j..j + 1),
        };
        let before = column.norms()[0];
        project_column(&mut column, &*x, kept, &mut within, j);
        let mut norm = if kept > 0 { column.norms()[0] } else { before };
        // Cancellation within the block brings the basis's rounding errors forward.
        let lost = norm < 0.5 * before || basis.watch.is_some_and(|w| w.is_lost(&column, norm));
        if lost && size > 0 {
            project_column(&mut column, vectors, size, &mut against, j);
            project_column(&mut column, &*x, kept, &mut within, j);
            norm = column.norms()[0];
        }
        let negligible = negligible.max(8.0 * B::UNIT_ROUNDOFF * sizes[j]);
        let depends = norm <= negligible || norm.is_nan();
        if depends {
            if size + kept >= x.rows() {
                if width == 1 {
                    *x = column;
                }
                continue;
            }
            norm = fresh(&mut column, vectors, size, x, kept, random);
        } else {
            within[(kept, j)] = norm;
        }
        column.scale(&[1.0 / norm]);
        match width {
            1 => *x = column,
            _ => x.set_columns(kept, &column),
        }
        kept += 1;
    }
    x.truncate(kept);
    Orthonormal {
        against,
        within: within.get(..kept, ..).to_owned(),
        kept,
    }
}

/// [`project_out`] of one vector, its coefficients added to column `j` of `c`.
fn project_column<B: Block>(column: &mut B, basis: &B, size: usize, c: &mut Mat<f64>, j: usize) {
    let part = project_out(column, basis, size);
    for i in 0..size {
        c[(i, j)] += part[(i, 0)];
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
