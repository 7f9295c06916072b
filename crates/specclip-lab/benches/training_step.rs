//! A step of training ResNet-18 on images of CIFAR-10's size, and what clipping every layer to 1 costs.
//!
//! `cargo bench -p specclip-lab --bench training_step [-- clip BATCH]`: steps and clips by each method, and what
//! the method takes of 100 steps with one clip (batch 128). `-- steps COUNT [BATCH]`: seconds of so many steps, one a line, which
//! `scripts/benchmark_training.py` compares with PyTorch's.

use std::error::Error;
use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use specclip_burn::Clipper;
use specclip_lab::network::ResNet18;
use specclip_lab::train::{ClipMethod, Clipping, Target};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let batch = number(1).unwrap_or(128);
    for method in [
        ClipMethod::Projection,
        ClipMethod::FastClip,
        ClipMethod::Scale,
        ClipMethod::ScaleEachStep,
        ClipMethod::SpectralNorm,
    ] {
        clips(method, batch)?;
    }
    Ok(())
}

/// From fresh weights: a few steps and a clip, three times.
fn clips(method: ClipMethod, batch: usize) -> Result<(), Box<dyn Error>> {
    let mut training = Training::new(batch)?;
    let clipping = Clipping {
        method,
        targets: vec![Target {
            layers: "*".to_owned(),
            norm: 1.0,
        }],
        ..Clipping::default()
    };
    let clipper = Clipper::trace(training.net(), &[3, 32, 32], |net, x| net.forward(x))?;
    let mut clipper = clipping.configure(clipper)?.every(u64::MAX)?;
    for round in 1..=3 {
        let (mut steps, mut each) = (Vec::new(), Vec::new());
        for _ in 0..STEPS {
            let (step, with) = training.step_with(&mut clipper)?;
            steps.push(step);
            each.push(with);
        }
        let (step, each) = (median(&mut steps), median(&mut each));
        let start = Instant::now();
        training.net = Some(clipper.clip(training.net().clone())?);
        let spent = start.elapsed().as_secs_f64();
        // With the others that was a measurement, which is no part of them.
        let clip = if method.clips_now_and_then() {
            spent
        } else {
            0.0
        };
        let products: usize = clipper.report().iter().map(|l| l.matvecs).sum();
        let norms = |f: fn(&specclip_burn::LayerReport) -> f64| {
            clipper.report().iter().map(f).fold(0.0, f64::max)
        };
        println!(
            "{:<16}clip {round}: step {step:.2} s, with each {each:.3} s, clip {clip:.2} s: {:.1} % of 100 steps; \
             {products} products, largest norm {:.3} before, {:.4} after",
            method.name(),
            100.0 * (clip + 100.0 * each) / (100.0 * step),
            norms(|l| l.before),
            norms(|l| l.after),
        );
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
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
        let (x, labels) = self.batch();
        let start = Instant::now();
        let gradients = self.gradients(self.net(), x, labels);
        self.descend(gradients);
        start.elapsed().as_secs_f64()
    }

    /// Seconds of one step, and those that a clipper spends in it.
    fn step_with(&mut self, clipper: &mut Clipper) -> Result<(f64, f64), Box<dyn Error>> {
        let (x, labels) = self.batch();
        let mut clipping = 0.0;
        let mut clock = Instant::now();
        let mut lap = |into: &mut f64| {
            *into += clock.elapsed().as_secs_f64();
            clock = Instant::now();
        };
        let mut training = 0.0;
        let used = clipper.before_forward(self.net())?;
        lap(&mut clipping);
        let gradients = self.gradients(&used, x, labels);
        drop(used);
        lap(&mut training);
        let gradients = clipper.gradients(self.net(), gradients)?;
        lap(&mut clipping);
        self.descend(gradients);
        lap(&mut training);
        let net = self.net.take().expect("a network between steps");
        self.net = Some(clipper.step(net)?);
        lap(&mut clipping);
        Ok((training, clipping))
    }

    fn batch(&self) -> (Tensor<4>, Tensor<1, Int>) {
        let normal = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<4>::random([self.batch, 3, 32, 32], normal, &self.device);
        let labels: Vec<i64> = (0..self.batch as i64).map(|i| i % 10).collect();
        (x, Tensor::from_data(labels.as_slice(), &self.device))
    }

    fn gradients(&self, net: &ResNet18, x: Tensor<4>, labels: Tensor<1, Int>) -> GradientsParams {
        let loss = CrossEntropyLossConfig::new()
            .init(&self.device)
            .forward(net.forward(x), labels);
        GradientsParams::from_grads(loss.backward(), net)
    }

    fn descend(&mut self, gradients: GradientsParams) {
        // Taken out: while a copy lives, no weight can be changed in its place.
        let net = self.net.take().expect("a network between steps");
        self.net = Some(self.optimizer.step(0.1, net, gradients));
    }
}
