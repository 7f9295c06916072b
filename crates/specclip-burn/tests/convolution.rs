//! The convolution on Burn's CPU backend: its gradients against finite differences, against the
//! library's operator, and against the same convolution in Burn's own operations.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor, TensorData};
use specclip::operator::{Conv, ConvParams, PaddingMode};
use specclip::{Columns, LinearOperator, Parametric};
use specclip_burn::{PaddedConv, conv};

const MODES: [PaddingMode; 4] = [
    PaddingMode::Zeros,
    PaddingMode::Reflect,
    PaddingMode::Replicate,
    PaddingMode::Circular,
];

fn wave(count: usize, step: f64) -> Vec<f64> {
    (0..count).map(|i| (0.3 + i as f64 * step).sin()).collect()
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(values, shape),
        (&Device::flex(), DType::F64),
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().try_to_vec().unwrap()
}

fn close(what: &str, found: &[f64], expected: &[f64], tau: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size: f64 = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b));
    let error = error.sum::<f64>().sqrt();
    assert!(error <= tau * size, "{what} is off by {:e}", error / size);
}

/// A convolution and its gradients for the cotangent `u`: (output, with respect to x, to the weight,
/// to the bias).
fn gradients<const D: usize>(
    f: impl Fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<D>,
    x: &Tensor<D>,
    weight: &Tensor<D>,
    bias: &Tensor<1>,
) -> [Vec<f64>; 4] {
    let [x, weight] = [x, weight].map(|t| t.clone().autodiff().require_grad());
    let bias = bias.clone().autodiff().require_grad();
    let y = f(x.clone(), weight.clone(), bias.clone());
    let u = tensor(wave(y.dims().iter().product(), 0.77), y.dims());
    let mut gradients = (y.clone() * u.autodiff()).sum().backward();
    [
        values(y.inner()),
        values(x.grad_remove(&mut gradients).unwrap()),
        values(weight.grad_remove(&mut gradients).unwrap()),
        values(bias.grad_remove(&mut gradients).unwrap()),
    ]
}

fn check<const D: usize>(weight_shape: [usize; D], input: [usize; D], params: &ConvParams) {
    let what = format!("{weight_shape:?} on {input:?}, {params:?}");
    let x = tensor(wave(input.iter().product(), 0.41), input);
    let weight = tensor(wave(weight_shape.iter().product(), 0.59), weight_shape);
    let bias = tensor(wave(weight_shape[0], 0.9), [weight_shape[0]]);
    let f = |x, w, b| conv(x, w, Some(b), params);
    let [y, gx, gw, gb] = gradients(f, &x, &weight, &bias);

    let host = Conv::new(values(weight.clone()), &weight_shape, &input[1..], params).unwrap();
    let block = |rows, v: Vec<f64>| Columns::from_vec(rows, input[0], v).unwrap();
    let mut expected = host.output_block(input[0]);
    host.apply(&block(host.inputs(), values(x.clone())), &mut expected)
        .unwrap();
    let plane = host.outputs() / weight_shape[0];
    let b = values(bias.clone());
    let shifted = expected.as_slice().iter().enumerate();
    let shifted: Vec<f64> = shifted
        .map(|(i, y)| y + b[i / plane % weight_shape[0]])
        .collect();
    close(&format!("{what}: output"), &y, &shifted, 1e-12);

    let u = wave(y.len(), 0.77);
    let mut back = host.input_block(input[0]);
    host.adjoint(&block(host.outputs(), u.clone()), &mut back)
        .unwrap();
    close(&format!("{what}: x gradient"), &gx, back.as_slice(), 1e-12);
    let ones = vec![1.0; input[0]];
    let (hu, hx) = (
        block(host.outputs(), u.clone()),
        block(host.inputs(), values(x)),
    );
    let expected = host.weight_gradient(&ones, &hu, &hx).unwrap();
    close(
        &format!("{what}: weight gradient"),
        &gw,
        &expected[0],
        1e-12,
    );
    let mut sums = vec![0.0; weight_shape[0]];
    for (i, u) in u.iter().enumerate() {
        sums[i / plane % weight_shape[0]] += u;
    }
    close(&format!("{what}: bias gradient"), &gb, &sums, 1e-12);
}

#[test]
fn every_padding_in_every_dimension() {
    for mode in MODES {
        let params = |axes| ConvParams::new(axes).padding(1, mode);
        check([4, 2, 3], [3, 2, 9], &params(1));
        check([6, 2, 3], [2, 4, 9], &params(1).stride(2).groups(2));
        check([4, 3, 3, 3], [2, 3, 7, 6], &params(2));
        check([32, 17, 3, 3], [5, 17, 8, 8], &params(2));
        check(
            [4, 2, 3, 2],
            [2, 4, 8, 7],
            &params(2).stride(2).dilation(2).groups(2),
        );
        check([5, 1, 3, 3], [3, 5, 6, 6], &params(2).groups(5));
        check([3, 2, 3, 1, 2], [2, 2, 4, 5, 4], &params(3));
        let mut uneven = params(2);
        uneven.padding = vec![(0, 2), (1, 3)];
        check([4, 3, 3, 5], [2, 3, 5, 6], &uneven);
    }
}

/// Nothing of this project's but the function under test.
#[test]
fn gradients_are_finite_differences() {
    for mode in MODES {
        let params = ConvParams::new(2).padding(2, mode).stride(2);
        let (shape, input) = ([2, 2, 3, 3], [2, 2, 5, 4]);
        let x = wave(80, 0.41);
        let weight = wave(36, 0.59);
        let bias = tensor(vec![0.5, -0.5], [2]);
        let f = |x, w, b| conv(x, w, Some(b), &params);
        let found = gradients(
            f,
            &tensor(x.clone(), input),
            &tensor(weight.clone(), shape),
            &bias,
        );
        let u = wave(found[0].len(), 0.77);
        let value = |x: &[f64], w: &[f64]| -> f64 {
            let y = f(
                tensor(x.to_vec(), input),
                tensor(w.to_vec(), shape),
                bias.clone(),
            );
            values(y).iter().zip(&u).map(|(y, u)| y * u).sum()
        };
        let slope = |v: &[f64], at: usize, f: &dyn Fn(&[f64]) -> f64| {
            let moved = |step: f64| {
                let mut moved = v.to_vec();
                moved[at] += step;
                f(&moved)
            };
            // The function is linear in each argument, so the step may be large.
            (moved(0.5) - moved(-0.5)) / 1.0
        };
        let gx: Vec<f64> = (0..x.len())
            .map(|i| slope(&x, i, &|x| value(x, &weight)))
            .collect();
        let gw: Vec<f64> = (0..weight.len())
            .map(|i| slope(&weight, i, &|w| value(&x, w)))
            .collect();
        close(&format!("{mode:?}: x"), &found[1], &gx, 1e-12);
        close(&format!("{mode:?}: weight"), &found[2], &gw, 1e-12);
    }
}

/// Burn's own convolution pads zeros: the same layer in both.
#[test]
fn zero_padding_is_burns() {
    let x = tensor(wave(2 * 4 * 42, 0.41), [2, 4, 7, 6]);
    let weight = tensor(wave(6 * 2 * 9, 0.59), [6, 2, 3, 3]);
    let bias = tensor(wave(6, 0.9), [6]);
    let params = ConvParams::new(2)
        .padding(1, PaddingMode::Zeros)
        .stride(2)
        .groups(2);
    let ours = gradients(|x, w, b| conv(x, w, Some(b), &params), &x, &weight, &bias);
    let burns = |x, w, b| {
        let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 2);
        conv2d(x, w, Some(b), options)
    };
    for (ours, burns) in ours.iter().zip(gradients(burns, &x, &weight, &bias)) {
        close("zeros", ours, &burns, 1e-12);
    }
}

/// A half-precision tensor has no kernel here: the convolution is composed of Burn's operations.
#[test]
fn other_types_are_composed_of_burns_operations() {
    for mode in MODES {
        let params = ConvParams::new(2).padding(2, mode).stride(2);
        let x = tensor(wave(2 * 3 * 42, 0.41), [2, 3, 7, 6]);
        let weight = tensor(wave(4 * 3 * 9, 0.59), [4, 3, 3, 3]);
        let expected = values(conv(x.clone(), weight.clone(), None, &params));
        let half = conv(x.cast(DType::F16), weight.cast(DType::F16), None, &params);
        assert_eq!(half.dtype(), DType::F16);
        close(
            &format!("{mode:?}"),
            &values(half.cast(DType::F64)),
            &expected,
            2e-3,
        );
    }
}

/// A view that is not contiguous is read as it is meant.
#[test]
fn transposed_tensors_are_read_right() {
    let params = ConvParams::new(2).padding(1, PaddingMode::Circular);
    let x = tensor(wave(2 * 3 * 30, 0.41), [2, 3, 6, 5]);
    let weight = tensor(wave(4 * 3 * 9, 0.59), [4, 3, 3, 3]);
    let turned = conv(
        x.clone().swap_dims(2, 3),
        weight.clone().swap_dims(2, 3),
        None,
        &params,
    );
    let straight = conv(x, weight, None, &params).swap_dims(2, 3);
    close("turned", &values(turned), &values(straight), 1e-12);
}

#[test]
fn layers_are_drawn_as_pytorch_draws_them() {
    let device = Device::flex();
    let params = ConvParams::new(2)
        .padding(1, PaddingMode::Reflect)
        .stride(2);
    let layer = PaddedConv::new([64, 3, 3, 3], params, true, &device).unwrap();
    let weight: Vec<f32> = layer.weight.val().into_data().try_to_vec().unwrap();
    let bound = 1.0 / 27.0_f32.sqrt();
    let largest = weight.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
    assert!(largest <= bound && largest > 0.99 * bound);
    let x = Tensor::<4>::ones([2, 3, 32, 32], &device);
    assert_eq!(layer.forward(x).dims(), [2, 64, 16, 16]);
}

#[test]
fn layers_that_cannot_be_are_refused() {
    let device = Device::flex();
    let mut params = ConvParams::new(2);
    params.stride = vec![1];
    assert!(PaddedConv::new([4, 3, 3, 3], params, true, &device).is_err());
    assert!(PaddedConv::new([4, 3, 3, 3], ConvParams::new(2).groups(3), true, &device).is_err());
    assert!(PaddedConv::new([4, 0, 3, 3], ConvParams::new(2), true, &device).is_err());
    assert!(PaddedConv::new([4, 3], ConvParams::new(2), true, &device).is_err());
}
