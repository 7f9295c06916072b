//! Which argument is used.

use std::borrow::Cow;

use faer::{Mat, get_global_parallelism};

use super::action::{image_error, ratio_below};
use super::cost::{allowance, is_writable, krylov_size, matrix_cost};
use super::cover::covers;
use super::frequency::Grid;
use super::rounding::{ENTRY, down, norm_above, norm_below, times, up};
use super::schur::{axis_schur, frobenius, schur};
use super::{Argument, GRAM_PRODUCTS, Interval, Params, Upper, dense, gram, normal, torus};
use crate::block::Block;
use crate::error::Error;
use crate::operator::{AxisMatrix, FilterBank, LinearOperator, Part, Structure, materialise};
use crate::svd::{self, singular_values};

/// Floating-point operations that an argument may take that is asked for by name: minutes.
const NAMED_BUDGET: f64 = 6e12;

/// The relative gap up to which no dearer argument is tried, and up to which no random one is.
pub(super) const CLOSE: f64 = 1e-3;
const NEARLY: f64 = 2e-2;

/// The larger size of an axis's matrix whose norm is looked at closely.
const LARGEST_AXIS: usize = 1024;

type Bound = (f64, Argument);

pub(super) fn interval<Op: LinearOperator + ?Sized>(
    op: &Op,
    params: &Params,
) -> Result<Interval, Error> {
    let part = Part::new(op);
    let lower = lower(op, &part, params)?;
    let (upper, upper_by) = if params.arguments.is_empty() {
        tightest(op, &part, lower, params)?
    } else {
        named(op, &part, params)?
    };
    Ok(Interval {
        lower,
        // Both are proven, so what rounding makes of equal ones is all that can be the wrong way round.
        upper: upper.max(lower),
        lower_by: Argument::Vector,
        upper_by,
        failure_probability: failure(upper_by, params),
    })
}

/// The probability with which an argument fails.
fn failure(argument: Argument, params: &Params) -> f64 {
    match argument {
        Argument::Krylov => params.failure_probability,
        _ => 0.0,
    }
}

pub(super) fn upper<Op: LinearOperator + ?Sized>(
    op: &Op,
    argument: Argument,
    params: &Params,
) -> Result<Upper, Error> {
    Ok(Upper {
        value: value(op, &Part::new(op), argument, params)?,
        failure_probability: failure(argument, params),
    })
}

/// The least of the arguments that were asked for.
fn named<Op: LinearOperator + ?Sized>(
    op: &Op,
    part: &Part,
    params: &Params,
) -> Result<Bound, Error> {
    let mut best: Option<Bound> = None;
    let mut refused = None;
    for &argument in &params.arguments {
        match value(op, part, argument, params) {
            Ok(value) => best = least(best, (value, argument)),
            Err(error @ (Error::NotApplicable { .. } | Error::TooExpensive { .. })) => {
                refused = refused.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    best.ok_or_else(|| refused.unwrap_or_else(|| refuse(Argument::Vector, "nothing was asked for")))
}

fn least(best: Option<Bound>, other: Bound) -> Option<Bound> {
    match best {
        Some(best) if best.0 <= other.0 => Some(best),
        _ => Some(other),
    }
}

/// The tightest affordable argument, deterministic where that is nearly as tight.
fn tightest<Op: LinearOperator + ?Sized>(
    op: &Op,
    part: &Part,
    lower: f64,
    params: &Params,
) -> Result<Bound, Error> {
    let budget = allowance(part);
    let is_random = krylov_size(op, part, NEARLY, params, budget).is_some();
    let far = frequency_ahead(part, lower, budget).filter(|&gap| is_random && gap > NEARLY);
    let mut best = match far {
        Some(_) => sizes(part, budget),
        None => deterministic(part, budget),
    };
    let is_open = |best: &Option<Bound>, gap: f64| {
        best.is_none_or(|(upper, _)| upper.is_nan() || upper > lower * (1.0 + gap))
    };
    if is_open(&best, CLOSE) && is_writable(part) {
        best = least(best, (cholesky(op, part, budget)?, Argument::Cholesky));
    }
    if is_open(&best, NEARLY) && params.failure_probability > 0.0 {
        let gap = best.map_or(1.0, |(upper, _)| upper / lower - 1.0);
        let wanted = far.map_or(gap, |far| far.min(gap));
        if let Some(size) = krylov_size(op, part, wanted, params, budget) {
            match (
                size.bound(op, params.failure_probability, params.seed),
                best,
            ) {
                (Err(Error::NotApplicable { .. }), Some(_)) => {}
                // What holds always is worth a little more than what may fail.
                (Ok(value), Some((upper, _))) if upper <= value * (1.0 + CLOSE) => {}
                (value, _) => best = Some((value?, Argument::Krylov)),
            }
        }
    }
    best.ok_or_else(|| Error::NotApplicable {
        method: "the interval",
        reason: "nothing is known about the operator but its actions, and only krylov bounds such \
                 an operator: allow a failure probability above 0, or a larger one"
            .to_owned(),
    })
}

/// The least gap that the frequency argument would leave, from a few blocks, where all of them
/// would take a good part of the budget.
fn frequency_ahead(part: &Part, lower: f64, budget: f64) -> Option<f64> {
    let (part, unit) = normalised(part);
    let Structure::Filters(bank) = &part.structure else {
        return None;
    };
    let grids = grids(bank, budget);
    let cost: f64 = grids.iter().map(|grid| grid.cost).sum();
    if cost < budget / 16.0 {
        return None;
    }
    let looks = grids.iter().map(|grid| grid.first_look() * unit.0 * unit.1);
    looks.min_by(f64::total_cmp).map(|look| look / lower - 1.0)
}

/// The tightest deterministic argument from the structure alone.
fn deterministic(part: &Part, budget: f64) -> Option<Bound> {
    use Argument::{Axes, Channels, Cholesky, Composition, Frequency, Sum};
    let argument = match &part.structure {
        Structure::Matrix(_) if matrix_cost(part) <= budget => Cholesky,
        Structure::Filters(_) => Frequency,
        Structure::Channels(_) => Channels,
        Structure::Axes(_) => Axes,
        Structure::Product(_) => Composition,
        Structure::Sum(_) => Sum,
        Structure::Matrix(_) | Structure::Unknown => return sizes(part, budget),
    };
    let closest = structural(part, argument, budget).ok();
    let closest = closest.map(|value| (value, argument));
    sizes(part, budget).map_or(closest, |sizes| least(closest, sizes))
}

/// The arguments that cost next to nothing: from the sizes of entries.
fn sizes(part: &Part, budget: f64) -> Option<Bound> {
    let arguments: &[Argument] = match &part.structure {
        Structure::Matrix(_) | Structure::Filters(_) => &[Argument::Schur, Argument::Frobenius],
        _ => &[],
    };
    let values = arguments
        .iter()
        .filter_map(|&a| Some((structural(part, a, budget).ok()?, a)));
    values.fold(None, least)
}

/// One argument.
fn value<Op: LinearOperator + ?Sized>(
    op: &Op,
    part: &Part,
    argument: Argument,
    params: &Params,
) -> Result<f64, Error> {
    match argument {
        Argument::Krylov if params.failure_probability == 0.0 => Err(refuse(
            argument,
            "it fails with a probability, and none is allowed; allow one above 0",
        )),
        Argument::Krylov => {
            let size = krylov_size(op, part, 0.0, params, NAMED_BUDGET);
            let size = size.ok_or_else(|| {
                refuse(
                    argument,
                    "no affordable number of steps says anything; allow a larger \
                                  failure probability",
                )
            })?;
            size.bound(op, params.failure_probability, params.seed)
        }
        Argument::Cholesky => {
            let cost = matrix_cost(part);
            if cost > NAMED_BUDGET {
                return Err(refuse(
                    argument,
                    "the operator's matrix is too large to be written out",
                ));
            }
            cholesky(op, part, NAMED_BUDGET)
        }
        Argument::Vector => Err(refuse(argument, "it bounds from below")),
        _ => structural(part, argument, NAMED_BUDGET),
    }
}

pub(super) fn refuse(argument: Argument, reason: &str) -> Error {
    Error::NotApplicable {
        method: argument.name(),
        reason: reason.to_owned(),
    }
}

/// An argument that needs no more than the structure.
fn structural(part: &Part, argument: Argument, budget: f64) -> Result<f64, Error> {
    let (part, unit) = normalised(part);
    let value = match (argument, &part.structure) {
        (_, Structure::Unknown) => Err(refuse(
            argument,
            "nothing is known about the operator but its actions; use krylov",
        )),
        (Argument::Cholesky, Structure::Matrix(matrix)) => Ok(entrywise(
            dense::norm(matrix.as_ref(), None, get_global_parallelism()),
            &part,
        )),
        (Argument::Frequency, Structure::Filters(bank)) => {
            over_grids(bank, argument, budget, Grid::norm)
        }
        (Argument::Gram, Structure::Matrix(matrix)) => {
            let norm = gram::norm(matrix.as_ref(), GRAM_PRODUCTS, get_global_parallelism());
            Ok(entrywise(norm, &part))
        }
        (Argument::Gram, Structure::Filters(bank)) => over_grids(bank, argument, budget, |grid| {
            grid.whole(grid.largest_gram(GRAM_PRODUCTS).norm)
        }),
        (Argument::LipGrid, Structure::Filters(bank)) => Ok(torus::lip_grid(bank)),
        (Argument::FantasticFour, Structure::Filters(bank)) => Ok(torus::fantastic_four(bank)),
        (Argument::Channels, Structure::Channels(factors)) => {
            let largest = factors.iter().fold(0.0, |m: f64, f| m.max(f.abs()));
            Ok(up(largest * (1.0 + ENTRY)))
        }
        (Argument::Axes, Structure::Axes(axes)) => {
            Ok(up(axes.iter().map(axis_norm).product::<f64>()))
        }
        (Argument::Composition, Structure::Product(parts)) => {
            let share = budget / parts.len() as f64;
            parts.iter().try_fold(1.0, |product, part| {
                Ok(times(product, best_of(part, argument, share)?))
            })
        }
        (Argument::Sum, Structure::Sum(terms)) => {
            let share = budget / terms.len() as f64;
            let norms = terms
                .iter()
                .map(|term| best_of(&part.term(term), argument, share));
            Ok(up(norms.sum::<Result<f64, Error>>()?))
        }
        (Argument::Schur, structure) => schur(structure).ok_or_else(|| {
            refuse(
                argument,
                "the operator is made of several; use composition or sum",
            )
        }),
        (Argument::Frobenius, structure) => {
            frobenius(structure, &part.input_shape).ok_or_else(|| {
                refuse(
                    argument,
                    "the operator is made of several; use composition or sum",
                )
            })
        }
        (_, structure) => Err(refuse(
            argument,
            &format!("the operator is {}", kind(structure)),
        )),
    };
    value.map(|value| value * unit.0 * unit.1)
}

/// A grid for each cover, as fine as it may be.
pub(super) fn grids(bank: &FilterBank, budget: f64) -> Vec<Grid> {
    let covers = covers(bank);
    let share = budget / covers.len() as f64;
    let grids = covers.into_iter().filter_map(|c| Grid::new(c, share));
    grids.collect()
}

/// The least of the bounds on the grids of all covers.
fn over_grids(
    bank: &FilterBank,
    argument: Argument,
    budget: f64,
    norm: impl Fn(&Grid) -> f64,
) -> Result<f64, Error> {
    let norms = grids(bank, budget).into_iter().map(|grid| norm(&grid));
    norms.min_by(f64::total_cmp).ok_or_else(|| {
        refuse(
            argument,
            "it would take too long on so many channels; use krylov",
        )
    })
}

fn best_of(part: &Part, argument: Argument, budget: f64) -> Result<f64, Error> {
    let best = deterministic(part, budget);
    best.map(|(value, _)| value).ok_or_else(|| {
        refuse(
            argument,
            "no deterministic argument is affordable for a part",
        )
    })
}

/// With the error of the structure's own entries.
pub(super) fn entrywise(norm: f64, part: &Part) -> f64 {
    let size = frobenius(&part.structure, &part.input_shape).unwrap_or(norm);
    up(norm + ENTRY * size)
}

fn kind(structure: &Structure) -> &'static str {
    match structure {
        Structure::Matrix(_) => "a matrix; use cholesky or gram",
        Structure::Filters(_) => "a convolution; use frequency",
        Structure::Channels(_) => "one factor for each channel; use channels",
        Structure::Axes(_) => "one matrix for each axis; use axes",
        Structure::Product(_) => "a composition; use composition",
        Structure::Sum(_) => "a sum; use sum",
        Structure::Unknown => "unknown; use krylov",
    }
}

/// The norm of one axis's matrix.
fn axis_norm(axis: &AxisMatrix) -> f64 {
    let simple = axis_schur(axis);
    let (rows, cols) = axis.shape();
    if rows.max(cols) > LARGEST_AXIS {
        return simple;
    }
    let matrix = axis.to_dense();
    let norm = dense::norm(matrix.as_ref(), None, get_global_parallelism());
    simple.min(up(norm + ENTRY * matrix.norm_l2()))
}

/// The structure with its largest weight near 1, and the power of two (as two factors, for it may
/// be too large for one) that was taken out.
pub(super) fn normalised(part: &Part) -> (Cow<'_, Part>, (f64, f64)) {
    let most = |values: &[f64]| values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let largest = match &part.structure {
        Structure::Matrix(m) => m.norm_max(),
        Structure::Filters(bank) => most(&bank.weight),
        Structure::Channels(factors) => most(factors),
        _ => 0.0,
    };
    if largest == 0.0 || (1e-3..1e3).contains(&largest) {
        return (Cow::Borrowed(part), (1.0, 1.0));
    }
    let half = (largest.log2() / 2.0).round().clamp(-500.0, 500.0);
    let (unit, inverse) = (half.exp2(), (-half).exp2());
    let mut scaled = part.clone();
    scaled.structure = scaled.structure.scale(inverse).scale(inverse);
    (Cow::Owned(scaled), (unit, unit))
}

/// The norm of the operator's matrix, written out; of a convolution only the groups that matter.
fn cholesky<Op: LinearOperator + ?Sized>(op: &Op, part: &Part, budget: f64) -> Result<f64, Error> {
    let par = get_global_parallelism();
    match &part.structure {
        Structure::Matrix(_) => structural(part, Argument::Cholesky, f64::INFINITY),
        Structure::Filters(_) => {
            let (part, unit) = normalised(part);
            let Structure::Filters(bank) = &part.structure else {
                unreachable!("a multiple has the same form")
            };
            Ok(normal::norm(bank, budget) * unit.0 * unit.1)
        }
        Structure::Unknown => {
            let matrix = materialise(op)?;
            Ok(dense::norm(matrix.as_ref(), None, par))
        }
        _ => {
            let (n, m): (usize, usize) = (op.inputs(), op.outputs());
            let transposed = m < n;
            let part = if transposed {
                part.clone().transpose()
            } else {
                part.clone()
            };
            let (rows, cols) = (n.max(m), n.min(m));
            let mut matrix = Mat::<f64>::zeros(rows, cols);
            let mut errors = Vec::with_capacity(cols);
            for j in 0..cols {
                let mut unit = vec![0.0; cols];
                unit[j] = 1.0;
                let (column, error) = image_error(&part, unit).ok_or_else(|| {
                    refuse(Argument::Cholesky, "the operator's entries are not known")
                })?;
                errors.push(error);
                for (i, x) in column.into_iter().enumerate() {
                    matrix[(i, j)] = x;
                }
            }
            Ok(up(
                dense::norm(matrix.as_ref(), None, par) + norm_above(&errors)
            ))
        }
    }
}

/// ||M v|| / ||v|| for the leading right singular vector.
fn lower<Op: LinearOperator + ?Sized>(op: &Op, part: &Part, params: &Params) -> Result<f64, Error> {
    let solver = svd::Params {
        seed: params.seed,
        tolerance: 1e-5,
        max_matvecs: 2_000,
        ..svd::Params::default()
    };
    let top = singular_values(op, 1, &solver)?;
    let v = top.v.download();
    let ratio = ratio_below(part, &v);
    let ratio = match ratio {
        Some(ratio) => ratio,
        None => {
            let mut image = op.output_block(1);
            op.apply(&top.v, &mut image)?;
            down(norm_below(&image.download()) / norm_above(&v))
        }
    };
    // A vector that overflowed proves nothing.
    Ok(if ratio.is_finite() { ratio } else { 0.0 })
}
