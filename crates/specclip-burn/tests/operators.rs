//! Closures of Burn tensors against reference results: actions, adjoints, singular values and weight
//! gradients of every case that the library's operators are checked with.

#[path = "../../specclip/tests/cases/mod.rs"]
mod cases;

use burn::tensor::module::{
    batch_norm, conv_transpose1d, conv_transpose2d, conv_transpose3d, linear,
};
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Tensor, TensorData};
use cases::Case;
use specclip::block::Block;
use specclip::operator::{ConvParams, PaddingMode};
use specclip::svd::{Method, Params, Shift, singular_values};
use specclip::{Columns, Error, LinearOperator, Parametric};
use specclip_burn::{AutodiffOperator, PaddedConv, Scalar, TensorBlock, conv, weight_gradient};

const TAU_F64: f64 = 1e-11;
const TAU_F32: f64 = 2e-5;

fn all() -> Vec<Case> {
    cases::read(
        "SPECCLIP_GOLDEN_DIR",
        "../specclip/tests/golden",
        "singular_values",
    )
}

fn tensor<T: Scalar, const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let values: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), T::DTYPE))
}

fn vector<T: Scalar>(values: &[f64]) -> Tensor<1> {
    tensor::<T, 1>(values, [values.len()])
}

fn bias<T: Scalar>(case: &Case) -> Option<Tensor<1>> {
    case.bias.as_deref().map(vector::<T>)
}

/// (channels of the weight as PyTorch has them, taps...).
fn weight_shape<const D: usize>(case: &Case, first: usize, second: usize) -> [usize; D] {
    std::array::from_fn(|i| match i {
        0 => first,
        1 => second / case.groups,
        _ => case.kernel[i - 2],
    })
}

/// A layer as a function of its weight and its input, and the weight.
struct Layer<'a, T, F, const W: usize> {
    case: &'a Case,
    f: F,
    weight: Tensor<W>,
    scalar: std::marker::PhantomData<T>,
    tau: f64,
}

impl<T: Scalar, F, const W: usize> Layer<'_, T, F, W> {
    fn check<const D: usize, const E: usize>(&self)
    where
        F: Fn(Tensor<W>, Tensor<D>) -> Tensor<E> + Send + Sync,
    {
        let case = self.case;
        let note = format!("{} ({})", case.note, case.kind);
        let closure = |x| (self.f)(self.weight.clone(), x);
        let op = AutodiffOperator::<T, _, D, E>::new(&case.input, &Device::flex(), closure)
            .unwrap_or_else(|error| panic!("{note}: {error}"));
        assert_eq!([op.outputs(), op.inputs()], case.matrix_shape, "{note}");
        self.check_actions(&op, &note);
        self.check_values(&op, &note);
        self.check_weight_gradient::<D, E>(&op, &note);
    }

    fn check_actions<Op: LinearOperator<Block = TensorBlock<T>>>(&self, op: &Op, note: &str) {
        let case = self.case;
        let (mut x, mut y) = (op.input_block(1), op.output_block(1));
        x.upload(&case.x);
        y.upload(&case.y);
        let (mut mx, mut my) = (op.output_block(1), op.input_block(1));
        op.apply(&x, &mut mx).unwrap();
        op.adjoint(&y, &mut my).unwrap();
        if let Some(expected) = &case.mx {
            close(note, "M x", &mx.download(), expected, self.tau);
        }
        let scale = mx.norms()[0] * y.norms()[0];
        for product in [y.gram(0..1, &mx)[(0, 0)], my.gram(0..1, &x)[(0, 0)]] {
            let error = (product - case.y_dot_mx).abs();
            assert!(
                error <= self.tau * scale,
                "{note}: <y, M x> is off by {error:e}"
            );
        }
    }

    fn check_values<Op: LinearOperator<Block = TensorBlock<T>>>(&self, op: &Op, note: &str) {
        let expected = &self.case.singular_values;
        for method in [Method::Auto, Method::Lanczos] {
            let params = Params {
                method,
                tolerance: self.tau / 4.0,
                ..Params::default()
            };
            let top = singular_values(op, expected.len(), &params).unwrap();
            assert!(top.converged(), "{note}: {method:?}: {:?}", top.residuals);
            for (found, expected_i) in top.sigma.iter().zip(expected) {
                let error = (found - expected_i).abs();
                assert!(
                    error <= self.tau * expected[0],
                    "{note}: {method:?} is off by {error:e}"
                );
            }
        }
    }

    /// Against the library's operator of the same layer.
    fn check_weight_gradient<const D: usize, const E: usize>(
        &self,
        op: &impl LinearOperator<Block = TensorBlock<T>>,
        note: &str,
    ) where
        F: Fn(Tensor<W>, Tensor<D>) -> Tensor<E>,
    {
        if self.case.weight.is_empty() {
            return;
        }
        let lambda = [0.7, -1.3];
        let wave = |n: usize, step: f64| -> Vec<f64> {
            (0..2 * n).map(|i| (i as f64 * step).sin()).collect()
        };
        let (u, v) = (wave(op.outputs(), 0.37), wave(op.inputs(), 0.53));
        let host = self.case.parametric::<f64>();
        let (hu, hv) = (
            Columns::from_vec(op.outputs(), 2, u.clone()).unwrap(),
            Columns::from_vec(op.inputs(), 2, v.clone()).unwrap(),
        );
        let gradients = host.weight_gradient(&lambda, &hu, &hv).unwrap();
        // Of a convolution and its batch normalisation, the convolution's.
        let expected = gradients
            .iter()
            .find(|g| g.len() == self.case.weight.len())
            .unwrap();
        let (mut tu, mut tv) = (op.output_block(2), op.input_block(2));
        tu.upload(&u);
        tv.upload(&v);
        let found = weight_gradient::<T, W, D, E>(
            &self.f,
            &self.weight,
            &self.case.input,
            (&lambda, &tu, &tv),
        )
        .unwrap();
        let found: Vec<T> = found.into_data().try_to_vec().unwrap();
        let found: Vec<f64> = found.iter().map(|x| x.to_f64()).collect();
        close(note, "the weight gradient", &found, expected, self.tau);
    }
}

fn close(note: &str, what: &str, found: &[f64], expected: &[f64], tau: f64) {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    assert_eq!(found.len(), expected.len(), "{note}: {what}");
    let error = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    assert!(
        error <= tau * size,
        "{note}: {what} is off by {:e}",
        error / size
    );
}

fn normalised<T: Scalar, const D: usize>(case: &Case, x: Tensor<D>) -> Tensor<D> {
    let Some(bn) = &case.batch_norm else {
        return x;
    };
    let [gamma, beta, mean, variance] =
        [&bn.gamma, &bn.beta, &bn.running_mean, &bn.running_var].map(|v| vector::<T>(v));
    batch_norm(x, gamma, beta, mean, variance, bn.eps)
}

fn check_conv<T: Scalar, const D: usize>(case: &Case, tau: f64) {
    let params = case.conv_params();
    layer::<T, _, D>(
        case,
        weight_shape(case, case.out_channels, case.in_channels),
        tau,
        |w, x| normalised::<T, D>(case, conv(x, w, bias::<T>(case), &params)),
    )
    .check::<D, D>();
}

fn layer<'a, T: Scalar, F, const W: usize>(
    case: &'a Case,
    shape: [usize; W],
    tau: f64,
    f: F,
) -> Layer<'a, T, F, W> {
    Layer {
        case,
        f,
        weight: tensor::<T, W>(&case.weight, shape),
        scalar: std::marker::PhantomData,
        tau,
    }
}

fn options<const N: usize>(case: &Case) -> ConvTransposeOptions<N> {
    let array = |values: &[usize]| std::array::from_fn(|i| values[i]);
    ConvTransposeOptions::new(
        array(&case.stride),
        array(&case.padding),
        array(&case.output_padding),
        array(&case.dilation),
        case.groups,
    )
}

macro_rules! check_transposed {
    ($case:expr, $tau:expr, $t:ty, $f:ident, $n:literal, $d:literal) => {{
        let case = $case;
        let shape = weight_shape(case, case.in_channels, case.out_channels);
        layer::<$t, _, $d>(case, shape, $tau, |w: Tensor<$d>, x: Tensor<$d>| {
            $f(x, w, bias::<$t>(case), options::<$n>(case))
        })
        .check::<$d, $d>()
    }};
}

fn check<T: Scalar>(case: &Case, tau: f64) {
    match case.kind.as_str() {
        "conv1d" | "conv1d+batch_norm" => check_conv::<T, 3>(case, tau),
        "conv2d" | "conv2d+batch_norm" => check_conv::<T, 4>(case, tau),
        "conv3d" | "conv3d+batch_norm" => check_conv::<T, 5>(case, tau),
        "conv_transpose1d" => check_transposed!(case, tau, T, conv_transpose1d, 1, 3),
        "conv_transpose2d" => check_transposed!(case, tau, T, conv_transpose2d, 2, 4),
        "conv_transpose3d" => check_transposed!(case, tau, T, conv_transpose3d, 3, 5),
        "linear" => {
            layer::<T, _, 2>(
                case,
                [case.out_features, case.in_features],
                tau,
                |w: Tensor<2>, x: Tensor<2>| linear(x, w.transpose(), bias::<T>(case)),
            )
            .check::<2, 2>();
        }
        "batch_norm" => match case.input.len() {
            1 => check_batch_norm::<T, 2>(case, tau),
            2 => check_batch_norm::<T, 3>(case, tau),
            3 => check_batch_norm::<T, 4>(case, tau),
            _ => check_batch_norm::<T, 5>(case, tau),
        },
        other => panic!("unknown case kind {other}"),
    }
}

/// Its gradient is checked apart: the library's weight is gamma / sqrt(variance + eps).
fn check_batch_norm<T: Scalar, const D: usize>(case: &Case, tau: f64) {
    let layer = Layer::<T, _, 1> {
        case,
        f: |_: Tensor<1>, x: Tensor<D>| normalised::<T, D>(case, x),
        weight: vector::<T>(&[0.0]),
        scalar: std::marker::PhantomData,
        tau,
    };
    layer.check::<D, D>();
}

#[test]
fn golden_closures() {
    for case in all() {
        check::<f64>(&case, TAU_F64);
        check::<f32>(&case, TAU_F32);
    }
}

/// The paper's iteration runs on tensors unchanged.
#[test]
fn golden_power_qr() {
    let params = Params {
        method: Method::PowerQr,
        shift: Shift::Fixed(0.0),
        tolerance: 1e-4,
        max_matvecs: 400_000,
        ..Params::default()
    };
    let cases = all();
    for case in cases.iter().filter(|c| c.kind == "conv2d").take(6) {
        let conv_params = case.conv_params();
        let weight = tensor::<f64, 4>(
            &case.weight,
            weight_shape(case, case.out_channels, case.in_channels),
        );
        let f = |x| conv::<4>(x, weight.clone(), bias::<f64>(case), &conv_params);
        let op = AutodiffOperator::<f64, _, 4, 4>::new(&case.input, &Device::flex(), f).unwrap();
        let top = singular_values(&op, 2, &params).unwrap();
        assert!(top.converged(), "{}: {:?}", case.note, top.residuals);
        let error = (top.sigma[0] / case.singular_values[0] - 1.0).abs();
        assert!(error < 1e-4, "{}: off by {error:e}", case.note);
    }
}

fn small_conv() -> PaddedConv<4> {
    let params = ConvParams::new(2).padding(1, PaddingMode::Reflect);
    PaddedConv::new([4, 3, 3, 3], params, true, &Device::flex()).unwrap()
}

#[test]
fn an_activation_is_refused() {
    let conv = small_conv();
    let relu = |x: Tensor<4>| burn::tensor::activation::relu(conv.forward(x));
    let result = AutodiffOperator::<f32, _, 4, 4>::new(&[3, 8, 8], &Device::flex(), relu);
    let Err(Error::NotLinear { deviation, .. }) = result else {
        panic!("a ReLU was taken for linear");
    };
    assert!(deviation > 0.01);
}

#[test]
fn examples_that_influence_each_other_are_refused() {
    let centred = |x: Tensor<2>| x.clone() - x.mean_dim(0);
    let result = AutodiffOperator::<f32, _, 2, 2>::new(&[5], &Device::flex(), centred);
    assert!(matches!(result, Err(Error::InvalidParameter { .. })));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let same = |x: Tensor<2>| x;
    for shape in [&[3, 4][..], &[], &[0]] {
        let result = AutodiffOperator::<f32, _, 2, 2>::new(shape, &Device::flex(), same);
        assert!(
            matches!(result, Err(Error::InvalidParameter { .. })),
            "{shape:?}"
        );
    }
    let op = AutodiffOperator::<f32, _, 2, 2>::new(&[3], &Device::flex(), same).unwrap();
    let (x, mut y) = (
        TensorBlock::zeros(4, 1, &Device::flex()),
        op.output_block(1),
    );
    assert!(matches!(
        op.apply(&x, &mut y),
        Err(Error::ShapeMismatch { .. })
    ));
}

#[test]
fn a_closure_may_ignore_its_input() {
    let zero = |x: Tensor<2>| x.zeros_like();
    let op = AutodiffOperator::<f64, _, 2, 2>::new(&[3], &Device::flex(), zero).unwrap();
    let top = singular_values(&op, 1, &Params::default()).unwrap();
    assert_eq!(top.sigma[0], 0.0);
}

#[test]
fn a_large_bias_does_not_reach_the_values() {
    let shifted = |x: Tensor<2>| x * 1e-4 + 1000.0;
    let op = AutodiffOperator::<f32, _, 2, 2>::new(&[40], &Device::flex(), shifted).unwrap();
    let top = singular_values(&op, 1, &Params::default()).unwrap();
    assert!((top.sigma[0] / 1e-4 - 1.0).abs() < 1e-5, "{}", top.sigma[0]);
}
