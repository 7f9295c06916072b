//! Dense layers.

use faer::{Accum, Mat, MatMut, MatRef, Par};

use super::{LinearOperator, Structure, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::real::norm;
use crate::weight::{Parametric, check_gradient, check_weights};

const NAME: &str = "dense layer";

/// A dense (fully connected) layer: its matrix is its weight.
#[derive(Clone)]
pub struct Dense<T> {
    weight: Vec<T>,
    input_shape: [usize; 1],
    output_shape: [usize; 1],
}

impl<T: Real> Dense<T> {
    /// A layer with `weight` of shape (`outputs`, `inputs`), row-major.
    ///
    /// # Errors
    /// When the weight has another size, is empty or is not finite.
    pub fn new(weight: Vec<T>, outputs: usize, inputs: usize) -> Result<Self, Error> {
        check_shape(NAME, &[outputs, inputs])?;
        check_weights(NAME, &[outputs, inputs], &weight)?;
        Ok(Self {
            weight,
            input_shape: [inputs],
            output_shape: [outputs],
        })
    }

    fn matrix(&self) -> MatRef<'_, T> {
        MatRef::from_row_major_slice(&self.weight, self.output_shape[0], self.input_shape[0])
    }
}

/// Terms of an inner product that are added up in the scalar type.
const LONGEST_SUM: usize = 512;

/// `y` <- `matrix` `x`. Long sums go on in `f64`, for their rounding errors would grow.
fn multiply<T: Real>(matrix: MatRef<'_, T>, x: &Columns<T>, y: &mut Columns<T>) {
    let (rows, inner, k) = (matrix.nrows(), matrix.ncols(), x.cols());
    let x = MatRef::from_column_major_slice(x.as_slice(), inner, k);
    if inner <= LONGEST_SUM {
        let y = MatMut::from_column_major_slice_mut(y.as_mut_slice(), rows, k);
        T::matmul(y, Accum::Replace, matrix, x, Par::rayon(0));
        return;
    }
    let mut sums = vec![0.0; rows * k];
    for start in (0..inner).step_by(LONGEST_SUM) {
        let count = LONGEST_SUM.min(inner - start);
        let part = MatMut::from_column_major_slice_mut(y.as_mut_slice(), rows, k);
        let (left, right) = (matrix.subcols(start, count), x.subrows(start, count));
        T::matmul(part, Accum::Replace, left, right, Par::rayon(0));
        for (sum, part) in sums.iter_mut().zip(y.as_slice()) {
            *sum += part.to_f64();
        }
    }
    for (y, &sum) in y.as_mut_slice().iter_mut().zip(&sums) {
        *y = T::from_f64(sum);
    }
}

impl<T: Real> LinearOperator for Dense<T> {
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
        multiply(self.matrix(), x, y);
        Ok(())
    }

    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        check_action(
            "dense layer's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        multiply(self.matrix().transpose(), y, x);
        Ok(())
    }

    fn frobenius(&self) -> Option<f64> {
        Some(norm(&self.weight))
    }

    fn structure(&self) -> Structure {
        let matrix = self.matrix();
        Structure::Matrix(Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| {
            matrix[(i, j)].to_f64()
        }))
    }
}

impl<T: Real> Parametric for Dense<T> {
    type Scalar = T;

    fn weights(&self) -> Vec<&[T]> {
        vec![&self.weight]
    }

    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<T>,
        v: &Columns<T>,
    ) -> Result<Vec<Vec<T>>, Error> {
        let lambda = check_gradient(self, lambda, u, v)?;
        let mut scaled = u.clone();
        for (column, &l) in scaled
            .as_mut_slice()
            .chunks_exact_mut(self.outputs())
            .zip(&lambda)
        {
            for x in column {
                *x *= l;
            }
        }
        let mut gradient = vec![T::ZERO; self.weight.len()];
        T::matmul(
            MatMut::from_row_major_slice_mut(&mut gradient, self.outputs(), self.inputs()),
            Accum::Replace,
            MatRef::from_column_major_slice(scaled.as_slice(), self.outputs(), lambda.len()),
            MatRef::from_column_major_slice(v.as_slice(), self.inputs(), lambda.len()).transpose(),
            Par::rayon(0),
        );
        Ok(vec![gradient])
    }

    fn set_weights(&mut self, weights: &[Vec<T>]) -> Result<(), Error> {
        let [weight] = weights else {
            return Err(Error::shape(
                "dense layer's weights",
                &[1],
                &[weights.len()],
            ));
        };
        check_weights(NAME, &[self.outputs(), self.inputs()], weight)?;
        self.weight.clone_from(weight);
        Ok(())
    }
}
