//! The largest norm of a frequency block of a periodic convolution.
//!
//! Only one of two opposite frequencies is looked at, for their blocks are conjugate. The norm of
//! a block is bounded by a Cholesky factorisation (see `dense`): a first look at a few blocks gives
//! a value that most blocks are then proven to lie below, and only blocks above it are looked at
//! closely.
//!
//! *Coarse grids.* For a vector v the squared norm of v' B(phi) is a trigonometric polynomial in
//! each output frequency phi, of degree D = floor((extent - 1) / stride) (the sum over aliases
//! keeps only multiples of the stride). By M. Riesz's lemma a trigonometric polynomial q >= 0 of
//! degree D with maximum Q has q >= Q cos^2(D delta / 2) at a distance delta <= pi / D of it. A grid
//! of S > D frequencies has one within pi / S, so the norm at any frequency is at most the largest
//! on the grid over cos(pi D / (2 S)), axis by axis. (Ehlich & Zeller, Math. Z. 86 (1964).)

use faer::{Mat, MatRef, Par, c64};
use rayon::prelude::*;

use super::cover::Cover;
use super::rounding::{ENTRY, U, frobenius_above, gamma, up};
use super::{dense, gram};
use crate::frequency::Frequencies;
use crate::kernel::geometry::{AXES, Axis};

/// One block in so many is looked at first, and about so many blocks at least and at most.
const FIRST_LOOK: usize = 13;
const LEAST_LOOKS: usize = 4;
const MOST_LOOKS: usize = 48;

/// Frequencies that are looked at before what they show is taken into account.
const TURN: usize = 32;

/// Fewest frequencies along an axis that a coarse grid has for each degree.
const COARSEST: usize = 6;

/// A cover with the grid on which its frequencies are looked at.
pub(super) struct Grid {
    pub(super) blocks: Frequencies,
    /// No less than the factor from the largest block on the grid to the norm.
    pub(super) factor: f64,
    /// Floating-point operations for all blocks.
    pub(super) cost: f64,
}

impl Grid {
    /// The finest grid, up to the cover's own, on which `cost` of a grid with so many blocks is at
    /// most `budget`; none where the coarsest costs more.
    pub(super) fn new(cover: Cover, budget: f64) -> Option<Self> {
        let own = cover.bank.geometry.axes.each_ref().map(frequencies);
        let finest = own.into_iter().max().unwrap_or(1);
        let block = block_cost(&cover);
        let cost = |sizes: &[usize; AXES]| {
            let count: f64 = sizes.iter().map(|&s| s as f64).product();
            (count / 2.0).ceil() * block
        };
        let affordable = |limit: usize| {
            let axes = &cover.bank.geometry.axes;
            let sizes: [usize; AXES] = std::array::from_fn(|i| sampled(&axes[i], limit));
            (cost(&sizes) <= budget).then_some(sizes)
        };
        // The number of frequencies grows with the limit: bisection.
        let (mut low, mut high) = (1, finest + 1);
        let mut best = affordable(low)?;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match affordable(middle) {
                Some(sizes) => (low, best) = (middle, sizes),
                None => high = middle,
            }
        }
        let mut bank = cover.bank;
        let mut cosines = 1.0;
        for (axis, &size) in bank.geometry.axes.iter_mut().zip(&best) {
            if size < frequencies(axis) {
                let angle = std::f64::consts::FRAC_PI_2 * degree(axis) as f64 / size as f64;
                cosines *= angle.cos();
                axis.input = size * axis.stride;
                axis.output = size;
            }
        }
        Some(Self {
            blocks: Frequencies::on_grid(bank),
            factor: up(cover.factor_squared.sqrt() / cosines),
            cost: cost(&best),
        })
    }

    /// A lower bound, but for rounding, of what [`norm`](Self::norm) would give, from a few blocks.
    pub(super) fn first_look(&self) -> f64 {
        let half = self.blocks.half();
        let step = FIRST_LOOK
            .max(half.len() / MOST_LOOKS)
            .min(half.len().div_ceil(LEAST_LOOKS));
        let estimates = half.into_par_iter().step_by(step).map(|f| {
            let blocks = self.blocks_at(f);
            let estimate = |block: Mat<c64>| dense::estimate(block.as_ref(), Par::Seq);
            blocks.map(estimate).fold(0.0, f64::max)
        });
        estimates.reduce(|| 0.0, f64::max) * self.factor
    }

    /// No less than the norm of the covered convolution: the blocks' by Cholesky factorisations.
    pub(super) fn norm(&self) -> f64 {
        let look = self.first_look() / self.factor * (1.0 + 1e-9);
        let largest = self.largest(look, |block, hint| {
            dense::norm(block, (hint > 0.0).then_some(hint), Par::Seq)
        });
        self.whole(largest.norm)
    }

    /// The block whose Gram bound is the largest, with that bound.
    pub(super) fn largest_gram(&self, products: usize) -> Largest {
        self.largest(0.0, |block, known| {
            gram::norm_above(block, products, known, Par::Seq)
        })
    }

    /// No less than the norm of the covered convolution, from the largest of the blocks' bounds.
    pub(super) fn whole(&self, largest: f64) -> f64 {
        up((largest + self.error()) * self.factor)
    }

    /// The largest bound of a block. `bound` is given a block and the largest bound so far, and
    /// may give any bound of the block that is no larger than that.
    fn largest(&self, known: f64, bound: impl Fn(MatRef<'_, c64>, f64) -> f64 + Sync) -> Largest {
        let mut largest = Largest {
            norm: 0.0,
            frequency: 0,
            group: 0,
        };
        // Far apart first, so that a large bound is known early; in turns of a fixed size, so that
        // the result does not depend on the threads.
        let half = self.blocks.half();
        let order: Vec<usize> = (0..FIRST_LOOK)
            .flat_map(|start| half.iter().skip(start).step_by(FIRST_LOOK).copied())
            .collect();
        for turn in order.chunks(TURN) {
            let so_far = known.max(largest.norm);
            let found = turn.par_iter().map(|&frequency| {
                let norms =
                    self.blocks_at(frequency)
                        .map(|block| match block.nrows().min(block.ncols()) {
                            1 => frobenius_above(block.as_ref()),
                            _ => bound(block.as_ref(), so_far),
                        });
                let norms = norms.enumerate().map(|(group, norm)| Largest {
                    norm,
                    frequency,
                    group,
                });
                norms.reduce(Largest::max)
            });
            let found: Vec<Option<Largest>> = found.collect();
            largest = found.into_iter().flatten().fold(largest, Largest::max);
        }
        largest
    }

    /// The blocks of all groups.
    fn blocks_at(&self, frequency: usize) -> impl Iterator<Item = Mat<c64>> {
        let waves = self.blocks.waves(frequency);
        let groups = 0..self.blocks.geometry().groups;
        groups.map(move |group| self.blocks.block_of(&waves, group))
    }

    /// No less than the norm of what rounding did to the blocks. An entry is a sum over taps of
    /// weights times complex numbers of modulus 1, each known to 32 u ([`Frequencies::tap_wave`]), and
    /// to 4 u more once it is over the root of the number of aliases.
    pub(super) fn error(&self) -> f64 {
        let g = self.blocks.geometry();
        let taps = g.taps();
        let per_group = g.out_per_group() * g.in_per_group() * taps;
        let sums = self.blocks.weight().chunks_exact(per_group).map(|weights| {
            let squares = weights.chunks_exact(taps).map(|w| {
                let sum: f64 = w.iter().map(|w| w.abs()).sum();
                sum * sum
            });
            squares.sum::<f64>().sqrt()
        });
        let largest = sums.fold(0.0, f64::max);
        up(largest * (1.0 + gamma(per_group)) * (1.5 * gamma(2 * taps + 4) + 48.0 * U + ENTRY))
    }
}

/// The block with the largest bound.
#[derive(Clone, Copy)]
pub(super) struct Largest {
    pub(super) norm: f64,
    pub(super) frequency: usize,
    pub(super) group: usize,
}

impl Largest {
    /// The larger one; one that is NaN, so that it is not lost.
    fn max(self, other: Self) -> Self {
        if self.norm.is_nan() || self.norm >= other.norm {
            self
        } else {
            other
        }
    }
}

/// Output frequencies of the cover's own grid.
fn frequencies(axis: &Axis) -> usize {
    axis.input / axis.stride
}

/// The degree of the squared norm as a trigonometric polynomial of the output frequency.
fn degree(axis: &Axis) -> usize {
    (axis.extent() - 1) / axis.stride
}

/// Frequencies along an axis when at most about `limit` are wanted.
fn sampled(axis: &Axis, limit: usize) -> usize {
    let coarsest = (COARSEST * degree(axis)).max(1);
    frequencies(axis).min(limit.max(coarsest))
}

/// Floating-point operations for one frequency.
fn block_cost(cover: &Cover) -> f64 {
    let g = &cover.bank.geometry;
    let aliases: f64 = g.axes.iter().map(|a| a.stride as f64).product();
    let (rows, cols) = (g.out_per_group() as f64, g.in_per_group() as f64 * aliases);
    let (small, large) = (rows.min(cols), rows.max(cols));
    let dense = if small > 1.0 {
        4.0 * large * small * small + 3.0 * small * small * small + 100.0 * small * small
    } else {
        0.0
    };
    g.groups as f64 * (2000.0 + dense + 8.0 * rows * cols * g.taps() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::cover::covers;
    use crate::operator::{Conv, ConvParams, LinearOperator, PaddingMode, Structure};

    /// What a coarse grid says is no less than what the cover's own grid says, and nearly as little.
    #[test]
    fn coarse_grids_bound_fine_ones() {
        for (stride, dilation, taps) in [(1, 1, 3), (2, 1, 3), (1, 2, 3), (2, 1, 5), (3, 2, 4)] {
            for seed in 0..5 {
                let params = ConvParams::new(2)
                    .padding(1, PaddingMode::Zeros)
                    .stride(stride)
                    .dilation(dilation);
                let count = 3 * 2 * taps * taps;
                let weight: Vec<f64> = (0..count)
                    .map(|i| ((i + 100 * seed) as f64 * 1.7).sin())
                    .collect();
                let shape = [3, 2, taps, taps];
                let conv = Conv::new(weight, &shape, &[2, 90, 83], &params).unwrap();
                let Structure::Filters(bank) = conv.structure() else {
                    unreachable!("a convolution has filters")
                };
                let norm = |budget: f64| {
                    let cover = covers(&bank).remove(0);
                    let grid = Grid::new(cover, budget).unwrap();
                    (grid.blocks.count(), grid.norm())
                };
                let (all, fine) = norm(f64::INFINITY);
                for budget in [9e5, 1.4e6, 2e6] {
                    let (some, coarse) = norm(budget);
                    let note = format!("stride {stride}, {some} of {all}: {coarse} {fine}");
                    assert!(some < all, "{note}");
                    assert!(coarse >= fine * (1.0 - 1e-12), "{note}");
                    assert!(coarse <= fine * 1.08, "{note}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_affordable_for_nothing() {
        let params = ConvParams::new(1);
        let conv = Conv::<f64>::new(vec![1.0; 8], &[2, 2, 2], &[2, 9], &params).unwrap();
        let Structure::Filters(bank) = conv.structure() else {
            unreachable!("a convolution has filters")
        };
        assert!(Grid::new(covers(&bank).remove(0), 1.0).is_none());
    }
}
