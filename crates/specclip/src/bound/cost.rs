//! What an argument costs, and what a layer's bound may cost.
//!
//! The measure is what the layer's largest singular value costs: usually 40 to 80 products with the
//! matrix and its transpose. A bound may take several times as long, and 0.1 s in any case.

use super::{Krylov, Params, normal};
use crate::operator::{LinearOperator, Part, Structure};

/// Elements of a matrix that is written out.
const MOST_ELEMENTS: usize = 1 << 26;

/// Floating-point operations that any layer's bound may take, and that the bound of one that
/// nothing is known about may take (about a second).
const LEAST: f64 = 4.8e9;
const UNKNOWN: f64 = 6e10;

/// Actions that a bound may take as long as.
const ACTIONS: f64 = 800.0;

/// Floating-point operations that a bound may take by default.
pub(super) fn allowance(part: &Part) -> f64 {
    match part.structure {
        Structure::Unknown => UNKNOWN,
        _ => (ACTIONS * action_cost(part)).max(LEAST),
    }
}

/// Whether the matrix may be written out by default: a matrix that is there already may take the
/// whole allowance, another one a third, and so may the first group of a convolution.
pub(super) fn is_writable(part: &Part) -> bool {
    let share = match part.structure {
        Structure::Matrix(_) | Structure::Unknown => 1.0,
        _ => 3.0,
    };
    matrix_cost(part) * share <= allowance(part)
}

/// Operations to write out a matrix and to bound its norm, of a convolution for one group; infinite where
/// it is too large.
pub(super) fn matrix_cost(part: &Part) -> f64 {
    if let Structure::Filters(bank) = &part.structure {
        let n = normal::size(bank);
        return match n.saturating_mul(n) <= MOST_ELEMENTS {
            true => normal::cost(bank),
            false => f64::INFINITY,
        };
    }
    let (n, m): (usize, usize) = (
        part.input_shape.iter().product(),
        part.output_shape.iter().product(),
    );
    if n.saturating_mul(m) > MOST_ELEMENTS {
        return f64::INFINITY;
    }
    let (small, large) = (n.min(m) as f64, n.max(m) as f64);
    let columns = match &part.structure {
        Structure::Matrix(_) => 0.0,
        _ => small * action_cost(part),
    };
    columns + large * small * small + 2.0 * small * small * small
}

/// Operations of one action, with the passes over the weights that go with it.
pub(super) fn action_cost(part: &Part) -> f64 {
    let (n, m): (usize, usize) = (
        part.input_shape.iter().product(),
        part.output_shape.iter().product(),
    );
    match &part.structure {
        // Each weight comes from memory: that takes as long as so many operations.
        Structure::Matrix(_) => 8.0 * n as f64 * m as f64,
        Structure::Filters(bank) => {
            let g = &bank.geometry;
            let positions = g.output_plane() as f64;
            (2.0 * positions + 8.0) * g.weights() as f64 + 20.0 * g.taps() as f64 * positions
        }
        Structure::Product(parts) => parts.iter().map(action_cost).sum(),
        Structure::Sum(terms) => terms.iter().map(|t| action_cost(&part.term(t))).sum(),
        _ => 50.0 * (n + m) as f64,
    }
}

/// A Krylov space whose deficit leaves an eighth of the gap `wanted` and at most half a percent, or
/// as near to that as `budget` allows; none where it would not help.
pub(super) fn krylov_size<Op: LinearOperator + ?Sized>(
    op: &Op,
    part: &Part,
    wanted: f64,
    params: &Params,
    budget: f64,
) -> Option<Krylov> {
    let (n, m) = (op.inputs().min(op.outputs()), op.inputs().max(op.outputs()));
    let pair = match part.structure {
        Structure::Unknown => 200.0 * (n + m) as f64,
        _ => 2.0 * action_cost(part),
    };
    let cost = |size: &Krylov| {
        let columns = (size.steps * size.block) as f64;
        let traffic = 8.0 + 32.0 / size.block as f64;
        columns * pair + columns * columns * (n as f64) * traffic
    };
    let memory = |size: &Krylov| size.steps * size.block * n <= MOST_ELEMENTS;
    let deficit = |size: &Krylov| size.deficit(n, params.failure_probability);
    let target = (wanted / 4.0).clamp(1e-3, 1e-2);
    let mut best: Option<(Krylov, f64)> = None;
    for block in [1, 2, 4, 8] {
        // The steps that reach the target, by the formula solved for k; fewer where they cost too much.
        let once = Krylov { steps: 1, block };
        let needed = ((deficit(&once) / target).sqrt() / 2.0 + 1.0).ceil();
        let mut size = Krylov {
            steps: needed.min(1e6) as usize,
            block,
        };
        while size.steps > 1 && (cost(&size) > budget || !memory(&size)) {
            size.steps = size.steps * 9 / 10;
        }
        let (gap, price) = (deficit(&size).max(target), cost(&size));
        let better =
            best.is_none_or(|(other, e)| gap < 0.9 * e || (gap <= e && price < cost(&other)));
        if gap < 1.0 && better {
            best = Some((size, gap));
        }
    }
    best.map(|(size, _)| size)
        .filter(|size| wanted == 0.0 || (1.0 - deficit(size)).powf(-0.5) < 1.0 + wanted)
}
