//! What is exported is the network: its layers, shapes and norms to the reader of model files are those that tracing
//! finds in the module.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use specclip::operator::PaddingMode;
use specclip::svd::{Params, singular_values};
use specclip_burn::{BatchNorms, Clipper, Kind, TracedLayer, trace};
use specclip_lab::export;
use specclip_lab::network::{DeepConfig, Network, NetworkConfig, SimpleConvConfig};
use specclip_onnx::{LayerKind, Model, Options, load, load_bytes};

/// Every number another one: a fresh batch normalisation does nothing.
struct Moved;

impl ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| {
            let factors = x.random_like(Distribution::Uniform(0.5, 1.5));
            x * factors + 0.05
        })
    }
}

fn network(config: &NetworkConfig) -> Network {
    let device = Device::flex();
    config.init(&device).unwrap().map(&mut Moved)
}

fn simple(mode: PaddingMode, batch_norm: bool) -> NetworkConfig {
    NetworkConfig::SimpleConv(SimpleConvConfig {
        input: [2, 9, 7],
        channels: 5,
        kernel: 5,
        stride: 2,
        padding: 2,
        mode,
        batch_norm,
        classes: 3,
    })
}

fn deep(batch_norm: bool) -> DeepConfig {
    DeepConfig {
        input: [3, 8, 8],
        batch_norm,
        classes: 10,
    }
}

fn networks() -> Vec<NetworkConfig> {
    let modes = [
        PaddingMode::Zeros,
        PaddingMode::Reflect,
        PaddingMode::Replicate,
        PaddingMode::Circular,
    ];
    let simple = modes.map(|mode| simple(mode, mode == PaddingMode::Reflect));
    let mut all = simple.to_vec();
    for batch_norm in [true, false] {
        all.push(NetworkConfig::ResNet18(deep(batch_norm)));
        all.push(NetworkConfig::Dla(deep(batch_norm)));
    }
    all
}

fn traced(net: &Network, config: &NetworkConfig) -> Vec<TracedLayer> {
    let shape = config.input_shape();
    // Without the choice of networks, which would begin every name.
    let layers = match net {
        Network::SimpleConv(net) => trace(net, &shape, |net, x| net.forward(x)),
        Network::ResNet18(net) => trace(net, &shape, |net, x| net.forward(x)),
        Network::Dla(net) => trace(net, &shape, |net, x| net.forward(x)),
    };
    layers.unwrap()
}

/// The layers with weights; tracing knows no pooling.
fn weighted(model: &Model) -> Vec<usize> {
    let weighted = |&i: &usize| model.layers[i].kind != LayerKind::AvgPool;
    (0..model.layers.len()).filter(weighted).collect()
}

fn same_layers(model: &Model, traced: &[TracedLayer]) {
    assert!(model.skipped.is_empty(), "{:?}", model.skipped);
    let read = weighted(model);
    assert_eq!(read.len(), traced.len());
    for (&i, expected) in read.iter().zip(traced) {
        let layer = &model.layers[i];
        assert_eq!(layer.name, expected.name);
        assert_eq!(layer.input_shape, expected.input_shape, "{}", layer.name);
        let kind = match expected.kind {
            Kind::Conv(_) => LayerKind::Conv(2),
            Kind::Dense => LayerKind::Dense,
            _ => LayerKind::BatchNorm,
        };
        assert_eq!(layer.kind, kind, "{}", layer.name);
        let norm = layer.batch_norm.map(|n| model.layers[n].name.as_str());
        let expected_norm = expected.batch_norm.map(|n| traced[n].name.as_str());
        assert_eq!(norm, expected_norm, "{}", layer.name);
    }
}

fn same_norms(model: &Model, net: Network, config: &NetworkConfig) {
    let mut clipper = Clipper::trace(&net, &config.input_shape(), Network::forward)
        .unwrap()
        .batch_norms(BatchNorms::Clip)
        .every(1)
        .unwrap();
    clipper.step(net).unwrap();
    for (i, expected) in weighted(model).into_iter().zip(clipper.report()) {
        let operator = model.operator::<f32>(i).unwrap();
        let found = singular_values(&operator, 1, &Params::default()).unwrap();
        assert!(found.converged() && expected.converged, "{}", expected.name);
        let off = (found.sigma[0] / expected.before - 1.0).abs();
        assert!(
            off < 1e-4,
            "{}: {} {}",
            expected.name,
            found.sigma[0],
            expected.before
        );
    }
}

#[test]
fn an_onnx_model_has_the_layers_and_norms_of_the_network() {
    for config in networks() {
        let net = network(&config);
        let bytes = export::onnx(&net, config.input_shape()).unwrap();
        let model = load_bytes(&bytes, &Options::default()).unwrap();
        same_layers(&model, &traced(&net, &config));
        same_norms(&model, net, &config);
    }
}

/// The whole graph is understood, so the network has a bound.
#[test]
fn an_onnx_model_has_a_graph_without_gaps() {
    use specclip::graph::Op;
    for config in networks() {
        let bytes = export::onnx(&network(&config), config.input_shape()).unwrap();
        let model = load_bytes(&bytes, &Options::default()).unwrap();
        let graph = model.graph().unwrap();
        // Padding that a convolution absorbs leaves a node that nothing reads.
        for (node, used) in graph.nodes().iter().zip(graph.used()) {
            assert!(!used || !matches!(node.op, Op::Unknown { .. }), "{node:?}");
        }
        assert_eq!(model.inputs[0].1[1..], config.input_shape());
    }
}

#[test]
fn weights_with_a_description_have_the_layers_and_norms_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    for config in networks() {
        let net = network(&config);
        let weights = export::safetensors(&net, config.input_shape()).unwrap();
        std::fs::write(&path, weights.bytes).unwrap();
        std::fs::write(path.with_extension("toml"), weights.description).unwrap();
        let model = load(&path, &Options::default()).unwrap();
        same_layers(&model, &traced(&net, &config));
        same_norms(&model, net, &config);
    }
}

/// A network in training is written as it is evaluated.
#[test]
fn running_statistics_of_a_network_in_training_are_current() {
    let config = simple(PaddingMode::Zeros, true);
    let device = Device::flex().autodiff();
    let net = config.init(&device).unwrap();
    let x = Tensor::<4>::random([4, 2, 9, 7], Distribution::Normal(1.0, 3.0), &device);
    let before = export::safetensors(&net, config.input_shape()).unwrap();
    let gradients = net.forward(x).sum().backward();
    drop(gradients);
    let after = export::safetensors(&net, config.input_shape()).unwrap();
    assert_ne!(before.bytes, after.bytes);
    let valid = export::safetensors(&net.valid(), config.input_shape()).unwrap();
    assert_eq!(after, valid);
}

#[test]
fn examples_of_another_shape_are_refused_with_the_layer() {
    let config = simple(PaddingMode::Zeros, false);
    let net = network(&config);
    let message = |shape| export::onnx(&net, shape).unwrap_err().to_string();
    assert!(message([2, 9, 9]).contains("the dense layer head of 100 inputs reads [125]"));
    assert!(
        message([3, 9, 7]).contains("channels"),
        "{}",
        message([3, 9, 7])
    );
    assert!(message([2, 0, 7]).contains("at least 1"));
}

/// Both formats hold the same numbers under the same names.
#[test]
fn names_are_the_paths_of_the_module() {
    let net = network(&NetworkConfig::ResNet18(deep(true)));
    let weights = export::safetensors(&net, [3, 8, 8]).unwrap();
    let header = String::from_utf8_lossy(&weights.bytes[8..]).into_owned();
    for name in [
        "stem.conv.weight",
        "blocks.2.shortcut.norm.running_var",
        "blocks.7.second.norm.bias",
        "head.bias",
    ] {
        assert!(header.contains(&format!("\"{name}\"")), "{name}");
    }
}
