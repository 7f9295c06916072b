//! Thick-restart block Golub-Kahan-Lanczos bidiagonalisation.
//!
//! Golub & Kahan (1965); Baglama & Reichel (2005); Hernandez, Roman & Tomas, ETNA 31 (2008).
//! Orthonormal bases U and V grow so that M V = U C and M' U = V C' + (what the pending vectors
//! carry); the singular value decomposition of the small matrix C gives Ritz triplets, and the
//! coupling to the pending vectors gives their residuals without another action. When the bases
//! are full they are rotated to the best Ritz vectors, and grow on. C is kept as a full matrix of
//! computed inner products, not as a bidiagonal one, so restarts, blocks of any width, null spaces
//! and changes of the pending vectors need no special cases.
//!
//! **Multiplicity.** From a block of b vectors a Krylov space has at most b copies of a multiple
//! singular value, however small the residuals. So before k values are returned, the solver keeps
//! the k triplets and starts again from a random vector orthogonal to them, until the largest
//! value found there can take no place among the k; where it can, it is taken in and the check is
//! repeated. One value alone needs no check when the start was random: the largest singular value
//! is in every random vector's Krylov space.

use faer::{Mat, MatRef};

use super::basis::{orthonormalise, subtract};
use super::exact::failed;
use super::{Method, Params, Triplets, finish};
use crate::block::Block;
use crate::error::Error;
use crate::operator::LinearOperator;
use crate::random::Random;

/// Elements of both bases together, at most (when more vectors than [`LEAST`] would need more).
const MEMORY: usize = 1 << 27;

/// Vectors that the bases have room for beyond the values asked for: at least, and usually.
const LEAST: usize = 16;
const USUAL: usize = 96;

/// The probability with which the check for further copies may be wrong, in its quick form.
const FAILURE: f64 = 1e-6;

pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
    start: Option<&Op::Block>,
) -> Result<Triplets<Op::Block>, Error> {
    let mut bases = Bases::new(op, k, params, start);
    let mut check = None;
    loop {
        let complete = !bases.expand()?;
        let exhausted = bases.matvecs >= params.max_matvecs;
        if !(complete || exhausted || bases.is_due()) {
            continue;
        }
        let ritz = bases.ritz()?;
        let done = complete
            || exhausted
            || match &check {
                None => ritz.leading_converged(k, params.tolerance),
                Some(check) => bases.settled(&ritz, check, params.tolerance),
            };
        if !done {
            if bases.is_full() {
                bases.restart(&ritz, bases.keep);
            }
            continue;
        }
        let found = ritz.sigma[..k.min(ritz.sigma.len())].to_vec();
        let changed = check.as_ref().is_none_or(|check: &Check| {
            let slack = params.tolerance * found[0];
            found.iter().zip(&check.sigma).any(|(a, b)| a - b > slack)
        });
        let certain = complete || (k == 1 && start.is_none()) || !changed;
        bases.restart(&ritz, k);
        if certain || exhausted {
            return bases.finish(params, found);
        }
        bases.start_again();
        check = Some(Check { sigma: found });
    }
}

/// The values that further copies are compared with.
struct Check {
    sigma: Vec<f64>,
}

/// The decomposition C = X diag(sigma) Y' and the residuals of its triplets.
struct Ritz {
    x: Mat<f64>,
    sigma: Vec<f64>,
    y: Mat<f64>,
    residuals: Vec<f64>,
}

impl Ritz {
    fn leading_converged(&self, k: usize, tolerance: f64) -> bool {
        self.sigma.len() >= k
            && self.residuals[..k]
                .iter()
                .all(|&r| r <= tolerance * self.sigma[0])
    }
}

struct Bases<'a, Op: LinearOperator + ?Sized> {
    op: &'a Op,
    k: usize,
    u: Op::Block,
    v: Op::Block,
    /// Vectors of U; of V, multiplied by M; of V in all.
    nu: usize,
    multiplied: usize,
    nv: usize,
    /// U' M V, for all vectors of V.
    c: Mat<f64>,
    capacity: usize,
    /// Triplets kept by an ordinary restart.
    keep: usize,
    /// Expansions since the last (random) start, and since the last look at the Ritz values.
    steps: usize,
    since_look: usize,
    matvecs: usize,
    random: Random,
}

impl<'a, Op: LinearOperator + ?Sized> Bases<'a, Op> {
    fn new(op: &'a Op, k: usize, params: &Params, start: Option<&Op::Block>) -> Self {
        let smaller = op.inputs().min(op.outputs());
        let width = params
            .block
            .unwrap_or(if k == 1 { 1 } else { 2 })
            .min(smaller);
        let width = start.map_or(width, |s| s.cols().min(smaller));
        let affordable = MEMORY / (op.inputs() + op.outputs());
        let spare = affordable.saturating_sub(2 * k).clamp(LEAST, USUAL);
        let capacity = (2 * k + 2 * width + spare).min(smaller.max(width));
        let mut bases = Self {
            op,
            k,
            u: op.output_block(capacity),
            v: op.input_block(capacity + width),
            nu: 0,
            multiplied: 0,
            nv: 0,
            c: Mat::zeros(capacity, capacity + width),
            capacity,
            keep: (k + width + spare / 4)
                .min(capacity.saturating_sub(width))
                .max(k),
            steps: 0,
            since_look: 0,
            matvecs: 0,
            random: Random::new(params.seed),
        };
        let mut first = op.input_block(width);
        match start {
            Some(start) => first.set_columns(0, &start.columns(0..width)),
            None => bases.random.fill(&mut first),
        }
        bases.append_pending(first);
        bases
    }

    fn is_full(&self) -> bool {
        self.nu + (self.nv - self.multiplied) > self.capacity
    }

    /// Looking costs a small dense decomposition, so larger bases are looked at less often.
    fn is_due(&self) -> bool {
        self.is_full() || (self.nu >= self.k && self.since_look > self.nu / 12)
    }

    /// Orthonormalises vectors and appends them to V, unmultiplied and with no known coupling.
    fn append_pending(&mut self, mut block: Op::Block) {
        let parts = orthonormalise(&mut block, &self.v, self.nv, 0.0, &mut self.random);
        self.v.set_columns(self.nv, &block.columns(0..parts.kept));
        self.nv += parts.kept;
    }

    /// Multiplies the pending vectors and appends what is new to both bases. Returns whether any
    /// vector is pending afterwards: if not, the bases hold all that the operator has.
    fn expand(&mut self) -> Result<bool, Error> {
        let pending = self.multiplied..self.nv;
        let width = pending.len();
        if width == 0 {
            return Ok(false);
        }
        let negligible = self.negligible();
        let mut p = self.op.output_block(width);
        self.op.apply(&self.v.columns(pending.clone()), &mut p)?;
        // The coupling that is known already is removed first: what is left then loses little in
        // the full pass, so that one pass is enough.
        let known = self.c.get(..self.nu, pending.clone()).to_owned();
        remove_known(&mut p, &self.u, known.as_ref());
        let new = orthonormalise(&mut p, &self.u, self.nu, negligible, &mut self.random);
        add_into(&mut self.c, (0, pending.start), new.against.as_ref());
        add_into(&mut self.c, (self.nu, pending.start), new.within.as_ref());
        self.u.set_columns(self.nu, &p.columns(0..new.kept));
        let fresh = self.nu..self.nu + new.kept;
        self.nu = fresh.end;
        self.multiplied = self.nv;
        self.steps += 1;
        self.since_look += 1;
        self.matvecs += width + new.kept;
        if new.kept == 0 {
            return Ok(false);
        }
        let mut q = self.op.input_block(new.kept);
        self.op.adjoint(&p.columns(0..new.kept), &mut q)?;
        let known = self.c.get(fresh.clone(), ..self.nv).transpose().to_owned();
        remove_known(&mut q, &self.v, known.as_ref());
        let negligible = self.negligible();
        let next = orthonormalise(&mut q, &self.v, self.nv, negligible, &mut self.random);
        self.v.set_columns(self.nv, &q.columns(0..next.kept));
        add_into(&mut self.c, (fresh.start, self.nv), next.within.transpose());
        self.nv += next.kept;
        Ok(next.kept > 0)
    }

    /// What rounding alone leaves of a vector that depends on the others.
    fn negligible(&self) -> f64 {
        let c = self.c.get(..self.nu, ..self.nv);
        8.0 * Op::Block::UNIT_ROUNDOFF * c.norm_l2()
    }

    fn ritz(&mut self) -> Result<Ritz, Error> {
        self.since_look = 0;
        let svd = self
            .c
            .get(..self.nu, ..self.multiplied)
            .thin_svd()
            .map_err(failed)?;
        let sigma: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let coupling = self.c.get(..self.nu, self.multiplied..self.nv).transpose() * svd.U();
        let residuals = (0..sigma.len())
            .map(|i| coupling.col(i).norm_l2())
            .collect();
        Ok(Ritz {
            x: svd.U().to_owned(),
            sigma,
            y: svd.V().to_owned(),
            residuals,
        })
    }

    /// Keeps the best `keep` Ritz triplets and the pending vectors.
    fn restart(&mut self, ritz: &Ritz, keep: usize) {
        let keep = keep.min(ritz.sigma.len());
        let pending = self.multiplied..self.nv;
        let x = ritz.x.get(.., ..keep);
        let carried = self.v.columns(pending.clone());
        let coupling = x.transpose() * self.c.get(..self.nu, pending.clone());
        self.u.rotate(x);
        self.v.rotate(ritz.y.get(.., ..keep));
        self.v.set_columns(keep, &carried);
        self.c.fill(0.0);
        for i in 0..keep {
            self.c[(i, i)] = ritz.sigma[i];
        }
        add_into(&mut self.c, (0, keep), coupling.as_ref());
        self.nu = keep;
        self.multiplied = keep;
        self.nv = keep + pending.len();
    }

    /// Replaces the pending vectors by random ones.
    fn start_again(&mut self) {
        let width = (self.nv - self.multiplied).clamp(1, self.k);
        self.nv = self.multiplied;
        let columns = self.c.ncols();
        self.c.get_mut(.., self.nv..columns).fill(0.0);
        let mut block = self.op.input_block(width);
        self.random.fill(&mut block);
        self.append_pending(block);
        self.steps = 0;
    }

    /// Whether the run from random vectors has shown all that it can: the k largest values have
    /// converged, and the largest value besides them can take no place among them. It cannot when
    /// it has converged itself, or when the bound of Kuczynski & Wozniakowski (1992) for random
    /// starts keeps the true value below.
    fn settled(&self, ritz: &Ritz, check: &Check, tolerance: f64) -> bool {
        let k = check.sigma.len();
        let (Some(&theta), Some(&residual)) = (ritz.sigma.get(k), ritz.residuals.get(k)) else {
            return false;
        };
        if !ritz.leading_converged(k, tolerance) {
            return false;
        }
        let (first, last) = (ritz.sigma[0], ritz.sigma[k - 1] * (1.0 + tolerance));
        let n = self.op.inputs().min(self.op.outputs()) as f64;
        let root = (1.648 * n.sqrt() / FAILURE).ln() / (2.0 * self.steps as f64 - 1.0);
        let bound = theta / (1.0 - root * root).max(0.0).sqrt();
        residual <= tolerance * first || bound <= last
    }

    fn finish(self, params: &Params, sigma: Vec<f64>) -> Result<Triplets<Op::Block>, Error> {
        let k = sigma.len();
        let triplets = (self.u.columns(0..k), sigma, self.v.columns(0..k));
        finish(self.op, triplets, params, self.matvecs, Method::Lanczos)
    }
}

/// Removes known components, skipping the vectors before the first that has one.
fn remove_known<B: Block>(x: &mut B, basis: &B, c: MatRef<'_, f64>) {
    let first = (0..c.nrows()).find(|&i| (0..c.ncols()).any(|j| c[(i, j)] != 0.0));
    if let Some(first) = first {
        subtract(x, basis, first..c.nrows(), c.get(first.., ..));
    }
}

fn add_into(c: &mut Mat<f64>, (row, col): (usize, usize), part: MatRef<'_, f64>) {
    for j in 0..part.ncols() {
        for i in 0..part.nrows() {
            c[(row + i, col + j)] += part[(i, j)];
        }
    }
}
