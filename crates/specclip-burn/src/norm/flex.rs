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
use crate::flex::{HostScalar, elements, tensor};

/// Sums that run side by side in the registers.
const LANES: usize = 16;

/// About so many samples are summed in the tensors' type; these sums are added up in `f64`.
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

    /// The samples of one channel in one image.
    #[inline(always)]
    fn plane<'a, T>(&self, x: &'a [T], image: usize, channel: usize) -> &'a [T] {
        &x[(image * self.channels + channel) * self.plane..][..self.plane]
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

impl<T: HostScalar> Channel<T> {
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

fn forward<T: HostScalar>(
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
        arch.dispatch(|| {
            let (sum, _) = sums::<T, false>(&batch, samples, channel, T::ZERO);
            let near = T::from_f64(sum / batch.samples());
            // What rounding has left in the mean is seen once most of it is gone.
            let (left, squares) = sums::<T, true>(&batch, samples, channel, near);
            let left = left / batch.samples();
            let mean = T::from_f64(near.to_f64() + left);
            let variance = squares / batch.samples() - left * left;
            // Below zero by rounding alone; what is no number stays that.
            let variance = T::from_f64(if variance < 0.0 { 0.0 } else { variance });
            Channel::new([gamma[channel], beta[channel], mean, variance], how.eps)
        })
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
fn backward<T: HostScalar>(
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
    // Changed in its place; a copy where others read it.
    let mut gradient = FlexTensor::from_data(output_grad.into_data());
    let incoming = elements::<T>(&gradient);
    // Of each channel: itself, sum dy and sum dy x_hat.
    let channels = batch.of_channels(|channel| {
        let own = Channel::new(parameters.map(|p| p[channel]), how.eps);
        let (plain, centred) =
            arch.dispatch(|| gradient_sums(&batch, samples, incoming, channel, &own, how.relu));
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

// Functions, for closures within closures would be compiled without the vector instructions of their caller.

/// Two sums that are made at once.
struct Sums<T> {
    lanes: [[T; LANES]; 2],
    /// Terms in the lanes, about.
    filled: usize,
    total: [f64; 2],
}

impl<T: HostScalar> Sums<T> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            lanes: [[T::ZERO; LANES]; 2],
            filled: 0,
            total: [0.0; 2],
        }
    }

    /// After `terms` more.
    #[inline(always)]
    fn count(&mut self, terms: usize) {
        self.filled += terms;
        if self.filled >= PIECE {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        for (lanes, total) in self.lanes.iter_mut().zip(&mut self.total) {
            *total += lanes.iter().map(|x| x.to_f64()).sum::<f64>();
            *lanes = [T::ZERO; LANES];
        }
        self.filled = 0;
    }

    #[inline(always)]
    fn total(mut self) -> (f64, f64) {
        self.flush();
        (self.total[0], self.total[1])
    }
}

/// The sums of x - `centre` and, if asked for, of its squares over a channel.
#[inline(always)]
fn sums<T: HostScalar, const SQUARES: bool>(
    batch: &Batch,
    x: &[T],
    channel: usize,
    centre: T,
) -> (f64, f64) {
    let mut sums = Sums::<T>::new();
    for image in 0..batch.images {
        for x in batch.plane(x, image, channel).chunks(PIECE) {
            let (chunks, rest) = x.as_chunks::<LANES>();
            let [plain, squares] = &mut sums.lanes;
            for x in chunks {
                for lane in 0..LANES {
                    let x = x[lane] - centre;
                    plain[lane] += x;
                    if SQUARES {
                        squares[lane] += x * x;
                    }
                }
            }
            for (lane, &x) in rest.iter().enumerate() {
                let x = x - centre;
                plain[lane] += x;
                squares[lane] += x * x;
            }
            sums.count(x.len());
        }
    }
    sums.total()
}

/// sum dy and sum dy (x - mean) over a channel.
#[inline(always)]
fn gradient_sums<T: HostScalar>(
    batch: &Batch,
    x: &[T],
    dy: &[T],
    channel: usize,
    own: &Channel<T>,
    relu: bool,
) -> (f64, f64) {
    let mut sums = Sums::<T>::new();
    for image in 0..batch.images {
        let planes = [x, dy].map(|all| batch.plane(all, image, channel).chunks(PIECE));
        let [x, dy] = planes;
        for (x, dy) in x.zip(dy) {
            let ((x_chunks, x_rest), (dy_chunks, dy_rest)) =
                (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            let [plain, centred] = &mut sums.lanes;
            for (x, dy) in x_chunks.iter().zip(dy_chunks) {
                for lane in 0..LANES {
                    let dy = passed(own, relu, x[lane], dy[lane]);
                    plain[lane] += dy;
                    centred[lane] += dy * (x[lane] - own.mean);
                }
            }
            for (lane, (&x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
                let dy = passed(own, relu, x, dy);
                plain[lane] += dy;
                centred[lane] += dy * (x - own.mean);
            }
            sums.count(x.len());
        }
    }
    sums.total()
}

#[inline(always)]
fn normalise<T: HostScalar>(channel: &Channel<T>, relu: bool, x: &[T], y: &mut [T]) {
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
fn input_gradient<T: HostScalar>(
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
fn passed<T: HostScalar>(channel: &Channel<T>, relu: bool, x: T, dy: T) -> T {
    if relu && channel.value(x) <= T::ZERO {
        T::ZERO
    } else {
        dy
    }
}
