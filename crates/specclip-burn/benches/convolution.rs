//! A convolution layer in training, by this crate's kernel and by Burn's: forward pass and both
//! gradients of a batch, side by side, the median of alternating runs.
//!
//! `cargo bench -p specclip-burn --bench convolution [-- BATCH]` (128).

use std::time::Instant;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use specclip::operator::{ConvParams, PaddingMode};
use specclip_burn::conv;

/// Input channels, output channels, input size, stride: the 3x3 layers of a CIFAR ResNet-18.
const LAYERS: [(usize, usize, usize, usize); 6] = [
    (3, 64, 32, 1),
    (64, 64, 32, 1),
    (64, 128, 32, 2),
    (128, 128, 16, 1),
    (256, 256, 8, 1),
    (512, 512, 4, 1),
];

const RUNS: usize = 5;

fn main() {
    let batch = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(128);
    println!(
        "batch {batch}: milliseconds of forward / forward and both gradients, medians of {RUNS}"
    );
    println!(
        "{:<26}{:>18}{:>18}{:>16}",
        "layer", "specclip", "Burn", "Burn/specclip"
    );
    for (ins, outs, size, stride) in LAYERS {
        let device = Device::flex();
        let normal = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<4>::random([batch, ins, size, size], normal, &device);
        let weight = Tensor::<4>::random([outs, ins, 3, 3], normal, &device) * 0.05;
        let params = ConvParams::new(2)
            .padding(1, PaddingMode::Zeros)
            .stride(stride);
        let ours = |x, w| conv(x, w, None, &params);
        let burns = |x, w| conv2d(x, w, None, ConvOptions::new([stride; 2], [1, 1], [1, 1], 1));
        let mut times: [[Vec<f64>; 2]; 2] = Default::default();
        for _ in 0..RUNS {
            for (i, f) in [&ours as &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>, &burns]
                .into_iter()
                .enumerate()
            {
                times[i][0].push(time(|| drop(f(x.clone(), weight.clone()).into_data())));
                times[i][1].push(time(|| step(f, &x, &weight)));
            }
        }
        let [ours, burns] = times.map(|pair| pair.map(median));
        println!(
            "{:<26}{:>8.1} /{:>8.1}{:>8.1} /{:>8.1}{:>7.1} /{:>7.1}",
            format!("{ins}->{outs} at {size} stride {stride}"),
            ours[0],
            ours[1],
            burns[0],
            burns[1],
            burns[0] / ours[0],
            burns[1] / ours[1],
        );
    }
}

/// The forward pass and the gradients of the sum of squares.
fn step(f: &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>, x: &Tensor<4>, weight: &Tensor<4>) {
    let [x, weight] = [x, weight].map(|t| t.clone().autodiff().require_grad());
    let y = f(x.clone(), weight.clone());
    let cotangent = y.clone().inner();
    let mut gradients = (y * cotangent.autodiff()).sum().backward();
    drop(x.grad_remove(&mut gradients).map(Tensor::into_data));
    drop(weight.grad_remove(&mut gradients).map(Tensor::into_data));
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    1e3 * start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
