//! Dense decompositions of materialised operators.

use faer::Mat;

use super::{Method, Params, Triplets, finish};
use crate::block::Block;
use crate::error::Error;
use crate::operator::{Adjoint, LinearOperator, materialise};

pub(crate) fn failed<E>(_: E) -> Error {
    Error::Decomposition {
        operation: "singular value decomposition",
    }
}

/// The smaller dimension up to which an operator is decomposed densely, and the elements.
const LARGEST: usize = 3000;
const MOST_ELEMENTS: usize = 1 << 28;

/// Refuses what would take many minutes or more memory than a machine has.
fn check_cost(rows: usize, cols: usize) -> Result<(), Error> {
    if rows.min(cols) <= LARGEST && rows.saturating_mul(cols) <= MOST_ELEMENTS {
        return Ok(());
    }
    let (small, large) = (rows.min(cols) as f64, rows.max(cols) as f64);
    Err(Error::TooExpensive {
        operation: "dense decomposition",
        what: format!("a {rows} x {cols} matrix"),
        gigabytes: small * large * 8e-9,
        teraflop: 4.0 * small * small * large * 1e-12,
        limit: "3000 rows or columns and 2^28 elements",
    })
}

/// The matrix, from actions on the shorter side.
fn matrix<Op: LinearOperator + ?Sized>(op: &Op) -> Result<Mat<f64>, Error> {
    check_cost(op.outputs(), op.inputs())?;
    if op.outputs() < op.inputs() {
        Ok(materialise(&Adjoint(op))?.transpose().to_owned())
    } else {
        materialise(op)
    }
}

pub(super) fn values<Op: LinearOperator + ?Sized>(op: &Op) -> Result<Vec<f64>, Error> {
    matrix(op)?.singular_values().map_err(failed)
}

pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
) -> Result<Triplets<Op::Block>, Error> {
    let svd = matrix(op)?.thin_svd().map_err(failed)?;
    let sigma: Vec<f64> = (0..k).map(|i| svd.S()[i]).collect();
    let columns = |m: faer::MatRef<'_, f64>| -> Vec<f64> {
        (0..k)
            .flat_map(|j| (0..m.nrows()).map(move |i| m[(i, j)]))
            .collect()
    };
    let (mut u, mut v) = (op.output_block(k), op.input_block(k));
    u.upload(&columns(svd.U()));
    v.upload(&columns(svd.V()));
    let matvecs = op.inputs().min(op.outputs());
    finish(op, (u, sigma, v), params, matvecs, Method::Dense)
}
