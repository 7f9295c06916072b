//! A convolution layer with any padding.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use specclip::Error;
use specclip::operator::ConvParams;

use super::conv;

/// A convolution layer that pads with zeros, by reflection, by replication, or circularly, with D - 2
/// spatial axes (D is 3, 4 or 5): [`conv`] with parameters of its own.
#[derive(Module, Debug)]
pub struct PaddedConv<const D: usize> {
    /// Shape (output channels, input channels / groups, taps...).
    pub weight: Param<Tensor<D>>,
    /// One number for each output channel.
    pub bias: Option<Param<Tensor<1>>>,
    /// Stride, padding and its mode, dilation and groups.
    #[module(skip)]
    pub params: ConvParams,
}

impl<const D: usize> PaddedConv<D> {
    /// A layer with weights and biases drawn as PyTorch draws them: uniform within the inverse root
    /// of the number of weights that an output reads.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the shape of the weight and the parameters do not fit each
    /// other, whatever the input.
    pub fn new(
        weight_shape: [usize; D],
        params: ConvParams,
        bias: bool,
        device: &Device,
    ) -> Result<Self, Error> {
        check(&weight_shape, &params)?;
        let fan_in: usize = weight_shape[1..].iter().product();
        let bound = 1.0 / (fan_in as f64).sqrt();
        let uniform = Initializer::Uniform {
            min: -bound,
            max: bound,
        };
        Ok(Self {
            weight: uniform.init(weight_shape, device),
            bias: bias.then(|| uniform.init([weight_shape[0]], device)),
            params,
        })
    }

    /// The output of a batch (examples, channels, sizes...).
    ///
    /// # Panics
    /// When the batch does not fit the layer, as Burn's layers do.
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        conv(x, self.weight.val(), bias, &self.params)
    }
}

/// An input that is as large as the layer may ask for fits, if any does.
fn check(weight_shape: &[usize], params: &ConvParams) -> Result<(), Error> {
    let large = |i: usize| {
        let (before, after) = params.padding.get(i).copied().unwrap_or_default();
        let dilation = params.dilation.get(i).copied().unwrap_or(1);
        let extent = weight_shape[i + 2].saturating_mul(dilation);
        extent.saturating_add(before).saturating_add(after)
    };
    let channels = weight_shape.get(1).copied().unwrap_or(0);
    let mut input = vec![channels.saturating_mul(params.groups)];
    input.extend((0..weight_shape.len().saturating_sub(2)).map(large));
    specclip::operator::ConvKernel::<f32>::output_shape(weight_shape, &input, params).map(|_| ())
}
