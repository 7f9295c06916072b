//! Batch normalisation on Burn's CPU backend.
//!
//! With x_hat = (x - mean) / sqrt(var + eps) of a channel with N samples, y = gamma x_hat + beta, and
//!
//!   d beta = sum dy,   d gamma = sum dy x_hat,   dx = gamma / sqrt(var + eps) (dy - d beta / N - x_hat d gamma / N)
//!
//! (Ioffe & Szegedy, ICML 2015, section 3). The gradient of a ReLU behind it needs the sign of y, which is computed
//! again from x by the same operations.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use pulp::Arch;
use rayon::prelude::*;

use super::Normalisation;
use super::ops::BatchNormOps;
use crate::flex::{Element, elements, tensor};

/// Sums that run side by side in the registers.
const LANES: usize = 32;

/// So many samples are summed in the tensors' type; these sums are added up in `f64`.
const PIECE: usize = 1 << 12;

/// Samples that a thread takes at once, about.
const SHARE: usize = 1 << 14;

impl BatchNormOps for Flex {
    fn specclip_batch_norm(
        x: FloatTensor<Flex>,
        gamma: FloatTensor<Flex>,
        beta: FloatTensor<Flex>,
        how: Normalisation,
    ) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
        match x.dtype() {
            DType::F64 => forward::<f64>(&x, &gamma, &beta, how),
            _ => forward::<f32>(&x, &gamma, &beta, how),
        }
    }

    fn specclip_batch_norm_backward(
        x: FloatTensor<Flex>,
        gamma: FloatTensor<Flex>,
        beta: FloatTensor<Flex>,
        mean: FloatTensor<Flex>,
        variance: FloatTensor<Flex>,
        output_grad: FloatTensor<Flex>,
        how: Normalisation,
    ) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
        let parameters = [gamma, beta, mean, variance];
        match x.dtype() {
            DType::F64 => backward::<f64>(&x, &parameters, output_grad, how),
            _ => backward::<f32>(&x, &parameters, output_grad, how),
        }
    }
}

/// How a batch lies in memory: image after image, channel after channel.
#[derive(Clone, Copy)]
struct Batch {
    images: usize,
    channels: usize,
    /// Samples of a channel in one image.
    plane: usize,
}

impl Batch {
    fn new(x: &FlexTensor) -> Self {
        let shape = x.layout().shape();
        Self {
            images: shape[0],
            channels: shape[1],
            plane: shape.iter().skip(2).product(),
        }
    }

    /// Samples of a channel.
    fn samples(&self) -> f64 {
        (self.images * self.plane) as f64
    }

    /// The samples of one channel, piece by piece.
    fn pieces<'a, T>(&self, x: &'a [T], channel: usize) -> impl Iterator<Item = &'a [T]> {
        let Self {
            images,
            channels,
            plane,
        } = *self;
        (0..images)
            .flat_map(move |image| x[(image * channels + channel) * plane..][..plane].chunks(PIECE))
    }

    /// What `sum` makes of each channel.
    fn of_channels<R: Send>(&self, sum: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
        let share = SHARE / (self.images * self.plane) + 1;
        let channels = (0..self.channels).into_par_iter().with_min_len(share);
        channels.map(sum).collect()
    }

    /// Lets `change` write each plane of `target`, with its place and that of its channel.
    fn for_each_plane<T: Send>(
        &self,
        target: &mut [T],
        change: impl Fn(usize, usize, &mut [T]) + Sync + Send,
    ) {
        let planes = target.par_chunks_exact_mut(self.plane).enumerate();
        let work = |(place, plane): (usize, &mut [T])| change(place, place % self.channels, plane);
        planes.with_min_len(SHARE / self.plane + 1).for_each(work);
    }
}

/// What is done to a channel.
#[derive(Clone, Copy)]
struct Channel<T> {
    mean: T,
    variance: T,
    /// 1 / sqrt(variance + eps).
    inverse: f64,
    /// gamma times that.
    scale: T,
    beta: T,
}

impl<T: Element> Channel<T> {
    fn new([gamma, beta, mean, variance]: [T; 4], eps: f64) -> Self {
        let inverse = 1.0 / (variance.to_f64() + eps).sqrt();
        Self {
            mean,
            variance,
            inverse,
            scale: T::from_f64(gamma.to_f64() * inverse),
            beta,
        }
    }

    #[inline(always)]
    fn value(&self, x: T) -> T {
        (x - self.mean) * self.scale + self.beta
    }
}

fn forward<T: Element>(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    how: Normalisation,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [x, gamma, beta] = [x, gamma, beta].map(FlexTensor::to_contiguous);
    let (batch, arch) = (Batch::new(&x), Arch::new());
    let samples = elements::<T>(&x);
    let (gamma, beta) = (elements::<T>(&gamma), elements::<T>(&beta));
    let channels = batch.of_channels(|channel| {
        let pieces = || batch.pieces(samples, channel);
        let sum: f64 = pieces().map(|x| arch.dispatch(|| sum(x))).sum();
        let mean = T::from_f64(sum / batch.samples());
        let squares: f64 = pieces().map(|x| arch.dispatch(|| squares(x, mean))).sum();
        let variance = T::from_f64(squares / batch.samples());
        Channel::new([gamma[channel], beta[channel], mean, variance], how.eps)
    });
    let mut y = vec![T::ZERO; samples.len()];
    batch.for_each_plane(&mut y, |place, channel, y| {
        let x = &samples[place * batch.plane..][..batch.plane];
        arch.dispatch(|| normalise(&channels[channel], how.relu, x, y));
    });
    let of_channels = |value: fn(&Channel<T>) -> T| {
        tensor::<T>(channels.iter().map(value).collect(), [batch.channels])
    };
    (
        tensor(y, x.layout().shape().clone()),
        of_channels(|c| c.mean),
        of_channels(|c| c.variance),
    )
}

/// `parameters` are gamma, beta, mean and variance.
fn backward<T: Element>(
    x: &FlexTensor,
    parameters: &[FlexTensor; 4],
    output_grad: FlexTensor,
    how: Normalisation,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let x = x.to_contiguous();
    let parameters = parameters.each_ref().map(FlexTensor::to_contiguous);
    let parameters = parameters.each_ref().map(elements::<T>);
    let (batch, arch) = (Batch::new(&x), Arch::new());
    let samples = elements::<T>(&x);
    let mut gradient = whole(output_grad);
    let incoming = elements::<T>(&gradient);
    // Of each channel: itself, sum dy and sum dy x_hat.
    let channels = batch.of_channels(|channel| {
        let own = Channel::new(parameters.map(|p| p[channel]), how.eps);
        let pieces = batch
            .pieces(samples, channel)
            .zip(batch.pieces(incoming, channel));
        let sums = pieces.map(|(x, dy)| arch.dispatch(|| gradient_sums(&own, how.relu, x, dy)));
        let (plain, centred) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        (own, plain, centred * own.inverse)
    });
    batch.for_each_plane(gradient.storage_mut::<T>(), |place, channel, dy| {
        let x = &samples[place * batch.plane..][..batch.plane];
        let (own, plain, with_x_hat) = &channels[channel];
        let mean = T::from_f64(plain / batch.samples());
        let slope = T::from_f64(with_x_hat * own.inverse / batch.samples());
        arch.dispatch(|| input_gradient(own, how.relu, mean, slope, x, dy));
    });
    let of_channels = |value: fn(&(Channel<T>, f64, f64)) -> f64| {
        let values = channels.iter().map(|c| T::from_f64(value(c)));
        tensor::<T>(values.collect(), [batch.channels])
    };
    (gradient, of_channels(|c| c.2), of_channels(|c| c.1))
}

/// The same tensor with the whole of its storage to itself, in order: it can be changed in its place then.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let tensor = tensor.to_contiguous();
    let is_whole = tensor.is_unique()
        && tensor.bytes().len() == tensor.layout().num_elements() * tensor.dtype().size();
    if is_whole {
        tensor
    } else {
        FlexTensor::from_data(tensor.into_data())
    }
}

// Functions, for closures within closures would be compiled without the vector instructions of their caller.

#[inline(always)]
fn sum<T: Element>(x: &[T]) -> f64 {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    total(lanes) + rest.iter().map(|x| x.to_f64()).sum::<f64>()
}

#[inline(always)]
fn squares<T: Element>(x: &[T], mean: T) -> f64 {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += (x - mean) * (x - mean);
        }
    }
    let mut sum = total(lanes);
    for &x in rest {
        sum += ((x - mean) * (x - mean)).to_f64();
    }
    sum
}

/// sum dy and sum dy (x - mean).
#[inline(always)]
fn gradient_sums<T: Element>(channel: &Channel<T>, relu: bool, x: &[T], dy: &[T]) -> (f64, f64) {
    let (mut plain, mut centred) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    let ((x, x_rest), (dy, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
    for (x, dy) in x.iter().zip(dy) {
        for lane in 0..LANES {
            let dy = passed(channel, relu, x[lane], dy[lane]);
            plain[lane] += dy;
            centred[lane] += dy * (x[lane] - channel.mean);
        }
    }
    let (mut plain, mut centred) = (total(plain), total(centred));
    for (&x, &dy) in x_rest.iter().zip(dy_rest) {
        let dy = passed(channel, relu, x, dy);
        plain += dy.to_f64();
        centred += (dy * (x - channel.mean)).to_f64();
    }
    (plain, centred)
}

#[inline(always)]
fn normalise<T: Element>(channel: &Channel<T>, relu: bool, x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        let value = channel.value(x);
        // What is no number stays that.
        *y = if relu && value <= T::ZERO {
            T::ZERO
        } else {
            value
        };
    }
}

/// scale (dy - mean - slope (x - mean of x)), in the place of dy.
#[inline(always)]
fn input_gradient<T: Element>(
    channel: &Channel<T>,
    relu: bool,
    mean: T,
    slope: T,
    x: &[T],
    dy: &mut [T],
) {
    for (dy, &x) in dy.iter_mut().zip(x) {
        let incoming = passed(channel, relu, x, *dy);
        *dy = channel.scale * (incoming - mean - slope * (x - channel.mean));
    }
}

/// The gradient in front of the ReLU.
#[inline(always)]
fn passed<T: Element>(channel: &Channel<T>, relu: bool, x: T, dy: T) -> T {
    if relu && channel.value(x) <= T::ZERO {
        T::ZERO
    } else {
        dy
    }
}

#[inline(always)]
fn total<T: Element>(lanes: [T; LANES]) -> f64 {
    lanes.iter().map(|x| x.to_f64()).sum()
}
