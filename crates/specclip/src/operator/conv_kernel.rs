//! The loops of a convolution for those who train with it.

use pulp::Arch;

use super::conv::{ConvParams, geometry, used_axes};
use crate::Real;
use crate::error::{Error, checked_product};
use crate::kernel::convolution::Convolution;

/// A convolution and its two gradients over batches of images in plain slices: what a layer of a
/// training stack needs. [`Conv`](super::Conv) is the same convolution as an operator.
///
/// Images are stored one after the other, channels first and row-major. Weights may be anything,
/// also not finite: a training that diverges has to be seen, not refused.
#[derive(Clone)]
pub struct ConvKernel<T> {
    kernel: Convolution<T>,
    inputs: usize,
    outputs: usize,
}

impl<T: Real> ConvKernel<T> {
    /// The convolution of [`Conv::new`](super::Conv::new).
    ///
    /// # Errors
    /// When shapes and parameters do not fit each other.
    pub fn new(
        weight: &[T],
        weight_shape: &[usize],
        input_shape: &[usize],
        params: &ConvParams,
    ) -> Result<Self, Error> {
        let geometry = geometry(weight_shape, input_shape, params)?;
        let expected = checked_product("convolution's weights", weight_shape)?;
        if weight.len() != expected {
            return Err(Error::shape(
                "convolution's weights",
                &[expected],
                &[weight.len()],
            ));
        }
        Ok(Self {
            kernel: Convolution::new(&geometry, weight.to_vec(), Arch::new()),
            inputs: input_shape.iter().product(),
            outputs: geometry.out_channels * geometry.output_plane(),
        })
    }

    /// The shape (channels, sizes...) of one output.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn output_shape(
        weight_shape: &[usize],
        input_shape: &[usize],
        params: &ConvParams,
    ) -> Result<Vec<usize>, Error> {
        let geometry = geometry(weight_shape, input_shape, params)?;
        let mut shape = vec![geometry.out_channels];
        shape.extend(used_axes(&geometry, input_shape.len() - 1).map(|a| a.output));
        Ok(shape)
    }

    /// `y` <- the convolution of each image of `x`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the slices do not hold the same number of whole images.
    pub fn forward(&self, x: &[T], y: &mut [T]) -> Result<(), Error> {
        let batch = self.batch("convolution", x.len(), y.len())?;
        self.kernel.forward(batch, x, y);
        Ok(())
    }

    /// `x` <- the gradient of <y, convolution(x)> with respect to x, for each image.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn input_gradient(&self, y: &[T], x: &mut [T]) -> Result<(), Error> {
        let batch = self.batch("convolution's input gradient", x.len(), y.len())?;
        self.kernel.input_gradient(batch, y, x);
        Ok(())
    }

    /// The gradient of the sum over all images of <y, convolution(x)> with respect to the weights,
    /// in their layout.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn weight_gradient(&self, y: &[T], x: &[T]) -> Result<Vec<T>, Error> {
        let batch = self.batch("convolution's weight gradient", x.len(), y.len())?;
        Ok(self.kernel.weight_gradient(&vec![T::ONE; batch], y, x))
    }

    fn batch(&self, operation: &'static str, x: usize, y: usize) -> Result<usize, Error> {
        let batch = x / self.inputs;
        let expected = [batch * self.inputs, batch * self.outputs];
        if [x, y] == expected {
            Ok(batch)
        } else {
            Err(Error::shape(operation, &expected, &[x, y]))
        }
    }
}
