//! Average pooling.

use super::Separable;
use super::separable::{AxisMatrix, spatial};
use crate::Real;
use crate::error::Error;

const NAME: &str = "average pooling";

/// Everything about an average pooling but its input: one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolParams {
    /// Samples in a window.
    pub kernel: Vec<usize>,
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Zeros added before the first and after the last sample.
    pub padding: Vec<(usize, usize)>,
    /// Distance between the samples of a window.
    pub dilation: Vec<usize>,
    /// Windows may begin in the input (or in the padding before it) and end beyond the padding.
    pub ceil_mode: bool,
    /// Padding counts in the divisor; samples beyond the padding never do.
    pub count_include_pad: bool,
}

impl PoolParams {
    /// Windows of `kernel` samples side by side, no padding, padding counted.
    pub fn new(kernel: Vec<usize>) -> Self {
        let axes = kernel.len();
        Self {
            stride: kernel.clone(),
            kernel,
            padding: vec![(0, 0); axes],
            dilation: vec![1; axes],
            ceil_mode: false,
            count_include_pad: true,
        }
    }
}

impl<T: Real> Separable<T> {
    /// Average pooling of inputs of shape (channels, sizes...). Global average pooling is a
    /// window of the whole size.
    ///
    /// Sizes and divisors follow PyTorch, which ONNX follows too: in `ceil_mode` a last window
    /// that begins beyond the input is dropped.
    ///
    /// # Errors
    /// When the lists do not fit, something is empty, a window does not fit the padded input, or
    /// padding is as large as a window (then a window would average nothing but padding).
    pub fn average_pool(input_shape: &[usize], params: &PoolParams) -> Result<Self, Error> {
        let axes = params.kernel.len();
        let sizes = spatial(NAME, input_shape, axes)?;
        let lengths = [
            params.stride.len(),
            params.padding.len(),
            params.dilation.len(),
        ];
        if lengths != [axes; 3] {
            return Err(Error::shape(NAME, &[axes; 3], &lengths));
        }
        let matrices = (0..axes).map(|i| axis_matrix(i, sizes[i], params));
        Self::from_axes(NAME, input_shape, matrices.collect::<Result<_, _>>()?)
    }
}

fn axis_matrix(i: usize, n: usize, params: &PoolParams) -> Result<AxisMatrix, Error> {
    let (kernel, stride, dilation) = (params.kernel[i], params.stride[i], params.dilation[i]);
    let (before, after) = params.padding[i];
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err(Error::invalid(
            NAME,
            format!("kernel, stride and dilation must be at least 1 on spatial axis {i}"),
        ));
    }
    let misfit = || {
        Error::invalid(
            NAME,
            format!(
                "a window of {kernel} samples (dilation {dilation}) does not fit {n} samples with \
                 padding ({before}, {after}) on spatial axis {i}"
            ),
        )
    };
    let extent = (kernel - 1)
        .checked_mul(dilation)
        .and_then(|e| e.checked_add(1))
        .ok_or_else(misfit)?;
    let padded = before
        .checked_add(after)
        .and_then(|p| p.checked_add(n))
        .filter(|_| before < extent && after < extent)
        .ok_or_else(misfit)?;
    let steps = padded.checked_sub(extent).ok_or_else(misfit)?;
    let mut outputs = 1 + if params.ceil_mode {
        steps.div_ceil(stride)
    } else {
        steps / stride
    };
    if params.ceil_mode && (outputs - 1) * stride >= n + before {
        outputs -= 1;
    }
    let row = |o: usize| {
        let window = (0..kernel).map(|t| o * stride + t * dilation);
        let inside: Vec<usize> = window
            .clone()
            .filter_map(|q| q.checked_sub(before).filter(|&i| i < n))
            .collect();
        let count = if params.count_include_pad {
            window.filter(|&q| q < padded).count()
        } else {
            inside.len()
        };
        inside
            .into_iter()
            .map(|i| (i, 1.0 / count as f64))
            .collect()
    };
    Ok(AxisMatrix::new(n, (0..outputs).map(row).collect()))
}
