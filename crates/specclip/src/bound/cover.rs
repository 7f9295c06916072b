//! Periodic convolutions that contain a convolution.
//!
//! A convolution M is written as M = R C P, where the rows of C are rows of a periodic convolution
//! (or rows of zeros), so that its norm bounds that of C. Axis by axis:
//!
//! - *Zero padding.* With e = extent - 1, windows that read input samples begin at
//!   n + min(p_l, e) + min(p_r, e) - e places in a row, of which the stride leaves some. A periodic grid of
//!   n + min(p_l + p_r, e) samples has no fewer places, so on the grid these windows begin at different ones.
//!   It holds the input and after it min(p_l + p_r, e) zeros, at least as many as a window reaches beyond
//!   either end of the input, so they read the same numbers. R and P are identities.
//! - *Circular padding.* Output o reads the periodic input from o s - p_l on: on a grid of n
//!   samples it is the output of a convolution with any stride that divides s and n, and the same
//!   one for all o with the same o s modulo n. R repeats outputs; its norm is the root of the largest
//!   number of repetitions, 1 where p_l + p_r <= extent - 1.
//! - *Any padding.* C is the convolution without padding of the samples that are read, and P makes
//!   these samples from the input; its norm is the root of the largest number of times that one
//!   input sample is used. This is the only way for reflect and replicate padding.
//!
//! A convolution whose windows do not overlap along an axis (the extent is at most the stride), or
//! with one output there, is a block diagonal of one and the same matrix: a grid of one window.

use crate::kernel::geometry::{AXES, Axis};
use crate::operator::{FilterBank, PaddingMode};

/// A periodic convolution that bounds another.
pub(super) struct Cover {
    /// The convolution with the axes of the grid: `input` is a multiple of `stride`.
    pub(super) bank: FilterBank,
    /// ||R|| ||P||, squared: a product of counts, so exact.
    pub(super) factor_squared: f64,
}

/// The ways to cover a convolution: two where an axis leaves a choice.
pub(super) fn covers(bank: &FilterBank) -> Vec<Cover> {
    let mut covers = vec![Cover {
        bank: bank.clone(),
        factor_squared: 1.0,
    }];
    for i in 0..AXES {
        let axis = bank.geometry.axes[i];
        let ways = ways(&axis);
        covers = covers
            .into_iter()
            .flat_map(|cover| {
                ways.iter().map(move |&(grid, count)| {
                    let mut bank = cover.bank.clone();
                    bank.geometry.axes[i] = grid;
                    Cover {
                        bank,
                        factor_squared: cover.factor_squared * count as f64,
                    }
                })
            })
            .collect();
    }
    covers
}

/// Grids for an axis, each with the largest number of repetitions.
fn ways(axis: &Axis) -> Vec<(Axis, usize)> {
    let padding = axis.padding.0 + axis.padding.1;
    match axis.mode {
        _ if padding == 0 => vec![(grid(axis, axis.padded().min(axis.input)), 1)],
        PaddingMode::Zeros => {
            let size = axis.input + padding.min(axis.extent() - 1);
            vec![(grid(axis, size), 1)]
        }
        PaddingMode::Circular => {
            let (periodic, unpadded) = (periodic(axis), unpadded(axis));
            // The period is the better grid unless outputs repeat or the stride has to give way.
            if periodic.1 == 1 && periodic.0.stride == axis.stride {
                vec![periodic]
            } else {
                vec![periodic, unpadded]
            }
        }
        PaddingMode::Reflect | PaddingMode::Replicate => vec![unpadded(axis)],
    }
}

fn unpadded(axis: &Axis) -> (Axis, usize) {
    (grid(axis, axis.padded()), uses(axis))
}

/// A grid of at least `size` samples on which windows are laid out as on the axis.
fn grid(axis: &Axis, size: usize) -> Axis {
    let extent = axis.extent();
    let mut axis = Axis {
        padding: (0, 0),
        mode: PaddingMode::Circular,
        ..*axis
    };
    if extent <= axis.stride || axis.output == 1 {
        // One window: its taps are as good as neighbours.
        return Axis {
            input: axis.kernel,
            stride: axis.kernel,
            dilation: 1,
            output: 1,
            ..axis
        };
    }
    let mut size = size.max(extent);
    if axis.stride == 1 {
        // Samples that differ modulo the dilation never meet.
        size = size.div_ceil(axis.dilation);
        axis.dilation = 1;
    }
    let output = size.div_ceil(axis.stride);
    Axis {
        input: output * axis.stride,
        output,
        ..axis
    }
}

/// The input's own period, with the largest stride that it allows.
fn periodic(axis: &Axis) -> (Axis, usize) {
    let stride = gcd(axis.stride, axis.input);
    let mut counts = vec![0_usize; axis.input / stride];
    for o in 0..axis.output {
        counts[(o * axis.stride) % axis.input / stride] += 1;
    }
    let grid = Axis {
        stride,
        output: axis.input / stride,
        padding: (0, 0),
        mode: PaddingMode::Circular,
        ..*axis
    };
    (grid, counts.into_iter().max().unwrap_or(1))
}

/// The largest number of times that one input sample is among the padded samples.
pub(super) fn uses(axis: &Axis) -> usize {
    let mut counts = vec![0_usize; axis.input];
    for i in (0..axis.padded()).filter_map(|q| axis.source(q)) {
        counts[i] += 1;
    }
    counts.into_iter().max().unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
