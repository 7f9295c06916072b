//! Blocks on a device do what blocks on the host do.

use burn::tensor::{Device, Tensor};
use faer::Mat;
use specclip::{Block, Columns, Real};
use specclip_burn::{Scalar, TensorBlock};

/// The same vectors in both places.
fn pair<T: Scalar>(rows: usize, cols: usize, seed: f64) -> (Columns<T>, TensorBlock<T>) {
    let values: Vec<f64> = (0..rows * cols)
        .map(|i| (seed + i as f64 * 0.61).sin())
        .collect();
    let (mut host, mut there) = (
        Columns::zeros(rows, cols),
        TensorBlock::zeros(rows, cols, &Device::flex()),
    );
    host.upload(&values);
    there.upload(&values);
    (host, there)
}

fn close(what: &str, found: &[f64], expected: &[f64], tau: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tau * size, "{what}: {a} is not {b} at {i}");
    }
}

fn entries(matrix: &Mat<f64>) -> Vec<f64> {
    (0..matrix.ncols())
        .flat_map(|j| (0..matrix.nrows()).map(move |i| matrix[(i, j)]))
        .collect()
}

fn coefficients(rows: usize, cols: usize) -> Mat<f64> {
    Mat::from_fn(rows, cols, |i, j| 0.3 * i as f64 - 0.7 * j as f64 + 0.1)
}

fn check<T: Scalar>(rows: usize, tau: f64) {
    let (x, tx) = pair::<T>(rows, 5, 0.2);
    let (y, ty) = pair::<T>(rows, 3, 1.4);
    for range in [0..5, 1..4, 2..2] {
        let what = format!("gram {rows} {range:?}");
        close(
            &what,
            &entries(&tx.gram(range.clone(), &ty)),
            &entries(&x.gram(range.clone(), &y)),
            tau,
        );
        let c = coefficients(range.len(), 3);
        let (mut sum, mut there) = (y.clone(), ty.clone());
        sum.add_combination(&x, range.clone(), c.as_ref());
        there.add_combination(&tx, range.clone(), c.as_ref());
        close(
            &format!("combination {range:?}"),
            &there.download(),
            &sum.download(),
            tau,
        );
        close(
            "columns",
            &tx.columns(range.clone()).download(),
            &x.columns(range).download(),
            0.0,
        );
    }
    for (from, to) in [(5, 5), (5, 2), (2, 4), (3, 0), (0, 2)] {
        let c = coefficients(from, to);
        let (mut host, mut there) = (x.clone(), tx.clone());
        host.rotate(c.as_ref());
        there.rotate(c.as_ref());
        close(
            &format!("rotation {from} {to}"),
            &there.download(),
            &host.download(),
            tau,
        );
    }
    let (mut host, mut there) = (x.clone(), tx.clone());
    let factors = [1.0, -2.0, 0.0, 0.5, 3.0];
    host.scale(&factors);
    there.scale(&factors);
    close("scale", &there.download(), &host.download(), tau);
    close("norms", &there.norms(), &host.norms(), tau);
    for start in 0..3 {
        host.set_columns(start, &y);
        there.set_columns(start, &ty);
        close("set columns", &there.download(), &host.download(), tau);
    }
    host.truncate(2);
    there.truncate(2);
    close("truncation", &there.download(), &host.download(), tau);
    assert_eq!((there.cols(), Block::rows(&there)), (2, rows));
}

#[test]
fn operations_agree_with_those_on_the_host() {
    // Shorter than a chunk, whole chunks, and a rest behind them.
    for rows in [7, 2048, 4096 + 33] {
        check::<f64>(rows, 1e-12);
        check::<f32>(rows, 1e-5);
    }
}

#[test]
fn no_vectors() {
    let device = Device::flex();
    let mut none = TensorBlock::<f32>::zeros(9, 0, &device);
    let (_, some) = pair::<f32>(9, 2, 0.0);
    assert_eq!(
        (none.cols(), none.norms().len(), none.download().len()),
        (0, 0, 0)
    );
    assert_eq!(none.gram(0..0, &some).shape(), (0, 2));
    none.upload(&[]);
    none.scale(&[]);
    none.set_columns(0, &none.clone());
    none.truncate(0);
    none.rotate(Mat::zeros(0, 0).as_ref());
    none.add_combination(&some, 0..2, Mat::zeros(2, 0).as_ref());
    assert_eq!(none.zeros_like(3).cols(), 3);
}

#[test]
fn norms_have_no_scale() {
    for scale in [1e-30_f32, 1.0, 1e30] {
        let rows = Tensor::<2>::ones([2, 16], &Device::flex()) * scale;
        for norm in TensorBlock::<f32>::from_rows(rows).norms() {
            assert!((norm / (4.0 * scale.to_f64()) - 1.0).abs() < 1e-6, "{norm}");
        }
    }
}

/// A long sum of f32 does not lose digits with its length.
#[test]
fn long_sums_keep_their_digits() {
    let rows = Tensor::<2>::ones([1, 3 << 20], &Device::flex()) * 0.1_f32;
    let block = TensorBlock::<f32>::from_rows(rows);
    let expected = f64::from(0.1_f32).powi(2) * f64::from(3 << 20);
    let error = (block.gram(0..1, &block)[(0, 0)] / expected - 1.0).abs();
    assert!(error < 1e-5, "{error:e}");
}
