//! The networks have the sizes that PyTorch's versions have, and their layers are found.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use specclip::operator::PaddingMode;
use specclip_burn::{Kind, trace};
use specclip_lab::network::{Dla, ResNet18, SimpleConv, SimpleConvConfig};

/// Weights that are trained: Burn's own count includes running statistics.
#[derive(Default)]
struct Count {
    weights: usize,
}

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.weights += param.val().dims().iter().product::<usize>();
        }
    }
}

fn weights(module: &impl Module) -> usize {
    let mut count = Count::default();
    module.visit(&mut count);
    count.weights
}

fn device() -> Device {
    Device::flex().autodiff()
}

#[test]
fn resnet_18() {
    let device = device();
    for (channels, count) in [(3, 11_173_962), (1, 11_172_810)] {
        let net = ResNet18::new(channels, 10, true, &device).unwrap();
        assert_eq!(weights(&net), count);
    }
    let net = ResNet18::new(3, 10, true, &device).unwrap().valid();
    let x = Tensor::<4>::ones([2, 3, 32, 32], &Device::flex());
    assert_eq!(net.forward(x).dims(), [2, 10]);
    let layers = trace(&net, &[3, 32, 32], |net, x| net.forward(x)).unwrap();
    let convs = layers.iter().filter(|l| matches!(l.kind, Kind::Conv(_)));
    let convs: Vec<_> = convs.collect();
    assert_eq!((convs.len(), layers.len()), (20, 41));
    // Each is followed by a batch normalisation of its own.
    assert!(convs.iter().all(|l| l.batch_norm.is_some()));
    assert_eq!(convs[19].input_shape, [512, 4, 4]);
}

#[test]
fn without_batch_norm_there_are_biases() {
    let device = device();
    let with = weights(&ResNet18::new(3, 10, true, &device).unwrap());
    let without = weights(&ResNet18::new(3, 10, false, &device).unwrap());
    // One number for each output channel instead of two.
    let channels = 64 * 5 + 128 * 5 + 256 * 5 + 512 * 5;
    assert_eq!(with - without, channels);
}

#[test]
fn dla() {
    let device = device();
    for (channels, count) in [(3, 16_291_386), (1, 16_291_386 - 2 * 16 * 9)] {
        let net = Dla::new(channels, 10, true, &device).unwrap();
        assert_eq!(weights(&net), count);
    }
    let net = Dla::new(3, 10, true, &device).unwrap().valid();
    let x = Tensor::<4>::ones([2, 3, 32, 32], &Device::flex());
    assert_eq!(net.forward(x).dims(), [2, 10]);
}

#[test]
fn simple_conv_in_the_four_settings_of_figure_1() {
    let settings = [
        (3, PaddingMode::Reflect, 1, 1, 28),
        (3, PaddingMode::Zeros, 1, 1, 28),
        (3, PaddingMode::Zeros, 1, 2, 14),
        (5, PaddingMode::Replicate, 2, 2, 14),
    ];
    for (kernel, mode, padding, stride, size) in settings {
        let config = SimpleConvConfig {
            kernel,
            mode,
            padding,
            stride,
            ..SimpleConvConfig::default()
        };
        let net = SimpleConv::new(&config, &device()).unwrap();
        let dense = 64 * size * size * 10 + 10;
        assert_eq!(weights(&net), 64 * kernel * kernel + 64 + dense);
        let layers = trace(&net, &[1, 28, 28], |net, x| net.forward(x)).unwrap();
        let Kind::Conv(params) = &layers[0].kind else {
            panic!("{:?}", layers[0].kind);
        };
        assert_eq!(
            (params.mode, &params.padding),
            (mode, &vec![(padding, padding); 2])
        );
        assert_eq!(layers[1].weight_shape, [64 * size * size, 10]);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    assert!(ResNet18::new(0, 10, true, &device()).is_err());
    assert!(Dla::new(0, 10, true, &device()).is_err());
    for config in [
        SimpleConvConfig {
            kernel: 40,
            ..SimpleConvConfig::default()
        },
        SimpleConvConfig {
            stride: 0,
            ..SimpleConvConfig::default()
        },
        SimpleConvConfig {
            padding: 30,
            ..SimpleConvConfig::default()
        },
    ] {
        assert!(SimpleConv::new(&config, &device()).is_err(), "{config:?}");
    }
}
