//! M'M of a convolution, written out from its taps.
//!
//! With W_t the matrix of a tap and S_t the positions that it reads, M is the sum over taps of the
//! Kronecker products S_t (x) W_t, so M'M is the sum over pairs of taps of S_s' S_t (x) W_s' W_t
//! and MM' that of S_s S_t' (x) W_s W_t'. The products of the small matrices are added up at the
//! places that the products of the S name, which are those where both taps read, or are read from,
//! one position. That takes fewer operations than to write out M, and far fewer than to multiply it.
//!
//! *Rounding.* An entry is a sum of products of two weights, and the sum of their absolute values is
//! the entry of |M|'|M|, whose norm is at most the square of what Schur's test says.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, get_global_parallelism};

use super::action::{read_by, tap_matrix};
use super::dense::Gram;
use super::rounding::{ENTRY, gamma, up};
use super::schur::{group_schurs, most_uses};
use crate::operator::FilterBank;

/// A bound of which the square has lost digits, and that is not worth more work beside weights near 1.
const SMALLEST: f64 = 1e-100;

/// No less than the norm of a convolution, or of its transpose, with weights near 1.
///
/// The norm is that of one of the groups, and Schur's test shows of most that they are not the one: from
/// the most suspicious on, groups are written out until the test of the next is below what was found, or
/// `budget` operations would not suffice: then that test counts.
pub(super) fn norm(bank: &FilterBank, budget: f64) -> f64 {
    let g = &bank.geometry;
    let taps = g.taps();
    let mut groups: Vec<(f64, usize)> = group_schurs(bank).into_iter().zip(0..).collect();
    groups.sort_by(|a, b| b.0.total_cmp(&a.0));
    let size = groups.first().map_or(0.0, |group| group.0);
    // Products of one entry, and additions: those of the matrices, then those at one place.
    let terms = g.out_per_group().max(g.in_per_group()) + taps * taps + most_uses(bank) * taps + 8;
    let columns = g.in_per_group() * g.input_plane() <= g.out_per_group() * g.output_plane();
    let reads: Vec<_> = (0..taps).map(|t| read_by(g, t)).collect();
    let mut largest = 0.0_f64;
    let mut left = budget;
    for (above, group) in groups {
        if above <= largest {
            break;
        }
        left -= cost(bank);
        if left < 0.0 || above < SMALLEST {
            largest = largest.max(above);
            break;
        }
        let matrix = if columns {
            product(bank, group, &reads)
        } else {
            adjoint_product(bank, group, &reads)
        };
        let error = up(gamma(terms) * above * above);
        let norm = Gram::new(matrix, error).norm(None, get_global_parallelism());
        if norm.is_nan() {
            return norm;
        }
        largest = largest.max(norm);
    }
    up(largest + ENTRY * size)
}

/// Floating-point operations for one group.
pub(super) fn cost(bank: &FilterBank) -> f64 {
    let g = &bank.geometry;
    let sides = [
        (g.in_per_group(), g.input_plane()),
        (g.out_per_group(), g.output_plane()),
    ];
    let [a, b] = sides.map(|(channels, plane)| (channels as f64, channels as f64 * plane as f64));
    let (channels, n) = if a.1 <= b.1 { a } else { b };
    let pairs = (g.taps() * g.taps()) as f64;
    let blocks =
        pairs * (g.output_plane() as f64 * 20.0 * channels * channels + 2.0 * a.0 * b.0 * channels);
    blocks + n * n * n + 400.0 * n * n
}

/// The size of the smaller side, of one group.
pub(super) fn size(bank: &FilterBank) -> usize {
    let g = &bank.geometry;
    let inputs = g.in_per_group().saturating_mul(g.input_plane());
    inputs.min(g.out_per_group().saturating_mul(g.output_plane()))
}

type Reads = Vec<Option<usize>>;

/// M'M of one group, (position, channel) by (position, channel): both taps act on one output.
fn product(bank: &FilterBank, group: usize, reads: &[Reads]) -> Mat<f64> {
    let g = &bank.geometry;
    let (channels, outs) = (g.in_per_group(), g.out_per_group());
    let n = channels * g.input_plane();
    let mut total = Mat::zeros(n, n);
    let weights: Vec<_> = (0..reads.len())
        .map(|t| tap_matrix(bank, group, t))
        .collect();
    for (w, first) in weights.iter().zip(reads) {
        let w = MatRef::from_row_major_slice(w, outs, channels);
        for (x, second) in weights.iter().zip(reads) {
            let x = MatRef::from_row_major_slice(x, outs, channels);
            let block = times(w.transpose(), x);
            for (&p, &q) in first.iter().zip(second) {
                if let (Some(p), Some(q)) = (p, q) {
                    add(&mut total, p, q, &block);
                }
            }
        }
    }
    total
}

/// MM' of one group: both taps read one input.
fn adjoint_product(bank: &FilterBank, group: usize, reads: &[Reads]) -> Mat<f64> {
    let g = &bank.geometry;
    let (channels, ins) = (g.out_per_group(), g.in_per_group());
    let n = channels * g.output_plane();
    let mut total = Mat::zeros(n, n);
    let weights: Vec<_> = (0..reads.len())
        .map(|t| tap_matrix(bank, group, t))
        .collect();
    let readers = |read: &Reads| {
        let mut readers = vec![Vec::new(); g.input_plane()];
        for (output, input) in read.iter().enumerate() {
            if let Some(input) = input {
                readers[*input].push(output);
            }
        }
        readers
    };
    let readers: Vec<Vec<Vec<usize>>> = reads.iter().map(readers).collect();
    for (w, first) in weights.iter().zip(&readers) {
        let w = MatRef::from_row_major_slice(w, channels, ins);
        for (x, second) in weights.iter().zip(&readers) {
            let x = MatRef::from_row_major_slice(x, channels, ins);
            let block = times(w, x.transpose());
            for (first, second) in first.iter().zip(second) {
                for &p in first {
                    for &q in second {
                        add(&mut total, p, q, &block);
                    }
                }
            }
        }
    }
    total
}

fn times(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    product
}

/// Adds a block at positions (p, q), if it touches the lower triangle.
fn add(total: &mut Mat<f64>, p: usize, q: usize, block: &Mat<f64>) {
    if p < q {
        return;
    }
    let c = block.nrows();
    for j in 0..c {
        let target = &mut total.col_as_slice_mut(q * c + j)[p * c..][..c];
        for (x, y) in target.iter_mut().zip(block.col_as_slice(j)) {
            *x += y;
        }
    }
}
