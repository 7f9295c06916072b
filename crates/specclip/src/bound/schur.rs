//! Bounds from the sizes of entries alone: Schur's test and the Frobenius norm.

use std::collections::HashSet;

use super::rounding::{ENTRY, frobenius_above, gamma, norm_above, up};
use crate::kernel::geometry::{AXES, Axis};
use crate::operator::{AxisMatrix, FilterBank, Structure};

/// Combinations of positions along the axes that are looked at one by one.
const MOST_PATTERNS: usize = 4096;

/// No less than the norm of |M|, the matrix of the absolute values of M (of sums of absolute values where
/// several taps read one sample): sqrt(||M||_1 ||M||_inf), of a convolution the largest of its groups.
pub(super) fn schur(structure: &Structure) -> Option<f64> {
    let (rows, columns, terms) = match structure {
        Structure::Matrix(m) => {
            let mut rows = vec![0.0; m.nrows()];
            let mut columns = vec![0.0; m.ncols()];
            for (j, column) in columns.iter_mut().enumerate() {
                for (i, row) in rows.iter_mut().enumerate() {
                    let x = m[(i, j)].abs();
                    *row += x;
                    *column += x;
                }
            }
            (largest(&rows), largest(&columns), m.nrows() + m.ncols())
        }
        Structure::Filters(bank) => return Some(filters_schur(bank)),
        Structure::Channels(factors) => {
            let most = factors.iter().fold(0.0, |m: f64, f| m.max(f.abs()));
            (most, most, 0)
        }
        Structure::Axes(axes) => {
            return Some(up(axes.iter().map(axis_schur).product::<f64>()));
        }
        Structure::Product(_) | Structure::Sum(_) | Structure::Unknown => return None,
    };
    Some(up(
        (rows.sqrt() * columns.sqrt()) * (1.0 + gamma(terms) + ENTRY)
    ))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, &x| m.max(x))
}

/// Schur's test for one axis.
pub(super) fn axis_schur(axis: &AxisMatrix) -> f64 {
    let mut columns = vec![0.0; axis.shape().1];
    let mut rows = 0.0_f64;
    let mut terms = 0;
    for row in axis.rows() {
        let mut sum = 0.0;
        for &(i, factor) in row {
            sum += factor.abs();
            columns[i] += factor.abs();
        }
        rows = rows.max(sum);
        terms += row.len();
    }
    up(rows.sqrt() * largest(&columns).sqrt() * (1.0 + gamma(terms) + ENTRY))
}

/// Schur's test for a convolution, or its transpose: that of the group which needs most.
pub(super) fn filters_schur(bank: &FilterBank) -> f64 {
    largest(&group_schurs(bank))
}

/// Schur's test for each group of a convolution, or of its transpose.
pub(super) fn group_schurs(bank: &FilterBank) -> Vec<f64> {
    let g = &bank.geometry;
    let (taps, ins, outs) = (g.taps(), g.in_per_group(), g.out_per_group());
    // Sums over the channels of the other side, for each channel and tap.
    let mut by_output = vec![0.0; g.out_channels * taps];
    let mut by_input = vec![0.0; g.in_channels * taps];
    for (filter, weights) in bank.weight.chunks_exact(taps).enumerate() {
        let (out, within) = (filter / ins, filter % ins);
        let input = out / outs * ins + within;
        for (t, w) in weights.iter().enumerate() {
            by_output[out * taps + t] += w.abs();
            by_input[input * taps + t] += w.abs();
        }
    }
    let reads = g.axes.each_ref().map(reads);
    let uses = g.axes.each_ref().map(uses);
    let terms = ins.max(outs) * taps + 2 * taps;
    let outputs = by_output.chunks_exact(outs * taps);
    let groups = outputs.zip(by_input.chunks_exact(ins * taps));
    groups
        .map(|(by_output, by_input)| {
            let rows = over_patterns(&reads, by_output, taps);
            let columns = over_patterns(&uses, by_input, taps);
            up(rows.sqrt() * columns.sqrt() * (1.0 + gamma(terms) + ENTRY))
        })
        .collect()
}

/// The largest sum over taps of `values` times the counts of one pattern along each axis.
fn over_patterns(patterns: &[Vec<Vec<usize>>; AXES], values: &[f64], taps: usize) -> f64 {
    let mut patterns = patterns.clone();
    if patterns.iter().map(Vec::len).product::<usize>() > MOST_PATTERNS {
        for patterns in &mut patterns {
            let kernel = patterns[0].len();
            let most = |t: usize| patterns.iter().map(|p| p[t]).max().unwrap_or(0);
            *patterns = vec![(0..kernel).map(most).collect()];
        }
    }
    let mut best = 0.0_f64;
    for a in &patterns[0] {
        for b in &patterns[1] {
            for c in &patterns[2] {
                let mut counts = Vec::with_capacity(taps);
                for &x in a {
                    for &y in b {
                        counts.extend(c.iter().map(|&z| (x * y * z) as f64));
                    }
                }
                for values in values.chunks_exact(taps) {
                    let sum: f64 = values.iter().zip(&counts).map(|(v, n)| v * n).sum();
                    best = best.max(sum);
                }
            }
        }
    }
    best
}

/// For each output, which taps read a sample; only those that others do not exceed.
fn reads(axis: &Axis) -> Vec<Vec<usize>> {
    let pattern = |o: usize| {
        let tap = |t: usize| axis.source(o * axis.stride + t * axis.dilation).is_some();
        (0..axis.kernel).map(|t| usize::from(tap(t))).collect()
    };
    maximal((0..axis.output).map(pattern).collect())
}

/// For each input sample, how often it is read through each tap; only those that others do not
/// exceed.
fn uses(axis: &Axis) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0_usize; axis.kernel]; axis.input];
    let reads = (0..axis.output).flat_map(|o| (0..axis.kernel).map(move |t| (o, t)));
    for (o, t) in reads {
        if let Some(i) = axis.source(o * axis.stride + t * axis.dilation) {
            counts[i][t] += 1;
        }
    }
    maximal(counts.into_iter().collect())
}

fn maximal(patterns: HashSet<Vec<usize>>) -> Vec<Vec<usize>> {
    let below = |a: &[usize], b: &[usize]| a.iter().zip(b).all(|(a, b)| a <= b);
    let mut kept: Vec<Vec<usize>> = patterns
        .iter()
        .filter(|&p| !patterns.iter().any(|q| p != q && below(p, q)))
        .cloned()
        .collect();
    kept.sort_unstable();
    kept
}

/// The largest number of products that one output of the transposed convolution sums.
pub(super) fn most_uses(bank: &FilterBank) -> usize {
    let most = |axis: &Axis| {
        let sums = uses(axis).into_iter().map(|p| p.iter().sum::<usize>());
        sums.max().unwrap_or(1)
    };
    let g = &bank.geometry;
    g.axes.iter().map(most).product::<usize>() * g.out_per_group()
}

/// No less than the Frobenius norm.
pub(super) fn frobenius(structure: &Structure, input_shape: &[usize]) -> Option<f64> {
    let computed = structure.frobenius(input_shape)?;
    let inflated = match structure {
        Structure::Matrix(m) => frobenius_above(m.as_ref()) * (1.0 + ENTRY),
        Structure::Channels(factors) => {
            let plane: f64 = input_shape[1..].iter().map(|&n| n as f64).product();
            plane.sqrt() * norm_above(factors) * (1.0 + ENTRY)
        }
        Structure::Axes(axes) => {
            let terms: usize = axes.iter().flat_map(AxisMatrix::rows).map(Vec::len).sum();
            computed * (1.0 + 2.0 * gamma(2 * terms + 8) + ENTRY)
        }
        Structure::Filters(bank) => {
            // Products of weights of different signs cancel; their absolute values bound the error.
            let mut absolute = bank.clone();
            absolute.weight.iter_mut().for_each(|w| *w = w.abs());
            let pairs = bank.geometry.taps().pow(2);
            let error = gamma(bank.weight.len() + pairs + 8) + 2.0 * ENTRY;
            (computed * computed + error * absolute.frobenius().powi(2)).sqrt()
        }
        _ => return None,
    };
    Some(up(inflated))
}
