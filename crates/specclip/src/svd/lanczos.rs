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
//!
//! **Flat spectra.** The residual of a random vector is small where most singular values are alike,
//! so what a run from a random start has found is not believed before it has made [`PATIENCE`] steps.

use faer::{Mat, MatRef};

use super::basis::{Basis, Watch, orthonormalise, subtract};
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

/// Steps after a random start before its values are believed: as many as it takes for a chance of
/// one in a million that the largest value is more than 5 % above what 65,536 dimensions show
/// (Kuczynski & Wozniakowski 1992).
const PATIENCE: usize = 32;

/// The probability with which the check for further copies may be wrong, in its quick form.
const FAILURE: f64 = 1e-6;

/// Times that a run goes on from triplets whose measured residuals miss the tolerance.
const RESUMPTIONS: usize = 4;

pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
    start: Option<&Op::Block>,
) -> Result<Triplets<Op::Block>, Error> {
    let alone = k == 1 && start.is_none();
    // What is left of the residuals at the second start is lost sight of, so that two parts of
    // equal size make up the final residual.
    let tolerance = params.tolerance * if alone { 1.0 } else { 0.5_f64.sqrt() };
    let mut bases = Bases::new(op, k, params, start);
    let mut check = None;
    let mut resumptions = 0;
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
                _ if resumptions > 0 => ritz.leading_converged(k, tolerance),
                Some(check) => bases.settled(&ritz, check, tolerance),
                None => (bases.is_patient() || !alone) && ritz.leading_converged(k, tolerance),
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
        let certain = complete || alone || resumptions > 0 || !changed;
        bases.restart(&ritz, k);
        if certain || exhausted {
            let triplets = bases.finish(params, found.len())?;
            let hopeless = resumptions == RESUMPTIONS || !bases.has_room_for(found.len());
            if triplets.converged() || exhausted || hopeless {
                return Ok(triplets);
            }
            resumptions += 1;
            bases.resume(&triplets)?;
            continue;
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
    /// Vectors of a random start.
    width: usize,
    u: Op::Block,
    v: Op::Block,
    u_watch: Watch<Op::Block>,
    v_watch: Watch<Op::Block>,
    /// Vectors at the front of both bases whose residuals were dropped, so that their couplings to
    /// other vectors are not known.
    loose: usize,
    /// Vectors of U; of V, multiplied by M; of V in all.
    nu: usize,
    multiplied: usize,
    nv: usize,
    /// U' M V, for all vectors of V.
    c: Mat<f64>,
    capacity: usize,
    /// Triplets kept by an ordinary restart.
    keep: usize,
    /// Expansions since the last start, until the bases were cut back, and since the last look at
    /// the Ritz values.
    steps: usize,
    unbroken_steps: usize,
    cut_back: bool,
    since_look: usize,
    matvecs: usize,
    random: Random,
}

impl<'a, Op: LinearOperator + ?Sized> Bases<'a, Op> {
    fn new(op: &'a Op, k: usize, params: &Params, start: Option<&Op::Block>) -> Self {
        let smaller = op.inputs().min(op.outputs());
        let random_width = params.block.unwrap_or(1).min(smaller);
        let width = start.map_or(random_width, |s| s.cols().min(smaller));
        // As many vectors as may be pending: a start, a random one, or the residuals of what is resumed.
        let wide = width.max(random_width).max(k);
        let affordable = MEMORY / (op.inputs() + op.outputs());
        let spare = affordable.saturating_sub(2 * k).clamp(LEAST, USUAL);
        // No more than the actions allow.
        let reachable = params.max_matvecs / 2 + k + 2 * wide;
        let capacity = (2 * k + 2 * wide + spare)
            .min(smaller.max(wide))
            .min(reachable);
        let mut bases = Self {
            op,
            k,
            width: random_width,
            u: op.output_block(capacity),
            v: op.input_block(capacity + wide),
            u_watch: Watch::new(&op.output_block(0), params.tolerance),
            v_watch: Watch::new(&op.input_block(0), params.tolerance),
            loose: 0,
            nu: 0,
            multiplied: 0,
            nv: 0,
            c: Mat::zeros(capacity, capacity + wide),
            capacity,
            keep: (k + width + spare / 4)
                .min(capacity.saturating_sub(wide))
                .max(k),
            steps: 0,
            unbroken_steps: 0,
            cut_back: false,
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

    /// Whether the pending vectors and what they lead to do not fit any more.
    fn is_full(&self) -> bool {
        let pending = self.nv - self.multiplied;
        self.nu + pending > self.capacity || self.nv + pending > self.c.ncols()
    }

    fn is_patient(&self) -> bool {
        self.steps >= PATIENCE
    }

    /// Whether k triplets and their residuals fit.
    fn has_room_for(&self, k: usize) -> bool {
        2 * k <= self.capacity
    }

    /// Looking costs a small dense decomposition, so larger bases are looked at less often.
    fn is_due(&self) -> bool {
        self.is_full() || (self.nu >= self.k && self.since_look > self.nu / 12)
    }

    /// Orthonormalises vectors and appends them to V, unmultiplied and with no known coupling.
    fn append_pending(&mut self, mut block: Op::Block) {
        let basis = Basis::whole(&self.v, self.nv);
        orthonormalise(&mut block, &basis, 0.0, &mut self.random);
        self.join_v(&block);
    }

    fn join_v(&mut self, block: &Op::Block) {
        self.v.set_columns(self.nv, block);
        self.v_watch.add(block, 0..block.cols(), &mut self.random);
        self.nv += block.cols();
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
        // The coupling that is known already is removed first: in exact arithmetic there is no
        // other.
        let known = self.c.get(..self.nu, pending.clone()).to_owned();
        remove_known(&mut p, &self.u, known.as_ref());
        let basis = Basis::watched(&self.u, self.nu, self.loose, &self.u_watch);
        let new = orthonormalise(&mut p, &basis, negligible, &mut self.random);
        add_into(&mut self.c, (0, pending.start), new.against.as_ref());
        add_into(&mut self.c, (self.nu, pending.start), new.within.as_ref());
        self.u.set_columns(self.nu, &p);
        self.u_watch.add(&p, 0..new.kept, &mut self.random);
        let fresh = self.nu..self.nu + new.kept;
        self.nu = fresh.end;
        self.multiplied = self.nv;
        self.steps += 1;
        self.unbroken_steps += usize::from(!self.cut_back);
        self.since_look += 1;
        self.matvecs += width + new.kept;
        if new.kept == 0 {
            return Ok(false);
        }
        let mut q = self.op.input_block(new.kept);
        self.op.adjoint(&p, &mut q)?;
        let known = self.c.get(fresh.clone(), ..self.nv).transpose().to_owned();
        remove_known(&mut q, &self.v, known.as_ref());
        let negligible = self.negligible();
        let basis = Basis::watched(&self.v, self.nv, self.loose, &self.v_watch);
        let next = orthonormalise(&mut q, &basis, negligible, &mut self.random);
        add_into(&mut self.c, (fresh.start, self.nv), next.within.transpose());
        self.join_v(&q);
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
        self.cut_back = true;
        // Combinations of loose vectors with others are loose.
        self.loose = if self.loose > 0 { keep } else { 0 };
        self.nu = keep;
        self.multiplied = keep;
        self.nv = keep + pending.len();
        self.watch_again();
    }

    /// The bases have changed.
    fn watch_again(&mut self) {
        self.u_watch.restart(&self.u, self.nu, &mut self.random);
        self.v_watch.restart(&self.v, self.nv, &mut self.random);
    }

    /// Replaces the pending vectors by random ones.
    fn start_again(&mut self) {
        self.nv = self.multiplied;
        self.loose = self.nv;
        let columns = self.c.ncols();
        self.c.get_mut(.., self.nv..columns).fill(0.0);
        self.watch_again();
        let mut block = self.op.input_block(self.width);
        self.random.fill(&mut block);
        self.append_pending(block);
        (self.steps, self.unbroken_steps, self.cut_back) = (0, 0, false);
    }

    /// Whether the run from random vectors has shown all that it can: the k largest values have
    /// converged, and the largest value besides them can take no place among them. It cannot when
    /// its residual keeps it below or it has converged itself, or when the bound of Kuczynski &
    /// Wozniakowski (1992) for random starts keeps the true value below.
    fn settled(&self, ritz: &Ritz, check: &Check, tolerance: f64) -> bool {
        let k = check.sigma.len();
        let (Some(&theta), Some(&residual)) = (ritz.sigma.get(k), ritz.residuals.get(k)) else {
            return false;
        };
        if !self.is_patient() || !ritz.leading_converged(k, tolerance) {
            return false;
        }
        let (first, last) = (ritz.sigma[0], ritz.sigma[k - 1] * (1.0 + tolerance));
        let n = self.op.inputs().min(self.op.outputs()) as f64;
        let steps = self.unbroken_steps as f64;
        let root = (1.648 * n.sqrt() / FAILURE).ln() / (2.0 * steps - 1.0);
        let bound = theta / (1.0 - root * root).max(0.0).sqrt();
        residual <= tolerance * first || bound <= last
    }

    /// The Ritz vectors made orthonormal to rounding, and the singular values of M on their span.
    fn finish(&mut self, params: &Params, k: usize) -> Result<Triplets<Op::Block>, Error> {
        let (no_u, no_v) = (self.u.zeros_like(0), self.v.zeros_like(0));
        let mut v = self.v.columns(0..k);
        let k = orthonormalise(&mut v, &Basis::whole(&no_v, 0), 0.0, &mut self.random).kept;
        let mut u = self.op.output_block(k);
        self.op.apply(&v, &mut u)?;
        let negligible = self.negligible();
        let basis = Basis::whole(&no_u, 0);
        let c = orthonormalise(&mut u, &basis, negligible, &mut self.random).within;
        let svd = c.thin_svd().map_err(failed)?;
        let sigma = svd.S().column_vector().iter().copied().collect();
        u.rotate(svd.U());
        v.rotate(svd.V());
        let matvecs = self.matvecs + k;
        let triplets = finish(self.op, (u, sigma, v), params, matvecs, Method::Lanczos)?;
        self.matvecs = triplets.matvecs;
        Ok(triplets)
    }

    /// Goes on from triplets: their residuals, measured anew, are the pending vectors.
    fn resume(&mut self, triplets: &Triplets<Op::Block>) -> Result<(), Error> {
        let k = triplets.sigma.len();
        self.u.set_columns(0, &triplets.u);
        self.v.set_columns(0, &triplets.v);
        let mut residuals = self.op.input_block(k);
        self.op.adjoint(&triplets.u, &mut residuals)?;
        self.matvecs += k;
        self.c.fill(0.0);
        for (i, &sigma) in triplets.sigma.iter().enumerate() {
            self.c[(i, i)] = sigma;
        }
        let minus = Mat::from_fn(k, k, |i, j| -self.c[(i, j)]);
        residuals.add_combination(&triplets.v, 0..k, minus.as_ref());
        (self.nu, self.multiplied, self.nv, self.loose) = (k, k, k, 0);
        self.watch_again();
        let basis = Basis::whole(&self.v, k);
        let next = orthonormalise(&mut residuals, &basis, self.negligible(), &mut self.random);
        add_into(&mut self.c, (0, k), next.within.transpose());
        self.join_v(&residuals);
        Ok(())
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
