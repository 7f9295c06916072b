//! The weight gradient of a convolution.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::correlation::Layout;
use super::geometry::{Geometry, unravel};
use crate::Real;

/// Elements of the im2col matrix that exist at one time, for each part.
const CHUNK: usize = 1 << 18;

/// Parts of the samples that threads work on by themselves, at most, each with a sum of its own; and
/// the elements that these sums may have together. The parts do not depend on the number of threads,
/// so neither does the result.
const PARTS: usize = 8;
const SUMS: usize = 1 << 20;

/// sum_i lambda_i G(u_i, v_i): output channels x (input channels of the group x taps), row-major.
///
/// `v` holds the padded inputs as the forward correlation reads them. The gradient is a product of
/// the outputs' rows of samples, of all images, with the transposed im2col matrix: one image after
/// the other would read and write the whole gradient once for each.
pub(super) fn weight_gradient<T: Real>(
    g: &Geometry,
    layout: &Layout,
    lambda: &[T],
    u: &[T],
    v: &[T],
) -> Vec<T> {
    let samples = Samples {
        layout,
        lambda,
        plane: g.output_plane(),
        starts: starts(layout, g.output_plane()),
        u,
        v,
    };
    let (rows, depth) = (layout.rows, layout.channels * layout.taps.len());
    let lines = lambda.len() * samples.starts.len();
    let parts = (SUMS / (rows * depth)).clamp(1, PARTS).min(lines.max(1));
    let mut gradient = Vec::with_capacity(g.weights());
    for group in 0..layout.groups {
        let part = |part: usize| {
            let range = lines * part / parts..lines * (part + 1) / parts;
            samples.product(group, range)
        };
        let sums: Vec<Vec<T>> = (0..parts).into_par_iter().map(part).collect();
        let sum = sums.into_iter().reduce(|mut sum, part| {
            for (sum, x) in sum.iter_mut().zip(part) {
                *sum += x;
            }
            sum
        });
        gradient.extend(sum.unwrap_or_default());
    }
    gradient
}

/// The samples of all images, line after line (along the last axis) and image after image.
struct Samples<'a, T> {
    layout: &'a Layout,
    lambda: &'a [T],
    /// Samples of one image.
    plane: usize,
    /// By [`starts`].
    starts: Vec<usize>,
    u: &'a [T],
    v: &'a [T],
}

impl<T: Real> Samples<'_, T> {
    fn width(&self) -> usize {
        self.layout.grid[2]
    }

    /// The product over a range of lines.
    fn product(&self, group: usize, lines: Range<usize>) -> Vec<T> {
        let layout = self.layout;
        let (rows, depth, width) = (
            layout.rows,
            layout.channels * layout.taps.len(),
            self.width(),
        );
        let chunk = (CHUNK / depth.max(rows) / width).clamp(1, lines.len().max(1));
        let mut columns = vec![T::ZERO; depth * chunk * width];
        let mut scaled = vec![T::ZERO; rows * chunk * width];
        let mut product = vec![T::ZERO; rows * depth];
        for start in lines.clone().step_by(chunk) {
            let range = start..lines.end.min(start + chunk);
            let count = range.len() * width;
            let target = &mut columns[..depth * count];
            im2col(layout, &self.starts, self.v, group, range.clone(), target);
            self.outputs(group, range, &mut scaled[..rows * count]);
            T::matmul(
                MatMut::from_row_major_slice_mut(&mut product, rows, depth),
                Accum::Add,
                MatRef::from_row_major_slice(&scaled[..rows * count], rows, count),
                MatRef::from_row_major_slice(&columns[..depth * count], depth, count).transpose(),
                Par::rayon(0),
            );
        }
        product
    }

    /// Rows (output channel) of the outputs, times the factors of their images.
    fn outputs(&self, group: usize, lines: Range<usize>, scaled: &mut [T]) {
        let (layout, width) = (self.layout, self.width());
        for (row, target) in scaled.chunks_exact_mut(lines.len() * width).enumerate() {
            for (line, target) in lines.clone().zip(target.chunks_exact_mut(width)) {
                let (image, line) = (line / self.starts.len(), line % self.starts.len());
                let plane = (image * layout.groups + group) * layout.rows + row;
                let source = &self.u[plane * self.plane + line * width..];
                for (t, &u) in target.iter_mut().zip(source) {
                    *t = self.lambda[image] * u;
                }
            }
        }
    }
}

/// Rows (channel, tap) of the im2col matrix of padded inputs `v`, for a range of lines of all images.
pub(super) fn im2col<T: Real>(
    layout: &Layout,
    starts: &[usize],
    v: &[T],
    group: usize,
    lines: Range<usize>,
    columns: &mut [T],
) {
    // Neighbours on a line are neighbours in the source, whatever the stride ([`Layout::source_step`]).
    let (taps, width) = (layout.taps.len(), layout.grid[2]);
    let work = |(row, target): (usize, &mut [T])| {
        let (channel, tap) = (row / taps, layout.taps[row % taps]);
        for (line, target) in lines.clone().zip(target.chunks_exact_mut(width)) {
            let (image, line) = (line / starts.len(), line % starts.len());
            let plane = (image * layout.groups + group) * layout.channels + channel;
            let start = plane * layout.source_plane + tap + starts[line];
            target.copy_from_slice(&v[start..start + width]);
        }
    };
    columns
        .par_chunks_exact_mut(lines.len() * width)
        .enumerate()
        .for_each(work);
}

/// Where the first sample of each line of an image is read in the padded input, for the first tap and channel.
pub(super) fn starts(layout: &Layout, plane: usize) -> Vec<usize> {
    (0..plane)
        .step_by(layout.grid[2])
        .map(|p| {
            let at = unravel(p, &layout.grid);
            at.iter().zip(layout.source_step).map(|(a, s)| a * s).sum()
        })
        .collect()
}
