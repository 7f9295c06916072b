//! Bounds of the supremum over all frequencies, which hold at every size.
//!
//! The rows of a convolution with any stride, padded with zeros or periodically, are rows (or rows
//! of zeros) of the convolution of stride 1 on an infinite grid, whose norm is the supremum of the
//! norms of B(w) = sum over taps t of W_t exp(i <w, t>). Where padding repeats samples or outputs,
//! the factor of `cover` comes in; dilation only scales the frequencies.

use faer::{Mat, get_global_parallelism};

use super::cover::covers;
use super::dense;
use super::rounding::{ENTRY, U, gamma, up};
use crate::frequency::turns;
use crate::kernel::geometry::{AXES, Geometry, unravel};
use crate::operator::FilterBank;

/// Samples along each axis of LipGrid, by the number of axes with more than one tap.
const SAMPLES: [usize; AXES + 1] = [1, 256, 64, 24];

/// Fewest samples for each degree.
const COARSEST: usize = 6;

/// The least factor that repeated samples or outputs make necessary.
fn repetition(bank: &FilterBank) -> f64 {
    let factors = covers(bank).into_iter().map(|c| c.factor_squared);
    up(factors.fold(f64::INFINITY, f64::min).sqrt())
}

/// LipGrid (Araujo et al., AAAI 2021): ||M||^2 is at most the sum over output channels of the
/// supremum over w of the sum over input channels of |f(w)|^2, f being the entries of B, and the
/// same with the channels' parts exchanged. Each supremum is that of a trigonometric polynomial of
/// degree taps - 1, and is bounded from samples by the factor of `frequency`, which is nearer to 1
/// than that of the paper.
pub(super) fn lip_grid(bank: &FilterBank) -> f64 {
    let g = &bank.geometry;
    let (taps, ins, outs) = (g.taps(), g.in_per_group(), g.out_per_group());
    let samples = Samples::new(g);
    let groups = bank.weight.chunks_exact(outs * ins * taps);
    let squares = groups.map(|weight| {
        let filter = |out: usize, input: usize| &weight[(out * ins + input) * taps..][..taps];
        let by_output: f64 = (0..outs)
            .map(|out| samples.supremum((0..ins).map(|input| filter(out, input))))
            .sum();
        let by_input: f64 = (0..ins)
            .map(|input| samples.supremum((0..outs).map(|out| filter(out, input))))
            .sum();
        by_output.min(by_input)
    });
    let largest = squares.fold(0.0, f64::max);
    up((largest * (1.0 + gamma(ins.max(outs)) + 2.0 * ENTRY)).sqrt() * repetition(bank))
}

/// Where the polynomials of LipGrid are sampled.
struct Samples {
    taps: usize,
    /// For each difference of two taps, cos <w, t - t'> at each sample.
    cosines: Vec<Vec<f64>>,
    /// For each pair of taps, its difference.
    differences: Vec<usize>,
    /// No less than the supremum over the largest sample.
    factor: f64,
}

impl Samples {
    fn new(g: &Geometry) -> Self {
        let kernel = g.axes.each_ref().map(|a| a.kernel);
        let active = kernel.iter().filter(|&&k| k > 1).count();
        let sizes = kernel.map(|k| match k {
            1 => 1,
            k => SAMPLES[active].max(COARSEST * (k - 1)),
        });
        let spans = kernel.map(|k| 2 * k - 1);
        let taps = g.taps();
        let difference = |pair: usize| {
            let (a, b) = (g.tap(pair / taps), g.tap(pair % taps));
            let d: [usize; AXES] = std::array::from_fn(|i| a[i] + kernel[i] - 1 - b[i]);
            (d[0] * spans[1] + d[1]) * spans[2] + d[2]
        };
        // Opposite frequencies have the same value: half of the last axis that has any.
        let count: usize = sizes.iter().product();
        let cosines = (0..spans.iter().product()).map(|d| {
            let d = unravel(d, &spans);
            let cosine = |sample: usize| {
                let at = unravel(sample, &sizes);
                let turns = turns(std::array::from_fn(|i| {
                    // t - t' modulo the samples, which are more.
                    let shift = d[i] + sizes[i] * 2 - (kernel[i] - 1);
                    (at[i] * shift % sizes[i]) as f64 / sizes[i] as f64
                }));
                (std::f64::consts::TAU * turns).cos()
            };
            (0..count).map(cosine).collect()
        });
        let cosine = (0..AXES).map(|i| {
            let angle = std::f64::consts::FRAC_PI_2 * (kernel[i] - 1) as f64 / sizes[i] as f64;
            angle.cos().powi(2)
        });
        Self {
            taps,
            cosines: cosines.collect(),
            differences: (0..taps * taps).map(difference).collect(),
            factor: up(1.0 / cosine.product::<f64>()),
        }
    }

    /// No less than the supremum over w of the sum over filters of |f(w)|^2.
    fn supremum<'a>(&self, filters: impl Iterator<Item = &'a [f64]>) -> f64 {
        let mut coefficients = vec![0.0; self.cosines.len()];
        let (mut squares, mut count) = (0.0, 0);
        for filter in filters {
            count += 1;
            for (pair, &d) in self.differences.iter().enumerate() {
                coefficients[d] += filter[pair / self.taps] * filter[pair % self.taps];
            }
            squares += filter.iter().map(|w| w * w).sum::<f64>();
        }
        let mut values = vec![0.0; self.cosines[0].len()];
        for (coefficient, cosines) in coefficients.iter().zip(&self.cosines) {
            for (value, cosine) in values.iter_mut().zip(cosines) {
                *value += coefficient * cosine;
            }
        }
        let largest = values.into_iter().fold(0.0, f64::max);
        // The sum of |w_t w_t'| over all pairs is at most the number of taps times the squares.
        let pairs = self.differences.len();
        // The cosines are known to 32 u.
        let rounding = gamma(count * self.taps + pairs + self.cosines.len()) + 48.0 * U;
        up((largest + rounding * self.taps as f64 * squares * 1.01) * self.factor)
    }
}

/// Fantastic Four (Singla & Feizi, ICLR 2021): the root of the number of taps times the least norm
/// of four matrices, in which each tap axis belongs either to the rows (with the output channels) or
/// to the columns (with the input channels); two matrices in one dimension, eight in three.
pub(super) fn fantastic_four(bank: &FilterBank) -> f64 {
    let g = &bank.geometry;
    let kernel = g.axes.each_ref().map(|a| a.kernel);
    let choices = (0..1_usize << AXES).filter(|choice| {
        // An axis with a single tap leaves no choice.
        (0..AXES).all(|i| kernel[i] > 1 || choice >> i & 1 == 0)
    });
    let norms = choices.map(|choice| reshaped_norm(bank, choice));
    let least = norms.fold(f64::INFINITY, f64::min);
    up((g.taps() as f64).sqrt() * least * repetition(bank))
}

/// The largest norm of a group's matrix with the chosen tap axes among the rows.
fn reshaped_norm(bank: &FilterBank, choice: usize) -> f64 {
    let g = &bank.geometry;
    let (taps, ins, outs) = (g.taps(), g.in_per_group(), g.out_per_group());
    let kernel = g.axes.each_ref().map(|a| a.kernel);
    let in_rows = |i: usize| choice >> i & 1 == 1;
    let side = |rows: bool| {
        kernel
            .map(|k| k)
            .iter()
            .enumerate()
            .filter(|&(i, _)| in_rows(i) == rows)
            .map(|(_, &k)| k)
            .product::<usize>()
    };
    let (row_taps, column_taps) = (side(true), side(false));
    let groups = bank.weight.chunks_exact(outs * ins * taps);
    let norms = groups.map(|weight| {
        let mut matrix = Mat::<f64>::zeros(outs * row_taps, ins * column_taps);
        for (filter, weights) in weight.chunks_exact(taps).enumerate() {
            for (t, &w) in weights.iter().enumerate() {
                let at = g.tap(t);
                let index = |rows: bool| {
                    (0..AXES)
                        .filter(|&i| in_rows(i) == rows)
                        .fold(0, |index, i| index * kernel[i] + at[i])
                };
                let row = filter / ins * row_taps + index(true);
                let column = filter % ins * column_taps + index(false);
                matrix[(row, column)] = w;
            }
        }
        let norm = dense::norm(matrix.as_ref(), None, get_global_parallelism());
        up(norm + ENTRY * matrix.norm_l2())
    });
    norms.fold(0.0, f64::max)
}
