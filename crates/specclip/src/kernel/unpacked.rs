//! Both actions of a convolution on one vector by its weights as they are.
//!
//! Packing weights costs as much as many products with one vector. A layer that is followed from step to step of
//! training, or moved by gradient steps, acts once with the weights that it has; then the im2col matrix of the vector, which is
//! smaller, is what is made.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::correlation::Layout;
use super::gradient::{columns, starts};
use crate::Real;

/// Elements of the im2col matrix that exist at one time.
const CHUNK: usize = 1 << 20;

/// A convolution without groups, as the forward correlation reads its padded input.
pub(super) struct Unpacked<'a, T> {
    layout: &'a Layout,
    weight: &'a [T],
    /// Samples of an output plane.
    plane: usize,
    starts: Vec<usize>,
}

impl<'a, T: Real> Unpacked<'a, T> {
    pub(super) fn new(layout: &'a Layout, plane: usize, weight: &'a [T]) -> Self {
        Self {
            layout,
            weight,
            plane,
            starts: starts(layout, plane),
        }
    }

    fn depth(&self) -> usize {
        self.layout.channels * self.layout.taps.len()
    }

    fn weights(&self) -> MatRef<'_, T> {
        MatRef::from_row_major_slice(self.weight, self.layout.rows, self.depth())
    }

    /// Ranges of lines whose part of the im2col matrix is made at a time.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<'_, T> {
        let lines = self.starts.len();
        let chunk = (CHUNK / self.depth() / self.width()).max(1);
        let chunks = (0..lines).step_by(chunk);
        chunks.map(move |start| start..lines.min(start + chunk))
    }

    fn width(&self) -> usize {
        self.layout.grid[2]
    }

    /// `y` <- W times the im2col matrix of `padded`.
    pub(super) fn forward(&self, padded: &[T], y: &mut [T]) {
        let mut matrix = Vec::new();
        let mut y = MatMut::from_row_major_slice_mut(y, self.layout.rows, self.plane);
        for lines in self.chunks() {
            let (first, count) = (lines.start * self.width(), lines.len() * self.width());
            matrix.resize(self.depth() * count, T::ZERO);
            columns(self.layout, &self.starts, padded, 0, lines, &mut matrix);
            T::matmul(
                y.as_mut().subcols_mut(first, count),
                Accum::Replace,
                self.weights(),
                MatRef::from_row_major_slice(&matrix, self.depth(), count),
                Par::rayon(0),
            );
        }
    }

    /// `padded` <- the adjoint of the im2col matrix, applied to W' `y`.
    pub(super) fn backward(&self, y: &[T], padded: &mut [T]) {
        padded
            .par_chunks_mut(CHUNK)
            .for_each(|part| part.fill(T::ZERO));
        let (taps, width) = (&self.layout.taps, self.width());
        let y = MatRef::from_row_major_slice(y, self.layout.rows, self.plane);
        let mut matrix = Vec::new();
        for lines in self.chunks() {
            let (first, count) = (lines.start * width, lines.len() * width);
            matrix.resize(self.depth() * count, T::ZERO);
            T::matmul(
                MatMut::from_row_major_slice_mut(&mut matrix, self.depth(), count),
                Accum::Replace,
                self.weights().transpose(),
                y.subcols(first, count),
                Par::rayon(0),
            );
            let add = |(plane, products): (&mut [T], &[T])| {
                for (tap, products) in taps.iter().zip(products.chunks_exact(count)) {
                    for (start, products) in self.starts[lines.clone()]
                        .iter()
                        .zip(products.chunks_exact(width))
                    {
                        let at = tap + start;
                        for (sum, &x) in plane[at..at + width].iter_mut().zip(products) {
                            *sum += x;
                        }
                    }
                }
            };
            padded
                .par_chunks_exact_mut(self.layout.source_plane)
                .zip(matrix.par_chunks_exact(taps.len() * count))
                .for_each(add);
        }
    }
}
