//! Every kind of layer that a forward pass can record is found, and clipped in the layout that its module has.

use burn::module::Module;
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3d, Conv3dConfig, ConvTranspose1d,
    ConvTranspose1dConfig, ConvTranspose2d, ConvTranspose2dConfig, ConvTranspose3d,
    ConvTranspose3dConfig,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig1d, PaddingConfig2d,
    PaddingConfig3d,
};
use burn::tensor::{Device, Tensor};
use specclip::clip::{self, Projection};
use specclip::svd::{Params, singular_values};
use specclip_burn::{AutodiffOperator, BatchNorms, Clipper, Kind};

fn device() -> Device {
    Device::flex().autodiff()
}

/// The norm of a layer by its own forward pass.
fn norm<const D: usize>(
    shape: &[usize],
    forward: impl Fn(Tensor<D>) -> Tensor<D> + Send + Sync,
) -> f64 {
    let op = AutodiffOperator::<f32, _, D, D>::new(shape, &Device::flex(), forward).unwrap();
    singular_values(&op, 1, &Params::default()).unwrap().sigma[0]
}

/// Clips to half of the norm that the layer's own forward pass has, by every way of clipping that reads and
/// writes weights, and measures by the forward pass again.
fn check<M: Module + Sync, const D: usize>(
    layer: M,
    kind: &str,
    shape: &[usize],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + Sync + Copy,
) {
    for method in [
        clip::Method::Scale,
        clip::Method::Projection(Projection::default()),
    ] {
        let before = {
            let layer = layer.valid();
            norm(shape, |x| forward(&layer, x))
        };
        let c = 0.5 * before;
        let mut clipper = Clipper::trace(&layer, shape, |m: &M, x| forward(m, x))
            .unwrap()
            .norm(c)
            .unwrap()
            .method(method);
        assert_eq!(clipper.layers().len(), 1, "{kind}");
        assert_eq!(clipper.layers()[0].kind.name(), kind);
        let clipped = clipper.clip(layer.clone()).unwrap().valid();
        let after = norm(shape, |x| forward(&clipped, x));
        let report = &clipper.report()[0];
        assert!(
            (report.before / before - 1.0).abs() < 1e-3,
            "{kind}: {report:?} {before}"
        );
        assert!(
            (report.after / after - 1.0).abs() < 1e-3,
            "{kind}: {report:?} {after}"
        );
        assert!((after / c - 1.0).abs() < 2e-3, "{kind}: {after} {c}");
    }
}

#[test]
fn convolutions_of_every_dimension_and_with_groups() {
    let conv: Conv1d = Conv1dConfig::new(4, 6, 3)
        .with_stride(2)
        .with_dilation(2)
        .with_groups(2)
        .with_padding(PaddingConfig1d::Explicit(1, 1))
        .init(&device());
    check(conv, "conv1d", &[4, 15], |m, x: Tensor<3>| m.forward(x));
    let conv: Conv2d = Conv2dConfig::new([4, 8], [3, 2])
        .with_groups(4)
        .with_padding(PaddingConfig2d::Explicit(1, 0, 1, 0))
        .init(&device());
    check(conv, "conv2d", &[4, 7, 6], |m, x: Tensor<4>| m.forward(x));
    let conv: Conv3d = Conv3dConfig::new([2, 4], [2, 3, 2])
        .with_stride([1, 2, 1])
        .with_groups(2)
        .with_padding(PaddingConfig3d::Explicit(1, 1, 0))
        .init(&device());
    check(conv, "conv3d", &[2, 4, 5, 4], |m, x: Tensor<5>| {
        m.forward(x)
    });
}

#[test]
fn transposed_convolutions_of_every_dimension_and_with_groups() {
    let conv: ConvTranspose1d = ConvTranspose1dConfig::new([4, 6], 3)
        .with_stride(2)
        .with_padding(1)
        .with_padding_out(1)
        .with_groups(2)
        .init(&device());
    check(conv, "conv_transpose1d", &[4, 7], |m, x: Tensor<3>| {
        m.forward(x)
    });
    let conv: ConvTranspose2d = ConvTranspose2dConfig::new([4, 6], [3, 2])
        .with_stride([2, 1])
        .with_groups(2)
        .init(&device());
    check(conv, "conv_transpose2d", &[4, 4, 5], |m, x: Tensor<4>| {
        m.forward(x)
    });
    let conv: ConvTranspose3d = ConvTranspose3dConfig::new([2, 3], [2, 2, 3])
        .with_stride([2, 1, 1])
        .init(&device());
    check(
        conv,
        "conv_transpose3d",
        &[2, 3, 3, 3],
        |m, x: Tensor<5>| m.forward(x),
    );
}

/// Applied to many positions, a matrix is one operator, and its norm that of one position.
#[test]
fn dense_layers_at_many_positions() {
    let layer: Linear = LinearConfig::new(7, 5).init(&device());
    check(layer.clone(), "dense", &[7], |m, x: Tensor<2>| m.forward(x));
    check(layer.clone(), "dense", &[9, 7], |m, x: Tensor<3>| {
        m.forward(x)
    });
    check(layer, "dense", &[2, 3, 7], |m, x: Tensor<4>| m.forward(x));
}

#[derive(Module, Debug)]
struct Towers {
    left: Conv2d,
    right: Conv2d,
    norm: BatchNorm,
}

/// One batch normalisation behind two convolutions: both compositions obey, whichever is clipped last.
#[test]
fn a_batch_norm_that_two_compositions_share() {
    let device = device();
    device.seed(5);
    let conv = || Conv2dConfig::new([2, 3], [3, 3]).init(&device);
    let net = Towers {
        left: conv(),
        right: conv(),
        norm: BatchNormConfig::new(3).init(&device),
    };
    let forward = |net: &Towers, x: Tensor<4>| {
        net.norm.forward(net.left.forward(x.clone())) + net.norm.forward(net.right.forward(x))
    };
    for method in [
        clip::Method::Projection(Projection::default()),
        clip::Method::FastClip(clip::FastClip::default()),
    ] {
        let mut clipper = Clipper::trace(&net, &[2, 8, 8], forward)
            .unwrap()
            .batch_norms(BatchNorms::Compose)
            .norm_of("left", 0.3)
            .unwrap()
            .norm_of("right", 0.2)
            .unwrap()
            .method(method);
        let clipped = clipper.clip(net.clone()).unwrap().valid();
        let kinds = clipper
            .layers()
            .iter()
            .filter(|l| matches!(l.kind, Kind::Conv(_)));
        assert_eq!(kinds.count(), 2);
        for (conv, c) in [(&clipped.left, 0.3), (&clipped.right, 0.2)] {
            let sigma = norm(&[2, 8, 8], |x: Tensor<4>| {
                clipped.norm.forward(conv.forward(x))
            });
            assert!(sigma <= c * (1.0 + 2e-3), "{sigma} {c}");
        }
    }
}

#[derive(Module, Debug)]
struct Mixed {
    shared: Conv2d,
    own: Conv2d,
    head: Linear,
}

/// Layers that share a weight and layers with one of their own: reports stay in the order of the forward pass, every use obeys,
/// and two clippers do the same to the last bit.
#[test]
fn shared_weights_beside_others() {
    let device = device();
    device.seed(6);
    let conv = |outs| {
        Conv2dConfig::new([3, outs], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device)
    };
    let net = Mixed {
        shared: conv(3),
        own: conv(4),
        head: LinearConfig::new(4 * 4 * 4, 5).init(&device),
    };
    let forward = |net: &Mixed, x: Tensor<4>| {
        let y = net.shared.forward(x);
        let y = net.shared.forward(y.slice([0..1, 0..3, 0..4, 0..4]));
        net.head.forward(net.own.forward(y).flatten::<2>(1, 3))
    };
    let method = || clip::Method::Projection(Projection::default());
    let run = || {
        let mut clipper = Clipper::trace(&net, &[3, 9, 9], forward)
            .unwrap()
            .norm(0.3)
            .unwrap()
            .norm_of("shared", 0.2)
            .unwrap()
            .method(method());
        let clipped = clipper.clip(net.clone()).unwrap();
        (clipped, clipper.report().to_vec())
    };
    let (clipped, report) = run();
    let names: Vec<&str> = report.iter().map(|layer| &layer.name[..]).collect();
    assert_eq!(names, ["shared", "shared", "own", "head"]);
    let valid = clipped.valid();
    let found = [
        norm(&[3, 9, 9], |x: Tensor<4>| valid.shared.forward(x)),
        norm(&[3, 4, 4], |x: Tensor<4>| valid.shared.forward(x)),
        norm(&[3, 4, 4], |x: Tensor<4>| valid.own.forward(x)),
        norm(&[64], |x: Tensor<2>| valid.head.forward(x)),
    ];
    for (layer, found) in report.iter().zip(found) {
        assert!(
            (layer.after / found - 1.0).abs() < 1e-3,
            "{layer:?} {found}"
        );
        assert!(
            found <= layer.target.unwrap() * (1.0 + 2e-3),
            "{layer:?} {found}"
        );
    }
    let (again, same) = run();
    assert_eq!(report, same);
    let data = |net: &Mixed| {
        (
            net.shared.weight.val().into_data(),
            net.own.weight.val().into_data(),
        )
    };
    assert_eq!(data(&clipped), data(&again));
}
