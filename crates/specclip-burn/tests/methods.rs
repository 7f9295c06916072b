//! The rival methods in training.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use specclip::BoxedParametric;
use specclip::bound::{GRAM_PRODUCTS, gram_gradient};
use specclip::clip::EachStep;
use specclip::operator::{Compose, Conv, ConvParams, Dense, Diagonal, PaddingMode};
use specclip::svd::{Params, singular_values};
use specclip_burn::{BatchNorms, Clipper, Error, Method, PaddedConv};

#[derive(Module, Debug)]
struct Net {
    conv: PaddedConv<4>,
    norm: BatchNorm,
    plain: Conv2d,
    up: ConvTranspose2d,
    head: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        device.seed(3);
        let reflect = ConvParams::new(2).padding(1, PaddingMode::Reflect);
        Self {
            conv: PaddedConv::new([4, 2, 3, 3], reflect, false, device).unwrap(),
            norm: BatchNormConfig::new(4).init(device),
            plain: Conv2dConfig::new([4, 6], [2, 2])
                .with_stride([2, 2])
                .init(device),
            up: ConvTranspose2dConfig::new([6, 3], [3, 2])
                .with_stride([2, 1])
                .init(device),
            head: LinearConfig::new(3 * 7 * 4, 5).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.conv.forward(x)));
        let x = relu(self.plain.forward(x));
        self.head.forward(self.up.forward(x).flatten(1, 3))
    }
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn clipper(net: &Net, method: impl Into<Method>) -> Clipper {
    Clipper::trace(net, &[2, 6, 6], |net, x| net.forward(x))
        .unwrap()
        .method(method)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn input() -> Tensor<4> {
    let wave = (0..3 * 2 * 36).map(|i| (i as f32 * 0.37).sin() + (i as f32 * 0.11).cos());
    let data = TensorData::new(wave.collect::<Vec<f32>>(), [3, 2, 6, 6]);
    Tensor::from_data(data, &device())
}

/// Loss and gradients of a network, by its running statistics or by those of the batch.
fn loss(net: &Net) -> Tensor<1> {
    let wave = (0..15).map(|i| (i as f32 * 0.9).sin());
    let target = TensorData::new(wave.collect::<Vec<f32>>(), [3, 5]);
    let target = Tensor::<2>::from_data(target, &input().device());
    (net.forward(input()) - target).powi_scalar(2).mean()
}

fn dense_sigma(rows: usize, cols: usize, entries: Vec<f32>) -> f64 {
    let op = Dense::new(entries, rows, cols).unwrap();
    singular_values(&op, 1, &Params::default()).unwrap().sigma[0]
}

/// The norms of the kernels as Miyato et al. reshape them: a row for each output channel.
fn reshaped(net: &Net) -> [f64; 4] {
    let net = net.valid();
    let up = values(net.up.weight.val().swap_dims(0, 1));
    [
        dense_sigma(4, 2 * 9, values(net.conv.weight.val())),
        dense_sigma(6, 4 * 4, values(net.plain.weight.val())),
        dense_sigma(3, 6 * 6, up),
        dense_sigma(3 * 7 * 4, 5, values(net.head.weight.val())),
    ]
}

#[test]
fn spectral_normalisation_divides_by_the_norm_of_the_reshaped_kernel() {
    let net = Net::new(&device());
    let before = reshaped(&net);
    let mut clipper = clipper(&net, Method::SpectralNorm).norm(0.7).unwrap();
    for _ in 0..60 {
        clipper.before_forward(&net).unwrap();
    }
    let used = clipper.before_forward(&net).unwrap();
    for (found, before) in reshaped(&used).into_iter().zip(before) {
        assert!((found - 0.7).abs() < 1e-4, "{found} of {before}");
    }
    assert_eq!(reshaped(&net), before, "the weights that are trained moved");
    assert_eq!(used.conv.weight.id, net.conv.weight.id);
    // Measured as it is used, and nothing is clipped.
    let after = clipper.clip(net.clone()).unwrap();
    assert_eq!(reshaped(&after), before);
    let head = clipper.report().last().unwrap();
    assert!((head.after - 0.7).abs() < 1e-3, "{head:?}");
    assert_eq!(
        values(clipper.effective(&net).unwrap().plain.bias.unwrap().val()),
        values(net.plain.bias.unwrap().val())
    );
}

/// A network with one entry of a parameter moved.
type Nudge = fn(Net, usize, f32) -> Net;

fn nudged<const D: usize>(tensor: Tensor<D>, i: usize, by: f32) -> Tensor<D> {
    let (shape, device) = (tensor.dims(), tensor.device());
    let mut entries = values(tensor);
    entries[i] += by;
    Tensor::from_data(TensorData::new(entries, shape), &device).require_grad()
}

const PARAMETERS: [(&str, Nudge); 5] = [
    ("conv", |mut net, i, by| {
        net.conv.weight = net.conv.weight.map(|w| nudged(w, i, by));
        net
    }),
    ("gamma", |mut net, i, by| {
        net.norm.gamma = net.norm.gamma.map(|w| nudged(w, i, by));
        net
    }),
    ("plain", |mut net, i, by| {
        net.plain.weight = net.plain.weight.map(|w| nudged(w, i, by));
        net
    }),
    ("up", |mut net, i, by| {
        net.up.weight = net.up.weight.map(|w| nudged(w, i, by));
        net
    }),
    ("head", |mut net, i, by| {
        net.head.weight = net.head.weight.map(|w| nudged(w, i, by));
        net
    }),
];

fn gradient(net: &Net, gradients: &GradientsParams, name: &str) -> Vec<f32> {
    let found = match name {
        "conv" => gradients.get::<4>(net.conv.weight.id).map(values),
        "gamma" => gradients.get::<1>(net.norm.gamma.id).map(values),
        "plain" => gradients.get::<4>(net.plain.weight.id).map(values),
        "up" => gradients.get::<4>(net.up.weight.id).map(values),
        _ => gradients.get::<2>(net.head.weight.id).map(values),
    };
    found.unwrap()
}

/// Central differences of a function of the network, at some entries of every parameter, against gradients.
fn compare(
    net: &Net,
    gradients: &GradientsParams,
    parameters: &[&str],
    f: impl Fn(&Net) -> f64,
    tolerance: f64,
) {
    const BY: f32 = 2e-3;
    for (name, nudge) in PARAMETERS.iter().filter(|(n, _)| parameters.contains(n)) {
        let found = gradient(net, gradients, name);
        let largest = found.iter().fold(0.0f32, |a, g| a.max(g.abs()));
        assert!(largest > 0.0, "{name}");
        for i in (0..found.len()).step_by(found.len().div_ceil(12)) {
            let at = |by| f(&nudge(net.clone(), i, by));
            let expected = (at(BY) - at(-BY)) / (2.0 * f64::from(BY));
            let error = (f64::from(found[i]) - expected).abs();
            assert!(
                error < tolerance * f64::from(largest),
                "{name} {i}: {} {expected}",
                found[i]
            );
        }
    }
}

#[test]
fn gradients_go_through_the_division() {
    let net = Net::new(&device());
    let mut clipper = clipper(&net, Method::SpectralNorm).norm(0.7).unwrap();
    for _ in 0..200 {
        clipper.before_forward(&net).unwrap();
    }
    let used = clipper.before_forward(&net).unwrap();
    let gradients = GradientsParams::from_grads(loss(&used).backward(), &used);
    let bias = values(
        gradients
            .get::<1>(net.head.bias.as_ref().unwrap().id)
            .unwrap(),
    );
    let gradients = clipper.gradients(&net, gradients).unwrap();
    // The power method has converged, and the value that it follows has that gradient.
    let f = |net: &Net| {
        let used = clipper.effective(net).unwrap();
        f64::from(loss(&used).into_scalar::<f32>())
    };
    compare(&net, &gradients, &["conv", "plain", "up", "head"], f, 2e-2);
    let same = values(
        gradients
            .get::<1>(net.head.bias.as_ref().unwrap().id)
            .unwrap(),
    );
    assert_eq!(bias, same, "a bias is not divided by anything");
    // Along the weight itself the normalised one does not change.
    for (name, weight) in [
        ("up", values(net.up.weight.val())),
        ("head", values(net.head.weight.val())),
    ] {
        let g = gradient(&net, &gradients, name);
        let size = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let along: f64 = g
            .iter()
            .zip(&weight)
            .map(|(g, w)| f64::from(*g) * f64::from(*w))
            .sum();
        assert!(
            along.abs() < 1e-4 * size(&g) * size(&weight),
            "{name}: {along}"
        );
    }
}

/// The bounds of the layers of a network, in inference, of the composition of the first two among them.
fn bounds(net: &Net) -> [f64; 3] {
    let net = net.valid();
    let reflect = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    let conv = Conv::new(
        values(net.conv.weight.val()),
        &[4, 2, 3, 3],
        &[2, 6, 6],
        &reflect,
    )
    .unwrap();
    let doubles = |t| values(t).into_iter().map(f64::from).collect::<Vec<f64>>();
    let variances = doubles(net.norm.running_var.value_sync());
    let gamma = doubles(net.norm.gamma.val());
    let bn = Diagonal::<f32>::batch_norm(&gamma, &variances, net.norm.epsilon, &[4, 6, 6]).unwrap();
    let plain = ConvParams::new(2).stride(2);
    let plain = Conv::new(
        values(net.plain.weight.val()),
        &[6, 4, 2, 2],
        &[4, 6, 6],
        &plain,
    )
    .unwrap();
    let head = Dense::new(values(net.head.weight.val().transpose()), 5, 84).unwrap();
    let ops: [BoxedParametric<f32>; 3] = [
        Box::new(Compose::new(bn, conv).unwrap()),
        Box::new(plain),
        Box::new(head),
    ];
    ops.map(|op| gram_gradient(&op, GRAM_PRODUCTS).unwrap().value)
}

#[test]
fn penalties_have_the_gradients_of_the_bounds() {
    let net = Net::new(&device());
    let found = bounds(&net);
    let (low, high) = (0.5 * found[0], 2.0 * found[1]);
    let mut clipper = clipper(&net, Method::GramPenalty { weight: 3.0 })
        .batch_norms(BatchNorms::Compose)
        .norm_of("conv", low)
        .unwrap()
        .norm_of("head", 0.5 * found[2])
        .unwrap()
        .norm_of("plain", high)
        .unwrap();
    let used = clipper.before_forward(&net).unwrap();
    let without = GradientsParams::from_grads(loss(&used).backward(), &used);
    let plain = gradient(&net, &without, "plain");
    let mut with = clipper
        .gradients(
            &net,
            GradientsParams::from_grads(loss(&used).backward(), &used),
        )
        .unwrap();
    // What is below its target is left alone.
    assert_eq!(gradient(&net, &with, "plain"), plain);
    let mut subtract = |name: &str| {
        let (a, b) = (gradient(&net, &with, name), gradient(&net, &without, name));
        let difference: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let flat = |d: &[usize]| TensorData::new(difference.clone(), d.to_vec());
        let device = Device::flex();
        match name {
            "conv" => with.register(
                net.conv.weight.id,
                Tensor::<4>::from_data(flat(&[4, 2, 3, 3]), &device),
            ),
            "gamma" => with.register(
                net.norm.gamma.id,
                Tensor::<1>::from_data(flat(&[4]), &device),
            ),
            _ => with.register(
                net.head.weight.id,
                Tensor::<2>::from_data(flat(&[84, 5]), &device),
            ),
        }
    };
    for name in ["conv", "gamma", "head"] {
        subtract(name);
    }
    let f = |net: &Net| {
        let [first, _, head] = bounds(net);
        3.0 * ((first - low).max(0.0) + (head - 0.5 * found[2]).max(0.0))
    };
    compare(&net, &with, &["conv", "gamma", "head"], f, 2e-2);
}

/// Of a batch normalisation by itself it is the gradient of its largest factor.
#[test]
fn the_penalty_of_a_batch_norm() {
    let mut net = Net::new(&device());
    let gamma = |g: &[f32; 4]| Tensor::<1>::from_floats(*g, &device()).require_grad();
    net.norm.gamma = net.norm.gamma.map(|_| gamma(&[0.5, -2.0, 1.0, 1.5]));
    net.norm
        .running_var
        .update(Tensor::from_floats([4.0; 4], &Device::flex()));
    let mut clipper = clipper(&net, Method::GramPenalty { weight: 3.0 })
        .batch_norms(BatchNorms::Clip)
        .norm_of("norm", 0.1)
        .unwrap();
    let mut gradients = GradientsParams::new();
    gradients.register(net.norm.gamma.id, Tensor::<1>::zeros([4], &Device::flex()));
    clipper.before_forward(&net).unwrap();
    let gradients = clipper.gradients(&net, gradients).unwrap();
    let found = gradient(&net, &gradients, "gamma");
    let expected = -3.0 / (4.0f64 + net.norm.epsilon).sqrt();
    for (i, found) in found.into_iter().enumerate() {
        let expected = if i == 1 { expected } else { 0.0 };
        assert!(
            (f64::from(found) - expected).abs() < 1e-6,
            "{i}: {found} {expected}"
        );
    }
}

/// The forward pass on divided weights counts for the batch normalisations of the network that is trained.
#[test]
fn statistics_are_those_of_the_network_that_is_trained() {
    let net = Net::new(&device());
    let mut clipper = clipper(&net, Method::SpectralNorm).norm(0.7).unwrap();
    let before = values(net.norm.running_var.value_sync());
    let used = clipper.before_forward(&net).unwrap();
    used.forward(input());
    let after = values(net.norm.running_var.value_sync());
    assert_ne!(before, after);
    assert_eq!(after, values(used.norm.running_var.value_sync()));
}

/// A penalty that outweighs the loss brings the bounds to their targets.
#[test]
fn penalties_lower_bounds() {
    let mut net = Net::new(&device());
    let target = 0.8 * bounds(&net)[1];
    let mut clipper = clipper(&net, Method::GramPenalty { weight: 100.0 })
        .norm_of("plain", target)
        .unwrap();
    let mut optimizer = SgdConfig::new().init();
    for _ in 0..60 {
        let used = clipper.before_forward(&net).unwrap();
        let gradients = GradientsParams::from_grads(loss(&used).backward(), &used);
        drop(used);
        let gradients = clipper.gradients(&net, gradients).unwrap();
        net = optimizer.step(2e-4, net, gradients);
        net = clipper.step(net).unwrap();
    }
    let after = bounds(&net)[1];
    assert!((after / target - 1.0).abs() < 0.05, "{after} {target}");
}

#[test]
fn each_step_holds_norms_down_from_step_to_step() {
    for (how, glob) in [
        (EachStep::Scale, "*"),
        (EachStep::SoftCap, "head"),
        (EachStep::Hammer, "head"),
    ] {
        let mut net = Net::new(&device());
        let id = net.head.weight.id;
        let c = 0.3;
        let mut clipper = clipper(&net, how)
            .norm_of(glob, c)
            .unwrap()
            .every(300)
            .unwrap();
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..300 {
            let gradients = GradientsParams::from_grads(loss(&net).backward(), &net);
            net = optimizer.step(1e-3, net, gradients);
            net = clipper.step(net).unwrap();
        }
        assert_eq!(net.head.weight.id, id);
        assert!(net.head.weight.val().is_require_grad());
        for layer in clipper.report() {
            let norm = layer.after;
            assert!(layer.converged && layer.before == norm, "{layer:?}");
            match layer.target {
                Some(_) => assert!((norm / c - 1.0).abs() < 0.03, "{how:?}: {layer:?}"),
                None => assert!(norm > c, "{how:?}: {layer:?}"),
            }
        }
    }
}

#[test]
fn methods_that_do_not_apply_say_to_which_layer() {
    let net = Net::new(&device());
    let refused = |clipper: Clipper| {
        let mut clipper = clipper;
        let error = clipper.check().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        assert!(clipper.step(net.clone()).is_err());
        assert!(clipper.clip(net.clone()).is_err());
        assert!(clipper.before_forward(&net).is_err());
        error.to_string()
    };
    let message = refused(clipper(&net, EachStep::Hammer).norm(1.0).unwrap());
    assert!(
        message.contains("conv") && message.contains("dense"),
        "{message}"
    );
    for batch_norms in [BatchNorms::Clip, BatchNorms::Compose] {
        let clipper = clipper(&net, Method::SpectralNorm);
        let message = refused(clipper.batch_norms(batch_norms).norm(1.0).unwrap());
        assert!(message.contains("norm"), "{message}");
    }
    for weight in [0.0, -1.0, f64::NAN] {
        let message = refused(clipper(&net, Method::GramPenalty { weight }));
        assert!(message.contains("weight"), "{message}");
    }
    let frequency = specclip::clip::Method::Frequency { crop: true };
    let message = refused(clipper(&net, frequency).norm(1.0).unwrap());
    assert!(
        message.contains("head") && message.contains("convolutions"),
        "{message}"
    );
    for method in [Method::SpectralNorm, Method::GramPenalty { weight: 1.0 }] {
        let mut clipper = clipper(&net, method).norm(1.0).unwrap();
        stepped(&mut clipper, &net);
        let error = clipper.gradients(&net, GradientsParams::new()).unwrap_err();
        assert!(error.to_string().contains("before_forward"), "{error}");
        clipper.before_forward(&net).unwrap();
        let error = clipper.step(net.clone()).unwrap_err().to_string();
        assert!(error.contains("gradients"), "{error}");
    }
    let good = clipper(&net, EachStep::SoftCap)
        .norm_of("head", 1.0)
        .unwrap();
    assert!(good.check().is_ok());
}

/// The network that is used in a step after which nothing has moved, as the clipper leaves it.
fn stepped(clipper: &mut Clipper, net: &Net) -> Net {
    let used = clipper.before_forward(net).unwrap();
    clipper.gradients(net, GradientsParams::new()).unwrap();
    clipper.step(used).unwrap()
}

/// What is followed is part of the state.
#[test]
fn a_state_goes_on_with_what_was_followed() {
    for method in [Method::SpectralNorm, EachStep::Scale.into()] {
        let net = Net::new(&device());
        let make = || clipper(&net, method.clone()).norm(0.4).unwrap();
        let mut first = make();
        for _ in 0..3 {
            stepped(&mut first, &net);
        }
        let mut second = make();
        let text = serde_json::to_string(&first.state()).unwrap();
        second
            .restore(serde_json::from_str(&text).unwrap())
            .unwrap();
        let used = |clipper: &mut Clipper| values(stepped(clipper, &net).plain.weight.val());
        assert_eq!(used(&mut first), used(&mut second));
        assert_ne!(used(&mut first), used(&mut make()));
    }
}

/// Parameters that are not trained have no gradients, and stay so.
#[test]
fn frozen_parameters_stay_frozen() {
    let mut net = Net::new(&device());
    net.plain = net.plain.no_grad();
    for method in [Method::SpectralNorm, Method::GramPenalty { weight: 1.0 }] {
        let mut clipper = clipper(&net, method).norm_of("plain", 0.1).unwrap();
        let used = clipper.before_forward(&net).unwrap();
        assert!(!used.plain.weight.val().is_require_grad());
        let gradients = GradientsParams::from_grads(loss(&used).backward(), &used);
        let gradients = clipper.gradients(&net, gradients).unwrap();
        assert!(gradients.get::<4>(net.plain.weight.id).is_none());
        assert!(gradients.get::<4>(net.conv.weight.id).is_some());
    }
    let mut clipper = clipper(&net, EachStep::Scale)
        .norm_of("plain", 0.1)
        .unwrap();
    let before = values(net.plain.weight.val());
    let net = clipper.step(net).unwrap();
    // They obey all the same.
    assert_ne!(values(net.plain.weight.val()), before);
    assert!(!net.plain.weight.val().is_require_grad());
    assert!(net.conv.weight.val().is_require_grad());
}
