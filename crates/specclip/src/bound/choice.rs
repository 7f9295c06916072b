//! Which argument is used.

use std::borrow::Cow;

use faer::{Mat, Par, get_global_parallelism};

use super::action::{image_error, ratio_below};
use super::cover::covers;
use super::frequency::Grid;
use super::rounding::{ENTRY, down, norm_above, norm_below, up};
use super::schur::{axis_schur, frobenius, schur};
use super::{Argument, GRAM_PRODUCTS, Interval, Krylov, Params, Upper, dense, gram, torus};
use crate::block::Block;
use crate::error::Error;
use crate::operator::{AxisMatrix, FilterBank, LinearOperator, Part, Structure, materialise};
use crate::svd::{self, singular_values};

/// Floating-point operations that one layer's bound may take by default: about a second. An
/// argument that is asked for by name may take a hundred times as many.
pub(super) const BUDGET: f64 = 6e10;
const NAMED_BUDGET: f64 = 100.0 * BUDGET;

/// The relative gap up to which no dearer argument is tried, and up to which no random one is.
const CLOSE: f64 = 1e-3;
const NEARLY: f64 = 2e-2;

/// Elements of a matrix that is written out.
const MOST_ELEMENTS: usize = 1 << 26;

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
    let random = upper_by == Argument::Krylov;
    Ok(Interval {
        lower: lower.min(upper),
        upper,
        lower_by: Argument::Vector,
        upper_by,
        failure_probability: if random {
            params.failure_probability
        } else {
            0.0
        },
    })
}

pub(super) fn upper<Op: LinearOperator + ?Sized>(
    op: &Op,
    argument: Argument,
    params: &Params,
) -> Result<Upper, Error> {
    let value = value(op, &Part::new(op), argument, params)?;
    let random = argument == Argument::Krylov;
    Ok(Upper {
        value,
        failure_probability: if random {
            params.failure_probability
        } else {
            0.0
        },
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
    let mut best = deterministic(part, BUDGET);
    let is_open = |best: &Option<Bound>, gap: f64| {
        best.is_none_or(|(upper, _)| upper.is_nan() || upper > lower * (1.0 + gap))
    };
    if is_open(&best, CLOSE) && matrix_cost(part) <= BUDGET {
        best = least(best, (cholesky(op, part)?, Argument::Cholesky));
    }
    if is_open(&best, NEARLY) && params.failure_probability > 0.0 {
        let wanted = best.map_or(1.0, |(upper, _)| upper / lower - 1.0);
        if let Some(size) = krylov_size(op, part, wanted, params, BUDGET) {
            let value = size.bound(op, params.failure_probability, params.seed)?;
            // What holds always is worth a little more than what may fail.
            best = least(best, (value * (1.0 + CLOSE), Argument::Krylov)).map(
                |(upper, by)| match by {
                    Argument::Krylov => (value, by),
                    _ => (upper, by),
                },
            );
        }
    }
    best.ok_or_else(|| Error::NotApplicable {
        method: "the interval",
        reason: "nothing is known about the operator but its actions, and only krylov bounds such \
                 an operator: allow a failure probability above 0, or a larger one"
            .to_owned(),
    })
}

/// The tightest deterministic argument from the structure alone.
fn deterministic(part: &Part, budget: f64) -> Option<Bound> {
    use Argument::{Axes, Channels, Cholesky, Composition, Frequency, Frobenius, Schur, Sum};
    let arguments: &[Argument] = match &part.structure {
        Structure::Matrix(_) if matrix_cost(part) <= budget => &[Cholesky, Schur, Frobenius],
        Structure::Matrix(_) => &[Schur, Frobenius],
        Structure::Filters(_) => &[Frequency, Schur, Frobenius],
        Structure::Channels(_) => &[Channels],
        Structure::Axes(_) => &[Axes],
        Structure::Product(_) => &[Composition],
        Structure::Sum(_) => &[Sum],
        Structure::Unknown => &[],
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
            cholesky(op, part)
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
        (Argument::Gram, Structure::Filters(bank)) => {
            over_grids(bank, argument, budget / GRAM_PRODUCTS as f64, |grid| {
                grid.bound(|block| gram::norm(block, GRAM_PRODUCTS, Par::Seq))
            })
        }
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
            let norms = parts
                .iter()
                .map(|part| best_of(part, argument, budget / parts.len() as f64));
            Ok(up(norms.product::<Result<f64, Error>>()?))
        }
        (Argument::Sum, Structure::Sum(terms)) => {
            let norms = terms.iter().map(|structure| {
                let term = Part {
                    structure: structure.clone(),
                    ..Part::clone(&part)
                };
                best_of(&term, argument, budget / terms.len() as f64)
            });
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

/// The least of the bounds on the grids of all covers.
fn over_grids(
    bank: &FilterBank,
    argument: Argument,
    budget: f64,
    norm: impl Fn(&Grid) -> f64,
) -> Result<f64, Error> {
    let covers = covers(bank);
    let share = budget / covers.len() as f64;
    let grids = covers.into_iter().filter_map(|c| Grid::new(c, share));
    let norms = grids.map(|grid| norm(&grid));
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

/// Operations to write out a matrix and to bound its norm; infinite where it is too large.
fn matrix_cost(part: &Part) -> f64 {
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
fn action_cost(part: &Part) -> f64 {
    let (n, m): (usize, usize) = (
        part.input_shape.iter().product(),
        part.output_shape.iter().product(),
    );
    match &part.structure {
        Structure::Matrix(_) => 2.0 * n as f64 * m as f64,
        Structure::Filters(bank) => {
            let g = &bank.geometry;
            let positions = g.output_plane() as f64;
            (2.0 * positions + 8.0) * g.weights() as f64 + 20.0 * g.taps() as f64 * positions
        }
        Structure::Product(parts) => parts.iter().map(action_cost).sum(),
        Structure::Sum(terms) => {
            let term = |structure: &Structure| {
                action_cost(&Part {
                    structure: structure.clone(),
                    ..part.clone()
                })
            };
            terms.iter().map(term).sum()
        }
        _ => 50.0 * (n + m) as f64,
    }
}

/// The norm of the operator's matrix, written out.
fn cholesky<Op: LinearOperator + ?Sized>(op: &Op, part: &Part) -> Result<f64, Error> {
    let par = get_global_parallelism();
    match &part.structure {
        Structure::Matrix(_) => structural(part, Argument::Cholesky, f64::INFINITY),
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

/// A Krylov space whose deficit leaves an eighth of the gap `wanted` and at most half a percent, or
/// as near to that as `budget` allows; none where it would not help.
fn krylov_size<Op: LinearOperator + ?Sized>(
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
