//! A step of training ResNet-18 on images of CIFAR-10's size, and what clipping every layer to 1 costs.
//!
//! `cargo bench -p specclip-lab --bench training_step [-- BATCH]` (128).

use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use specclip::clip::{FastClip, Method, Projection};
use specclip_burn::Clipper;
use specclip_lab::network::ResNet18;

const STEPS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch: usize = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(128);
    let device = Device::flex().autodiff();
    for method in [
        ("projection", Method::Projection(Projection::default())),
        ("scale", Method::Scale),
        ("fastclip", Method::FastClip(FastClip::default())),
    ] {
        device.seed(0);
        let mut net = ResNet18::new(3, 10, true, &device)?;
        let mut clipper = Clipper::trace(&net, &[3, 32, 32], |net, x| net.forward(x))?
            .norm(1.0)?
            .method(method.1);
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
        let mut times = Vec::new();
        for round in 0..2 {
            for _ in 0..STEPS {
                let normal = Distribution::Normal(0.0, 1.0);
                let x = Tensor::<4>::random([batch, 3, 32, 32], normal, &device);
                let labels: Vec<i64> = (0..batch as i64).map(|i| i % 10).collect();
                let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
                let start = Instant::now();
                let loss = CrossEntropyLossConfig::new()
                    .init(&device)
                    .forward(net.forward(x), labels);
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                net = optimizer.step(0.1, net, gradients);
                times.push(start.elapsed().as_secs_f64());
            }
            times.sort_by(f64::total_cmp);
            let start = Instant::now();
            net = clipper.clip(net)?;
            let clip = start.elapsed().as_secs_f64();
            let step = times[times.len() / 2];
            let products: usize = clipper.report().iter().map(|l| l.matvecs).sum();
            let largest = clipper
                .report()
                .iter()
                .fold(0.0, |m: f64, l| m.max(l.after));
            println!(
                "{:<12} clip {}: step {step:.2} s, clip {clip:.2} s ({:.1} % of 100 steps), {products} products, largest norm {largest:.4}",
                method.0,
                round + 1,
                clip / step,
            );
        }
    }
    Ok(())
}
