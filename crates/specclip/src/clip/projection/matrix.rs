//! Layers that apply one matrix, whose projection is known: singular values above c become c.
//!
//! The factors of channels (batch normalisation) are singular values themselves. For a dense layer M(W) = W. A convolution with a single tap applies the matrix of each of its
//! groups at every position that is read, so ||M(W)|| = p ||W|| with p the norm for unit weights.
//!
//! With U diag(sigma) V' the singular value decomposition of W, the projection is
//! W - U diag(max(sigma - c, 0)) V'. V need not be known, for it is also W - U diag(1 - c / sigma) U' W, the
//! sum over sigma > c. So a large matrix is lowered by the eigenvectors of the Gram matrix W W' of its shorter
//! side, in its place: for 4096 x 25088 entries that matrix takes 0.13 GB, where V, the work arrays of the
//! decomposition of W and the products take 0.8 GB each. A Gram matrix knows sigma^2 to rounding errors of
//! sigma_1^2, so with r = sigma_1 / c the result is wrong by about r^3 of them and not by r. Where that is more
//! than is accurate for the type of the weights, the matrix itself is decomposed.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Side, get_global_parallelism};

use super::super::{Moved, is_weight};
use super::Targets;
use crate::Real;
use crate::error::Error;
use crate::operator::Structure;
use crate::real::norm;
use crate::svd::failed;
use crate::weight::Parametric;

/// Elements of a matrix above which its Gram matrix is decomposed.
const LARGE: usize = 1 << 22;

/// Columns that are multiplied at a time.
const PANEL: usize = 1024;

/// Norms whose squares neither overflow nor vanish.
const SIZES: std::ops::Range<f64> = 1e-100..1e100;

/// The relative accuracy that results in `f64` have at least.
const ACCURATE: f64 = 1e-12;

/// Projects the weights where they are matrices; `None` where they are not.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    targets: &Targets,
) -> Result<Option<Moved>, Error> {
    if let Structure::Channels(factors) = op.structure()
        && is_weight(op, &factors)
    {
        return channels(op, &factors, targets).map(Some);
    }
    let Some(form) = form(op) else {
        return Ok(None);
    };
    let sought = targets.sought / form.factor;
    let asked = targets.asked / form.factor;
    let accuracy = P::Scalar::UNIT_ROUNDOFF.max(ACCURATE);
    let mut squares = 0.0;
    let mut values = form.values;
    for matrix in values.chunks_exact_mut(form.rows * form.cols) {
        let matrix = MatMut::from_row_major_slice_mut(matrix, form.rows, form.cols);
        squares += lower(matrix, (sought, asked), accuracy)?;
    }
    let clipped = values.into_iter().map(P::Scalar::from_f64).collect();
    op.set_weights(&[clipped])?;
    Ok(Some(Moved {
        rounds: 1,
        matvecs: 0,
        least_distance: Some(squares.sqrt()),
    }))
}

/// The factors of channels are singular values up to their signs: each is brought to the range.
fn channels<P: Parametric + ?Sized>(
    op: &mut P,
    factors: &[f64],
    targets: &Targets,
) -> Result<Moved, Error> {
    let (sought, asked) = (targets.sought, targets.asked);
    let clamp = |x: &f64| P::Scalar::from_f64(x.clamp(-sought, sought));
    let excess: Vec<f64> = factors.iter().map(|x| (x.abs() - asked).max(0.0)).collect();
    op.set_weights(&[factors.iter().map(clamp).collect()])?;
    Ok(Moved {
        rounds: 1,
        matvecs: 0,
        least_distance: Some(norm(&excess)),
    })
}

/// Matrices one after the other, row-major, each of which the operator applies with norm `factor`.
struct Form {
    values: Vec<f64>,
    rows: usize,
    cols: usize,
    factor: f64,
}

/// The matrices that are the operator's one weight; the transpose of a dense layer has them by columns.
fn form<P: Parametric + ?Sized>(op: &P) -> Option<Form> {
    let is_weight = |form: &Form| is_weight(op, &form.values);
    match op.structure() {
        Structure::Matrix(matrix) => {
            let both = [matrix.as_ref(), matrix.transpose()];
            both.into_iter().map(by_rows).find(is_weight)
        }
        Structure::Filters(bank) if bank.geometry.taps() == 1 => {
            let geometry = &bank.geometry;
            let factor: f64 = geometry
                .axes
                .iter()
                .map(|a| a.most_reads() as f64)
                .product();
            let form = Form {
                rows: geometry.out_per_group(),
                cols: geometry.in_per_group(),
                factor: factor.sqrt(),
                values: bank.weight,
            };
            Some(form).filter(|form| form.factor > 0.0 && is_weight(form))
        }
        _ => None,
    }
}

fn by_rows(matrix: MatRef<'_, f64>) -> Form {
    let (rows, cols) = matrix.shape();
    let entry = |i: usize| matrix[(i / cols, i % cols)];
    Form {
        values: (0..rows * cols).map(entry).collect(),
        rows,
        cols,
        factor: 1.0,
    }
}

/// Lowers the singular values of a matrix to `sought`. Returns the square of its distance to those with
/// values of at most `asked`, less what rounding may have added to each value: a rounding error of the largest
/// times the root of the number of values, which is several times as much as is measured, and no worst case.
fn lower(mut matrix: MatMut<'_, f64>, targets: (f64, f64), accuracy: f64) -> Result<f64, Error> {
    if matrix.nrows().saturating_mul(matrix.ncols()) > LARGE {
        let wide = match matrix.nrows() <= matrix.ncols() {
            true => matrix.rb_mut(),
            false => matrix.rb_mut().transpose_mut(),
        };
        if let Some(removed) = lower_by_gram(wide, targets, accuracy)? {
            return Ok(removed);
        }
    }
    lower_by_svd(matrix, targets)
}

fn lower_by_svd(mut matrix: MatMut<'_, f64>, (sought, asked): (f64, f64)) -> Result<f64, Error> {
    let svd = matrix.rb().thin_svd().map_err(failed)?;
    let sigma: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let active = sigma.iter().take_while(|&&s| s > sought).count();
    let excess = Mat::from_fn(matrix.nrows(), active, |i, j| {
        svd.U()[(i, j)] * (sigma[j] - sought)
    });
    let right = svd.V().subcols(0, active);
    subtract(matrix.rb_mut(), excess.as_ref(), right.transpose());
    let largest = sigma.first().copied().unwrap_or(0.0);
    let rounding = (sigma.len() as f64).sqrt() * f64::EPSILON * largest;
    Ok(squares_above(&sigma, asked + rounding))
}

/// [`lower`] for a matrix with no more rows than columns; none, with nothing changed, where rounding errors
/// might be larger than `accuracy`.
fn lower_by_gram(
    mut matrix: MatMut<'_, f64>,
    (sought, asked): (f64, f64),
    accuracy: f64,
) -> Result<Option<f64>, Error> {
    let (rows, cols) = matrix.shape();
    let mut gram = Mat::<f64>::zeros(rows, rows);
    triangular::matmul(
        gram.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        matrix.rb(),
        BlockStructure::Rectangular,
        matrix.rb().transpose(),
        BlockStructure::Rectangular,
        1.0,
        get_global_parallelism(),
    );
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    // Its eigenvalues ascend.
    let values = eigen.S().column_vector().iter();
    let sigma: Vec<f64> = values.map(|x| x.max(0.0).sqrt()).collect();
    let largest = sigma.last().copied().unwrap_or(0.0);
    let rounding = (rows as f64).sqrt() * f64::EPSILON * (largest / sought).powi(3);
    if !SIZES.contains(&largest) || rounding > accuracy {
        return Ok(None);
    }
    let kept = sigma.iter().take_while(|&&s| s <= sought).count();
    let left = eigen.U().subcols(kept, rows - kept);
    let part = Mat::from_fn(rows, rows - kept, |i, j| {
        left[(i, j)] * (1.0 - sought / sigma[kept + j])
    });
    for start in (0..cols).step_by(PANEL) {
        let mut panel = matrix.rb_mut().subcols_mut(start, PANEL.min(cols - start));
        let components = left.transpose() * panel.rb();
        subtract(panel.rb_mut(), part.as_ref(), components.as_ref());
    }
    Ok(Some(squares_above(&sigma, asked + rounding * sought)))
}

/// `matrix` -= `left` `right`.
fn subtract(matrix: MatMut<'_, f64>, left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
    let par = get_global_parallelism();
    matmul(matrix, Accum::Add, left, right, -1.0, par);
}

/// The sum of the squares of what is above c.
fn squares_above(sigma: &[f64], c: f64) -> f64 {
    sigma.iter().map(|s| (s - c).max(0.0).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix with the singular values of no other, some of them close together.
    fn matrix(rows: usize, cols: usize) -> Mat<f64> {
        Mat::from_fn(rows, cols, |i, j| {
            let x = (i * cols + j) as f64;
            (x * 1.7).sin() + (x * x * 0.3).cos() + if i == j { 8.0 } else { 0.0 }
        })
    }

    #[test]
    fn both_ways_to_lower_singular_values_agree() {
        for (rows, cols) in [(30, 30), (30, 2500), (1, 40), (200, 300)] {
            let original = matrix(rows, cols);
            let largest = original.singular_values().unwrap()[0];
            for ratio in [1.001, 1.5, 3.0, 30.0] {
                let sought = largest / ratio;
                let targets = (sought, sought * 1.01);
                let (mut a, mut b) = (original.clone(), original.clone());
                let by_svd = lower_by_svd(a.as_mut(), targets).unwrap();
                let by_gram = lower_by_gram(b.as_mut(), targets, 1e-8).unwrap().unwrap();
                let error = f64::EPSILON * 50.0 * (rows as f64).sqrt() * ratio.powi(3);
                let apart = (&a - &b).norm_l2();
                assert!(
                    apart <= error * sought,
                    "{rows} x {cols} / {ratio}: {apart:e}"
                );
                assert!((by_svd.sqrt() - by_gram.sqrt()).abs() <= error * sought);
                let after = b.singular_values().unwrap()[0];
                assert!(after <= sought * (1.0 + error) && after >= sought * (1.0 - error));
            }
        }
    }

    #[test]
    fn a_gram_matrix_that_is_not_accurate_enough_is_not_used() {
        let mut a = matrix(30, 40);
        let original = a.clone();
        let sought = a.singular_values().unwrap()[0] / 1e3;
        let refused = lower_by_gram(a.as_mut(), (sought, sought), 1e-12).unwrap();
        assert!(refused.is_none() && a == original);
        for scale in [1e-170, 1e170] {
            let mut scaled = &original * faer::Scale(scale);
            let before = scaled.clone();
            let c = sought * 800.0 * scale;
            assert!(
                lower_by_gram(scaled.as_mut(), (c, c), 1e-8)
                    .unwrap()
                    .is_none()
            );
            assert!(scaled == before);
        }
    }

    /// A matrix above the limit goes through its Gram matrix, tall or wide, and only where that is accurate.
    #[test]
    fn large_matrices_are_lowered_on_the_shorter_side() {
        for (rows, cols) in [(16, LARGE / 16 + 1), (LARGE / 16 + 1, 16)] {
            let original = matrix(rows, cols);
            let singular = original.singular_values().unwrap();
            for (ratio, accuracy) in [(1.2, 1e-12), (50.0, 1e-12)] {
                let sought = singular[0] / ratio;
                let mut lowered = original.clone();
                let removed = lower(lowered.as_mut(), (sought, sought), accuracy).unwrap();
                let after = lowered.singular_values().unwrap();
                for (before, after) in singular.iter().zip(&after) {
                    assert!((before.min(sought) - after).abs() <= 1e-11 * sought);
                }
                let expected = squares_above(&singular, sought);
                assert!((removed - expected).abs() <= 1e-10 * expected);
                assert!(
                    ((&lowered - &original).squared_norm_l2() - expected).abs() <= 1e-10 * expected
                );
            }
        }
    }
}
