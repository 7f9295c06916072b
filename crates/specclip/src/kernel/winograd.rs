//! Correlations of 3 x 3 taps with 2.25 times fewer multiplications.
//!
//! Winograd's minimal filtering F(2 x 2, 3 x 3) as Lavin & Gray (CVPR 2016) use it: each 2 x 2 tile
//! of outputs comes from a 4 x 4 patch of inputs through 16 products instead of 36. Patches and
//! weights are transformed, 16 matrix products over the channels follow, and their results are
//! transformed back. The transformations only add, subtract and halve, so the rounding error is
//! that of the direct sum within a small factor.
//!
//! The padded source is stored by columns of even and of odd number, so that what a transformation
//! reads for neighbouring tiles is contiguous.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::correlation::{Cut, SLACK, Target};
use super::geometry::AxisMap;
use super::micro;
use super::padding::Padding;
use super::scratch::Pool;
use crate::Real;

/// Entries of a transformed patch.
const POINTS: usize = 16;

/// Below so many tiles of an image the registers stay empty, and below so many channels the
/// transformations cost more than they save.
const FEWEST_TILES: usize = 16;
const FEWEST_CHANNELS: usize = 16;

/// A correlation of 3 x 3 taps over a grid with neighbouring outputs.
#[derive(Clone)]
pub(crate) struct Winograd<T> {
    arch: Arch,
    lanes: usize,
    registers: usize,
    panel: usize,
    panels: usize,
    channels: usize,
    rows: usize,
    grid: [usize; 2],
    tiles: [usize; 2],
    padding: Padding,
    /// For each panel and point: `channels` rows of `panel` weights.
    weights: Vec<T>,
    work: Pool<Work<T>>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Work<T> {
    patches: Vec<T>,
    transformed: Vec<T>,
    sums: Vec<T>,
    runs: Vec<Run>,
}

/// Neighbouring tiles of one row.
#[derive(Debug, Clone, Copy)]
struct Run {
    column: usize,
    len: usize,
    image: usize,
    /// Tile coordinates of the first.
    at: [usize; 2],
}

/// Whether a correlation from `channels` to `rows` channels over `grid` outputs is worth it.
pub(crate) fn pays(channels: usize, rows: usize, grid: [usize; 2]) -> bool {
    channels.min(rows) >= FEWEST_CHANNELS
        && grid[0].div_ceil(2) * grid[1].div_ceil(2) >= FEWEST_TILES
}

impl<T: Real> Winograd<T> {
    /// Output (i, j) is the sum over taps (a, b) of `weight(row, channel, a, b)` times sample
    /// (i + a, j + b) of the source that the two maps pad.
    pub(crate) fn new(
        arch: Arch,
        (channels, rows): (usize, usize),
        grid: [usize; 2],
        maps: [&AxisMap; 2],
        weight: impl Fn(usize, usize, usize, usize) -> T + Sync,
    ) -> Self {
        let cut = Cut::new::<T>(arch);
        let tiles = grid.map(|n| n.div_ceil(2));
        let map = |i: usize| maps[i].resized(2 * tiles[i] + 2);
        let panel = cut.rows;
        let panels = rows.div_ceil(panel);
        let mut weights = vec![T::ZERO; panels * POINTS * channels * panel];
        let pack = |(i, target): (usize, &mut [T])| {
            for channel in 0..channels {
                for row in 0..panel.min(rows - i * panel) {
                    let taps = std::array::from_fn(|a| {
                        std::array::from_fn(|b| weight(i * panel + row, channel, a, b).to_f64())
                    });
                    for (point, value) in transform_taps(taps).into_iter().enumerate() {
                        let block = point * channels + channel;
                        target[block * panel + row] = T::from_f64(value);
                    }
                }
            }
        };
        let blocks = weights.par_chunks_exact_mut(POINTS * channels * panel);
        blocks.enumerate().for_each(pack);
        Self {
            arch,
            lanes: cut.lanes,
            registers: cut.registers,
            panel,
            panels,
            channels,
            rows,
            grid,
            tiles,
            padding: Padding::new([AxisMap::embed(1, 0, 0), map(0), map(1)], 2),
            weights,
            work: Pool::default(),
        }
    }

    /// How the source must be padded.
    pub(crate) fn padding(&self) -> &Padding {
        &self.padding
    }

    /// Overwrites `target` with the correlations of `batch` padded images.
    pub(crate) fn run(&self, batch: usize, source: &[T], target: &mut [T]) {
        let columns = batch * self.tiles[0] * self.tiles[1];
        if columns == 0 {
            return;
        }
        let target = &Target::new(target);
        let blocks = columns.div_ceil(self.registers * self.lanes);
        let registers = columns.div_ceil(blocks * self.lanes);
        let width = registers * self.lanes;
        let range = |block: usize| block * width..columns.min((block + 1) * width);
        if blocks >= 2 * rayon::current_num_threads() {
            (0..blocks).into_par_iter().for_each(|block| {
                self.work.with(Work::default, |work| {
                    let mut transformed = std::mem::take(&mut work.transformed);
                    transformed.resize(POINTS * self.channels * width, T::ZERO);
                    self.find_runs(range(block), &mut work.runs);
                    let channels = 0..self.channels;
                    self.transform(width, channels, source, work, &mut transformed);
                    for panel in 0..self.panels {
                        let chunk = self.channels;
                        self.multiply(panel, width, chunk, &transformed, work, target);
                    }
                    work.transformed = transformed;
                });
            });
            return;
        }
        // Few blocks would leave threads idle: channels and then panels are shared out instead.
        self.work.with(Work::default, |all| {
            for block in (0..blocks).map(range) {
                all.transformed
                    .resize(POINTS * self.channels * width, T::ZERO);
                let chunk = self.channels.div_ceil(2 * rayon::current_num_threads());
                let pieces = all.transformed.par_chunks_mut(POINTS * chunk * width);
                pieces.enumerate().for_each(|(i, piece)| {
                    self.work.with(Work::default, |work| {
                        self.find_runs(block.clone(), &mut work.runs);
                        let channels = i * chunk..self.channels.min((i + 1) * chunk);
                        self.transform(width, channels, source, work, piece);
                    });
                });
                let transformed = &all.transformed;
                (0..self.panels).into_par_iter().for_each(|panel| {
                    self.work.with(Work::default, |work| {
                        self.find_runs(block.clone(), &mut work.runs);
                        self.multiply(panel, width, chunk, transformed, work, target);
                    });
                });
            }
        });
    }

    /// Cuts columns (tiles of all images, row by row) into runs.
    fn find_runs(&self, columns: std::ops::Range<usize>, runs: &mut Vec<Run>) {
        let per_image = self.tiles[0] * self.tiles[1];
        runs.clear();
        let mut column = columns.start;
        while column < columns.end {
            let (image, tile) = (column / per_image, column % per_image);
            let at = [tile / self.tiles[1], tile % self.tiles[1]];
            let len = (self.tiles[1] - at[1]).min(columns.end - column);
            runs.push(Run {
                column: column - columns.start,
                len,
                image,
                at,
            });
            column += len;
        }
    }

    /// Transforms the patches of some channels: (point, channel, column).
    fn transform(
        &self,
        width: usize,
        channels: std::ops::Range<usize>,
        source: &[T],
        work: &mut Work<T>,
        transformed: &mut [T],
    ) {
        work.patches.resize(POINTS * (width + SLACK), T::ZERO);
        self.arch.dispatch(Transform {
            winograd: self,
            width,
            channels,
            source,
            runs: &work.runs,
            patches: &mut work.patches,
            transformed,
        });
    }

    /// Multiplies one panel with all points, whose patches lie in pieces of `chunk` channels, and
    /// writes its outputs.
    fn multiply(
        &self,
        panel: usize,
        width: usize,
        chunk: usize,
        transformed: &[T],
        work: &mut Work<T>,
        target: &Target<'_, T>,
    ) {
        let size = self.panel * width;
        work.sums.resize(POINTS * size + 4 * width, T::ZERO);
        let (sums, outputs) = work.sums.split_at_mut(POINTS * size);
        let all = POINTS * self.channels * self.panel;
        self.arch.dispatch(Multiply {
            winograd: self,
            width,
            chunk,
            weights: &self.weights[panel * all..(panel + 1) * all],
            transformed,
            sums,
        });
        let first = panel * self.panel;
        for row in first..self.rows.min(first + self.panel) {
            self.arch.dispatch(Finish {
                sums,
                size,
                row: row - first,
                width,
                outputs,
            });
            self.store(row, width, outputs, &work.runs, target);
        }
    }

    fn store(&self, row: usize, width: usize, outputs: &[T], runs: &[Run], target: &Target<'_, T>) {
        let [height, breadth] = self.grid;
        for run in runs {
            let plane = (run.image * self.rows + row) * height * breadth;
            for (part, values) in outputs.chunks_exact(width).enumerate() {
                let (i, j) = (2 * run.at[0] + part / 2, 2 * run.at[1] + part % 2);
                if i >= height || j >= breadth {
                    continue;
                }
                // The last column of tiles may reach beyond the grid.
                let len = run.len.min((breadth - j).div_ceil(2));
                let values = &values[run.column..run.column + len];
                // SAFETY: a job owns its rows at its tiles.
                unsafe { target.write(plane + i * breadth + j, 2, values) };
            }
        }
    }
}

/// G w G' for the 3 x 3 taps w, row by row.
fn transform_taps(taps: [[f64; 3]; 3]) -> [f64; POINTS] {
    let line = |g: [f64; 3]| {
        let (outer, inner) = ((g[0] + g[2]) / 2.0, g[1] / 2.0);
        [g[0], outer + inner, outer - inner, g[2]]
    };
    let columns: [[f64; 4]; 3] =
        std::array::from_fn(|b| line([taps[0][b], taps[1][b], taps[2][b]]));
    let mut points = [0.0; POINTS];
    for a in 0..4 {
        let row = line([columns[0][a], columns[1][a], columns[2][a]]);
        points[4 * a..4 * a + 4].copy_from_slice(&row);
    }
    points
}

struct Transform<'a, T> {
    winograd: &'a Winograd<T>,
    width: usize,
    channels: std::ops::Range<usize>,
    source: &'a [T],
    runs: &'a [Run],
    patches: &'a mut [T],
    transformed: &'a mut [T],
}

impl<T: Real> Transform<'_, T> {
    /// Gathers the patches of one channel: sample (a, b) of every tile, tile after tile.
    #[inline(always)]
    fn gather<const BLOCK: usize>(&mut self, channel: usize) {
        let w = self.winograd;
        let (plane, sub_row) = (w.padding.plane(), w.padding.sub_row());
        for run in self.runs {
            let first = (run.image * w.channels + channel) * plane;
            for a in 0..4 {
                let row = first + (2 * run.at[0] + a) * 2 * sub_row + run.at[1];
                for b in 0..4 {
                    let from = row + (b % 2) * sub_row + b / 2;
                    let to = (4 * a + b) * (self.width + SLACK) + run.column;
                    // Whole blocks, even beyond the run: what they overwrite is written later.
                    for i in (0..run.len).step_by(BLOCK) {
                        self.patches[to + i..][..BLOCK]
                            .copy_from_slice(&self.source[from + i..][..BLOCK]);
                    }
                }
            }
        }
    }

    /// B' d B of the gathered patches d.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, index: usize) {
        let stride = self.channels.len() * self.width;
        let lanes = T::lanes::<S>();
        let mut columns = [[T::splat(simd, T::ZERO); 4]; 4];
        for start in (0..self.width).step_by(lanes) {
            for (b, column) in columns.iter_mut().enumerate() {
                for (a, sample) in column.iter_mut().enumerate() {
                    let at = (4 * a + b) * (self.width + SLACK) + start;
                    *sample = T::as_vectors::<S>(&self.patches[at..at + lanes]).0[0];
                }
                *column = input_line::<T, S>(simd, *column);
            }
            for a in 0..4 {
                let [c0, c1, c2, c3] = columns;
                let row = input_line::<T, S>(simd, [c0[a], c1[a], c2[a], c3[a]]);
                for (b, value) in row.into_iter().enumerate() {
                    let at = (4 * a + b) * stride + index * self.width + start;
                    T::as_vectors_mut::<S>(&mut self.transformed[at..at + lanes]).0[0] = value;
                }
            }
        }
    }
}

// Closures, even inlined ones, would be compiled without the vector instructions of their caller.

#[inline(always)]
fn input_line<T: Real, S: Simd>(simd: S, d: [T::Vector<S>; 4]) -> [T::Vector<S>; 4] {
    [
        T::sub_vectors(simd, d[0], d[2]),
        T::add_vectors(simd, d[1], d[2]),
        T::sub_vectors(simd, d[2], d[1]),
        T::sub_vectors(simd, d[1], d[3]),
    ]
}

#[inline(always)]
fn output_line<T: Real, S: Simd>(simd: S, m: [T::Vector<S>; 4]) -> [T::Vector<S>; 2] {
    let sum = T::add_vectors(simd, m[1], m[2]);
    let difference = T::sub_vectors(simd, m[1], m[2]);
    [
        T::add_vectors(simd, m[0], sum),
        T::sub_vectors(simd, difference, m[3]),
    ]
}

impl<T: Real> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let longest = self.runs.iter().map(|r| r.len).max().unwrap_or(1);
        let block = longest.next_power_of_two().min(SLACK);
        for (index, channel) in self.channels.clone().enumerate() {
            match block {
                16 => self.gather::<16>(channel),
                8 => self.gather::<8>(channel),
                4 => self.gather::<4>(channel),
                2 => self.gather::<2>(channel),
                _ => self.gather::<1>(channel),
            }
            self.transform(simd, index);
        }
    }
}

/// The matrix products of one panel: (point, row, column).
struct Multiply<'a, T> {
    winograd: &'a Winograd<T>,
    width: usize,
    chunk: usize,
    weights: &'a [T],
    transformed: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let w = self.winograd;
        let (size, registers) = (w.panel * self.width, self.width / w.lanes);
        for point in 0..POINTS {
            let sums = &mut self.sums[point * size..(point + 1) * size];
            for first in (0..w.channels).step_by(self.chunk) {
                let count = self.chunk.min(w.channels - first);
                let piece = (POINTS * first + point * count) * self.width;
                let weights = (point * w.channels + first) * w.panel;
                micro::product_of(
                    simd,
                    (w.panel, registers),
                    &self.weights[weights..weights + count * w.panel],
                    &self.transformed[piece..piece + count * self.width],
                    sums,
                    first == 0,
                );
            }
        }
    }
}

/// A' m A of the products m of one row: the four outputs of every tile.
struct Finish<'a, T> {
    sums: &'a [T],
    size: usize,
    row: usize,
    width: usize,
    outputs: &'a mut [T],
}

impl<T: Real> WithSimd for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = T::lanes::<S>();
        let zero = T::splat(simd, T::ZERO);
        for start in (0..self.width).step_by(lanes) {
            let mut columns = [[zero; 2]; 4];
            for (b, column) in columns.iter_mut().enumerate() {
                let mut products = [zero; 4];
                for (a, product) in products.iter_mut().enumerate() {
                    let at = (4 * a + b) * self.size + self.row * self.width + start;
                    *product = T::as_vectors::<S>(&self.sums[at..at + lanes]).0[0];
                }
                *column = output_line::<T, S>(simd, products);
            }
            for a in 0..2 {
                let [c0, c1, c2, c3] = columns;
                let row = output_line::<T, S>(simd, [c0[a], c1[a], c2[a], c3[a]]);
                for (b, value) in row.into_iter().enumerate() {
                    let at = (2 * a + b) * self.width + start;
                    T::as_vectors_mut::<S>(&mut self.outputs[at..at + lanes]).0[0] = value;
                }
            }
        }
    }
}
