//! Clipping by frequencies (Sedghi, Gupta & Long, "The singular values of convolutional layers",
//! ICLR 2019; with strides Senderovich, Bulatova, Obukhov & Rakhuba, "Towards practical control of
//! singular values of convolutional layers", NeurIPS 2022).
//!
//! The kernel is read as that of a circular convolution on the layer's own grid, whatever its
//! padding is; the singular values of its frequency blocks are cut at c and the blocks transformed
//! back. The result has as many taps as the grid has samples. For circular padding it is the nearest
//! operator there is; cut to the kernel's own taps it is not, and may be above c. For other paddings
//! it is a baseline, as in those papers.

use faer::{Mat, c64};
use rayon::prelude::*;

use super::{Moved, is_weight};
use crate::Real;
use crate::error::Error;
use crate::frequency::Frequencies;
use crate::kernel::geometry::{AXES, Geometry};
use crate::operator::{Conv, ConvParams, FilterBank, LinearOperator, PaddingMode, Structure};
use crate::weight::Parametric;

fn refuse(reason: impl Into<String>) -> Error {
    Error::NotApplicable {
        method: "frequency clipping",
        reason: reason.into(),
    }
}

pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    crop: bool,
) -> Result<Moved, Error> {
    let bank = filters(op)?;
    let taps = Taps::new(&bank.geometry);
    if !crop && taps.positions < bank.geometry.input_plane() {
        return Err(refuse(format!(
            "the result has {} taps, one for each sample of the grid, and the kernel covers {}; \
             crop it, or give the convolution a kernel of the whole grid (clip::full_grid)",
            bank.geometry.input_plane(),
            taps.positions
        )));
    }
    let weight = clipped(&bank, &taps, c)?;
    op.set_weights(&[weight.into_iter().map(P::Scalar::from_f64).collect()])?;
    Ok(Moved::default())
}

/// The filters of an operator whose one weight they are.
fn filters<P: Parametric + ?Sized>(op: &P) -> Result<FilterBank, Error> {
    let Structure::Filters(bank) = op.structure() else {
        let reason = "the operator is not a convolution; use fastclip or projection";
        return Err(refuse(reason));
    };
    if !is_weight(op, &bank.weight) {
        let reason = "the convolution is part of a composition; clip it alone, or use fastclip or \
                      projection";
        return Err(refuse(reason));
    }
    if let Some(axis) = bank.geometry.axes.iter().find(|a| a.input % a.stride != 0) {
        return Err(refuse(format!(
            "the stride {} does not divide the {} samples of the grid; use fastclip or projection",
            axis.stride, axis.input
        )));
    }
    Ok(bank)
}

/// The weight with the frequency blocks' singular values cut at `c`, at the kernel's taps.
fn clipped(bank: &FilterBank, taps: &Taps, c: f64) -> Result<Vec<f64>, Error> {
    let frequencies = Frequencies::circulant(periodic(bank.clone()))?;
    let groups = frequencies.geometry().groups;
    let filters = bank.weight.len() / taps.sharing.len() / groups;
    let half = frequencies.half();
    // A fixed number of parts, added up in order: the result does not depend on the threads.
    let part = half.len().div_ceil(16);
    let mut excess = Vec::with_capacity(bank.weight.len());
    for group in 0..groups {
        let parts: Result<Vec<Vec<f64>>, Error> = half
            .par_chunks(part)
            .map(|part| {
                let mut sum = vec![0.0; filters * taps.sharing.len()];
                for &g in part {
                    remove(&frequencies, (g, group), c, &mut sum)?;
                }
                Ok(sum)
            })
            .collect();
        let parts = parts?;
        excess.extend((0..parts[0].len()).map(|i| parts.iter().map(|p| p[i]).sum::<f64>()));
    }
    let shares = taps.sharing.iter().cycle();
    let terms = bank.weight.iter().zip(&excess).zip(shares);
    Ok(terms
        .map(|((w, excess), &share)| w - excess / share)
        .collect())
}

/// Adds to `sum` what a block has above `c`, transformed back at every tap: filter after filter.
fn remove(
    frequencies: &Frequencies,
    (g, group): (usize, usize),
    c: f64,
    sum: &mut [f64],
) -> Result<(), Error> {
    let Some(excess) = excess(&frequencies.block(g, group), c)? else {
        return Ok(());
    };
    let geometry = frequencies.geometry();
    let (taps, channels) = (geometry.taps(), geometry.in_per_group());
    let aliases = frequencies.aliases(g);
    // The opposite frequency has the conjugate block.
    let copies = if frequencies.opposite(g) == g {
        1.0
    } else {
        2.0
    };
    let scale = copies * (aliases.len() as f64).sqrt() / geometry.input_plane() as f64;
    for (alias, &f) in aliases.iter().enumerate() {
        let waves: Vec<c64> = (0..taps)
            .map(|t| frequencies.tap_wave(f, t) * scale)
            .collect();
        for (filter, sum) in sum.chunks_exact_mut(taps).enumerate() {
            let (row, channel) = (filter / channels, filter % channels);
            let value = excess[(row, alias * channels + channel)];
            for (sum, wave) in sum.iter_mut().zip(&waves) {
                // The real part of value times the conjugate wave.
                *sum += value.re * wave.re + value.im * wave.im;
            }
        }
    }
    Ok(())
}

/// U max(S - c, 0) V', or nothing where no singular value is above c.
fn excess(block: &Mat<c64>, c: f64) -> Result<Option<Mat<c64>>, Error> {
    let svd = block.thin_svd().map_err(|_| Error::Decomposition {
        operation: "frequency clipping",
    })?;
    let above: Vec<f64> = (0..svd.S().dim())
        .map(|i| svd.S()[i].re - c)
        .take_while(|&s| s > 0.0)
        .collect();
    if above.is_empty() {
        return Ok(None);
    }
    let (u, v) = (svd.U(), svd.V());
    let scaled = Mat::from_fn(u.nrows(), above.len(), |i, j| u[(i, j)] * above[j]);
    Ok(Some(scaled * v.get(.., ..above.len()).adjoint()))
}

/// The same kernel on the same grid with circular padding of one period.
fn periodic(mut bank: FilterBank) -> FilterBank {
    for axis in &mut bank.geometry.axes {
        axis.mode = PaddingMode::Circular;
        axis.padding = (0, axis.extent() - 1);
        axis.output = axis.input / axis.stride;
    }
    bank
}

/// Where the taps of a kernel are on the grid.
struct Taps {
    /// For each tap, how many taps there are at its position.
    sharing: Vec<f64>,
    /// Different positions.
    positions: usize,
}

impl Taps {
    fn new(geometry: &Geometry) -> Self {
        let mut counts = vec![0_usize; geometry.input_plane()];
        let positions: Vec<usize> = (0..geometry.taps())
            .map(|t| position(geometry, t))
            .collect();
        for &position in &positions {
            counts[position] += 1;
        }
        Self {
            sharing: positions.iter().map(|&p| counts[p] as f64).collect(),
            positions: counts.iter().filter(|&&count| count > 0).count(),
        }
    }
}

/// The sample of the grid, row-major, that tap `t` of the first output reads.
fn position(geometry: &Geometry, t: usize) -> usize {
    let at = geometry.tap(t);
    (0..AXES).fold(0, |position, i| {
        let axis = &geometry.axes[i];
        let n = axis.input;
        position * n + (at[i] * axis.dilation + n - axis.padding.0 % n) % n
    })
}

/// A circular convolution as one whose kernel has a tap for every sample of the grid, most of them
/// zero: the same operator with room for the result of [`Method::Frequency`](super::Method::Frequency)
/// without the crop.
///
/// # Errors
/// [`Error::NotApplicable`] unless the padding is circular and one period, and the stride divides
/// the input.
///
/// ```
/// use specclip::clip::{Method, Params, clip, full_grid};
/// use specclip::operator::{Conv, ConvParams, PaddingMode};
///
/// let params = ConvParams::new(2).padding(1, PaddingMode::Circular);
/// let conv = Conv::<f64>::new(vec![1.0; 9], &[1, 1, 3, 3], &[1, 8, 8], &params)?;
/// let mut full = full_grid(&conv)?;
/// let report = clip(&mut full, 1.0, &Params::new(Method::Frequency { crop: false }))?;
/// assert!(report.reached && (report.after.sigma - 1.0).abs() < 1e-9);
/// # Ok::<(), specclip::Error>(())
/// ```
pub fn full_grid<T: Real>(conv: &Conv<T>) -> Result<Conv<T>, Error> {
    let Structure::Filters(bank) = conv.structure() else {
        return Err(refuse("the operator is not a convolution"));
    };
    let geometry = &bank.geometry;
    Frequencies::circulant(bank.clone())?;
    let plane = geometry.input_plane();
    let filters = bank.weight.chunks_exact(geometry.taps());
    let mut weight = vec![0.0; filters.len() * plane];
    for (from, to) in filters.zip(weight.chunks_exact_mut(plane)) {
        for (t, &w) in from.iter().enumerate() {
            to[position(geometry, t)] += w;
        }
    }
    let sizes = &conv.input_shape()[1..];
    let mut weight_shape = vec![geometry.out_channels, geometry.in_per_group()];
    weight_shape.extend(sizes);
    let strides = geometry.axes[AXES - sizes.len()..].iter().map(|a| a.stride);
    let params = ConvParams {
        stride: strides.collect(),
        padding: sizes.iter().map(|n| (0, n - 1)).collect(),
        mode: PaddingMode::Circular,
        dilation: vec![1; sizes.len()],
        groups: geometry.groups,
    };
    let weight = weight.into_iter().map(T::from_f64).collect();
    Conv::new(weight, &weight_shape, conv.input_shape(), &params)
}
