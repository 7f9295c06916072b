//! A network that is trained and clipped, step by step.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use specclip_burn::{Clipper, LayerReport};

use super::figures::{LayerNorm, Seconds};
use super::optimizer::Optimizer;
use super::score::Score;
use super::settings::{ClipMethod, Settings};
use crate::batches::{Batch, Batches};
use crate::data::Dataset;
use crate::error::Error;
use crate::network::Network;

/// Batches by which running statistics are measured.
const STATISTICS: usize = 10;

/// Everything that a step changes, but for the network itself.
pub(super) struct Learner {
    pub optimizer: Optimizer,
    pub clipper: Clipper,
    method: ClipMethod,
    input: [usize; 3],
    device: Device,
}

impl Learner {
    pub fn new(settings: &Settings, network: &Network, device: &Device) -> Result<Self, Error> {
        let input = settings.network.input_shape();
        Ok(Self {
            optimizer: Optimizer::new(&settings.optimizer),
            clipper: settings.clipping.clipper(network, input)?,
            method: settings.clipping.method,
            input,
            device: device.clone(),
        })
    }

    /// Step `step` of the run, on a batch. The network goes in by value: while a copy lives, no weight can be changed in
    /// its place.
    pub fn step(
        &mut self,
        network: Network,
        batch: Batch,
        (step, rate): (u64, f64),
        seconds: &mut Seconds,
    ) -> Result<(Network, Score), Error> {
        let clipper = &mut self.clipper;
        let failed = |error| diverged(error, step);
        let used = timed(&mut seconds.clipping, || clipper.before_forward(&network));
        let used = used.map_err(failed)?;
        let (gradients, score) = timed(&mut seconds.training, || {
            gradients(&used, batch, self.input, &self.device)
        });
        drop(used);
        // Before weights that are none reach the clipper.
        if !score.is_finite() {
            return Err(Error::Diverged { step });
        }
        let gradients = timed(&mut seconds.clipping, || {
            clipper.gradients(&network, gradients)
        });
        let gradients = gradients.map_err(failed)?;
        let network = timed(&mut seconds.training, || {
            self.optimizer.step(rate, network, gradients)
        });
        let network = timed(&mut seconds.clipping, || clipper.step(network));
        let network = network.map_err(failed)?;
        Ok((network, score))
    }

    /// Whether layers are clipped now and then; where they are not, the clipper measures when it is told to clip.
    pub fn clips(&self) -> bool {
        self.method.clips_now_and_then()
    }

    /// Clips, after step `step`, or measures where layers are not clipped now and then.
    pub fn clip(&mut self, network: Network, step: u64) -> Result<Network, Error> {
        let clipped = self.clipper.clip(network);
        clipped.map_err(|error| diverged(error, step))
    }

    /// Measures the running statistics of batch normalisations anew, after a clip: those that there are belong to layers as
    /// they were before it, and would take some steps of training to catch up. In a deep network one wrong scale after the
    /// other makes all outputs the same.
    pub fn measure_statistics(&self, network: &Network, batches: Batches<'_>) {
        // The same statistics, and no pass that waits for its gradient.
        let mut network = network.clone().no_grad();
        for (i, batch) in batches.take(STATISTICS).enumerate() {
            for norm in network.norms_mut() {
                norm.training = Param::from_bool(true);
                // The mean of all batches so far; nothing of the old ones.
                norm.momentum = 1.0 / (i + 1) as f64;
            }
            drop(network.forward(images(batch.images, self.input, &self.device)));
        }
    }

    /// The norms of all layers as the last clip left them, or found them where nothing is clipped.
    pub fn norms(&self) -> Vec<LayerNorm> {
        let norm = |layer: &LayerReport| LayerNorm {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            target: layer.target,
            norm: layer.after,
            converged: layer.converged,
        };
        self.clipper.report().iter().map(norm).collect()
    }

    /// The score of a network as it is used, on all images, in inference. After each batch `told` hears how many are done,
    /// of how many.
    pub fn evaluate(
        &self,
        network: &Network,
        data: &Dataset,
        settings: &Settings,
        mut told: impl FnMut(u64, u64),
    ) -> Result<Score, Error> {
        let network = self.clipper.effective(&network.valid())?;
        let device = Device::flex();
        let mut score = Score::default();
        let batches = Batches::evaluation(data, &settings.sampling())?;
        let total = batches.len() as u64;
        for (done, batch) in (1..).zip(batches) {
            let logits = network.forward(images(batch.images, self.input, &device));
            score.add(Score::new(&values(logits), &batch.labels));
            told(done, total);
        }
        Ok(score)
    }
}

/// Weights that are no numbers are what training has led to, whoever finds them.
fn diverged(error: specclip_burn::Error, step: u64) -> Error {
    match error {
        specclip_burn::Error::Layer {
            source: specclip::Error::NonFinite { .. },
            ..
        } => Error::Diverged { step },
        error => error.into(),
    }
}

/// The gradients of the mean cross entropy over a batch, and the score.
fn gradients(
    network: &Network,
    batch: Batch,
    input: [usize; 3],
    device: &Device,
) -> (GradientsParams, Score) {
    let Batch {
        images: pixels,
        labels,
    } = batch;
    let logits = network.forward(images(pixels, input, device));
    let score = Score::new(&values(logits.clone().inner()), &labels);
    let labels: Vec<i64> = labels.into_iter().map(i64::from).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), device);
    let loss = CrossEntropyLossConfig::new()
        .init(device)
        .forward(logits, labels);
    let gradients = GradientsParams::from_grads(loss.backward(), network);
    (gradients, score)
}

fn images(pixels: Vec<f32>, [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let count = pixels.len() / (channels * height * width);
    let shape = [count, channels, height, width];
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

fn values(logits: Tensor<2>) -> Vec<f32> {
    logits.into_data().iter::<f32>().collect()
}

/// Adds the seconds that some work takes.
pub(super) fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *seconds += start.elapsed().as_secs_f64();
    done
}
