//! A step of training ResNet-18 on images of CIFAR-10's size, and what clipping every layer to 1 costs.
//!
//! `cargo bench -p specclip-lab --bench training_step [-- clip BATCH]`: steps and clips by each method
//! (batch 128). `-- steps COUNT [BATCH]`: seconds of so many steps, one a line, which
//! `scripts/benchmark_training.py` compares with PyTorch's.

use std::error::Error;
use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use specclip::clip::{FastClip, Method, Projection};
use specclip_burn::Clipper;
use specclip_lab::network::ResNet18;

/// Steps between two clips.
const STEPS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |i: usize| arguments.get(i).and_then(|a| a.parse().ok());
    if arguments.first().is_some_and(|a| a == "steps") {
        let mut training = Training::new(number(2).unwrap_or(128))?;
        for _ in 0..number(1).unwrap_or(STEPS) {
            println!("{}", training.step());
        }
        return Ok(());
    }
    for (name, method) in [
        ("projection", Method::Projection(Projection::default())),
        ("scale", Method::Scale),
        ("fastclip", Method::FastClip(FastClip::default())),
    ] {
        clips(name, method, number(1).unwrap_or(128))?;
    }
    Ok(())
}

/// From fresh weights: a few steps and a clip, three times.
fn clips(name: &str, method: Method, batch: usize) -> Result<(), Box<dyn Error>> {
    let mut training = Training::new(batch)?;
    let mut clipper = Clipper::trace(training.net(), &[3, 32, 32], |net, x| net.forward(x))?
        .norm(1.0)?
        .method(method);
    for round in 1..=3 {
        let mut times: Vec<f64> = (0..STEPS).map(|_| training.step()).collect();
        times.sort_by(f64::total_cmp);
        let step = times[times.len() / 2];
        let start = Instant::now();
        training.net = Some(clipper.clip(training.net().clone())?);
        let clip = start.elapsed().as_secs_f64();
        let products: usize = clipper.report().iter().map(|l| l.matvecs).sum();
        let norms = |f: fn(&specclip_burn::LayerReport) -> f64| {
            clipper.report().iter().map(f).fold(0.0, f64::max)
        };
        println!(
            "{name:<12}clip {round}: step {step:.2} s, clip {clip:.2} s ({:.1} % of 100 steps), \
             {products} products, largest norm {:.3} before, {:.4} after",
            clip / step,
            norms(|l| l.before),
            norms(|l| l.after),
        );
    }
    Ok(())
}

struct Training {
    net: Option<ResNet18>,
    optimizer: ModuleOptimizer,
    device: Device,
    batch: usize,
}

impl Training {
    fn new(batch: usize) -> Result<Self, Box<dyn Error>> {
        let device = Device::flex().autodiff();
        device.seed(0);
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        Ok(Self {
            net: Some(ResNet18::new(3, 10, true, &device)?),
            optimizer: SgdConfig::new().with_momentum(Some(momentum)).init(),
            device,
            batch,
        })
    }

    fn net(&self) -> &ResNet18 {
        self.net.as_ref().expect("a network between steps")
    }

    /// Seconds of one step on random images.
    fn step(&mut self) -> f64 {
        let normal = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<4>::random([self.batch, 3, 32, 32], normal, &self.device);
        let labels: Vec<i64> = (0..self.batch as i64).map(|i| i % 10).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &self.device);
        let start = Instant::now();
        let output = self.net().forward(x);
        let loss = CrossEntropyLossConfig::new()
            .init(&self.device)
            .forward(output, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), self.net());
        // Taken out: while a copy lives, no weight can be changed in its place.
        let net = self.net.take().expect("a network between steps");
        self.net = Some(self.optimizer.step(0.1, net, gradients));
        start.elapsed().as_secs_f64()
    }
}
