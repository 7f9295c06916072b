//! Both actions of a convolution on one vector by its weights as they are.
//!
//! Packing weights costs as much as many products with one vector. A layer that is followed from step to step of
//! training, or moved by gradient steps, acts once with the weights that it has. Where it has more output channels than
//! positions, the im2col matrix of the vector is smaller than the weights, and is what is made instead.

use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::correlation::Layout;
use super::gradient::{im2col, starts};
use crate::Real;

/// A convolution without groups, as the forward correlation reads its padded input.
pub(super) struct Unpacked<'a, T> {
    layout: &'a Layout,
    weight: &'a [T],
    /// Samples of an output plane.
    plane: usize,
    starts: Vec<usize>,
}

impl<'a, T: Real> Unpacked<'a, T> {
    /// Where it pays.
    pub(super) fn new(layout: &'a Layout, plane: usize, weight: &'a [T]) -> Option<Self> {
        let pays = layout.groups == 1 && plane <= layout.rows;
        pays.then(|| Self {
            layout,
            weight,
            plane,
            starts: starts(layout, plane),
        })
    }

    /// Rows of the im2col matrix; each has an entry for each sample of the output plane.
    fn depth(&self) -> usize {
        self.layout.channels * self.layout.taps.len()
    }

    fn weights(&self) -> MatRef<'_, T> {
        MatRef::from_row_major_slice(self.weight, self.layout.rows, self.depth())
    }

    /// `y` <- W times the im2col matrix of `padded`.
    pub(super) fn forward(&self, padded: &[T], y: &mut [T]) {
        let mut matrix = vec![T::ZERO; self.depth() * self.plane];
        let lines = 0..self.starts.len();
        im2col(self.layout, &self.starts, padded, 0, lines, &mut matrix);
        T::matmul(
            MatMut::from_row_major_slice_mut(y, self.layout.rows, self.plane),
            Accum::Replace,
            self.weights(),
            MatRef::from_row_major_slice(&matrix, self.depth(), self.plane),
            Par::rayon(0),
        );
    }

    /// `padded` <- the adjoint of [`im2col`], applied to W' `y`.
    pub(super) fn backward(&self, y: &[T], padded: &mut [T]) {
        let mut matrix = vec![T::ZERO; self.depth() * self.plane];
        T::matmul(
            MatMut::from_row_major_slice_mut(&mut matrix, self.depth(), self.plane),
            Accum::Replace,
            self.weights().transpose(),
            MatRef::from_row_major_slice(y, self.layout.rows, self.plane),
            Par::rayon(0),
        );
        let (taps, width) = (&self.layout.taps, self.layout.grid[2]);
        let add = |(target, products): (&mut [T], &[T])| {
            target.fill(T::ZERO);
            for (tap, products) in taps.iter().zip(products.chunks_exact(self.plane)) {
                for (start, products) in self.starts.iter().zip(products.chunks_exact(width)) {
                    let at = tap + start;
                    for (sum, &x) in target[at..at + width].iter_mut().zip(products) {
                        *sum += x;
                    }
                }
            }
        };
        padded
            .par_chunks_exact_mut(self.layout.source_plane)
            .zip(matrix.par_chunks_exact(taps.len() * self.plane))
            .for_each(add);
    }
}
