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
//! *Rounding.* With orthonormal Q and A Q = Q H + F, where H continues the basis, Q spans the Krylov space
//! not of A but of a matrix A + E with (A + E) Q = Q H, and there is a symmetric E with ||E|| = ||F|| but for
//! the asymmetry of T = Q' A Q (Davis, Kahan & Weinberger, SIAM J. Numer. Anal. 19, 1982). Krylov spaces do not
//! change when a multiple of the identity is added, so the theorem holds for A + E + ||E|| I, which is positive
//! semidefinite, and sigma_1^2 <= (theta + ||F||) / (1 - e). Where the operator's form is known it acts in `f64`,
//! whatever type its weights have, and a column of F is bounded by the errors of its two actions ([`Sizes`]) and
//! of the sums by which its image was made orthogonal to the basis. Of a closure nothing bounds the actions'
//! errors; then M is what the closure computes. T is computed in full, and ||T - T'||, which is zero in exact
//! arithmetic, and the departure of the basis from orthogonality are added to theta as well. This is a backward
//! error: the statement is that of exact arithmetic for an operator that differs from M by so much.

use faer::{Mat, Side};

use super::double::{Sizes, rebuilt};
use super::rounding::{U, power_of_two, up};
use crate::block::Block;
use crate::error::Error;
use crate::operator::{Adjoint, LinearOperator, Part};
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
        let part = Part::new(op);
        let sizes = Sizes::of(&part.structure);
        // The bounds of errors are those of `f64`.
        let exact = match sizes {
            Some(_) if <Op::Block as Block>::UNIT_ROUNDOFF > U => rebuilt(&part)?,
            _ => None,
        };
        drop(part);
        let (unit, theta) = match exact {
            Some(exact) => self.on_shorter_side(&exact, sizes, seed)?,
            None => self.on_shorter_side(op, sizes, seed)?,
        };
        let bound = up((theta / (1.0 - e)).sqrt()) * unit;
        // No norm is below ||M||_F / sqrt(n): where this one is, the actions have lost numbers too
        // small for their type.
        let least = op.frobenius().unwrap_or(0.0) / (n as f64).sqrt();
        if bound < least * (1.0 - 1e-6) {
            return Err(vanishing());
        }
        Ok(bound)
    }

    /// [`ritz_value`](Self::ritz_value) of M'M or MM', whichever is smaller.
    fn on_shorter_side<Op: LinearOperator + ?Sized>(
        &self,
        op: &Op,
        sizes: Option<Sizes>,
        seed: u64,
    ) -> Result<(f64, f64), Error> {
        if op.inputs() <= op.outputs() {
            self.ritz_value(op, sizes, seed)
        } else {
            self.ritz_value(&Adjoint(op), sizes, seed)
        }
    }

    /// A power of two near to the norm, and the largest Ritz value of M'M over its square, with
    /// what rounding may have taken from it.
    fn ritz_value<Op: LinearOperator + ?Sized>(
        &self,
        op: &Op,
        sizes: Option<Sizes>,
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
        let mut rounding = Rounding::new::<Op::Block>(most, sizes);
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
            let images = image.norms();
            if step == self.steps {
                rounding.add(unit, &images, &vec![0.0; new.len()]);
                let last = image.gram(0..new.len(), &image);
                place(&mut projected, new.start, new.start, &last);
                break;
            }
            let mut power = op.input_block(new.len());
            op.adjoint(&image, &mut power)?;
            power.scale(&vec![1.0 / unit; new.len()]);
            rounding.add(unit, &images, &power.norms());
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
        let rounded = theta * (1.0 + orthogonality) + asymmetry.sqrt() + rounding.norm();
        Ok((unit.unwrap_or(1.0), up(rounded)))
    }
}

/// The square of the Frobenius norm of F: what rounding did to A Q = Q H.
struct Rounding {
    sizes: Option<Sizes>,
    /// The error of making a vector orthogonal to the basis, relative to the vector.
    basis: f64,
    squares: f64,
}

impl Rounding {
    fn new<B: Block>(most: usize, sizes: Option<Sizes>) -> Self {
        // A pass subtracts a sum of at most so many vectors with coefficients whose norm is at most that of the
        // vector: an error of gamma_(n+2) || |Q| ||, and || |Q| ||^2 is at most n. There are up to eight passes,
        // and the last scaling.
        let n = most as f64;
        let sum = (n + 2.0) * B::UNIT_ROUNDOFF;
        let basis = match sum < 0.25 {
            true => 10.0 * sum * (1.0 + 2.0 * sum) * (1.0 + n.sqrt()),
            false => f64::INFINITY,
        };
        Self {
            sizes,
            basis,
            squares: 0.0,
        }
    }

    /// Counts vectors of the basis, with the norms of their images y = M q and z = M' y over the unit: the error of
    /// y is multiplied by M', that of z is relative to y.
    fn add(&mut self, unit: f64, images: &[f64], powers: &[f64]) {
        let (norm, error) = match self.sizes {
            // Two more roundings: the division by the unit's power of two is exact, the norms are not.
            Some(sizes) => (sizes.norm / unit, sizes.error / unit),
            None => (0.0, 0.0),
        };
        for (y, z) in images.iter().zip(powers) {
            let column = error * (norm + error + y * (1.0 + self.basis)) + self.basis * z;
            self.squares += column * column;
        }
    }

    fn norm(&self) -> f64 {
        up(self.squares.sqrt() * (1.0 + 1e-6))
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
