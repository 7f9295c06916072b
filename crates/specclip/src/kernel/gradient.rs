//! The weight gradient of a convolution.

use faer::{Accum, MatMut, MatRef};
use rayon::prelude::*;

use super::correlation::Layout;
use super::geometry::{Geometry, unravel};
use crate::Real;

/// Elements of the im2col matrix that exist at one time.
const CHUNK: usize = 1 << 20;

/// sum_i lambda_i G(u_i, v_i): output channels x (input channels of the group x taps), row-major.
///
/// `v` holds the padded inputs as the forward correlation reads them. For each image the gradient
/// is a product of the output's rows of samples with the transposed im2col matrix.
pub(super) fn weight_gradient<T: Real>(
    g: &Geometry,
    layout: &Layout,
    lambda: &[T],
    u: &[T],
    v: &[T],
) -> Vec<T> {
    let plane = g.output_plane();
    let (rows, channels, taps) = (layout.rows, layout.channels, layout.taps.len());
    let depth = channels * taps;
    let chunk = (CHUNK / depth).clamp(1, plane);
    let mut columns = vec![T::ZERO; depth * chunk];
    let mut scaled = vec![T::ZERO; rows * chunk];
    let mut gradient = vec![T::ZERO; g.weights()];
    for (image, &lambda) in lambda.iter().enumerate() {
        for group in 0..layout.groups {
            let first_plane = (image * layout.groups + group) * channels;
            let planes = &v[first_plane * layout.source_plane..];
            let u = &u[(image * layout.groups + group) * rows * plane..][..rows * plane];
            let gradient = &mut gradient[group * rows * depth..][..rows * depth];
            for start in (0..plane).step_by(chunk) {
                let count = chunk.min(plane - start);
                gather(layout, planes, start, &mut columns[..depth * count], count);
                for (scaled, u) in scaled.chunks_exact_mut(count).zip(u.chunks_exact(plane)) {
                    for (s, &u) in scaled.iter_mut().zip(&u[start..]) {
                        *s = lambda * u;
                    }
                }
                T::matmul(
                    MatMut::from_row_major_slice_mut(gradient, rows, depth),
                    Accum::Add,
                    MatRef::from_row_major_slice(&scaled[..rows * count], rows, count),
                    MatRef::from_row_major_slice(&columns[..depth * count], depth, count)
                        .transpose(),
                );
            }
        }
    }
    gradient
}

/// Rows (channel, tap) of `count` samples each, from grid point `start` on.
fn gather<T: Real>(layout: &Layout, planes: &[T], start: usize, columns: &mut [T], count: usize) {
    let offsets: Vec<usize> = (start..start + count)
        .map(|p| {
            let at = unravel(p, &layout.grid);
            at.iter().zip(layout.source_step).map(|(a, s)| a * s).sum()
        })
        .collect();
    let taps = layout.taps.len();
    columns
        .par_chunks_exact_mut(count)
        .enumerate()
        .for_each(|(row, target)| {
            let base = (row / taps) * layout.source_plane + layout.taps[row % taps];
            for (t, &offset) in target.iter_mut().zip(&offsets) {
                *t = planes[base + offset];
            }
        });
}
