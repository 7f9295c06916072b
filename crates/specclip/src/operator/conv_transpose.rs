//! Transposed convolutions in one, two and three dimensions.

use pulp::Arch;

use super::conv::{check_params, check_shapes, used_axes};
use super::{FilterBank, LinearOperator, PaddingMode, Structure, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::kernel::convolution::Convolution;
use crate::kernel::geometry::{AXES, Axis, Geometry, check_padded};
use crate::weight::{
    IndependentPart, Parametric, check_gradient, check_weights, consecutive_parts,
};

const NAME: &str = "transposed convolution";

/// Everything about a transposed convolution but its weights and its input: one entry for each
/// spatial axis. Padding is always of zeros, and removes outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTransposeParams {
    /// Distance between the outputs of neighbouring inputs.
    pub stride: Vec<usize>,
    /// Output samples removed before the first and after the last.
    pub padding: Vec<(usize, usize)>,
    /// Output samples added after the last.
    pub output_padding: Vec<usize>,
    /// Distance between neighbouring taps, in output samples.
    pub dilation: Vec<usize>,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

impl ConvTransposeParams {
    /// Stride 1, no padding, dilation 1, one group, for `axes` spatial axes.
    pub fn new(axes: usize) -> Self {
        Self {
            stride: vec![1; axes],
            padding: vec![(0, 0); axes],
            output_padding: vec![0; axes],
            dilation: vec![1; axes],
            groups: 1,
        }
    }
}

/// A transposed convolution: the adjoint of a zero-padded convolution from its outputs to its
/// inputs, and run as such.
#[derive(Clone)]
pub struct ConvTranspose<T> {
    weight_shape: Vec<usize>,
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    /// Of the convolution whose adjoint this is.
    geometry: Geometry,
    kernel: Convolution<T>,
}

impl<T: Real> ConvTranspose<T> {
    /// A transposed convolution with `weight` of shape (input channels, output channels / groups,
    /// taps...), row-major, on inputs of shape (channels, sizes...), with one to three spatial
    /// axes.
    ///
    /// Along each axis the output has (input - 1) stride - padding + dilation (taps - 1) + 1 +
    /// output padding samples.
    ///
    /// # Errors
    /// When shapes and parameters do not fit each other, something is empty, nothing is left of
    /// the output, or a weight is not finite.
    pub fn new(
        weight: Vec<T>,
        weight_shape: &[usize],
        input_shape: &[usize],
        params: &ConvTransposeParams,
    ) -> Result<Self, Error> {
        let geometry = geometry(weight_shape, input_shape, params)?;
        check_weights(NAME, weight_shape, &weight)?;
        let mut output_shape = vec![geometry.in_channels];
        output_shape.extend(used_axes(&geometry, input_shape.len() - 1).map(|a| a.input));
        check_shape(NAME, &output_shape)?;
        Ok(Self {
            kernel: Convolution::new(&geometry, weight, Arch::new()),
            weight_shape: weight_shape.to_vec(),
            input_shape: input_shape.to_vec(),
            output_shape,
            geometry,
        })
    }
}

/// The convolution whose adjoint is asked for: its input is the output here.
fn geometry(
    weight_shape: &[usize],
    input_shape: &[usize],
    params: &ConvTransposeParams,
) -> Result<Geometry, Error> {
    let axes = check_shapes(NAME, weight_shape, input_shape, params.groups)?;
    check_params(
        NAME,
        axes,
        [
            ("stride", &params.stride, true),
            ("dilation", &params.dilation, true),
            ("output padding", &params.output_padding, false),
        ],
    )?;
    if params.padding.len() != axes {
        return Err(Error::invalid(
            NAME,
            format!(
                "padding has {} entries for {axes} spatial axes",
                params.padding.len()
            ),
        ));
    }
    if weight_shape[0] != input_shape[0] {
        return Err(Error::shape(
            "transposed convolution's input channels",
            &weight_shape[..1],
            &input_shape[..1],
        ));
    }
    let mut all = [Axis::UNIT; AXES];
    for i in 0..axes {
        all[AXES - axes + i] = axis(i, weight_shape[i + 2], input_shape[i + 1], params)?;
    }
    Ok(Geometry {
        in_channels: weight_shape[1] * params.groups,
        out_channels: weight_shape[0],
        groups: params.groups,
        axes: all,
    })
}

fn axis(
    i: usize,
    kernel: usize,
    input: usize,
    params: &ConvTransposeParams,
) -> Result<Axis, Error> {
    let (stride, dilation, padding) = (params.stride[i], params.dilation[i], params.padding[i]);
    let output_padding = params.output_padding[i];
    if output_padding >= stride.max(dilation) && output_padding > 0 {
        return Err(Error::invalid(
            NAME,
            format!(
                "output padding {output_padding} on spatial axis {i} must be smaller than the \
                 stride {stride} or the dilation {dilation}"
            ),
        ));
    }
    let full = (input - 1)
        .checked_mul(stride)
        .zip((kernel - 1).checked_mul(dilation))
        .and_then(|(a, b)| a.checked_add(b)?.checked_add(1 + output_padding));
    let removed = padding.0.checked_add(padding.1);
    let output = full
        .zip(removed)
        .and_then(|(full, removed)| full.checked_sub(removed))
        .filter(|&output| output > 0 && output <= isize::MAX as usize / 16);
    let Some(output) = output else {
        return Err(Error::invalid(
            NAME,
            format!(
                "padding {padding:?} leaves no output (or sizes overflow) on spatial axis {i} \
                 with {input} inputs, {kernel} taps and stride {stride}"
            ),
        ));
    };
    let axis = Axis {
        input: output,
        kernel,
        stride,
        dilation,
        padding,
        mode: PaddingMode::Zeros,
        output: input,
    }
    .with_least_stride();
    check_padded(NAME, i, &axis)?;
    Ok(axis)
}

impl<T: Real> LinearOperator for ConvTranspose<T> {
    type Block = Columns<T>;

    fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }
    fn input_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.inputs(), k)
    }
    fn output_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.outputs(), k)
    }

    fn apply(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        check_action(NAME, (self.inputs(), x), (self.outputs(), &*y))?;
        self.kernel
            .input_gradient(x.cols(), x.as_slice(), y.as_mut_slice());
        Ok(())
    }

    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        check_action(
            "transposed convolution's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.kernel
            .forward(y.cols(), y.as_slice(), x.as_mut_slice());
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure::Filters(FilterBank {
            geometry: self.geometry.clone(),
            weight: self.kernel.weight().iter().map(|w| w.to_f64()).collect(),
            transposed: true,
        })
    }
}

impl<T: Real> Parametric for ConvTranspose<T> {
    type Scalar = T;

    fn weights(&self) -> Vec<&[T]> {
        vec![self.kernel.weight()]
    }

    /// <u, M v> = <C u, v> with C the convolution, so the two vectors change places.
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<T>,
        v: &Columns<T>,
    ) -> Result<Vec<Vec<T>>, Error> {
        let lambda = check_gradient(self, lambda, u, v)?;
        let gradient = self
            .kernel
            .weight_gradient(&lambda, v.as_slice(), u.as_slice());
        Ok(vec![gradient])
    }

    fn apply_once(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        if x.cols() != 1 {
            return self.apply(x, y);
        }
        check_action(
            "transposed convolution",
            (self.inputs(), x),
            (self.outputs(), &*y),
        )?;
        self.kernel
            .input_gradient_once(x.as_slice(), y.as_mut_slice());
        Ok(())
    }

    fn adjoint_once(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        if y.cols() != 1 {
            return self.adjoint(y, x);
        }
        check_action(
            "transposed convolution's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.kernel.forward_once(y.as_slice(), x.as_mut_slice());
        Ok(())
    }

    fn set_weights(&mut self, weights: &[Vec<T>]) -> Result<(), Error> {
        let [weight] = weights else {
            return Err(Error::shape(
                "transposed convolution's weights",
                &[1],
                &[weights.len()],
            ));
        };
        check_weights(NAME, &self.weight_shape, weight)?;
        self.kernel.set_weight(weight);
        Ok(())
    }

    /// The groups, whose channels and weights follow each other.
    fn independent_parts(&self) -> Option<Vec<IndependentPart<T>>> {
        let geometry = self.geometry.group()?;
        let group = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            shape[0] /= self.geometry.groups;
            shape
        };
        Some(consecutive_parts(
            self.kernel.weight(),
            geometry.weights(),
            |weight| Self {
                kernel: Convolution::new(&geometry, weight.to_vec(), Arch::new()),
                weight_shape: group(&self.weight_shape),
                input_shape: group(&self.input_shape),
                output_shape: group(&self.output_shape),
                geometry: geometry.clone(),
            },
        ))
    }
}
