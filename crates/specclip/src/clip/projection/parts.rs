//! Operators that consist of independent ones, as convolutions with groups do.
//!
//! Such an operator is block diagonal: ||M|| <= c holds where the norm of each part is at most c, so each
//! part has a nearest one of its own. The squares of the distances add up, and so do those of lower
//! bounds; where the gap of each part is small enough, that of the whole is.

use super::super::{Moved, Params, judge, owned};
use super::Targets;
use crate::Real;
use crate::error::Error;
use crate::parallel::side_by_side;
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
