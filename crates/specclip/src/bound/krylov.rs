//! The probabilistic bound from the Krylov space of random vectors.
//!
//! Let A = M'M or MM', whichever is smaller, n its size, and theta the largest Ritz value of A on
//! the span of v, A v, ..., A^(k-1) v for a vector v of independent normal numbers. Then
//! P\[theta < (1 - e) sigma_1^2\] <= 1.648 sqrt(n) exp(-(2k - 1) sqrt(e)) (Kuczynski & Wozniakowski,
//! SIAM J. Matrix Anal. Appl. 13 (1992), theorem 4.2), whatever the spectrum is. A block of b vectors
//! spans the Krylov spaces of b independent vectors, and its Ritz value is too small only where that
//! of each of them is, so the right-hand side is raised to the power b. Solved for e at the
//! probability p, sigma_1^2 <= theta / (1 - e) but for that probability. k and b are fixed before the
//! run, and the start is random: a restart, a warm start or a stop that depends on what was seen
//! would void the statement.
//!
//! *Rounding.* The basis is kept orthogonal to rounding, and the projected matrix T is computed in
//! full, so ||T - T'||, which is zero in exact arithmetic, measures what rounding did; that norm and
//! the departure of the basis from orthogonality are added to theta. This is a backward error: the
//! statement is that of exact arithmetic for an operator that differs from M by so much.

use faer::{Mat, Side};

use super::rounding::{power_of_two, up};
use crate::block::Block;
use crate::error::Error;
use crate::operator::{Adjoint, LinearOperator};
use crate::random::Random;
use crate::svd::basis::{Basis, orthonormalise};

/// Sets the start apart from that of the lower end, which decides how large the space is: k and b must
/// not depend on the start.
const STREAM: u64 = 0x6b72_796c_6f76;

/// The size of a Krylov space: k steps with a block of b vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Krylov {
    /// Steps k: the powers 0 to k - 1 of M'M.
    pub steps: usize,
    /// Vectors b that it starts from.
    pub block: usize,
}

impl Krylov {
    /// The deficit e: with all but the `failure_probability`, the largest Ritz value of an n x n
    /// matrix is at least 1 - e times its largest eigenvalue. 1 or more means that nothing is known.
    pub fn deficit(&self, n: usize, failure_probability: f64) -> f64 {
        let start = (1.648 * (n as f64).sqrt()).ln();
        let root = (start - failure_probability.ln() / self.block as f64)
            / (2.0 * self.steps as f64 - 1.0);
        up(root * root)
    }

    /// No less than sigma_1, but for the failure probability.
    pub(super) fn bound<Op: LinearOperator + ?Sized>(
        &self,
        op: &Op,
        failure_probability: f64,
        seed: u64,
    ) -> Result<f64, Error> {
        let n = op.inputs().min(op.outputs());
        let e = self.deficit(n, failure_probability);
        if e.is_nan() || e >= 1.0 {
            return Err(Error::NotApplicable {
                method: "krylov",
                reason: format!(
                    "{} steps with {} vectors say nothing at a failure probability of \
                     {failure_probability:e}; use more steps",
                    self.steps, self.block
                ),
            });
        }
        let theta = if op.inputs() <= op.outputs() {
            self.ritz_value(op, seed)?
        } else {
            self.ritz_value(&Adjoint(op), seed)?
        };
        let (unit, theta) = theta;
        let bound = up((theta / (1.0 - e)).sqrt()) * unit;
        // No norm is below ||M||_F / sqrt(n): where this one is, the actions have lost numbers too
        // small for their type.
        let least = op.frobenius().unwrap_or(0.0) / (n as f64).sqrt();
        if bound < least * (1.0 - 1e-6) {
            return Err(vanishing());
        }
        Ok(bound)
    }

    /// A power of two near to the norm, and the largest Ritz value of M'M over its square, with
    /// what rounding may have taken from it.
    fn ritz_value<Op: LinearOperator + ?Sized>(
        &self,
        op: &Op,
        seed: u64,
    ) -> Result<(f64, f64), Error> {
        let n = op.inputs();
        let width = self.block.min(n);
        let most = self.steps.saturating_mul(width).min(n);
        let mut random = Random::new(seed ^ STREAM);
        let mut basis = op.input_block(most);
        let mut projected = Mat::<f64>::zeros(most, most);
        let mut next = op.input_block(width);
        random.fill(&mut next);
        let empty = Basis::whole(&basis, 0);
        orthonormalise(&mut next, &empty, 0.0, &mut random);
        let (mut size, mut asymmetry) = (0, 0.0_f64);
        let mut unit = None;
        for step in 1..=self.steps {
            if size + next.cols() > most {
                next.truncate(most - size);
            }
            let new = size..size + next.cols();
            if new.is_empty() {
                break;
            }
            basis.set_columns(size, &next);
            size = new.end;
            let mut image = op.output_block(new.len());
            op.apply(&next, &mut image)?;
            // M over this power of two has images and Ritz values near 1: none overflows or vanishes.
            let unit =
                *unit.get_or_insert_with(|| near(image.norms().into_iter().fold(0.0, f64::max)));
            image.scale(&vec![1.0 / unit; new.len()]);
            if step == self.steps {
                let last = image.gram(0..new.len(), &image);
                place(&mut projected, new.start, new.start, &last);
                break;
            }
            let mut power = op.input_block(new.len());
            op.adjoint(&image, &mut power)?;
            power.scale(&vec![1.0 / unit; new.len()]);
            let parts = orthonormalise(&mut power, &Basis::whole(&basis, size), 0.0, &mut random);
            for (i, j) in (0..new.start).flat_map(|i| (0..new.len()).map(move |j| (i, j))) {
                let known = projected[(new.start + j, i)];
                asymmetry += (parts.against[(i, j)] - known).powi(2);
            }
            let own = parts.against.get(new.clone(), ..).to_owned();
            asymmetry += (&own - own.transpose()).squared_norm_l2();
            place(&mut projected, new.start, new.start, &own);
            if size < most {
                let rows = parts.kept.min(most - size);
                let coupling = parts.within.get(..rows, ..).to_owned();
                place(&mut projected, size, new.start, &coupling);
            }
            next = power;
        }
        let part = projected.get(..size, ..size);
        let symmetric = Mat::from_fn(size, size, |i, j| part[(i.max(j), i.min(j))]);
        if !(symmetric.is_all_finite() && asymmetry.is_finite()) {
            return Err(vanishing());
        }
        let values = symmetric.self_adjoint_eigenvalues(Side::Lower);
        let values = values.map_err(|_| Error::Decomposition {
            operation: "Ritz values",
        })?;
        let theta = values.last().copied().unwrap_or(0.0).max(0.0);
        let orthogonality = 16.0 * <Op::Block as Block>::UNIT_ROUNDOFF * size as f64;
        let rounded = theta * (1.0 + orthogonality) + asymmetry.sqrt();
        Ok((unit.unwrap_or(1.0), rounded))
    }
}

fn vanishing() -> Error {
    Error::NotApplicable {
        method: "krylov",
        reason: "the operator's weights are so large or so small that its actions overflow or \
                 vanish; use f64, or weights nearer to 1"
            .to_owned(),
    }
}

/// A power of two near to a positive number; 1 for zero.
fn near(x: f64) -> f64 {
    if x > 0.0 && x.is_finite() {
        power_of_two(x)
    } else {
        1.0
    }
}

fn place(target: &mut Mat<f64>, row: usize, column: usize, block: &Mat<f64>) {
    let (rows, columns) = block.shape();
    let mut part = target.get_mut(row..row + rows, column..column + columns);
    part.copy_from(block);
}
