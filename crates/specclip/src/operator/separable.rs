//! Layers that act on each channel alike and along one axis after the other: padding, average
//! pooling and resampling.

use faer::Mat;
use rayon::prelude::*;

use super::{LinearOperator, PaddingMode, Structure, check_action, check_shape};
use crate::Real;
use crate::block::Columns;
use crate::error::Error;
use crate::kernel::geometry::{check_padding, source};
use crate::kernel::scratch::Pool;
use crate::weight::{Parametric, check_gradient};

/// A sparse matrix along one axis: for each output, the inputs that it sums with their factors.
#[derive(Debug, Clone)]
pub struct AxisMatrix {
    inputs: usize,
    rows: Vec<Vec<(usize, f64)>>,
}

impl AxisMatrix {
    pub(super) fn new(inputs: usize, rows: Vec<Vec<(usize, f64)>>) -> Self {
        Self { inputs, rows }
    }

    pub(crate) fn transpose(&self) -> Self {
        let mut rows = vec![Vec::new(); self.inputs];
        for (output, row) in self.rows.iter().enumerate() {
            for &(input, factor) in row {
                rows[input].push((output, factor));
            }
        }
        Self {
            inputs: self.rows.len(),
            rows,
        }
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.rows.len(), self.inputs)
    }

    pub(crate) fn to_dense(&self) -> Mat<f64> {
        let mut matrix = Mat::zeros(self.rows.len(), self.inputs);
        for (output, row) in self.rows.iter().enumerate() {
            for &(input, factor) in row {
                matrix[(output, input)] += factor;
            }
        }
        matrix
    }

    /// Each output with the inputs that it sums and their factors.
    pub(crate) fn rows(&self) -> &[Vec<(usize, f64)>] {
        &self.rows
    }

    /// The padding (before, after, mode) that this matrix is; none where it is something else.
    pub(crate) fn padding(&self) -> Option<(usize, usize, PaddingMode)> {
        let added = self.rows.len().checked_sub(self.inputs)?;
        let reads = |q: usize, from: Option<usize>| match (from, self.rows[q].as_slice()) {
            (None, []) => true,
            (Some(i), [(j, factor)]) => i == *j && *factor == 1.0,
            _ => false,
        };
        let modes = [
            PaddingMode::Zeros,
            PaddingMode::Circular,
            PaddingMode::Reflect,
            PaddingMode::Replicate,
        ];
        for before in 0..=added {
            if !(0..self.inputs).all(|i| reads(before + i, Some(i))) {
                continue;
            }
            for mode in modes {
                let after = added - before;
                if check_padding("padding", 0, self.inputs, (before, after), mode).is_ok()
                    && (0..self.rows.len()).all(|q| reads(q, source(self.inputs, before, mode, q)))
                {
                    return Some((before, after, mode));
                }
            }
        }
        None
    }

    pub(super) fn scale(&mut self, factor: f64) {
        for (_, entry) in self.rows.iter_mut().flatten() {
            *entry *= factor;
        }
    }

    pub(super) fn frobenius(&self) -> f64 {
        self.squares().sqrt()
    }

    /// Terms with the same input added up, as the Frobenius norm needs them.
    fn squares(&self) -> f64 {
        let mut sums = vec![0.0; self.inputs];
        let mut total = 0.0;
        for row in &self.rows {
            for &(input, factor) in row {
                sums[input] += factor;
            }
            for &(input, _) in row {
                total += f64::powi(sums[input], 2);
                sums[input] = 0.0;
            }
        }
        total
    }
}

/// A Kronecker product of one sparse matrix for each spatial axis, on every channel alike.
#[derive(Clone)]
pub struct Separable<T> {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    forward: Vec<AxisMatrix>,
    backward: Vec<AxisMatrix>,
    work: Pool<(Vec<T>, Vec<T>)>,
}

impl<T: Real> Separable<T> {
    /// `matrices` has one entry for each axis after the channels.
    pub(crate) fn from_axes(
        operation: &'static str,
        input_shape: &[usize],
        matrices: Vec<AxisMatrix>,
    ) -> Result<Self, Error> {
        let mut output_shape = vec![input_shape[0]];
        output_shape.extend(matrices.iter().map(|m| m.rows.len()));
        check_shape(operation, &output_shape)?;
        Ok(Self {
            input_shape: input_shape.to_vec(),
            output_shape,
            backward: matrices.iter().map(AxisMatrix::transpose).collect(),
            forward: matrices,
            work: Pool::default(),
        })
    }

    /// Padding alone: `padding` samples before and after each spatial axis of inputs of shape
    /// (channels, sizes...).
    ///
    /// # Errors
    /// When the lists do not fit, something is empty, or reflect padding has too few samples.
    pub fn pad(
        input_shape: &[usize],
        padding: &[(usize, usize)],
        mode: PaddingMode,
    ) -> Result<Self, Error> {
        const NAME: &str = "padding";
        let sizes = spatial(NAME, input_shape, padding.len())?;
        let mut matrices = Vec::new();
        for (i, (&n, &(before, after))) in sizes.iter().zip(padding).enumerate() {
            check_padding(NAME, i, n, (before, after), mode)?;
            let row = |q| source(n, before, mode, q).map(|i| (i, 1.0));
            let rows = (0..before + n + after).map(|q| row(q).into_iter().collect());
            matrices.push(AxisMatrix::new(n, rows.collect()));
        }
        Self::from_axes(NAME, input_shape, matrices)
    }

    fn run(&self, axes: &[AxisMatrix], source: &[T], target: &mut [T]) {
        let from: usize = axes.iter().map(|m| m.inputs).product();
        let to: usize = axes.iter().map(|m| m.rows.len()).product();
        target
            .par_chunks_exact_mut(to)
            .zip(source.par_chunks_exact(from))
            .for_each(|(target, source)| {
                self.work.with(Default::default, |(current, next)| {
                    current.clear();
                    current.extend_from_slice(source);
                    let mut sizes: Vec<usize> = axes.iter().map(|m| m.inputs).collect();
                    for (i, matrix) in axes.iter().enumerate() {
                        along(matrix, &sizes, i, current, next);
                        sizes[i] = matrix.rows.len();
                        std::mem::swap(current, next);
                    }
                    target.copy_from_slice(current);
                });
            });
    }
}

/// Applies `matrix` along axis `i` of the row-major array `source` of `sizes`.
fn along<T: Real>(
    matrix: &AxisMatrix,
    sizes: &[usize],
    i: usize,
    source: &[T],
    target: &mut Vec<T>,
) {
    let inner: usize = sizes[i + 1..].iter().product();
    target.clear();
    for source in source.chunks_exact(matrix.inputs * inner) {
        for row in &matrix.rows {
            let start = target.len();
            target.resize(start + inner, T::ZERO);
            for &(input, factor) in row {
                let factor = T::from_f64(factor);
                let source = &source[input * inner..][..inner];
                for (t, &s) in target[start..].iter_mut().zip(source) {
                    *t += factor * s;
                }
            }
        }
    }
}

/// The sizes after the channels, when there are as many as `axes`.
pub(super) fn spatial<'a>(
    operation: &'static str,
    input_shape: &'a [usize],
    axes: usize,
) -> Result<&'a [usize], Error> {
    check_shape(operation, input_shape)?;
    if input_shape.len() != axes + 1 {
        return Err(Error::invalid(
            operation,
            format!(
                "parameters for {axes} spatial axes do not fit an input of shape {input_shape:?} \
                 (channels, then sizes)"
            ),
        ));
    }
    Ok(&input_shape[1..])
}

/// Padding, pooling and resampling have no weights: in a composition they pass gradients on.
impl<T: Real> Parametric for Separable<T> {
    type Scalar = T;

    fn weights(&self) -> Vec<&[T]> {
        Vec::new()
    }
    fn weight_gradient(
        &self,
        lambda: &[f64],
        u: &Columns<T>,
        v: &Columns<T>,
    ) -> Result<Vec<Vec<T>>, Error> {
        check_gradient(self, lambda, u, v)?;
        Ok(Vec::new())
    }
    fn set_weights(&mut self, weights: &[Vec<T>]) -> Result<(), Error> {
        match weights {
            [] => Ok(()),
            _ => Err(Error::shape(
                "separable layer's weights",
                &[0],
                &[weights.len()],
            )),
        }
    }
}

impl<T: Real> LinearOperator for Separable<T> {
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
        check_action("separable layer", (self.inputs(), x), (self.outputs(), &*y))?;
        self.run(&self.forward, x.as_slice(), y.as_mut_slice());
        Ok(())
    }

    fn adjoint(&self, y: &Columns<T>, x: &mut Columns<T>) -> Result<(), Error> {
        check_action(
            "separable layer's adjoint",
            (self.outputs(), y),
            (self.inputs(), &*x),
        )?;
        self.run(&self.backward, y.as_slice(), x.as_mut_slice());
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure::Axes(self.forward.clone())
    }
}
