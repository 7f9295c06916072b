//! Nearest and linear resampling (upsampling, downsampling, `interpolate`, ONNX `Resize`).

use super::Separable;
use super::separable::{AxisMatrix, spatial};
use crate::Real;
use crate::error::Error;

const NAME: &str = "resampling";

/// How a resampling reads between samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResampleMode {
    /// The nearest sample.
    Nearest(NearestRounding),
    /// Linear interpolation between the two neighbours along each axis.
    Linear,
}

/// Which sample is nearest; the names are those of ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearestRounding {
    /// The nearer one; halves go down.
    RoundPreferFloor,
    /// The nearer one; halves go up.
    RoundPreferCeil,
    /// The one before.
    Floor,
    /// The one after.
    Ceil,
}

/// Where an output sample lies among the inputs; the names are those of ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// (o + 1/2) / scale - 1/2: PyTorch's `align_corners=False`.
    HalfPixel,
    /// As half pixel, but centred when the scale was rounded to a whole size.
    HalfPixelSymmetric,
    /// As half pixel, but 0 when there is one output.
    PytorchHalfPixel,
    /// o (inputs - 1) / (outputs - 1): PyTorch's `align_corners=True`.
    AlignCorners,
    /// o / scale: PyTorch's `nearest`.
    Asymmetric,
    /// (o + 1/2) / scale.
    TfHalfPixelForNn,
}

/// Everything about a resampling but its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct ResampleParams {
    /// How to read between samples.
    pub mode: ResampleMode,
    /// Where outputs lie among the inputs.
    pub coordinates: Coordinates,
    /// Outputs per input along each spatial axis, where they are stated; otherwise the quotient
    /// of the sizes.
    pub scales: Option<Vec<f64>>,
}

impl<T: Real> Separable<T> {
    /// Resampling of inputs of shape (channels, sizes...) to `output_sizes`. Samples beyond the
    /// ends are the first and last ones; antialiasing is not offered.
    ///
    /// Coordinates follow the definitions of the ONNX operator `Resize`.
    ///
    /// # Errors
    /// When the lists do not fit, a size is zero, or a scale is not positive.
    pub fn resample(
        input_shape: &[usize],
        output_sizes: &[usize],
        params: &ResampleParams,
    ) -> Result<Self, Error> {
        let sizes = spatial(NAME, input_shape, output_sizes.len())?;
        if let Some(scales) = &params.scales {
            if scales.len() != sizes.len() {
                return Err(Error::shape(NAME, &[sizes.len()], &[scales.len()]));
            }
            if let Some(i) = scales.iter().position(|s| !s.is_finite() || *s <= 0.0) {
                return Err(Error::invalid(
                    NAME,
                    format!(
                        "the scale {} of spatial axis {i} must be positive",
                        scales[i]
                    ),
                ));
            }
        }
        let mut matrices = Vec::new();
        for (i, (&from, &to)) in sizes.iter().zip(output_sizes).enumerate() {
            let scale = match &params.scales {
                Some(scales) => scales[i],
                None => to as f64 / from as f64,
            };
            let rows = (0..to).map(|o| {
                let x = coordinate(params.coordinates, o as f64, scale, from as f64, to as f64);
                row(params.mode, x, from)
            });
            matrices.push(AxisMatrix::new(from, rows.collect()));
        }
        Self::from_axes(NAME, input_shape, matrices)
    }
}

fn coordinate(kind: Coordinates, o: f64, scale: f64, from: f64, to: f64) -> f64 {
    let half_pixel = (o + 0.5) / scale - 0.5;
    match kind {
        Coordinates::HalfPixel => half_pixel,
        Coordinates::HalfPixelSymmetric => {
            let adjustment = to / (scale * from);
            from / 2.0 * (1.0 - adjustment) + half_pixel
        }
        Coordinates::PytorchHalfPixel if to > 1.0 => half_pixel,
        Coordinates::PytorchHalfPixel => 0.0,
        Coordinates::AlignCorners if to > 1.0 => o * (from - 1.0) / (to - 1.0),
        Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => o / scale,
        Coordinates::TfHalfPixelForNn => (o + 0.5) / scale,
    }
}

/// The inputs that an output at coordinate `x` reads, and their factors.
fn row(mode: ResampleMode, x: f64, from: usize) -> Vec<(usize, f64)> {
    let last = (from - 1) as f64;
    // In range after the clamp, so the conversion is exact.
    let sample = |x: f64| x.clamp(0.0, last) as usize;
    match mode {
        ResampleMode::Nearest(rounding) => {
            let nearest = match rounding {
                NearestRounding::RoundPreferFloor => (x - 0.5).ceil(),
                NearestRounding::RoundPreferCeil => (x + 0.5).floor(),
                NearestRounding::Floor => x.floor(),
                NearestRounding::Ceil => x.ceil(),
            };
            vec![(sample(nearest), 1.0)]
        }
        ResampleMode::Linear => {
            let x = x.clamp(0.0, last);
            let before = x.floor();
            let fraction = x - before;
            if fraction == 0.0 {
                vec![(sample(before), 1.0)]
            } else {
                vec![
                    (sample(before), 1.0 - fraction),
                    (sample(before + 1.0), fraction),
                ]
            }
        }
    }
}
