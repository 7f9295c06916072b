//! Clipping one layer again and again while it is trained, its leading singular vector followed in between.

use super::{
    EachStep, Method, Params, check, check_target, check_weights, judge, owned, restoring,
};
use super::{distance, fastclip, frequency, projection, scale};
use crate::Real;
use crate::block::{Block, Columns};
use crate::error::Error;
use crate::random::Random;
use crate::svd::Triplets;
use crate::weight::Parametric;

/// A layer's leading singular vector from one step of training to the next.
///
/// FastClip starts from it, and PowerQR follows it, as in the paper. A clip itself measures from random vectors: what has
/// grown elsewhere is not in the old vector, and a warm solve that is checked from random vectors costs
/// more than one from random vectors alone.
#[derive(Debug, Clone)]
pub struct Warm<T> {
    /// The right singular vector, once FastClip or [`follow`](Self::follow) has needed one.
    vector: Option<Vec<T>>,
    /// Another one for every solve.
    seed: u64,
}

/// Iterations of the power method for a vector that is not known yet.
const FIRST: usize = 10;

/// What [`Warm::follow`] has found.
#[derive(Debug, Clone)]
pub struct Followed<T: Real> {
    /// u' M v: a lower estimate of sigma_1.
    pub sigma: f64,
    /// M v of the vector before, of norm 1; zero where sigma is.
    pub u: Columns<T>,
    /// M' u, of norm 1.
    pub v: Columns<T>,
}

/// What one clip of a [`Warm`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmReport {
    /// sigma_1 before, by a solve.
    pub before: f64,
    /// sigma_1 afterwards, by a solve of its own.
    pub after: f64,
    /// Whether both solves have converged; an unconverged value is a lower estimate.
    pub converged: bool,
    /// ||W - W_0||_F over all weights.
    pub distance: f64,
    /// Actions of M and of its transpose and weight gradients, each of one vector.
    pub matvecs: usize,
}

impl<T: Real> Warm<T> {
    /// Without a vector yet.
    pub fn new(seed: u64) -> Self {
        Self { vector: None, seed }
    }

    /// Goes on from what [`state`](Self::state) gave.
    pub fn restore(vector: Option<Vec<T>>, seed: u64) -> Self {
        Self { vector, seed }
    }

    /// All there is to keep: the vector and the seed of the next solve.
    pub fn state(&self) -> (Option<&[T]>, u64) {
        (self.vector.as_deref(), self.seed)
    }

    /// One iteration of PowerQR from the vector, which for one vector is one of the power method: the paper's
    /// Algorithm 3 makes it with every step of the optimiser. Without a vector it makes ten from a random one.
    ///
    /// # Errors
    /// Whatever the actions refuse, and when the norm is beyond the largest number of the type.
    pub fn follow<P>(&mut self, op: &P) -> Result<Followed<T>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let known = self.start(op)?;
        let once = known.is_some();
        let apply = |x: &_, y: &mut _| match once {
            true => op.apply_once(x, y),
            false => op.apply(x, y),
        };
        let adjoint = |y: &_, x: &mut _| match once {
            true => op.adjoint_once(y, x),
            false => op.adjoint(y, x),
        };
        let mut found = Followed {
            sigma: 0.0,
            u: op.output_block(1),
            v: known.unwrap_or_else(|| {
                let mut random = op.input_block(1);
                Random::new(self.next_seed()).fill(&mut random);
                random
            }),
        };
        let mut next = op.input_block(1);
        for _ in 0..if once { 1 } else { FIRST } {
            apply(&found.v, &mut found.u)?;
            // Before M' is applied: the square of sigma_1 may be too large or too small for the type.
            let image = normalise(&mut found.u)?;
            adjoint(&found.u, &mut next)?;
            found.sigma = normalise(&mut next)?;
            if image == 0.0 || found.sigma == 0.0 {
                found.sigma = 0.0;
                // Another one next time: this one may be all that is mapped to zero.
                self.vector = None;
                return Ok(found);
            }
            std::mem::swap(&mut found.v, &mut next);
        }
        self.vector = Some(found.v.as_slice().to_vec());
        Ok(found)
    }

    /// Follows the largest singular value and brings it down where it is found above `c`. Returns whether
    /// the weights have moved.
    ///
    /// # Errors
    /// When c is not positive and finite, as [`follow`](Self::follow), or where a norm above c is found and the method
    /// does not apply; then the weights are as they were.
    pub fn each_step<P>(&mut self, op: &mut P, c: f64, how: EachStep) -> Result<bool, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        check_target(c)?;
        restoring(op, |op, original| {
            check_weights(original)?;
            let found = self.follow(op)?;
            let above = found.sigma > c;
            if above {
                how.apply(op, c, &found)?;
                if how == EachStep::Hammer {
                    // What the vector belongs to is at c now, and it would stay there whatever else is above.
                    self.vector = None;
                }
            }
            Ok(above)
        })
    }

    /// sigma_1 of the operator, and whether the solve has converged.
    ///
    /// # Errors
    /// Whatever the solver refuses.
    pub fn measure<P>(&mut self, op: &P, tolerance: f64) -> Result<(f64, bool), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let top = self.top(op, tolerance)?;
        Ok((top.sigma[0], top.converged()))
    }

    /// Brings the norm down to `c`; a layer that obeys stays bit for bit.
    ///
    /// Unlike [`clip`](super::clip()) this gives no interval and no certificate. The projection makes
    /// a few rounds of cuts, which is enough for norms that have grown a little above c; what is then
    /// above c (1 + `params.tolerance`) is multiplied down to c. The results of FastClip and of the
    /// frequency clip are left as these methods leave them.
    ///
    /// # Errors
    /// As [`clip`](super::clip()); then nothing is changed.
    pub fn clip<P>(&mut self, op: &mut P, c: f64, params: &Params) -> Result<WarmReport, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        check(c, params)?;
        restoring(op, |op, original| self.run(op, c, params, original))
    }

    fn run<P>(
        &mut self,
        op: &mut P,
        c: f64,
        params: &Params,
        original: &[Vec<T>],
    ) -> Result<WarmReport, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        check_weights(original)?;
        let top = self.top(op, params.tolerance)?;
        let most = c * (1.0 + params.tolerance);
        let mut report = WarmReport {
            before: top.sigma[0],
            after: top.sigma[0],
            converged: top.converged(),
            distance: 0.0,
            matvecs: top.matvecs,
        };
        let raises = matches!(&params.method, Method::FastClip(settings)
            if settings.raise && top.sigma[0] <= c - fastclip::RAISE_BELOW);
        if judge::above(&top) <= most && !raises {
            self.keep(params, &top);
            return Ok(report);
        }
        let factor = c / judge::above(&top);
        // Methods count on from their seed: far from those of the solves here.
        let own = Params {
            seed: self.next_seed() ^ 0x9e37_79b9_7f4a_7c15,
            ..params.clone()
        };
        let moved = match &params.method {
            Method::Scale => scale::solve(op, factor)?,
            Method::FastClip(settings) => {
                let mut start = top.v;
                if let Some(v) = self.start(op)? {
                    let mut image = op.output_block(1);
                    op.apply(&v, &mut image)?;
                    report.matvecs += 1;
                    // Another one may have become the leading one, and this one have nothing to lower.
                    if image.norms()[0] > c {
                        start = v;
                    }
                }
                // Many values are above c in early training, and the next clip goes on: what counts is how far a round gets.
                let care = fastclip::Care {
                    accuracy: accuracy(params.tolerance),
                    beside: 0.2,
                };
                fastclip::solve(op, c, settings, &own, &start, care)?
            }
            Method::Projection(_) => {
                let targets = projection::Targets {
                    asked: c,
                    sought: c,
                    sigma: top.sigma[0],
                };
                projection::approach(op, &targets, &own)?
            }
            Method::Frequency { crop } => frequency::solve(op, c, *crop)?,
        };
        let (top, judging) = self.settle(op, c, params)?;
        self.keep(params, &top);
        report.after = top.sigma[0];
        report.converged &= top.converged();
        report.matvecs += moved.matvecs + judging;
        report.distance = distance(&owned(op), original);
        Ok(report)
    }

    /// Measures the result; that of a projection or a scaling is multiplied to where it obeys. Returns the actions as well.
    fn settle<P>(
        &mut self,
        op: &mut P,
        c: f64,
        params: &Params,
    ) -> Result<(Triplets<Columns<T>>, usize), Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let mut top = self.top(op, params.tolerance)?;
        let mut matvecs = top.matvecs;
        let scales = matches!(params.method, Method::Scale | Method::Projection(_));
        let above = judge::above(&top);
        if scales && above > c * (1.0 + params.tolerance) {
            matvecs += scale::multiply(op, c / above)?;
            top = self.top(op, params.tolerance)?;
            matvecs += top.matvecs;
        }
        Ok((top, matvecs))
    }

    /// The leading triplet, from random vectors.
    fn top<P>(&mut self, op: &P, tolerance: f64) -> Result<Triplets<Columns<T>>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        judge::top_with(op, accuracy(tolerance), self.next_seed())
    }

    /// Keeps the vector of a solve where the next clip will start from it.
    fn keep(&mut self, params: &Params, top: &Triplets<Columns<T>>) {
        if matches!(params.method, Method::FastClip(_)) {
            self.vector = Some(top.v.as_slice().to_vec());
        }
    }

    /// The vector, where it is one of the operator's inputs.
    fn start<P>(&self, op: &P) -> Result<Option<Columns<T>>, Error>
    where
        P: Parametric<Scalar = T> + ?Sized,
    {
        let fits = self.vector.iter().find(|v| v.len() == op.inputs());
        fits.map(|v| Columns::from_vec(v.len(), 1, v.clone()))
            .transpose()
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }
}

/// The residual of a solve, relative to sigma: it is added to sigma before that is judged. Three times that of
/// [`clip`](super::clip()), whose results are final; a layer of equal values takes about half of the actions then.
fn accuracy(tolerance: f64) -> f64 {
    (0.3 * tolerance).min(3e-4)
}

/// Divides a vector by its norm and returns that; a vector too short for it becomes zero, with norm 0.
fn normalise<T: Real>(x: &mut Columns<T>) -> Result<f64, Error> {
    let norm = x.norms()[0];
    if !norm.is_finite() {
        return Err(Error::NonFinite {
            what: "the norm of the operator's action".to_owned(),
            index: 0,
            value: norm,
        });
    }
    let inverse = T::from_f64(1.0 / norm);
    if !inverse.is_finite() {
        x.as_mut_slice().fill(T::ZERO);
        return Ok(0.0);
    }
    x.scale(&[1.0 / norm]);
    Ok(norm)
}
