//! A convolution as data: geometry and weights, for the methods that look inside.

use super::ConvParams;
use super::separable::AxisMatrix;
use crate::kernel::geometry::{AXES, Axis, Geometry};

/// The filters of a convolution (or of the convolution that an operator is the transpose of), with
/// everything that decides what they do: padding, stride, dilation, groups and sizes.
#[derive(Debug, Clone)]
pub struct FilterBank {
    pub(crate) geometry: Geometry,
    /// Row-major (output channel, input channel of the group, taps).
    pub(crate) weight: Vec<f64>,
    /// The operator is the transpose of this convolution.
    pub(crate) transposed: bool,
}

/// A filter bank taken apart: what it takes to build the same convolution, or one that differs in
/// its padding or stride.
#[derive(Debug, Clone)]
pub struct FilterParts {
    /// Row-major (output channel, input channel of the group, taps).
    pub weight: Vec<f64>,
    /// Its shape, with three axes of taps; axes that the layer does not have come first, with one
    /// tap.
    pub weight_shape: Vec<usize>,
    /// (channels, three sizes) of the convolution's input.
    pub input_shape: Vec<usize>,
    /// Padding, stride, dilation and groups, one entry for each of the three axes.
    pub params: ConvParams,
    /// The layer is the transpose of this convolution.
    pub transposed: bool,
}

impl FilterBank {
    /// Weights and geometry, for [`Conv::new`](super::Conv::new).
    pub fn parts(&self) -> FilterParts {
        let g = &self.geometry;
        let shape = |first: &[usize], of: fn(&Axis) -> usize| {
            let axes = g.axes.iter().map(of);
            first.iter().copied().chain(axes).collect::<Vec<_>>()
        };
        FilterParts {
            weight: self.weight.clone(),
            weight_shape: shape(&[g.out_channels, g.in_per_group()], |axis| axis.kernel),
            input_shape: shape(&[g.in_channels], |axis| axis.input),
            params: ConvParams {
                stride: shape(&[], |axis| axis.stride),
                padding: g.axes.iter().map(|axis| axis.padding).collect(),
                // Axes that the layer does not have are not padded.
                mode: g.axes[AXES - 1].mode,
                dilation: shape(&[], |axis| axis.dilation),
                groups: g.groups,
            },
            transposed: self.transposed,
        }
    }

    /// The transpose of this operator.
    pub(crate) fn transpose(mut self) -> Self {
        self.transposed = !self.transposed;
        self
    }

    /// A multiple of this operator.
    pub(crate) fn scale(mut self, factor: f64) -> Self {
        for w in &mut self.weight {
            *w *= factor;
        }
        self
    }

    /// Multiplies each output channel of the operator by a factor.
    pub(crate) fn scale_outputs(mut self, factors: &[f64]) -> Self {
        let g = &self.geometry;
        let (taps, ins, outs) = (g.taps(), g.in_per_group(), g.out_per_group());
        for (filter, weights) in self.weight.chunks_exact_mut(taps).enumerate() {
            let (out, within) = (filter / ins, filter % ins);
            let channel = if self.transposed {
                out / outs * ins + within
            } else {
                out
            };
            for w in weights {
                *w *= factors[channel];
            }
        }
        self
    }

    /// This convolution after a layer that only pads, as one convolution with that padding; none
    /// where the layer does something else or the convolution pads as well.
    pub(crate) fn after_padding(&self, axes: &[AxisMatrix]) -> Option<Self> {
        if self.transposed || axes.len() > AXES {
            return None;
        }
        let mut bank = self.clone();
        let named = &mut bank.geometry.axes[AXES - axes.len()..];
        for (axis, matrix) in named.iter_mut().zip(axes) {
            let (before, after, mode) = matrix.padding()?;
            if before + after == 0 {
                continue;
            }
            if axis.padding != (0, 0) {
                return None;
            }
            *axis = Axis {
                input: axis.input - before - after,
                padding: (before, after),
                mode,
                ..*axis
            };
        }
        Some(bank)
    }

    /// The Frobenius norm of the operator: the sum over pairs of taps of <W_t, W_t'> times the
    /// number of outputs at which both taps read the same input sample.
    pub(crate) fn frobenius(&self) -> f64 {
        let g = &self.geometry;
        let pairs: [Vec<(usize, usize, f64)>; AXES] = std::array::from_fn(|i| {
            let axis = &g.axes[i];
            let taps = 0..axis.kernel;
            taps.clone()
                .flat_map(|a| taps.clone().map(move |b| (a, b)))
                .map(|(a, b)| (a, b, axis.coincidences(a, b) as f64))
                .filter(|&(_, _, count)| count > 0.0)
                .collect()
        });
        let taps = g.taps();
        let index =
            |a: usize, b: usize, c: usize| (a * g.axes[1].kernel + b) * g.axes[2].kernel + c;
        let mut counts = Vec::new();
        for &(a0, b0, n0) in &pairs[0] {
            for &(a1, b1, n1) in &pairs[1] {
                for &(a2, b2, n2) in &pairs[2] {
                    counts.push((index(a0, a1, a2), index(b0, b1, b2), n0 * n1 * n2));
                }
            }
        }
        let squares: f64 = self
            .weight
            .chunks_exact(taps)
            .map(|w| counts.iter().map(|&(a, b, n)| n * w[a] * w[b]).sum::<f64>())
            .sum();
        squares.max(0.0).sqrt()
    }
}
