//! Cutting planes: the projection onto an outer approximation that grows.
//!
//! The weights with ||M(W)|| <= c are those with <G(u, v), W> <= c for all unit vectors u, v. A
//! bundle of such half-spaces contains them all, and the projection onto the bundle is a small dual
//! problem: maximise lambda' b - lambda' K lambda / 2 over lambda >= 0, with b_i = <G_i, W_0> - c and
//! K_ij = <G_i, G_j>. Every value of the dual is a lower bound for half the squared distance. The
//! pairs (u, v) are Ritz vectors of the current weights above c (Kelley 1960, for the spectral norm).

use faer::Mat;

use super::dual::dual_value;
use super::layer::{Layer, dot};
use super::low_rank::LowRank;
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::svd::Triplets;
use crate::weight::Parametric;

/// Rounds after which a cut that is not active is dropped.
const IDLE: usize = 4;

/// Sweeps of coordinate ascent over the bundle, at most.
const SWEEPS: usize = 1000;

/// Half-spaces <G_i, W> <= c, with the multipliers of the last projection onto them.
pub(super) struct Cuts<T> {
    gradients: Columns<T>,
    u: Columns<T>,
    v: Columns<T>,
    /// <G_i, W_0> - c.
    excess: Vec<f64>,
    gram: Mat<f64>,
    lambda: Vec<f64>,
    idle: Vec<usize>,
}

impl<T: Real> Cuts<T> {
    /// No half-spaces, and room for `capacity`.
    pub(super) fn new<P>(layer: &Layer<P>, capacity: usize) -> Self
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        Self {
            gradients: Columns::zeros(layer.start.len(), capacity),
            u: Columns::zeros(layer.op().outputs(), capacity),
            v: Columns::zeros(layer.op().inputs(), capacity),
            excess: Vec::new(),
            gram: Mat::zeros(capacity, capacity),
            lambda: Vec::new(),
            idle: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.excess.len()
    }

    pub(super) fn room(&self) -> usize {
        Block::cols(&self.gradients) - self.len()
    }

    /// Adds the first `count` triplets of `top`.
    pub(super) fn add<P>(
        &mut self,
        layer: &mut Layer<P>,
        top: &Triplets<Columns<T>>,
        count: usize,
        c: f64,
    ) -> Result<(), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        self.add_pairs(layer, &top.u, &top.v, count, c)
    }

    fn add_pairs<P>(
        &mut self,
        layer: &mut Layer<P>,
        left: &Columns<T>,
        right: &Columns<T>,
        count: usize,
        c: f64,
    ) -> Result<(), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let first = self.len();
        for i in 0..count.min(self.room()) {
            let (u, v) = (left.columns(i..i + 1), right.columns(i..i + 1));
            let gradient = layer.gradient(&[1.0], &u, &v)?;
            self.excess.push(dot(&gradient, &layer.start) - c);
            self.lambda.push(0.0);
            self.idle.push(0);
            let gradient = Columns::from_vec(gradient.len(), 1, gradient)?;
            self.gradients.set_columns(first + i, &gradient);
            self.u.set_columns(first + i, &u);
            self.v.set_columns(first + i, &v);
        }
        let added = self.gradients.columns(first..self.len());
        let products = self.gradients.gram(0..self.len(), &added);
        for j in 0..products.ncols() {
            for i in 0..products.nrows() {
                self.gram[(i, first + j)] = products[(i, j)];
                self.gram[(first + j, i)] = products[(i, j)];
            }
        }
        Ok(())
    }

    /// Half-spaces of the pieces u_i v_i' of `y`, with its factors as multipliers.
    pub(super) fn of<P>(
        layer: &mut Layer<P>,
        y: &LowRank<T>,
        more: &Triplets<Columns<T>>,
        count: usize,
        c: f64,
    ) -> Result<Self, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let mut cuts = Self::new(layer, y.rank() + count);
        cuts.add_pairs(layer, &y.u, &y.v, y.rank(), c)?;
        cuts.lambda.copy_from_slice(&y.s);
        cuts.add_pairs(layer, &more.u, &more.v, count, c)?;
        Ok(cuts)
    }

    /// Maximises the dual and drops cuts that have been inactive for some rounds.
    pub(super) fn solve(&mut self) {
        ascend(&self.gram, &self.excess, &mut self.lambda);
        for (idle, &lambda) in self.idle.iter_mut().zip(&self.lambda) {
            *idle = if lambda > 0.0 { 0 } else { *idle + 1 };
        }
        let kept: Vec<usize> = (0..self.len()).filter(|&i| self.idle[i] < IDLE).collect();
        if kept.len() == self.len() {
            return;
        }
        for (to, &from) in kept.iter().enumerate() {
            for block in [&mut self.gradients, &mut self.u, &mut self.v] {
                let column = block.columns(from..from + 1);
                block.set_columns(to, &column);
            }
            for (row, &i) in kept.iter().enumerate() {
                self.gram[(row, to)] = self.gram[(i, from)];
            }
        }
        self.excess = kept.iter().map(|&i| self.excess[i]).collect();
        self.lambda = kept.iter().map(|&i| self.lambda[i]).collect();
        self.idle = kept.iter().map(|&i| self.idle[i]).collect();
    }

    /// sum_i lambda_i G_i, the step from W_0.
    pub(super) fn step(&self) -> Vec<T> {
        let mut step = Columns::zeros(Block::rows(&self.gradients), 1);
        let factors = Mat::from_fn(self.len(), 1, |i, _| self.lambda[i]);
        step.add_combination(&self.gradients, 0..self.len(), factors.as_ref());
        step.as_slice().to_vec()
    }

    /// The dual value of the multipliers with `step` = sum_i lambda_i G_i.
    pub(super) fn value(&self, step: &[T], start: &[T], c: f64) -> f64 {
        dual_value(step, start, c, self.lambda.iter().sum())
    }

    /// sum_i lambda_i u_i v_i'.
    pub(super) fn matrix(&self) -> LowRank<T> {
        let active: Vec<usize> = (0..self.len()).filter(|&i| self.lambda[i] > 0.0).collect();
        let pick = |block: &Columns<T>| {
            let mut picked = block.zeros_like(active.len());
            for (to, &from) in active.iter().enumerate() {
                picked.set_columns(to, &block.columns(from..from + 1));
            }
            picked
        };
        let factors = active.iter().map(|&i| self.lambda[i]).collect();
        LowRank::new(pick(&self.u), factors, pick(&self.v))
    }
}

/// Coordinate ascent on lambda' b - lambda' K lambda / 2 over lambda >= 0 from an earlier lambda: every
/// iterate is feasible, which an interior method does not give, and a warm start is worth most of the
/// work from round to round.
fn ascend(gram: &Mat<f64>, excess: &[f64], lambda: &mut [f64]) {
    let n = excess.len();
    let mut slope: Vec<f64> = (0..n)
        .map(|i| excess[i] - (0..n).map(|j| gram[(j, i)] * lambda[j]).sum::<f64>())
        .collect();
    let scale = excess.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
    for _ in 0..SWEEPS {
        let mut largest = 0.0_f64;
        for i in 0..n {
            let curvature = gram[(i, i)];
            if curvature <= 0.0 {
                continue;
            }
            let next = (lambda[i] + slope[i] / curvature).max(0.0);
            let change = next - lambda[i];
            if change != 0.0 {
                lambda[i] = next;
                for (s, k) in slope.iter_mut().zip(gram.col_as_slice(i)) {
                    *s -= change * k;
                }
                largest = largest.max((change * curvature).abs());
            }
        }
        if largest <= 1e-9 * scale {
            break;
        }
    }
}
