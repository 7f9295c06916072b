//! Layers that apply one matrix, whose projection is known: singular values above c become c.
//!
//! For a dense layer M(W) = W. A convolution with a single tap applies the matrix of each of its
//! groups at every position that is read, so ||M(W)|| = p ||W|| with p the norm for unit weights.

use faer::{Mat, MatRef};

use super::super::{Moved, is_weight};
use super::Targets;
use crate::Real;
use crate::error::Error;
use crate::operator::Structure;
use crate::svd::failed;
use crate::weight::Parametric;

/// Projects the weights where they are matrices; `None` where they are not.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    targets: &Targets,
) -> Result<Option<Moved>, Error> {
    let Some(form) = form(op).filter(|form| is_weight(op, &form.values)) else {
        return Ok(None);
    };
    let sought = targets.sought / form.factor;
    let asked = targets.asked / form.factor;
    let mut clipped = Vec::with_capacity(form.values.len());
    let mut squares = 0.0;
    for matrix in form.values.chunks_exact(form.rows * form.cols) {
        let (values, removed) = clip(matrix, form.rows, form.cols, (sought, asked))?;
        clipped.extend(values.into_iter().map(P::Scalar::from_f64));
        squares += removed;
    }
    op.set_weights(&[clipped])?;
    Ok(Some(Moved {
        rounds: 1,
        matvecs: 0,
        least_distance: Some(squares.sqrt()),
    }))
}

/// Matrices one after the other, row-major, each of which the operator applies with norm `factor`.
struct Form {
    values: Vec<f64>,
    rows: usize,
    cols: usize,
    factor: f64,
}

fn form<P: Parametric + ?Sized>(op: &P) -> Option<Form> {
    match op.structure() {
        Structure::Matrix(matrix) => {
            let (rows, cols) = matrix.shape();
            let entry = |i: usize| matrix[(i / cols, i % cols)];
            Some(Form {
                values: (0..rows * cols).map(entry).collect(),
                rows,
                cols,
                factor: 1.0,
            })
        }
        Structure::Filters(bank) if bank.geometry.taps() == 1 => {
            let geometry = &bank.geometry;
            let factor: f64 = geometry
                .axes
                .iter()
                .map(|a| a.most_reads() as f64)
                .product();
            Some(Form {
                rows: geometry.out_per_group(),
                cols: geometry.in_per_group(),
                factor: factor.sqrt(),
                values: bank.weight,
            })
            .filter(|form| form.factor > 0.0)
        }
        _ => None,
    }
}

/// The matrix with its singular values lowered to `sought`, and the square of the distance to those
/// with values of at most `asked`.
fn clip(
    matrix: &[f64],
    rows: usize,
    cols: usize,
    (sought, asked): (f64, f64),
) -> Result<(Vec<f64>, f64), Error> {
    let matrix = MatRef::from_row_major_slice(matrix, rows, cols);
    let svd = matrix.thin_svd().map_err(failed)?;
    let above = |c: f64| -> Vec<f64> {
        let sigma = svd.S().column_vector().iter();
        sigma.map(|s| (s - c).max(0.0)).collect()
    };
    let excess = above(sought);
    let active = excess.iter().take_while(|&&e| e > 0.0).count();
    let lowered = Mat::from_fn(rows, active, |i, j| svd.U()[(i, j)] * excess[j]);
    let clipped = matrix - &lowered * svd.V().subcols(0, active).transpose();
    let values = (0..rows * cols)
        .map(|i| clipped[(i / cols, i % cols)])
        .collect();
    Ok((values, above(asked).iter().map(|e| e * e).sum()))
}
