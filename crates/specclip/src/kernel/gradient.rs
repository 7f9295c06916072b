//! The weight gradient of a convolution.

use std::ops::Range;

use faer::{Accum, MatMut, MatRef};
use rayon::prelude::*;

use super::correlation::Layout;
use super::geometry::{Geometry, unravel};
use crate::Real;

/// Elements of the im2col matrix that exist at one time.
const CHUNK: usize = 1 << 20;

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
        plane: g.output_plane(),
        offsets: offsets(layout, g.output_plane()),
    };
    let (rows, depth) = (layout.rows, layout.channels * layout.taps.len());
    let all = lambda.len() * samples.plane;
    let chunk = (CHUNK / depth.max(rows)).clamp(1, all.max(1));
    let mut columns = vec![T::ZERO; depth * chunk];
    let mut scaled = vec![T::ZERO; rows * chunk];
    let mut gradient = vec![T::ZERO; g.weights()];
    for group in 0..layout.groups {
        let gradient = &mut gradient[group * rows * depth..][..rows * depth];
        for start in (0..all).step_by(chunk) {
            let range = start..all.min(start + chunk);
            let count = range.len();
            samples.inputs(v, group, range.clone(), &mut columns[..depth * count]);
            samples.outputs(u, lambda, group, range, &mut scaled[..rows * count]);
            T::matmul(
                MatMut::from_row_major_slice_mut(gradient, rows, depth),
                Accum::Add,
                MatRef::from_row_major_slice(&scaled[..rows * count], rows, count),
                MatRef::from_row_major_slice(&columns[..depth * count], depth, count).transpose(),
            );
        }
    }
    gradient
}

/// The samples of all images, one image after the other.
struct Samples<'a> {
    layout: &'a Layout,
    /// Samples of one image.
    plane: usize,
    /// Where each sample of an image is read in the padded input, for the first tap and channel.
    offsets: Vec<usize>,
}

impl Samples<'_> {
    /// Rows (channel, tap) of the im2col matrix.
    fn inputs<T: Real>(&self, v: &[T], group: usize, range: Range<usize>, columns: &mut [T]) {
        let layout = self.layout;
        let taps = layout.taps.len();
        let work = |(row, target): (usize, &mut [T])| {
            let (channel, tap) = (row / taps, layout.taps[row % taps]);
            for (pieces, image, within) in self.images(range.clone()) {
                let plane = (image * layout.groups + group) * layout.channels + channel;
                let source = &v[plane * layout.source_plane + tap..];
                for (t, &offset) in target[pieces].iter_mut().zip(&self.offsets[within]) {
                    *t = source[offset];
                }
            }
        };
        columns
            .par_chunks_exact_mut(range.len())
            .enumerate()
            .for_each(work);
    }

    /// Rows (output channel) of the outputs, times the factors of their images.
    fn outputs<T: Real>(
        &self,
        u: &[T],
        lambda: &[T],
        group: usize,
        range: Range<usize>,
        scaled: &mut [T],
    ) {
        let layout = self.layout;
        for (row, target) in scaled.chunks_exact_mut(range.len()).enumerate() {
            for (pieces, image, within) in self.images(range.clone()) {
                let plane = (image * layout.groups + group) * layout.rows + row;
                let source = &u[plane * self.plane..][within];
                for (t, &u) in target[pieces].iter_mut().zip(source) {
                    *t = lambda[image] * u;
                }
            }
        }
    }

    /// The images of a range of samples: the place of their samples in the range, their number, and
    /// the samples within the image.
    fn images(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, usize, Range<usize>)> {
        let plane = self.plane;
        (range.start / plane..range.end.div_ceil(plane)).map(move |image| {
            let first = range.start.max(image * plane);
            let last = range.end.min((image + 1) * plane);
            let place = first - range.start..last - range.start;
            (place, image, first - image * plane..last - image * plane)
        })
    }
}

fn offsets(layout: &Layout, plane: usize) -> Vec<usize> {
    (0..plane)
        .map(|p| {
            let at = unravel(p, &layout.grid);
            at.iter().zip(layout.source_step).map(|(a, s)| a * s).sum()
        })
        .collect()
}
