//! Blocks in host memory.

use std::ops::Range;

use faer::{Accum, Mat, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Block;
use crate::Real;
use crate::error::{Error, checked_product};
use crate::real::norm;

/// Rows that one thread works on at a time. Sums are taken part by part in a fixed order, so
/// results do not depend on the number of threads.
const PART: usize = 8192;

/// Vectors on both sides from which on products of blocks are matrix products.
const WIDE: usize = 16;

/// Rows summed in the scalar type before the sum goes on in `f64`.
const CHUNK: usize = 2048;

/// Groups of chunks, at most, that are summed side by side: not the number of threads, so that sums
/// do not depend on it.
const GROUPS: usize = 16;

/// k vectors of length n in host memory: an n x k matrix, stored column after column.
///
/// A column is one image, channels first and row-major: the flattened tensor of PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns<T> {
    rows: usize,
    cols: usize,
    data: Vec<T>,
}

impl<T: Real> Columns<T> {
    /// `cols` zero vectors of length `rows`.
    ///
    /// # Panics
    /// When the block does not fit in memory.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            data: vec![T::ZERO; rows * cols],
        }
    }

    /// Takes over `data`, column after column.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless `data` has `rows * cols` elements.
    pub fn from_vec(rows: usize, cols: usize, data: Vec<T>) -> Result<Self, Error> {
        let expected = checked_product("block from a vector", &[rows, cols])?;
        if data.len() == expected {
            Ok(Self { rows, cols, data })
        } else {
            Err(Error::shape(
                "block from a vector",
                &[rows, cols],
                &[data.len()],
            ))
        }
    }

    /// The length of each vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of vectors.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// One vector.
    ///
    /// # Panics
    /// When there is no vector `j`.
    pub fn column(&self, j: usize) -> &[T] {
        &self.data[j * self.rows..(j + 1) * self.rows]
    }

    /// All elements, vector after vector.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// All elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// For each part of the rows, the mutable pieces of all vectors.
    fn parts_mut(&mut self) -> Vec<Vec<&mut [T]>> {
        let mut parts: Vec<Vec<&mut [T]>> = (0..self.rows.div_ceil(PART))
            .map(|_| Vec::with_capacity(self.cols))
            .collect();
        if self.rows > 0 {
            for column in self.data.chunks_exact_mut(self.rows) {
                for (part, piece) in parts.iter_mut().zip(column.chunks_mut(PART)) {
                    part.push(piece);
                }
            }
        }
        parts
    }

    fn matrix(&self, range: Range<usize>) -> MatRef<'_, T> {
        let data = &self.data[range.start * self.rows..range.end * self.rows];
        MatRef::from_column_major_slice(data, self.rows, range.len())
    }

    /// Gram products of many vectors: chunk after chunk of the rows, added up in `f64`, in groups of
    /// chunks side by side.
    fn wide_gram(&self, range: Range<usize>, other: &Self) -> Mat<f64> {
        let (rows, cols) = (range.len(), other.cols);
        let (x, y) = (self.matrix(range), other.matrix(0..cols));
        let group = self.rows.div_ceil(GROUPS).next_multiple_of(CHUNK);
        let sum = |start: usize| {
            let end = self.rows.min(start + group);
            let mut sums = vec![0.0; rows * cols];
            let mut partial = vec![T::ZERO; rows * cols];
            for start in (start..end).step_by(CHUNK) {
                let count = CHUNK.min(end - start);
                T::matmul(
                    MatMut::from_column_major_slice_mut(&mut partial, rows, cols),
                    Accum::Replace,
                    x.subrows(start, count).transpose(),
                    y.subrows(start, count),
                    Par::Seq,
                );
                for (sum, x) in sums.iter_mut().zip(&partial) {
                    *sum += x.to_f64();
                }
            }
            sums
        };
        let starts: Vec<usize> = (0..self.rows).step_by(group.max(1)).collect();
        let sums: Vec<Vec<f64>> = starts.into_par_iter().map(sum).collect();
        Mat::from_fn(rows, cols, |i, j| {
            sums.iter().map(|s| s[j * rows + i]).sum()
        })
    }

    fn piece(&self, column: usize, part: usize) -> &[T] {
        let column = self.column(column);
        &column[part * PART..self.rows.min((part + 1) * PART)]
    }
}

impl<T: Real> Block for Columns<T> {
    const UNIT_ROUNDOFF: f64 = T::UNIT_ROUNDOFF;

    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn zeros_like(&self, cols: usize) -> Self {
        Self::zeros(self.rows, cols)
    }

    fn gram(&self, range: Range<usize>, other: &Self) -> Mat<f64> {
        assert_eq!(self.rows, other.rows, "vectors of different lengths");
        let (rows, cols) = (range.len(), other.cols);
        if rows.min(cols) >= WIDE {
            return self.wide_gram(range, other);
        }
        let arch = Arch::new();
        let partial = |part: usize| {
            let mut sums = vec![0.0; rows * cols];
            for start in (0..PART).step_by(CHUNK) {
                for (j, sums) in sums.chunks_exact_mut(rows).enumerate() {
                    let y = chunk(other.piece(j, part), start);
                    for (i, sum) in range.clone().zip(sums) {
                        let x = chunk(self.piece(i, part), start);
                        *sum += arch.dispatch(Dot { x, y }).to_f64();
                    }
                }
            }
            sums
        };
        let parts = self.rows.div_ceil(PART);
        if rows * cols == 0 || parts == 0 {
            return Mat::zeros(rows, cols);
        }
        let partials: Vec<Vec<f64>> = if parts == 1 {
            vec![partial(0)]
        } else {
            (0..parts).into_par_iter().map(partial).collect()
        };
        Mat::from_fn(rows, cols, |i, j| {
            partials.iter().map(|p| p[j * rows + i]).sum()
        })
    }

    fn add_combination(&mut self, x: &Self, range: Range<usize>, c: MatRef<'_, f64>) {
        assert_eq!(self.rows, x.rows, "vectors of different lengths");
        assert_eq!(
            (range.len(), self.cols),
            c.shape(),
            "coefficients of another size"
        );
        if range.len().min(self.cols) >= WIDE {
            let (rows, cols) = (self.rows, self.cols);
            let coefficients = rounded::<T>(c);
            let coefficients =
                MatRef::from_column_major_slice(&coefficients, range.len(), self.cols);
            T::matmul(
                MatMut::from_column_major_slice_mut(&mut self.data, rows, cols),
                Accum::Add,
                x.matrix(range),
                coefficients,
                Par::rayon(0),
            );
            return;
        }
        let arch = Arch::new();
        let add = |(part, pieces): (usize, Vec<&mut [T]>)| {
            for (j, y) in pieces.into_iter().enumerate() {
                accumulate(arch, y, range.len(), |i| {
                    (x.piece(range.start + i, part), c[(i, j)])
                });
            }
        };
        let parts = self.parts_mut();
        if parts.len() == 1 {
            parts.into_iter().enumerate().for_each(add);
        } else {
            parts.into_par_iter().enumerate().for_each(add);
        }
    }

    fn rotate(&mut self, c: MatRef<'_, f64>) {
        let (from, to) = c.shape();
        assert!(from.max(to) <= self.cols, "more coefficients than vectors");
        if from.min(to) >= WIDE {
            let mut rotated = vec![T::ZERO; self.rows * to];
            T::matmul(
                MatMut::from_column_major_slice_mut(&mut rotated, self.rows, to),
                Accum::Replace,
                self.matrix(0..from),
                MatRef::from_column_major_slice(&rounded::<T>(c), from, to),
                Par::rayon(0),
            );
            self.data[..rotated.len()].copy_from_slice(&rotated);
            return;
        }
        let arch = Arch::new();
        self.parts_mut().into_par_iter().for_each(|mut pieces| {
            let len = pieces.first().map_or(0, |p| p.len());
            let mut sums = vec![T::ZERO; len * to];
            for (j, sum) in sums.chunks_exact_mut(len.max(1)).enumerate() {
                accumulate(arch, sum, from, |i| (&*pieces[i], c[(i, j)]));
            }
            for (piece, sum) in pieces.iter_mut().zip(sums.chunks_exact(len.max(1))) {
                piece.copy_from_slice(sum);
            }
        });
    }

    fn scale(&mut self, factors: &[f64]) {
        for (column, &factor) in self.data.chunks_mut(self.rows.max(1)).zip(factors) {
            let factor = T::from_f64(factor);
            column.par_chunks_mut(PART).for_each(|piece| {
                for x in piece {
                    *x *= factor;
                }
            });
        }
    }

    fn norms(&self) -> Vec<f64> {
        (0..self.cols)
            .map(|j| {
                let parts: Vec<f64> = self.column(j).par_chunks(PART).map(norm).collect();
                norm(&parts)
            })
            .collect()
    }

    fn columns(&self, range: Range<usize>) -> Self {
        Self {
            rows: self.rows,
            cols: range.len(),
            data: self.data[range.start * self.rows..range.end * self.rows].to_vec(),
        }
    }

    fn truncate(&mut self, cols: usize) {
        self.cols = self.cols.min(cols);
        self.data.truncate(self.rows * self.cols);
    }

    fn set_columns(&mut self, start: usize, other: &Self) {
        assert_eq!(self.rows, other.rows, "vectors of different lengths");
        self.data[start * self.rows..][..other.data.len()].copy_from_slice(&other.data);
    }

    fn upload(&mut self, values: &[f64]) {
        assert_eq!(values.len(), self.data.len(), "a block of another size");
        for (x, &value) in self.data.iter_mut().zip(values) {
            *x = T::from_f64(value);
        }
    }

    fn download(&self) -> Vec<f64> {
        self.data.iter().map(|x| x.to_f64()).collect()
    }
}

/// Coefficients in the scalar type of the vectors, column after column.
fn rounded<T: Real>(c: MatRef<'_, f64>) -> Vec<T> {
    let column = |j| (0..c.nrows()).map(move |i| T::from_f64(c[(i, j)]));
    (0..c.ncols()).flat_map(column).collect()
}

fn chunk<T>(piece: &[T], start: usize) -> &[T] {
    let start = start.min(piece.len());
    &piece[start..piece.len().min(start + CHUNK)]
}

/// `y` += sum over i < `count` of coefficient times vector, four vectors at a time.
fn accumulate<'a, T: Real>(
    arch: Arch,
    y: &mut [T],
    count: usize,
    term: impl Fn(usize) -> (&'a [T], f64),
) {
    for (k, y) in y.chunks_mut(CHUNK).enumerate() {
        for first in (0..count).step_by(4) {
            let used = (count - first).min(4);
            // Beyond the last vector: the last one again, times zero.
            let terms: [(&[T], f64); 4] = std::array::from_fn(|i| term(first + i.min(used - 1)));
            arch.dispatch(AddFour {
                y: &mut *y,
                x: terms.map(|(x, _)| &x[k * CHUNK..]),
                c: std::array::from_fn(|i| T::from_f64(if i < used { terms[i].1 } else { 0.0 })),
            });
        }
    }
}

struct Dot<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

impl<T: Real> WithSimd for Dot<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let (x, x_rest) = T::as_vectors::<S>(self.x);
        let (y, y_rest) = T::as_vectors::<S>(self.y);
        let mut sums = [T::splat(simd, T::ZERO); 4];
        for (x, y) in x.chunks(4).zip(y.chunks(4)) {
            for ((x, y), sum) in x.iter().zip(y).zip(&mut sums) {
                *sum = T::mul_add(simd, *x, *y, *sum);
            }
        }
        let pairs = [
            T::add_vectors(simd, sums[0], sums[1]),
            T::add_vectors(simd, sums[2], sums[3]),
        ];
        let mut total = T::reduce_sum(simd, T::add_vectors(simd, pairs[0], pairs[1]));
        for (&x, &y) in x_rest.iter().zip(y_rest) {
            total += x * y;
        }
        total
    }
}

struct AddFour<'a, T> {
    y: &'a mut [T],
    x: [&'a [T]; 4],
    c: [T; 4],
}

impl<T: Real> WithSimd for AddFour<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.y.len();
        let (y, y_rest) = T::as_vectors_mut::<S>(self.y);
        let done = n - y_rest.len();
        let c = self.c.map(|c| T::splat(simd, c));
        let x = self.x.map(|x| T::as_vectors::<S>(&x[..n]).0);
        let columns = x[0].iter().zip(x[1]).zip(x[2]).zip(x[3]);
        for (y, (((a, b), d), e)) in y.iter_mut().zip(columns) {
            let ab = T::mul_add(simd, c[1], *b, T::mul_add(simd, c[0], *a, *y));
            *y = T::mul_add(simd, c[3], *e, T::mul_add(simd, c[2], *d, ab));
        }
        for (i, y) in y_rest.iter_mut().enumerate() {
            for (x, &c) in self.x.iter().zip(&self.c) {
                *y += c * x[done + i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn random<T: Real>(rows: usize, cols: usize, seed: u64) -> Columns<T> {
        let mut block = Columns::zeros(rows, cols);
        Random::new(seed).fill(&mut block);
        block
    }

    /// Products of blocks with as many vectors as go through matrix products, and with fewer, against sums in `f64`:
    /// lengths on both sides of where sums are cut.
    fn products_are_sums<T: Real>() {
        for rows in [
            0,
            1,
            37,
            CHUNK,
            CHUNK + 1,
            3 * CHUNK - 1,
            GROUPS * CHUNK + 5,
        ] {
            for (count, cols) in [(WIDE, WIDE), (WIDE + 3, WIDE + 1), (WIDE - 1, WIDE + 4)] {
                let x = random::<T>(rows, count + 2, 1);
                let y = random::<T>(rows, cols, 2);
                let range = 1..count + 1;
                let what = format!("{rows} rows, {count} with {cols}");
                let gram = x.gram(range.clone(), &y);
                // Of a chunk's sum in the scalar type.
                let error = CHUNK as f64 * T::UNIT_ROUNDOFF;
                for (i, j) in [(0, 0), (count - 1, cols - 1), (count / 2, 1)] {
                    let pairs = x.column(1 + i).iter().zip(y.column(j));
                    let terms: Vec<f64> = pairs.map(|(a, b)| a.to_f64() * b.to_f64()).collect();
                    let size: f64 = terms.iter().map(|t| t.abs()).sum();
                    let expected: f64 = terms.iter().sum();
                    assert!((gram[(i, j)] - expected).abs() <= error * size, "{what}");
                }
                let c = Mat::from_fn(count, cols, |i, j| ((3 * i + 5 * j) as f64).sin());
                let mut sum = y.clone();
                sum.add_combination(&x, range, c.as_ref());
                let mut rotated = x.columns(1..count + 1);
                let size = cols.min(count);
                rotated.rotate(c.as_ref().subcols(0, size));
                for (row, j) in [(0, 0), (rows / 2, 1), (rows.saturating_sub(1), size - 1)] {
                    if row == rows {
                        continue;
                    }
                    let terms = (0..count).map(|i| x.column(1 + i)[row].to_f64() * c[(i, j)]);
                    let expected: f64 = terms.sum();
                    let error = 8.0 * count as f64 * T::UNIT_ROUNDOFF;
                    let start = y.column(j)[row].to_f64();
                    let found = sum.column(j)[row].to_f64();
                    assert!((found - start - expected).abs() <= error, "{what}");
                    let found = rotated.column(j)[row].to_f64();
                    assert!((found - expected).abs() <= error, "{what}");
                }
            }
        }
    }

    #[test]
    fn products_of_many_vectors_are_sums() {
        products_are_sums::<f32>();
        products_are_sums::<f64>();
    }
}
