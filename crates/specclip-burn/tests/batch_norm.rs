//! Batch normalisation by the kernel against Burn's own, in both types and any number of dimensions.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use specclip_burn::{batch_norm, batch_norm_relu};

fn wave(count: usize, step: f64) -> Vec<f64> {
    let wave = |i| (0.3 + i as f64 * step).sin() + 0.1 * (i as f64 * 0.013).cos();
    (0..count).map(wave).collect()
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D], dtype: DType) -> Tensor<D> {
    let data = TensorData::new(values, shape).convert_dtype(dtype);
    Tensor::from_data(data, (&Device::flex(), dtype))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// In training, with parameters and statistics that are not those of a new one.
fn layer(channels: usize, dtype: DType) -> BatchNorm {
    let device = Device::flex().autodiff();
    let mut norm = BatchNormConfig::new(channels).init(&device);
    let own = |step, shift: f64| {
        let values = wave(channels, step).into_iter().map(|x| x + shift);
        tensor(values.collect(), [channels], dtype).autodiff()
    };
    norm.gamma = norm.gamma.map(|_| own(1.3, 0.4).require_grad());
    norm.beta = norm.beta.map(|_| own(0.7, 0.0).require_grad());
    norm.running_mean.update(own(2.1, 0.0));
    norm.running_var.update(own(1.7, 1.5));
    norm
}

/// The output, the gradients with respect to input, gamma and beta for some cotangent, and both running statistics.
fn found<const D: usize>(
    forward: impl Fn(&BatchNorm, Tensor<D>) -> Tensor<D>,
    x: &Tensor<D>,
) -> [Vec<f64>; 6] {
    let norm = layer(x.dims()[1], x.dtype());
    let x = x.clone().autodiff().require_grad();
    let y = forward(&norm, x.clone());
    let u = tensor(wave(y.dims().iter().product(), 0.77), y.dims(), y.dtype());
    let mut gradients = (y.clone() * u.autodiff()).sum().backward();
    [
        values(y.inner()),
        values(x.grad_remove(&mut gradients).unwrap()),
        values(norm.gamma.val().grad_remove(&mut gradients).unwrap()),
        values(norm.beta.val().grad_remove(&mut gradients).unwrap()),
        values(norm.running_mean.value_sync().inner()),
        values(norm.running_var.value_sync().inner()),
    ]
}

const NAMES: [&str; 6] = [
    "output",
    "gradient of the input",
    "gradient of gamma",
    "gradient of beta",
    "running mean",
    "running variance",
];

fn close(what: &str, found: &[Vec<f64>; 6], expected: &[Vec<f64>; 6], tau: f64) {
    for ((name, found), expected) in NAMES.iter().zip(found).zip(expected) {
        assert_eq!(found.len(), expected.len(), "{what}: {name}");
        let size: f64 = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
        let error = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b));
        let error = error.sum::<f64>().sqrt();
        assert!(
            error <= tau * size,
            "{what}: {name} is off by {:e}",
            error / size
        );
    }
}

fn check<const D: usize>(shape: [usize; D]) {
    for (dtype, tau) in [(DType::F64, 1e-11), (DType::F32, 1e-5)] {
        let what = format!("{shape:?}, {dtype:?}");
        let x = tensor(wave(shape.iter().product(), 0.41), shape, dtype) * 2.0 + 0.5;
        let expected = found(|norm, x| norm.forward(x), &x);
        close(&what, &found(batch_norm, &x), &expected, tau);
        let expected = found(|norm, x| relu(norm.forward(x)), &x);
        close(
            &format!("{what}, ReLU"),
            &found(batch_norm_relu, &x),
            &expected,
            tau,
        );
    }
}

#[test]
fn it_is_what_burn_computes() {
    check([64, 5]);
    check([7, 40, 3]);
    check([6, 3, 5, 4]);
    check([3, 4, 2, 3, 2]);
    // More than one piece of a plane, and one channel alone.
    check([2, 3, 70, 71]);
    check([9, 1, 4, 4]);
}

/// Batches that are views of another tensor, and a gradient that others read too.
#[test]
fn tensors_may_be_views_and_shared() {
    let whole = tensor(wave(5 * 6 * 4 * 3, 0.41), [4, 6, 5, 3], DType::F64);
    let views = [
        whole.clone().swap_dims(0, 2),
        whole.clone().narrow(0, 0, 3),
        whole.narrow(0, 1, 3),
    ];
    let twice = |y: Tensor<4>| y.clone() + y.clone().narrow(0, 0, y.dims()[0]);
    for x in views {
        let ours = found(|norm, x| twice(batch_norm_relu(norm, x.clone()) + x), &x);
        let theirs = found(|norm, x| twice(relu(norm.forward(x.clone())) + x), &x);
        close("views", &ours, &theirs, 1e-11);
    }
}

/// Finite differences, with a channel that is constant but for rounding.
#[test]
fn gradients_are_those_of_the_output() {
    let shape = [4, 2, 3, 2];
    let start = wave(48, 0.41);
    let [_, gradient, ..] = found(batch_norm_relu, &tensor(start.clone(), shape, DType::F64));
    let value = |x: Vec<f64>| {
        let [y, ..] = found(batch_norm_relu, &tensor(x, shape, DType::F64));
        let u = wave(48, 0.77);
        y.iter().zip(u).map(|(y, u)| y * u).sum::<f64>()
    };
    for i in 0..48 {
        let moved = |h: f64| {
            let mut x = start.clone();
            x[i] += h;
            value(x)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (slope - gradient[i]).abs() < 1e-7,
            "{i}: {slope} {}",
            gradient[i]
        );
    }
}

/// A constant channel has no variance, only eps: what rounding leaves in its mean would be multiplied by 300.
#[test]
fn a_constant_channel_is_beta() {
    let plane = 64 * 64;
    for value in [3.0, 100.1, 999.7] {
        let x = tensor(vec![value; 2 * 3 * plane], [2, 3, plane], DType::F32);
        let [y, gradient, ..] = found(batch_norm, &x);
        let beta = values(layer(3, DType::F32).beta.val().inner());
        for (i, y) in y.iter().enumerate() {
            assert!((y - beta[i / plane % 3]).abs() < 1e-6, "{value}: {y}");
        }
        assert!(gradient.iter().all(|g| g.is_finite()));
    }
}

/// The running statistics of two batches, with the first's in the second's.
#[test]
fn statistics_run() {
    let x = |step| tensor(wave(2 * 3 * 5, step), [2, 3, 5], DType::F64).autodiff();
    let run = |forward: fn(&BatchNorm, Tensor<3>) -> Tensor<3>| {
        let norm = layer(3, DType::F64);
        for step in [0.41, 0.93] {
            forward(&norm, x(step));
        }
        [&norm.running_mean, &norm.running_var].map(|r| values(r.value_sync().inner()))
    };
    let pairs = run(batch_norm)
        .into_iter()
        .zip(run(|norm, x| norm.forward(x)));
    for (ours, theirs) in pairs {
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a - b).abs() < 1e-12, "{ours:?} {theirs:?}");
        }
    }
}

/// Parameters that are not trained have no gradient, the others theirs.
#[test]
fn a_part_may_be_trained() {
    let x = tensor(wave(24, 0.41), [2, 3, 4], DType::F32);
    let [_, _, gamma, ..] = found(batch_norm, &x);
    let mut norm = layer(3, DType::F32);
    norm.beta = norm.beta.map(|beta| beta.set_require_grad(false));
    let y = batch_norm(&norm, x.autodiff());
    let u = tensor(wave(24, 0.77), [2, 3, 4], DType::F32);
    let mut gradients = (y * u.autodiff()).sum().backward();
    assert!(norm.beta.val().grad(&gradients).is_none());
    let own = norm.gamma.val().grad_remove(&mut gradients).unwrap();
    assert_eq!(values(own), gamma);
}

#[test]
fn numbers_do_not_depend_on_threads() {
    let x = tensor(wave(8 * 24 * 35 * 35, 0.41), [8, 24, 35, 35], DType::F32);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| found(batch_norm_relu, &x))
    };
    assert_eq!(with(1), with(3));
}

/// NaN is passed on, as by Burn's ReLU.
#[test]
fn what_is_no_number_is_seen() {
    let mut start = wave(24, 0.41);
    start[5] = f64::NAN;
    let [y, gradient, ..] = found(batch_norm_relu, &tensor(start, [2, 3, 4], DType::F32));
    // Of the second channel alone.
    let is_hit = |i: usize| i / 4 % 3 == 1;
    for (i, (y, g)) in y.iter().zip(&gradient).enumerate() {
        assert_eq!((y.is_nan(), g.is_nan()), (is_hit(i), is_hit(i)), "{i}");
    }
}

/// Where the statistics are the running ones, nothing changes them.
#[test]
fn inference_and_frozen_layers_are_burns() {
    let x = tensor(wave(24, 0.41), [2, 3, 4], DType::F32);
    let valid = layer(3, DType::F32).valid();
    assert_eq!(
        values(batch_norm(&valid, x.clone())),
        values(valid.forward(x.clone()))
    );
    let frozen = layer(3, DType::F32).freeze();
    let before = values(frozen.running_mean.value_sync().inner());
    let x = x.autodiff();
    let y = batch_norm_relu(&frozen, x.clone());
    assert_eq!(values(y.inner()), values(relu(frozen.forward(x)).inner()));
    assert_eq!(values(frozen.running_mean.value_sync().inner()), before);
}
