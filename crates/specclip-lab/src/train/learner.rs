//! A network that is trained and clipped, step by step.

use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use specclip_burn::{Clipper, LayerReport};

use super::figures::{LayerNorm, Seconds};
use super::optimizer::Optimizer;
use super::score::Score;
use super::settings::{Clipping, Settings};
use crate::batches::{Batch, Batches};
use crate::data::Dataset;
use crate::error::Error;
use crate::network::Network;

/// Everything that a step changes, but for the network itself.
pub(super) struct Learner {
    pub optimizer: Optimizer,
    /// None where nothing is clipped.
    pub clipper: Option<Clipper>,
    /// Measures the same layers at the end of an epoch, without a trace in the clipper.
    pub monitor: Clipper,
    input: [usize; 3],
    device: Device,
}

impl Learner {
    pub fn new(settings: &Settings, network: &Network, device: &Device) -> Result<Self, Error> {
        let input = settings.network.input_shape();
        Ok(Self {
            optimizer: Optimizer::new(&settings.optimizer),
            clipper: settings.clipping.clipper(network, input)?,
            monitor: settings.clipping.monitor(network, input)?,
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
        let (gradients, score) = match &mut self.clipper {
            None => timed(&mut seconds.training, || {
                gradients(&network, batch, self.input, &self.device)
            }),
            Some(clipper) => {
                let used = timed(&mut seconds.clipping, || clipper.before_forward(&network))?;
                let (gradients, score) = timed(&mut seconds.training, || {
                    gradients(&used, batch, self.input, &self.device)
                });
                drop(used);
                let gradients = timed(&mut seconds.clipping, || {
                    clipper.gradients(&network, gradients)
                })?;
                (gradients, score)
            }
        };
        // Before weights that are none reach the clipper.
        if !score.is_finite() {
            return Err(Error::Diverged { step });
        }
        let network = timed(&mut seconds.training, || {
            self.optimizer.step(rate, network, gradients)
        });
        let network = match &mut self.clipper {
            None => network,
            Some(clipper) => timed(&mut seconds.clipping, || clipper.step(network))?,
        };
        Ok((network, score))
    }

    /// Clips now, whatever the step.
    pub fn clip(&mut self, network: Network, seconds: &mut Seconds) -> Result<Network, Error> {
        match &mut self.clipper {
            None => Ok(network),
            Some(clipper) => Ok(timed(&mut seconds.clipping, || clipper.clip(network))?),
        }
    }

    /// What the last clip found.
    pub fn report(&self) -> &[LayerReport] {
        self.clipper
            .as_ref()
            .map_or(&[], |clipper| clipper.report())
    }

    /// The norms of all layers as they are.
    pub fn norms(
        &mut self,
        network: &Network,
        clipping: &Clipping,
    ) -> Result<Vec<LayerNorm>, Error> {
        // Nothing has a target there, so nothing is moved.
        self.monitor.clip(network.valid())?;
        let norm = |layer: &LayerReport| LayerNorm {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            target: clipping.target_of(&layer.name),
            norm: layer.after,
            converged: layer.converged,
        };
        Ok(self.monitor.report().iter().map(norm).collect())
    }

    /// The score of a network on all images, in inference.
    pub fn evaluate(
        &self,
        network: &Network,
        data: &Dataset,
        settings: &Settings,
    ) -> Result<Score, Error> {
        let network = network.valid();
        let device = Device::flex();
        let mut score = Score::default();
        for batch in Batches::evaluation(data, &settings.sampling())? {
            let logits = network.forward(images(batch.images, self.input, &device));
            score.add(Score::new(&values(logits), &batch.labels));
        }
        Ok(score)
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
