//! Operators from Burn closures.

use std::marker::PhantomData;

use burn::tensor::{Device, Tensor};
use faer::Mat;
use specclip::block::Block;
use specclip::laws::{check_adjoint, check_affine};
use specclip::operator::{check_action, enlarged};
use specclip::{Error, LinearOperator};

use crate::block::{TensorBlock, download, scaled, upload};
use crate::scalar::Scalar;

const NAME: &str = "closure";

/// An affine closure over tensors as an operator: M x = f(x) - f(0), and M' y from automatic
/// differentiation. Vectors stay on the device of the closure.
///
/// The closure takes a batch of D - 1 dimensional examples to a batch of E - 1 dimensional ones,
/// each by itself. A module that it uses should be the one for inference (`model.valid()`): the
/// tape that trainable parameters record is dropped only by a later backward pass.
pub struct AutodiffOperator<T, F, const D: usize, const E: usize> {
    f: F,
    device: Device,
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    /// f(0) of one example, as one row.
    offset: Tensor<2>,
    offset_norm: f64,
    scalar: PhantomData<T>,
}

impl<T, F, const D: usize, const E: usize> AutodiffOperator<T, F, D, E>
where
    T: Scalar,
    F: Fn(Tensor<D>) -> Tensor<E> + Send + Sync,
{
    /// An operator from a closure and the shape of one example, after probing that the closure is
    /// affine (at inputs of magnitude 1e-3, 1 and 1e3: an activation inside shows at one of them),
    /// keeps the examples of a batch apart, and is differentiated to its adjoint.
    ///
    /// # Errors
    /// [`Error::NotLinear`] and [`Error::NotAdjoint`] with the deviation seen; [`Error::NonFinite`]
    /// when f(0) is not finite; [`Error::InvalidParameter`] for shapes that do not fit and where
    /// examples mix.
    pub fn new(input_shape: &[usize], device: &Device, f: F) -> Result<Self, Error> {
        if input_shape.len() + 1 != D || input_shape.contains(&0) {
            return Err(invalid(format!(
                "a closure of a tensor with {D} dimensions takes examples of {}, each at least 1, not \
                 of shape {input_shape:?}",
                D - 1
            )));
        }
        let device = device.clone().inner();
        let zero = Tensor::zeros(batch_shape::<D>(1, input_shape), (&device, T::DTYPE));
        let value = f(zero).without_autodiff();
        if value.dtype() != T::DTYPE {
            return Err(invalid(format!(
                "the closure gives {:?} for {:?}; choose the type that its module has",
                value.dtype(),
                T::DTYPE
            )));
        }
        let found = value.dims();
        let outputs: usize = found[1..].iter().product();
        if found[0] != 1 || outputs == 0 {
            return Err(invalid(format!(
                "a batch of one example became one of shape {found:?}; the first dimension counts \
                 the examples"
            )));
        }
        let offset = value.reshape([1, outputs]);
        let values = download::<T, 2>(offset.clone());
        if let Some(index) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite {
                what: "the closure's value at zero".to_owned(),
                index,
                value: values[index],
            });
        }
        let operator = Self {
            f,
            device,
            input_shape: input_shape.to_vec(),
            output_shape: found[1..].to_vec(),
            offset,
            offset_norm: values.iter().map(|x| x * x).sum::<f64>().sqrt(),
            scalar: PhantomData,
        };
        operator.check()?;
        Ok(operator)
    }

    fn check(&self) -> Result<(), Error> {
        let n = self.inputs();
        check_affine(T::UNIT_ROUNDOFF, self.offset_norm, n, |x, y| {
            let row = upload::<T, 2>(x, [1, n], &self.device);
            y.extend(download::<T, 2>(self.difference(row, &[1.0])));
        })?;
        self.check_examples()?;
        check_adjoint(self, 0)
    }

    /// The value of a batch of two is the values of its examples.
    fn check_examples(&self) -> Result<(), Error> {
        let n = self.inputs();
        let waves: Vec<f64> = (0..2 * n).map(|i| (1.0 + 0.7 * i as f64).sin()).collect();
        let mut both = self.input_block(2);
        both.upload(&waves);
        let mut together = self.output_block(2);
        self.apply(&both, &mut together)?;
        for i in 0..2 {
            let mut alone = self.output_block(1);
            self.apply(&both.columns(i..i + 1), &mut alone)?;
            let size = alone.norms()[0];
            let minus = Mat::from_fn(1, 1, |_, _| -1.0);
            alone.add_combination(&together, i..i + 1, minus.as_ref());
            let deviation = alone.norms()[0];
            if deviation.is_nan() || deviation > T::UNIT_ROUNDOFF.sqrt() * size {
                return Err(invalid(format!(
                    "the examples of a batch influence each other (by {:.1e}, relative), as in a batch \
                     normalisation that is training; use the module for inference",
                    deviation / size
                )));
            }
        }
        Ok(())
    }

    /// (f(t x) - f(0)) / t for each row x, with a t of its own.
    fn difference(&self, rows: Tensor<2>, t: &[f64]) -> Tensor<2> {
        let count = t.len();
        let enlarged = scaled::<T>(rows, t);
        let value = (self.f)(enlarged.reshape(batch_shape::<D>(count, &self.input_shape)))
            .without_autodiff();
        let difference = value.reshape([count, self.outputs()]) - self.offset.clone();
        let inverse: Vec<f64> = t.iter().map(|t| 1.0 / t).collect();
        scaled::<T>(difference, &inverse)
    }

    /// The difference for each row, with t so large that it does not cancel: it is to be 2^10 times
    /// f(0), which leaves a thousandth of a rounding error.
    fn action(&self, rows: &Tensor<2>) -> Tensor<2> {
        let mut exponents = vec![0.0; rows.dims()[0]];
        let at = |exponents: &[f64]| {
            let t: Vec<f64> = exponents.iter().map(|e: &f64| e.exp2()).collect();
            self.difference(rows.clone(), &t)
        };
        let mut value = at(&exponents);
        if self.offset_norm == 0.0 {
            return value;
        }
        loop {
            let norms = TensorBlock::<T>::from_rows(value.clone()).norms();
            let next: Vec<f64> = norms
                .iter()
                .zip(&exponents)
                .map(|(norm, &exponent)| {
                    enlarged(exponent, norm * exponent.exp2(), self.offset_norm)
                })
                .collect();
            if next == exponents {
                return value;
            }
            let larger = at(&next);
            let sizes = TensorBlock::<T>::from_rows(larger.clone()).norms();
            if !sizes.iter().all(|size| size.is_finite()) {
                return value;
            }
            (exponents, value) = (next, larger);
        }
    }
}

impl<T, F, const D: usize, const E: usize> LinearOperator for AutodiffOperator<T, F, D, E>
where
    T: Scalar,
    F: Fn(Tensor<D>) -> Tensor<E> + Send + Sync,
{
    type Block = TensorBlock<T>;

    fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }
    fn input_block(&self, k: usize) -> TensorBlock<T> {
        TensorBlock::zeros(self.inputs(), k, &self.device)
    }
    fn output_block(&self, k: usize) -> TensorBlock<T> {
        TensorBlock::zeros(self.outputs(), k, &self.device)
    }

    fn apply(&self, x: &TensorBlock<T>, y: &mut TensorBlock<T>) -> Result<(), Error> {
        check_action(NAME, (self.inputs(), x), (self.outputs(), &*y))?;
        if let Some(rows) = x.rows() {
            *y = TensorBlock::from_rows(self.action(rows));
        }
        Ok(())
    }

    fn adjoint(&self, y: &TensorBlock<T>, x: &mut TensorBlock<T>) -> Result<(), Error> {
        check_action(
            "closure's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        let Some(rows) = y.rows() else {
            return Ok(());
        };
        let count = rows.dims()[0];
        let shape = batch_shape::<D>(count, &self.input_shape);
        let origin = Tensor::<D>::zeros(shape, (&self.device, T::DTYPE));
        let origin = origin.autodiff().require_grad();
        let value = (self.f)(origin.clone()).reshape([count, self.outputs()]);
        *x = match product_gradient(value, rows.clone(), &origin) {
            Some(gradient) => TensorBlock::from_rows(gradient.reshape([count, self.inputs()])),
            // The value does not depend on the input.
            None => self.input_block(count),
        };
        Ok(())
    }
}

/// sum_i lambda_i G(u_i, v_i): the gradient of sum_i lambda_i <u_i, f(W, v_i)> with respect to the
/// weights W, in their shape. A bias in f does not take part.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the numbers of pairs or the shapes differ.
pub fn weight_gradient<T: Scalar, const W: usize, const D: usize, const E: usize>(
    f: impl Fn(Tensor<W>, Tensor<D>) -> Tensor<E>,
    weight: &Tensor<W>,
    input_shape: &[usize],
    (lambda, u, v): (&[f64], &TensorBlock<T>, &TensorBlock<T>),
) -> Result<Tensor<W>, Error> {
    let count = lambda.len();
    check_block(
        "closure's weight gradient",
        [input_shape.iter().product(), count],
        v,
    )?;
    let weight = weight.clone().without_autodiff();
    let (Some(v), Some(u)) = (v.rows(), u.rows()) else {
        return Ok(weight.zeros_like());
    };
    let weight = weight.autodiff().require_grad();
    let value = f(
        weight.clone(),
        v.clone().reshape(batch_shape::<D>(count, input_shape)),
    );
    let outputs = value.dims()[1..].iter().product();
    if u.dims() != [count, outputs] {
        return Err(Error::ShapeMismatch {
            operation: "closure's weight gradient",
            expected: vec![outputs, count],
            found: vec![u.dims()[1], u.dims()[0]],
        });
    }
    let value = value.reshape([count, outputs]);
    let gradient = product_gradient(value, scaled::<T>(u.clone(), lambda), &weight);
    Ok(gradient.unwrap_or_else(|| weight.without_autodiff().zeros_like()))
}

/// The gradient of <value, cotangent> with respect to a leaf, where the value depends on it.
fn product_gradient<const D: usize>(
    value: Tensor<2>,
    cotangent: Tensor<2>,
    leaf: &Tensor<D>,
) -> Option<Tensor<D>> {
    if !value.is_tracked() {
        return None;
    }
    let mut gradients = (value * cotangent).sum().backward();
    leaf.grad_remove(&mut gradients)
}

/// A batch of `count` examples.
fn batch_shape<const D: usize>(count: usize, example: &[usize]) -> [usize; D] {
    std::array::from_fn(|i| if i == 0 { count } else { example[i - 1] })
}

fn check_block<T: Scalar>(
    operation: &'static str,
    expected: [usize; 2],
    found: &TensorBlock<T>,
) -> Result<(), Error> {
    let found = [Block::rows(found), found.cols()];
    if found == expected {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        operation,
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
}

fn invalid(problem: String) -> Error {
    Error::InvalidParameter {
        operation: NAME,
        problem,
    }
}
