//! Blocks of vectors that stay on a device.

use std::marker::PhantomData;
use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use faer::{Mat, MatRef};
use specclip::block::Block;

use crate::scalar::Scalar;

/// Elements summed in the scalar type of the device before the sum goes on in `f64` on the host.
const CHUNK: usize = 2048;

/// k vectors of length n on a device: a tensor of k rows.
///
/// Only Gram matrices, coefficients and norms cross to the host, in `f64`.
#[derive(Debug, Clone)]
pub struct TensorBlock<T> {
    /// k x n; none where k = 0, for which devices have no tensors.
    rows: Option<Tensor<2>>,
    length: usize,
    device: Device,
    scalar: PhantomData<T>,
}

impl<T: Scalar> TensorBlock<T> {
    /// `count` zero vectors.
    pub fn zeros(length: usize, count: usize, device: &Device) -> Self {
        let rows = (count > 0).then(|| Tensor::zeros([count, length], (device, T::DTYPE)));
        Self::of(rows, length, device)
    }

    /// The rows of a k x n tensor outside of autodiff, with k at least 1.
    pub fn from_rows(rows: Tensor<2>) -> Self {
        let (length, device) = (rows.dims()[1], rows.device());
        Self::of(Some(rows), length, &device)
    }

    fn of(rows: Option<Tensor<2>>, length: usize, device: &Device) -> Self {
        Self {
            rows,
            length,
            device: device.clone(),
            scalar: PhantomData,
        }
    }

    /// The vectors as rows; none where there are no vectors.
    pub fn rows(&self) -> Option<&Tensor<2>> {
        self.rows.as_ref()
    }

    fn tensor(&self, values: &[f64], shape: [usize; 2]) -> Tensor<2> {
        upload::<T, 2>(values, shape, &self.device)
    }

    /// Some of the vectors.
    fn part(&self, range: Range<usize>) -> Option<Tensor<2>> {
        let rows = self.rows.as_ref().filter(|_| !range.is_empty())?;
        if range == (0..rows.dims()[0]) {
            return Some(rows.clone());
        }
        Some(rows.clone().slice([range, 0..self.length]))
    }

    /// Transposed coefficients, as rows multiply from the left.
    fn coefficients(&self, c: MatRef<'_, f64>) -> Tensor<2> {
        let column = |j| (0..c.nrows()).map(move |i| c[(i, j)]);
        let values: Vec<f64> = (0..c.ncols()).flat_map(column).collect();
        self.tensor(&values, [c.ncols(), c.nrows()])
    }

    /// Puts the vectors of two tensors together.
    fn set(&mut self, parts: [Option<Tensor<2>>; 3]) {
        let mut parts: Vec<Tensor<2>> = parts.into_iter().flatten().collect();
        self.rows = match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(Tensor::cat(parts, 0)),
        };
    }

    /// x' y for every pair of rows: chunk by chunk in the device's type, the chunks in `f64`.
    fn products(x: Tensor<2>, y: Tensor<2>) -> Mat<f64> {
        let ([rows, length], cols) = (x.dims(), y.dims()[0]);
        let mut sums = Mat::zeros(rows, cols);
        let mut add = |products: Vec<f64>| {
            for (at, product) in products.into_iter().enumerate() {
                let at = at % (rows * cols);
                sums[(at / cols, at % cols)] += product;
            }
        };
        let chunk = if T::DTYPE == DType::F64 {
            length
        } else {
            CHUNK
        };
        let whole = length / chunk * chunk;
        if whole > 0 {
            let pieces = |t: &Tensor<2>| {
                let count = t.dims()[0];
                let t = t.clone().slice([0..count, 0..whole]);
                t.reshape([count, whole / chunk, chunk]).swap_dims(0, 1)
            };
            add(download::<T, 3>(pieces(&x).matmul(pieces(&y).transpose())));
        }
        if whole < length {
            let (x, y) = (
                x.slice([0..rows, whole..length]),
                y.slice([0..cols, whole..length]),
            );
            add(download::<T, 2>(x.matmul(y.transpose())));
        }
        sums
    }
}

/// A tensor from its elements, row-major.
pub(crate) fn upload<T: Scalar, const D: usize>(
    values: &[f64],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    let values: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
    Tensor::from_data(TensorData::new(values, shape), (device, T::DTYPE))
}

/// Every row times a factor of its own.
pub(crate) fn scaled<T: Scalar>(rows: Tensor<2>, factors: &[f64]) -> Tensor<2> {
    let factors = upload::<T, 2>(factors, [factors.len(), 1], &rows.device());
    rows * factors
}

/// The elements of a tensor, row-major.
pub(crate) fn download<T: Scalar, const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data();
    // The tensor was made with this type.
    let values: Vec<T> = data.try_to_vec().expect("a tensor of another element type");
    values.into_iter().map(|x| x.to_f64()).collect()
}

impl<T: Scalar> Block for TensorBlock<T> {
    const UNIT_ROUNDOFF: f64 = T::UNIT_ROUNDOFF;

    fn rows(&self) -> usize {
        self.length
    }

    fn cols(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.dims()[0])
    }

    fn zeros_like(&self, cols: usize) -> Self {
        Self::zeros(self.length, cols, &self.device)
    }

    fn gram(&self, range: Range<usize>, other: &Self) -> Mat<f64> {
        assert_eq!(self.length, other.length, "vectors of different lengths");
        match (self.part(range.clone()), other.rows.clone()) {
            (Some(x), Some(y)) => Self::products(x, y),
            _ => Mat::zeros(range.len(), other.cols()),
        }
    }

    fn add_combination(&mut self, x: &Self, range: Range<usize>, c: MatRef<'_, f64>) {
        assert_eq!(self.length, x.length, "vectors of different lengths");
        assert_eq!(
            (range.len(), self.cols()),
            c.shape(),
            "coefficients of another size"
        );
        let Some(x) = x.part(range) else {
            return;
        };
        self.rows = self.rows.take().map(|y| y + self.coefficients(c).matmul(x));
    }

    fn rotate(&mut self, c: MatRef<'_, f64>) {
        let (from, to) = c.shape();
        let cols = self.cols();
        assert!(from.max(to) <= cols, "more coefficients than vectors");
        let rotated = match self.part(0..from) {
            Some(x) if to > 0 => Some(self.coefficients(c).matmul(x)),
            None if to > 0 => self.zeros_like(to).rows,
            _ => None,
        };
        let rest = self.part(to..cols);
        self.set([rotated, rest, None]);
    }

    fn scale(&mut self, factors: &[f64]) {
        self.rows = self.rows.take().map(|rows| scaled::<T>(rows, factors));
    }

    fn norms(&self) -> Vec<f64> {
        let Some(rows) = self.rows.clone() else {
            return Vec::new();
        };
        // Relative to the largest element, so that no square overflows or vanishes.
        let largest = download::<T, 2>(rows.clone().abs().max_dim(1));
        let inverse: Vec<f64> = largest
            .iter()
            .map(|&m| {
                if m > 0.0 && T::from_f64(1.0 / m).to_f64().is_finite() {
                    1.0 / m
                } else {
                    1.0
                }
            })
            .collect();
        let mut relative = Self::from_rows(rows);
        relative.scale(&inverse);
        (0..relative.cols())
            .map(|i| {
                let row = relative.columns(i..i + 1);
                row.gram(0..1, &row)[(0, 0)].sqrt() / inverse[i]
            })
            .collect()
    }

    fn columns(&self, range: Range<usize>) -> Self {
        Self::of(self.part(range), self.length, &self.device)
    }

    fn truncate(&mut self, cols: usize) {
        self.rows = self.part(0..cols.min(self.cols()));
    }

    fn set_columns(&mut self, start: usize, other: &Self) {
        assert_eq!(self.length, other.length, "vectors of different lengths");
        let (cols, end) = (self.cols(), start + other.cols());
        assert!(end <= cols, "more vectors than there is room for");
        self.set([
            self.part(0..start),
            other.rows.clone(),
            self.part(end..cols),
        ]);
    }

    fn upload(&mut self, values: &[f64]) {
        assert_eq!(
            values.len(),
            self.length * self.cols(),
            "a block of another size"
        );
        if !values.is_empty() {
            self.rows = Some(self.tensor(values, [self.cols(), self.length]));
        }
    }

    fn download(&self) -> Vec<f64> {
        self.rows.clone().map(download::<T, 2>).unwrap_or_default()
    }
}
