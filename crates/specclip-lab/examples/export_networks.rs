//! Writes every network in both formats, with a batch of examples and the logits that the network itself gives for it,
//! so that other software can be held against it (scripts/check_export.py).
//!
//! ```console
//! $ cargo run --release -p specclip-lab --example export_networks -- FOLDER
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use specclip::operator::PaddingMode;
use specclip_lab::export;
use specclip_lab::network::{DeepConfig, Network, NetworkConfig, SimpleConvConfig};

/// Weights and running statistics as training may leave them.
struct Trained;

impl ModuleMapper for Trained {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| {
            let factors = x.random_like(Distribution::Uniform(0.5, 1.5));
            x * factors + 0.01
        })
    }
}

fn networks() -> Vec<(String, NetworkConfig)> {
    let mut all = Vec::new();
    for (mode, name) in [
        (PaddingMode::Zeros, "zeros"),
        (PaddingMode::Reflect, "reflect"),
        (PaddingMode::Replicate, "replicate"),
        (PaddingMode::Circular, "circular"),
    ] {
        for (kernel, stride) in [(3, 1), (5, 2)] {
            let config = SimpleConvConfig {
                kernel,
                stride,
                padding: kernel / 2,
                mode,
                batch_norm: stride == 2,
                ..SimpleConvConfig::default()
            };
            let name = format!("simple-{name}-{kernel}x{kernel}");
            all.push((name, NetworkConfig::SimpleConv(config)));
        }
    }
    for batch_norm in [true, false] {
        let config = DeepConfig {
            input: if batch_norm { [3, 32, 32] } else { [1, 28, 28] },
            batch_norm,
            classes: 10,
        };
        let end = if batch_norm { "batch-norm" } else { "plain" };
        let resnet = NetworkConfig::ResNet18(config.clone());
        all.push((format!("resnet18-{end}"), resnet));
        all.push((format!("dla-{end}"), NetworkConfig::Dla(config)));
    }
    all
}

fn write(folder: &Path, name: &str, config: &NetworkConfig) -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let net: Network = config.init(&device)?.map(&mut Trained);
    let [channels, height, width] = config.input_shape();
    let shape = [3, channels, height, width];
    let x = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let logits = net.forward(x.clone());
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    fs::write(path("onnx"), export::onnx(&net, config.input_shape())?)?;
    let weights = export::safetensors(&net, config.input_shape())?;
    fs::write(path("safetensors"), weights.bytes)?;
    fs::write(path("toml"), weights.description)?;
    fs::write(path("image.f32"), bytes(x.into_data().iter::<f32>()))?;
    fs::write(path("logits.f32"), bytes(logits.into_data().iter::<f32>()))?;
    Ok(())
}

fn bytes(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    Device::flex().seed(20_260_101);
    for (name, config) in networks() {
        write(folder, &name, &config)?;
    }
    Ok(())
}
