//! What several test files share.

#![allow(dead_code)] // each test file uses its own part

use specclip::operator::BoxedOperator;
use specclip::{Block, Columns, Real};

/// Euclidean norm.
pub fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ||a - b||.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// <a, b>.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// M x for one vector.
pub fn apply<T: Real>(op: &BoxedOperator<T>, x: &[f64]) -> Vec<f64> {
    let mut block = op.input_block(1);
    block.upload(x);
    let mut y = op.output_block(1);
    op.apply(&block, &mut y).unwrap();
    y.download()
}

/// M' y for one vector.
pub fn adjoint<T: Real>(op: &BoxedOperator<T>, y: &[f64]) -> Vec<f64> {
    let mut block = op.output_block(1);
    block.upload(y);
    let mut x = op.input_block(1);
    op.adjoint(&block, &mut x).unwrap();
    x.download()
}

/// A block of one vector.
pub fn column<T: Real>(values: &[f64]) -> Columns<T> {
    let mut block = Columns::zeros(values.len(), 1);
    block.upload(values);
    block
}
