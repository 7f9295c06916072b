//! Operators that consist of independent ones, as convolutions with groups do.
//!
//! Such an operator is block diagonal: ||M|| <= c holds where the norm of each part is at most c, so each
//! part has a nearest one of its own. The squares of the distances add up, and so do those of lower
//! bounds; where the gap of each part is small enough, that of the whole is.

use std::sync::Mutex;

use rayon::ThreadPoolBuilder;

use super::super::{Moved, Params, judge, owned};
use super::Targets;
use crate::Real;
use crate::error::Error;
use crate::real::norm;
use crate::weight::{BoxedParametric, IndependentPart, Parametric};

/// Moves each part by itself, with `work`. The weights of parts that obey stay as they are.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    parts: Vec<IndependentPart<P::Scalar>>,
    targets: &Targets,
    params: &Params,
    work: impl Fn(&mut BoxedParametric<P::Scalar>, &Targets, &Params) -> Result<Moved, Error> + Sync,
) -> Result<Moved, Error> {
    let projected = side_by_side(parts, |i, mut part| {
        let params = Params {
            // Far apart, for a search counts on from its seed.
            seed: params.seed.wrapping_add((i as u64 + 1) << 32),
            ..params.clone()
        };
        let moved = one(&mut part.operator, targets, &params, &work)?;
        Ok((moved, part))
    });
    let mut weights = owned(op);
    let mut total = Moved::default();
    let mut least = Vec::with_capacity(projected.len());
    for projected in projected {
        let (moved, part) = projected?;
        total.rounds += moved.rounds;
        total.matvecs += moved.matvecs;
        least.extend(moved.least_distance);
        let own = part.operator.weights().into_iter().zip(&part.weights);
        for (whole, (own, range)) in weights.iter_mut().zip(own) {
            whole[range.clone()].copy_from_slice(own);
        }
    }
    op.set_weights(&weights)?;
    Ok(Moved {
        least_distance: Some(norm(&least)),
        ..total
    })
}

/// Moves one part, unless it obeys.
fn one<T: Real>(
    op: &mut BoxedParametric<T>,
    targets: &Targets,
    params: &Params,
    work: impl Fn(&mut BoxedParametric<T>, &Targets, &Params) -> Result<Moved, Error>,
) -> Result<Moved, Error> {
    let top = judge::top(op, params.tolerance, params.seed)?;
    let mut moved = Moved::default();
    if judge::above(&top) > targets.sought {
        let targets = Targets {
            sigma: top.sigma[0],
            ..*targets
        };
        moved = work(op, &targets, params)?;
    }
    moved.matvecs += top.matvecs;
    Ok(moved)
}

/// The results of `work` on each of the parts, which are small, in their order. The threads of the pool are
/// shared out: where all of them worked on one part at a time, most would wait.
fn side_by_side<I: Send, R: Send>(parts: Vec<I>, work: impl Fn(usize, I) -> R + Sync) -> Vec<R> {
    let threads = rayon::current_num_threads();
    let workers = threads.min(parts.len()).max(1);
    let results = Mutex::new(Vec::with_capacity(parts.len()));
    let queue = Mutex::new(parts.into_iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let run = || {
        while let Some((i, part)) = next() {
            let result = work(i, part);
            if let Ok(mut results) = results.lock() {
                results.push((i, result));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            // A pool of its own: a thread that waits must not take up another part in the middle of one.
            let pool = ThreadPoolBuilder::new().num_threads(threads / workers);
            match pool.build() {
                Ok(pool) => drop(scope.spawn(move || pool.install(run))),
                // Without more threads this one does it all.
                Err(_) => run(),
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, result)| result).collect()
}
