//! Layers found in modules, and clipped in training.

use burn::module::Module;
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig,
};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};
use specclip::BoxedParametric;
use specclip::clip::{FastClip, Method, Projection};
use specclip::operator::{ConvParams, Dense, PaddingMode};
use specclip::svd::{Params, singular_values};
use specclip_burn::{AutodiffOperator, BatchNorms, Clipper, Error, Kind, PaddedConv, trace};

#[derive(Module, Debug)]
struct Block {
    conv: PaddedConv<4>,
    norm: BatchNorm,
}

#[derive(Module, Debug)]
struct Net {
    stem: Conv2d,
    blocks: Vec<Block>,
    shortcut: Conv2d,
    up: ConvTranspose2d,
    head: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let reflect = ConvParams::new(2).padding(1, PaddingMode::Reflect);
        let block = |ins, outs, params| Block {
            conv: PaddedConv::new([outs, ins, 3, 3], params, true, device).unwrap(),
            norm: BatchNormConfig::new(outs).init(device),
        };
        Self {
            stem: Conv2dConfig::new([2, 4], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            blocks: vec![block(4, 6, reflect.clone()), block(6, 6, reflect.stride(2))],
            shortcut: Conv2dConfig::new([4, 6], [1, 1])
                .with_stride([2, 2])
                .init(device),
            up: ConvTranspose2dConfig::new([6, 3], [2, 2])
                .with_stride([2, 2])
                .init(device),
            head: LinearConfig::new(3 * 8 * 8, 5).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.stem.forward(x));
        let mut y = x.clone();
        for block in &self.blocks {
            y = relu(block.norm.forward(block.conv.forward(y)));
        }
        let y = y + self.shortcut.forward(x);
        self.head.forward(self.up.forward(y).flatten(1, 3))
    }
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn clipper(net: &Net) -> Clipper {
    Clipper::trace(net, &[2, 8, 8], |net, x| net.forward(x)).unwrap()
}

#[test]
fn every_layer_is_found_with_its_shapes() {
    let net = Net::new(&device());
    let layers = trace(&net, &[2, 8, 8], |net, x| net.forward(x)).unwrap();
    let kinds: Vec<String> = layers.iter().map(|l| l.kind.name()).collect();
    let found: Vec<(&str, &str, &[usize], &[usize])> = layers
        .iter()
        .zip(&kinds)
        .map(|(l, kind)| {
            (
                &l.name[..],
                &kind[..],
                &l.input_shape[..],
                &l.weight_shape[..],
            )
        })
        .collect();
    let expected: [(&str, &str, &[usize], &[usize]); 8] = [
        ("stem", "conv2d", &[2, 8, 8], &[4, 2, 3, 3]),
        ("blocks.0.conv", "conv2d", &[4, 8, 8], &[6, 4, 3, 3]),
        ("blocks.0.norm", "batch_norm", &[6, 8, 8], &[6]),
        ("blocks.1.conv", "conv2d", &[6, 8, 8], &[6, 6, 3, 3]),
        ("blocks.1.norm", "batch_norm", &[6, 4, 4], &[6]),
        ("shortcut", "conv2d", &[4, 8, 8], &[6, 4, 1, 1]),
        ("up", "conv_transpose2d", &[6, 4, 4], &[6, 3, 2, 2]),
        ("head", "dense", &[192], &[192, 5]),
    ];
    assert_eq!(found, expected);
    let Kind::Conv(params) = &layers[3].kind else {
        panic!("{:?}", layers[3].kind);
    };
    assert_eq!(
        (params.mode, &params.stride),
        (PaddingMode::Reflect, &vec![2, 2])
    );
    // The bias between a convolution and its batch normalisation does not part them.
    assert_eq!(layers[1].batch_norm, Some(2));
    assert_eq!(layers[3].batch_norm, Some(4));
    assert_eq!(layers[0].batch_norm, None);
}

/// The module's norms, by operators that are made of its forward functions.
fn norms(net: &Net) -> Vec<f64> {
    let net = net.valid();
    let device = Device::flex();
    let sigma = |shape: &[usize], f: &(dyn Fn(Tensor<4>) -> Tensor<4> + Send + Sync)| {
        let op = AutodiffOperator::<f32, _, 4, 4>::new(shape, &device, f).unwrap();
        singular_values(&op, 1, &Params::default()).unwrap().sigma[0]
    };
    let head =
        AutodiffOperator::<f32, _, 2, 2>::new(&[192], &device, |x| net.head.forward(x)).unwrap();
    vec![
        sigma(&[2, 8, 8], &|x| net.stem.forward(x)),
        sigma(&[4, 8, 8], &|x| net.blocks[0].conv.forward(x)),
        sigma(&[6, 8, 8], &|x| net.blocks[1].conv.forward(x)),
        sigma(&[4, 8, 8], &|x| net.shortcut.forward(x)),
        sigma(&[6, 4, 4], &|x| net.up.forward(x)),
        singular_values(&head, 1, &Params::default()).unwrap().sigma[0],
    ]
}

#[test]
fn every_method_brings_every_layer_to_its_norm() {
    for method in [
        Method::Scale,
        Method::Projection(Projection::default()),
        Method::FastClip(FastClip::default()),
    ] {
        let net = Net::new(&device());
        let before = norms(&net);
        let c = 0.6 * before.iter().copied().fold(f64::INFINITY, f64::min);
        let mut clipper = clipper(&net).norm(c).unwrap().method(method.clone());
        let net = clipper.clip(net).unwrap();
        let after = norms(&net);
        for (report, (before, after)) in clipper.report().iter().zip(before.iter().zip(&after)) {
            let name = &report.name;
            assert!(report.converged, "{name}");
            assert!(
                (report.before / before - 1.0).abs() < 1e-3,
                "{name}: {} {before}",
                report.before
            );
            assert!(
                (report.after / after - 1.0).abs() < 1e-3,
                "{name}: {} {after}",
                report.after
            );
            assert!(*after <= c * (1.0 + 1e-3), "{method:?}: {name}: {after}");
            assert!(*after >= c * (1.0 - 1e-2), "{method:?}: {name}: {after}");
        }
    }
}

#[test]
fn a_network_that_obeys_is_left_alone() {
    let net = Net::new(&device());
    let stem = |net: &Net| net.stem.weight.val().into_data();
    let before = stem(&net);
    let mut clipper = clipper(&net).norm(100.0).unwrap();
    let net = clipper.clip(net).unwrap();
    assert_eq!(stem(&net), before);
    assert!(
        clipper
            .report()
            .iter()
            .all(|layer| layer.distance == 0.0 && layer.after == layer.before)
    );
}

#[test]
fn watching_changes_nothing() {
    let net = Net::new(&device());
    let before = norms(&net);
    let mut clipper = clipper(&net).every(1).unwrap();
    clipper.step(net).unwrap();
    for (report, before) in clipper.report().iter().zip(before) {
        assert_eq!(report.target, None);
        assert!(
            (report.after / before - 1.0).abs() < 1e-3,
            "{}",
            report.name
        );
    }
}

#[test]
fn targets_by_name() {
    let net = Net::new(&device());
    let mut clipper = clipper(&net)
        .norm_of("blocks.*", 0.1)
        .unwrap()
        .norm_of("head", 0.2)
        .unwrap();
    clipper.clip(net).unwrap();
    let targets: Vec<_> = clipper.report().iter().map(|l| l.target).collect();
    assert_eq!(targets, [None, Some(0.1), Some(0.1), None, None, Some(0.2)]);
}

/// One training loop with momentum: the optimiser must find its state again after each clip.
fn train(clipper: &mut Clipper, mut net: Net, steps: usize) -> Net {
    let mut optimizer = SgdConfig::new().init();
    for step in 0..steps {
        let x = Tensor::<4>::ones([4, 2, 8, 8], &device()) * (1.0 + step as f64 * 0.1);
        let loss = (net.forward(x) - 1.0).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-2, net, gradients);
        net = clipper.step(net).unwrap();
    }
    net
}

#[test]
fn parameters_keep_identity_and_stay_trainable() {
    let net = Net::new(&device());
    let id = net.stem.weight.id;
    let c = 0.3;
    let mut clipper = clipper(&net).norm(c).unwrap().every(1).unwrap();
    let net = train(&mut clipper, net, 3);
    assert_eq!(net.stem.weight.id, id);
    assert!(net.stem.weight.val().is_require_grad());
    for norm in norms(&net) {
        assert!(norm <= c * (1.0 + 1e-3), "{norm}");
    }
    // Running statistics are buffers and stay so.
    assert!(!net.blocks[0].norm.running_var.value().is_require_grad());
}

/// The composition's norm is that of both, measured through the module's own functions, and gamma alone moves.
#[test]
fn a_convolution_and_its_batch_norm_are_clipped_as_one() {
    for method in [
        Method::Projection(Projection::default()),
        Method::Scale,
        Method::FastClip(FastClip::default()),
    ] {
        let net = Net::new(&device());
        // Statistics other than the initial ones.
        let net = train(&mut clipper(&net).every(1000).unwrap(), net, 3);
        let mut clipper = clipper(&net)
            .batch_norms(BatchNorms::Compose)
            .norm(0.4)
            .unwrap()
            .method(method.clone());
        let parameters = |net: &Net| {
            let Block { conv, norm, .. } = &net.blocks[1];
            [conv.weight.val().into_data(), norm.gamma.val().into_data()]
        };
        let before = parameters(&net);
        let net = clipper.clip(net).unwrap();
        let [kernel, gamma] = [0, 1].map(|i| parameters(&net)[i] != before[i]);
        assert!(gamma && !kernel);
        let names: Vec<_> = clipper.report().iter().map(|l| &l.name[..]).collect();
        let pairs = ["blocks.0.conv+blocks.0.norm", "blocks.1.conv+blocks.1.norm"];
        assert_eq!(names[1..3], pairs);
        let valid = net.valid();
        for (i, channels) in [(0, 4), (1, 6)] {
            let block = &valid.blocks[i];
            let f = |x| block.norm.forward(block.conv.forward(x));
            let op = AutodiffOperator::<f32, _, 4, 4>::new(&[channels, 8, 8], &Device::flex(), f)
                .unwrap();
            let sigma = singular_values(&op, 1, &Params::default()).unwrap().sigma[0];
            let report = &clipper.report()[1 + i];
            assert!(
                (sigma / report.after - 1.0).abs() < 1e-3,
                "{sigma} {}",
                report.after
            );
            assert!(sigma <= 0.4 * (1.0 + 1e-3), "{sigma}");
        }
    }
}

/// The nearest gammas: those above are lowered, the others stay bit for bit.
#[test]
fn batch_norms_by_themselves() {
    let mut net = Net::new(&device());
    let gammas = |net: &Net| -> Vec<f32> {
        let gamma = net.blocks[0].norm.gamma.val();
        gamma.into_data().try_to_vec().unwrap()
    };
    let norm = &mut net.blocks[0].norm;
    norm.gamma = norm.gamma.clone().map(|g| {
        let values = Tensor::from_floats([0.2, -0.4, 0.9, 1.1, -3.0, 2.0], &g.device());
        values.require_grad()
    });
    norm.running_var
        .update(Tensor::from_floats([4.0; 6], &Device::flex()));
    let before = gammas(&net);
    let mut clipper = clipper(&net)
        .norm_of("blocks.0.conv", 0.5)
        .unwrap()
        .batch_norms(BatchNorms::Clip)
        .norm_of("*.norm", 0.5)
        .unwrap();
    let net = clipper.clip(net).unwrap();
    let after = gammas(&net);
    let deviation = (4.0_f64 + net.blocks[0].norm.epsilon).sqrt();
    for (before, after) in before.iter().zip(&after) {
        let factor = f64::from(*before) / deviation;
        if factor.abs() <= 0.5 {
            assert_eq!(before, after);
        } else {
            let expected = 0.5 * factor.signum() * deviation;
            assert!(
                (f64::from(*after) / expected - 1.0).abs() < 1e-3,
                "{after} {expected}"
            );
        }
    }
    // The target that was set before is kept.
    assert_eq!(clipper.report()[1].target, Some(0.5));
}

#[test]
fn a_state_goes_on_as_if_nothing_had_happened() {
    let net = Net::new(&device());
    let make = |net: &Net| {
        let method = Method::FastClip(FastClip::default());
        clipper(net)
            .norm(0.3)
            .unwrap()
            .method(method)
            .every(2)
            .unwrap()
    };
    let mut first = make(&net);
    let net = train(&mut first, net, 3);
    let text = serde_json::to_string(&first.state()).unwrap();
    let mut second = make(&net);
    second
        .restore(serde_json::from_str(&text).unwrap())
        .unwrap();
    assert_eq!(second.state(), first.state());
    let a = first.step(net.clone()).unwrap();
    let b = second.step(net).unwrap();
    assert_eq!(
        a.stem.weight.val().into_data(),
        b.stem.weight.val().into_data()
    );
    assert_eq!(first.report(), second.report());
}

#[derive(Module, Debug)]
struct Shared {
    conv: PaddedConv<4>,
}

#[test]
fn a_weight_used_twice_obeys_in_both_places() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Replicate);
    let net = Shared {
        conv: PaddedConv::new([3, 3, 3, 3], params, false, &device()).unwrap(),
    };
    let forward = |net: &Shared, x: Tensor<4>| {
        let y = relu(net.conv.forward(x));
        net.conv.forward(y.narrow(2, 0, 4))
    };
    let mut clipper = Clipper::trace(&net, &[3, 9, 9], forward)
        .unwrap()
        .norm(0.5)
        .unwrap();
    assert_eq!(clipper.layers().len(), 2);
    assert_eq!(clipper.layers()[1].input_shape, [3, 4, 9]);
    let net = clipper.clip(net).unwrap().valid();
    for shape in [[3, 9, 9], [3, 4, 9]] {
        let f = |x| net.conv.forward(x);
        let op = AutodiffOperator::<f32, _, 4, 4>::new(&shape, &Device::flex(), f).unwrap();
        let sigma = singular_values(&op, 1, &Params::default()).unwrap().sigma[0];
        assert!(sigma <= 0.5 * (1.0 + 1e-3), "{sigma}");
    }
}

#[derive(Module, Debug)]
struct Padded {
    conv: Conv2d,
    line: Conv1d,
}

/// Padding that stands before a layer of Burn's is a part of it; other padding is not.
#[test]
fn padding_before_a_convolution_is_its_own() {
    let net = Padded {
        conv: Conv2dConfig::new([1, 2], [3, 3]).init(&device()),
        line: Conv1dConfig::new(2, 3, 3).init(&device()),
    };
    let forward = |net: &Padded, x: Tensor<4>| {
        let y = net.conv.forward(x.pad([(2, 1), (1, 1)], PadMode::Reflect));
        let y: Tensor<3> = y.flatten(2, 3);
        net.line.forward(y.pad([(1, 1)], PadMode::Constant(1.0)))
    };
    let layers = trace(&net, &[1, 6, 5], forward).unwrap();
    let Kind::Conv(params) = &layers[0].kind else {
        panic!("{:?}", layers[0].kind);
    };
    assert_eq!(
        (params.mode, &params.padding),
        (PaddingMode::Reflect, &vec![(2, 1), (1, 1)])
    );
    assert_eq!(layers[0].input_shape, [1, 6, 5]);
    let Kind::Conv(params) = &layers[1].kind else {
        panic!("{:?}", layers[1].kind);
    };
    // Ones are no zeros: the layer reads what has been padded.
    assert_eq!(params.padding, [(0, 0)]);
    assert_eq!(layers[1].input_shape[1], 37);
}

#[test]
fn what_cannot_be_is_refused() {
    let net = Net::new(&device());
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(clipper(&net).norm(c), Err(Error::Setting { .. })));
    }
    assert!(clipper(&net).every(0).is_err());
    let Err(error) = clipper(&net).norm_of("nothing*", 1.0) else {
        panic!("a glob that matches nothing was accepted");
    };
    assert!(error.to_string().contains("blocks.0.conv"), "{error}");
    assert!(trace(&net, &[8, 8], |net: &Net, x| net.forward(x)).is_err());
    // Burn's layers panic about such inputs.
    let other = trace(&net, &[3, 8, 8], |net: &Net, x| net.forward(x));
    assert!(matches!(other, Err(Error::Trace(_))));
    let reading = trace(&net, &[2, 8, 8], |net: &Net, x: Tensor<4>| {
        let factor: f32 = x.clone().sum().into_scalar();
        net.forward(x * factor)
    });
    assert!(matches!(reading, Err(Error::Trace(_))));
    let turned = trace(&net, &[5], |net: &Net, x: Tensor<2>| {
        x.matmul(net.head.weight.val().transpose())
    });
    assert!(matches!(turned, Err(Error::Trace(_))));
    let several = trace(&net, &[2, 5, 3], |net: &Net, x: Tensor<4>| {
        // (4, 2, 3, 3): four times two matrices.
        x.matmul(net.stem.weight.val())
    });
    let Err(error) = several else {
        panic!("four times two matrices were taken for one");
    };
    assert!(error.to_string().contains("several matrices"), "{error}");
    let reshaped = trace(&net, &[192, 7], |net: &Net, x: Tensor<3>| {
        // A matrix as the kernel of a convolution is no layer of the module.
        let kernel = net.head.weight.val().reshape([1, 192, 5]);
        burn::tensor::module::conv1d(
            x,
            kernel,
            None,
            burn::tensor::ops::ConvOptions::new([1], [0], [1], 1),
        )
    });
    assert!(matches!(reshaped, Err(Error::Trace(_))));
    let none = trace(&net, &[8], |_: &Net, x: Tensor<2>| x * 2.0);
    assert!(matches!(none, Err(Error::Trace(_))));
    let other = Net::new(&device());
    assert!(matches!(
        clipper(&net).norm(0.1).unwrap().clip(other),
        Err(Error::Changed { .. })
    ));
}

/// The dense weight is the one that the library gives, not only one of the same norm.
#[test]
fn a_square_dense_layer_keeps_its_orientation() {
    let device = device();
    let layer = LinearConfig::new(6, 6).init(&device);
    let rows =
        |layer: &Linear| -> Vec<f32> { layer.weight.val().into_data().try_to_vec().unwrap() };
    let before = rows(&layer);
    let operator = Dense::new(before.clone(), 6, 6).unwrap();
    let c = 0.6
        * singular_values(&operator, 1, &Params::default())
            .unwrap()
            .sigma[0];
    let mut clipper = Clipper::trace(&layer, &[6], |layer: &Linear, x: Tensor<2>| {
        layer.forward(x)
    })
    .unwrap()
    .norm(c)
    .unwrap();
    let after = rows(&clipper.clip(layer).unwrap());
    // The projection of the transpose is the transpose of the projection.
    let mut expected: BoxedParametric<f32> = Box::new(operator);
    let method = Method::Projection(Projection::default());
    specclip::clip::clip(&mut expected, c, &specclip::clip::Params::new(method)).unwrap();
    for (found, expected) in after.iter().zip(expected.weights()[0]) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let mut net = Net::new(&device());
    let mut clipper = clipper(&net).norm(0.1).unwrap();
    net.stem.weight = net.stem.weight.map(|w| w * f32::NAN);
    let Err(error) = clipper.clip(net) else {
        panic!("NaN was clipped");
    };
    assert!(error.to_string().contains("layer stem"), "{error}");
}
