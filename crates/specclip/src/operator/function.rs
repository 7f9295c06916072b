//! Closures as operators.

use super::{LinearOperator, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::laws;
use crate::real::norm;

const NAME: &str = "function";

/// A user's affine function, and the adjoint of its linear part, as an operator.
///
/// The operator is M x = f(x) - f(0). Both closures work on one flattened vector at a time:
/// `forward(x, y)` overwrites y with f(x), `adjoint(y, x)` overwrites x with M' y.
pub struct Function<T, F, G> {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    forward: F,
    adjoint: G,
    /// f(0), the bias.
    offset: Vec<T>,
    offset_norm: f64,
}

impl<T, F, G> Function<T, F, G>
where
    T: Real,
    F: Fn(&[T], &mut [T]) + Send + Sync,
    G: Fn(&[T], &mut [T]) + Send + Sync,
{
    /// An operator from closures, after probing that they are affine and adjoint to each other.
    ///
    /// The probe compares f(a x + c y) - f(0) with a (f(x) - f(0)) + c (f(y) - f(0)) on random x
    /// and y of magnitudes 1e-3, 1 and 1e3: an activation inside shows at one of them.
    ///
    /// # Errors
    /// [`Error::NotLinear`] and [`Error::NotAdjoint`] with the deviation seen; errors of the
    /// shapes; [`Error::NonFinite`] when f(0) is not finite.
    pub fn new(
        input_shape: &[usize],
        output_shape: &[usize],
        forward: F,
        adjoint: G,
    ) -> Result<Self, Error> {
        let inputs = check_shape(NAME, input_shape)?;
        let outputs = check_shape(NAME, output_shape)?;
        let mut offset = vec![T::ZERO; outputs];
        forward(&vec![T::ZERO; inputs], &mut offset);
        crate::error::check_finite("the function's value at zero", &offset)?;
        let function = Self {
            input_shape: input_shape.to_vec(),
            output_shape: output_shape.to_vec(),
            forward,
            adjoint,
            offset_norm: norm(&offset),
            offset,
        };
        laws::check_affine(T::UNIT_ROUNDOFF, function.offset_norm, inputs, |x, y| {
            let x: Vec<T> = x.iter().map(|&x| T::from_f64(x)).collect();
            let mut value = vec![T::ZERO; outputs];
            (function.forward)(&x, &mut value);
            let offset = function.offset.iter();
            y.extend(
                value
                    .iter()
                    .zip(offset)
                    .map(|(v, o)| v.to_f64() - o.to_f64()),
            );
        })?;
        laws::check_adjoint(&function, 0)?;
        Ok(function)
    }

    /// y <- (f(t x) - f(0)) / t, with the power of two t chosen so large that the difference does
    /// not cancel.
    fn action(&self, x: &[T], y: &mut [T]) {
        let mut exponent = 0.0_f64;
        self.difference(x, exponent, y);
        if self.offset_norm == 0.0 {
            return;
        }
        loop {
            let next = enlarged(exponent, norm(y) * exponent.exp2(), self.offset_norm);
            if next == exponent {
                return;
            }
            exponent = next;
            let before = y.to_vec();
            self.difference(x, exponent, y);
            if !y.iter().all(|y| y.is_finite()) {
                y.copy_from_slice(&before);
                return;
            }
        }
    }

    /// y <- (f(t x) - f(0)) / t for t = 2^`exponent`.
    fn difference(&self, x: &[T], exponent: f64, y: &mut [T]) {
        if exponent == 0.0 {
            (self.forward)(x, y);
        } else {
            let t = T::from_f64(exponent.exp2());
            let scaled: Vec<T> = x.iter().map(|&x| x * t).collect();
            (self.forward)(&scaled, y);
        }
        let inverse = T::from_f64((-exponent).exp2());
        for (y, &o) in y.iter_mut().zip(&self.offset) {
            *y = (*y - o) * inverse;
        }
    }
}

/// Powers of two by which an input is enlarged, at most, and at most at one time.
const LARGEST_EXPONENT: f64 = 96.0;
const STEP: f64 = 24.0;

/// The exponent to go on to so that a difference f(2^e x) - f(0) does not cancel, from its norm `size`
/// at the exponent e and `offset` = ||f(0)||; e itself where it does not: the difference is to be 2^10
/// times f(0), which leaves a thousandth of a rounding error. For closures whose bias is subtracted.
pub fn enlarged(exponent: f64, size: f64, offset: f64) -> f64 {
    let missing = (1024.0 * offset / size).log2().ceil();
    if missing.is_nan() || missing <= 0.0 {
        return exponent;
    }
    // What is left of a difference that cancelled says little about its size.
    (exponent + missing.min(STEP)).min(LARGEST_EXPONENT)
}

impl<T, F, G> LinearOperator for Function<T, F, G>
where
    T: Real,
    F: Fn(&[T], &mut [T]) + Send + Sync,
    G: Fn(&[T], &mut [T]) + Send + Sync,
{
    type Block = Columns<T>;

    fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }
    fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }
    fn input_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.inputs(), k)
    }
    fn output_block(&self, k: usize) -> Columns<T> {
        Columns::zeros(self.outputs(), k)
    }

    fn apply(&self, x: &Columns<T>, y: &mut Columns<T>) -> Result<(), Error> {
        check_action(NAME, (self.inputs(), x), (self.outputs(), &*y))?;
        let targets = y.as_mut_slice().chunks_exact_mut(self.outputs());
        for (x, y) in x.as_slice().chunks_exact(self.inputs()).zip(targets) {
            self.action(x, y);
        }
        Ok(())
    }

    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        check_action(
            "function's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        let targets = x.as_mut_slice().chunks_exact_mut(self.inputs());
        for (y, x) in y.as_slice().chunks_exact(self.outputs()).zip(targets) {
            (self.adjoint)(y, x);
        }
        Ok(())
    }
}
