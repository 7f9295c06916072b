//! A correlation over a regular grid as a tiled matrix product, spread over threads.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::{AXES, unravel};
use super::micro;
use super::scratch::Pool;
use crate::Real;

/// A packed tile should stay in the second-level cache: this many bytes, of the 512 kB to 2 MB
/// that processors have.
const TILE_BYTES: usize = 320 * 1024;

/// Elements that a thread packs at a time, at least.
const PACKED: usize = 1 << 14;

/// Elements that block copies may write past the end of a tile.
pub(super) const SLACK: usize = 16;

/// Where a correlation reads and writes, without its weights.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) groups: usize,
    /// Source channels of a group.
    pub(crate) channels: usize,
    /// Target channels of a group.
    pub(crate) rows: usize,
    /// Points of the grid.
    pub(crate) grid: [usize; AXES],
    /// Source offset of a grid step; along the last axis it is 1.
    pub(crate) source_step: [usize; AXES],
    /// Source offset of each tap.
    pub(crate) taps: Vec<usize>,
    pub(crate) target_step: [usize; AXES],
    /// Target offset of the first grid point.
    pub(crate) target_base: usize,
    /// Samples of one channel.
    pub(crate) source_plane: usize,
    pub(crate) target_plane: usize,
}

impl Layout {
    fn positions(&self) -> usize {
        self.grid.iter().product()
    }
    fn depth(&self) -> usize {
        self.channels * self.taps.len()
    }
}

/// A correlation with its weights packed for the processor that runs.
#[derive(Clone)]
pub(crate) struct Correlation<T> {
    layout: Layout,
    arch: Arch,
    /// Scalars in a register.
    lanes: usize,
    /// Registers of source samples in a tile, at most.
    widest: usize,
    /// Rows of a panel of weights: 1, 2, 4, 6 or 8.
    panel: usize,
    panels: usize,
    /// For each group and panel: `depth` rows of `panel` weights.
    weights: Vec<T>,
    work: Pool<Work<T>>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Work<T> {
    tile: Vec<T>,
    sums: Vec<T>,
    runs: Vec<Run>,
}

/// Neighbouring columns of a tile that are neighbours in the source.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    column: usize,
    len: usize,
    source: usize,
    target: usize,
}

/// Shared access to a target of which every thread writes its own elements.
pub(super) struct Target<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: threads share the pointer only to write disjoint elements (see `Target::write`).
unsafe impl<T: Send> Sync for Target<'_, T> {}

impl<'a, T: Real> Target<'a, T> {
    pub(super) fn new(target: &'a mut [T]) -> Self {
        Self {
            start: target.as_mut_ptr(),
            len: target.len(),
            lifetime: PhantomData,
        }
    }

    /// Writes `values` at every `step`-th element from `first` on.
    ///
    /// # Safety
    /// No other thread may write or read the same elements while the target is shared.
    #[inline(always)]
    pub(super) unsafe fn write(&self, first: usize, step: usize, values: &[T]) {
        assert!(values.is_empty() || first + (values.len() - 1) * step < self.len);
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: in bounds by the assertion; unshared by the caller's promise.
            unsafe { self.start.add(first + i * step).write(value) };
        }
    }
}

/// The number of scalars in a register.
struct CountLanes<T>(PhantomData<T>);

/// How the innermost product is cut for a processor.
pub(super) struct Cut {
    /// Scalars in a register.
    pub(super) lanes: usize,
    /// Rows of a panel, at most.
    pub(super) rows: usize,
    /// Registers of a tile, at most.
    pub(super) registers: usize,
}

impl Cut {
    /// Sums, a row of samples and a weight must fit in the registers: AVX-512 and NEON have 32, AVX2
    /// has 16. (Four rows of three need all 16, and the compiler spills two.)
    pub(super) fn new<T: Real>(arch: Arch) -> Self {
        let lanes = arch.dispatch(CountLanes::<T>(PhantomData));
        let (rows, registers) = if lanes * size_of::<T>() == 32 {
            (6, 2)
        } else {
            (8, 3)
        };
        Self {
            lanes,
            rows,
            registers,
        }
    }
}

impl<T: Real> WithSimd for CountLanes<T> {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        T::lanes::<S>()
    }
}

impl<T: Real> Correlation<T> {
    /// Packs `weight(group, row, channel, tap)`.
    pub(crate) fn new(
        layout: Layout,
        arch: Arch,
        weight: impl Fn(usize, usize, usize, usize) -> T + Sync,
    ) -> Self {
        let cut = Cut::new::<T>(arch);
        let panel = layout.rows.next_power_of_two().min(cut.rows);
        let panels = layout.rows.div_ceil(panel);
        let (taps, depth) = (layout.taps.len(), layout.depth());
        let mut weights = vec![T::ZERO; layout.groups * panels * depth * panel];
        let pack = |(i, target): (usize, &mut [T])| {
            let (group, first) = (i / panels, i % panels * panel);
            let rows = panel.min(layout.rows - first);
            for (k, target) in target.chunks_exact_mut(panel).enumerate() {
                let (channel, tap) = (k / taps, k % taps);
                for (row, at) in target[..rows].iter_mut().enumerate() {
                    *at = weight(group, first + row, channel, tap);
                }
            }
        };
        let blocks = weights.par_chunks_exact_mut((depth * panel).max(1));
        blocks
            .with_min_len(PACKED.div_ceil(depth * panel + 1))
            .enumerate()
            .for_each(pack);
        Self {
            layout,
            arch,
            lanes: cut.lanes,
            widest: cut.registers,
            panel,
            panels,
            weights,
            work: Pool::default(),
        }
    }

    /// Overwrites, in `target`, the grid points of `batch` images with the correlation of `source`.
    pub(crate) fn run(&self, batch: usize, source: &[T], target: &mut [T]) {
        let columns = batch * self.layout.positions();
        if columns == 0 || self.layout.rows == 0 {
            return;
        }
        let threads = rayon::current_num_threads();
        let target = Target::new(target);
        let widest = self.widest * self.lanes;
        let tiles = columns.div_ceil(widest);
        // Few tiles would leave threads idle: then the rows are shared out instead.
        if tiles.is_multiple_of(threads)
            || tiles >= 4 * threads
            || self.layout.groups > 1
            || threads == 1
        {
            self.run_by_tiles(columns, tiles, source, &target);
        } else {
            self.run_by_panels(columns, tiles, source, &target);
        }
    }

    /// Registers of a tile when `columns` are cut into `tiles`.
    fn registers(&self, columns: usize, tiles: usize) -> usize {
        columns.div_ceil(tiles * self.lanes)
    }

    fn run_by_tiles(&self, columns: usize, tiles: usize, source: &[T], target: &Target<'_, T>) {
        let registers = self.registers(columns, tiles);
        let width = registers * self.lanes;
        let job = |job: usize| {
            let (group, first) = (job / tiles, (job % tiles) * width);
            if first < columns {
                self.work.with(Work::default, |work| {
                    self.arch.dispatch(Tile {
                        correlation: self,
                        group,
                        registers,
                        columns: first..columns.min(first + width),
                        source,
                        target,
                        work,
                    });
                });
            }
        };
        let jobs = self.layout.groups * tiles;
        if jobs == 1 {
            job(0);
        } else {
            (0..jobs).into_par_iter().for_each(job);
        }
    }

    /// One packed copy of all tiles, then each thread multiplies some of the panels of rows.
    fn run_by_panels(&self, columns: usize, tiles: usize, source: &[T], target: &Target<'_, T>) {
        let registers = self.registers(columns, tiles);
        let width = registers * self.lanes;
        let tiles = columns.div_ceil(width);
        let packed = self.layout.depth() * width + SLACK;
        self.work.with(Work::default, |all| {
            all.tile.resize(packed * tiles, T::ZERO);
            let pack = |(tile, buffer): (usize, &mut [T])| {
                self.work.with(Work::default, |work| {
                    let columns = tile * width..columns.min((tile + 1) * width);
                    self.find_runs(columns, &mut work.runs);
                    self.arch.dispatch(Pack {
                        correlation: self,
                        group: 0,
                        channels: 0..self.layout.channels,
                        width,
                        runs: &work.runs,
                        source,
                        buffer,
                    });
                });
            };
            all.tile
                .par_chunks_exact_mut(packed)
                .enumerate()
                .for_each(pack);
            let packed_tiles = &all.tile;
            (0..self.panels).into_par_iter().for_each(|panel| {
                self.work.with(Work::default, |work| {
                    for (tile, buffer) in packed_tiles.chunks_exact(packed).enumerate() {
                        self.find_runs(
                            tile * width..columns.min((tile + 1) * width),
                            &mut work.runs,
                        );
                        work.sums.resize(self.panel * width, T::ZERO);
                        self.arch.dispatch(Multiply {
                            shape: (self.panel, registers),
                            weights: self.panel_weights(0, panel),
                            tile: &buffer[..packed - SLACK],
                            sums: &mut work.sums,
                            first: true,
                        });
                        self.store(0, panel, width, &work.sums, &work.runs, target);
                    }
                });
            });
        });
    }

    fn panel_weights(&self, group: usize, panel: usize) -> &[T] {
        let size = self.layout.depth() * self.panel;
        let start = (group * self.panels + panel) * size;
        &self.weights[start..start + size]
    }

    /// Cuts columns (grid points of all images, row by row) into runs.
    fn find_runs(&self, columns: Range<usize>, runs: &mut Vec<Run>) {
        let l = &self.layout;
        let positions = l.positions();
        runs.clear();
        let mut column = columns.start;
        while column < columns.end {
            let (image, position) = (column / positions, column % positions);
            let at = unravel(position, &l.grid);
            let len = (l.grid[2] - at[2]).min(columns.end - column);
            let offset = |step: &[usize; AXES]| at[0] * step[0] + at[1] * step[1] + at[2] * step[2];
            runs.push(Run {
                column: column - columns.start,
                len,
                source: image * l.groups * l.channels * l.source_plane + offset(&l.source_step),
                target: image * l.groups * l.rows * l.target_plane
                    + l.target_base
                    + offset(&l.target_step),
            });
            column += len;
        }
    }

    /// Packs the source samples of `channels` for all taps: one row of `width` for each.
    #[inline(always)]
    fn pack<const BLOCK: usize>(
        &self,
        group: usize,
        channels: Range<usize>,
        width: usize,
        runs: &[Run],
        source: &[T],
        buffer: &mut [T],
    ) {
        let l = &self.layout;
        let mut start = 0;
        for channel in channels {
            let plane = &source[(group * l.channels + channel) * l.source_plane..];
            for &tap in &l.taps {
                let row = &mut buffer[start..start + width + SLACK];
                for run in runs {
                    // Whole blocks, even beyond the run: what they overwrite is written later.
                    for i in (0..run.len).step_by(BLOCK) {
                        row[run.column + i..][..BLOCK]
                            .copy_from_slice(&plane[tap + run.source + i..][..BLOCK]);
                    }
                }
                start += width;
            }
        }
    }

    /// The block size of [`pack`](Self::pack): as long as runs are, unless that would read past
    /// the end of the source.
    fn block(
        &self,
        group: usize,
        channels: &Range<usize>,
        runs: &[Run],
        source_len: usize,
    ) -> usize {
        let l = &self.layout;
        let longest = runs.iter().map(|r| r.len).max().unwrap_or(1);
        let block = longest.next_power_of_two().min(SLACK);
        let last_plane = (group * l.channels + channels.end - 1) * l.source_plane;
        let last_tap = l.taps.iter().max().copied().unwrap_or(0);
        let last_run = runs.iter().map(|r| r.source + r.len).max().unwrap_or(0);
        if last_plane + last_tap + last_run + block <= source_len {
            block
        } else {
            1
        }
    }

    fn store(
        &self,
        group: usize,
        panel: usize,
        width: usize,
        sums: &[T],
        runs: &[Run],
        target: &Target<'_, T>,
    ) {
        let l = &self.layout;
        let first = panel * self.panel;
        for (row, sums) in (first..l.rows).zip(sums.chunks_exact(width)) {
            let plane = (group * l.rows + row) * l.target_plane;
            for run in runs {
                let values = &sums[run.column..run.column + run.len];
                // SAFETY: a job owns its group's panel of rows at its tile's grid points.
                unsafe { target.write(plane + run.target, l.target_step[2], values) };
            }
        }
    }
}

/// Packs one tile and multiplies it with every panel of a group.
struct Tile<'a, 'b, T> {
    correlation: &'a Correlation<T>,
    group: usize,
    registers: usize,
    columns: Range<usize>,
    source: &'a [T],
    target: &'a Target<'b, T>,
    work: &'a mut Work<T>,
}

impl<T: Real> WithSimd for Tile<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (c, work) = (self.correlation, self.work);
        let (l, width) = (&c.layout, self.registers * c.lanes);
        c.find_runs(self.columns, &mut work.runs);
        let channel_bytes = l.taps.len().max(1) * width * size_of::<T>();
        let channels = (TILE_BYTES / channel_bytes).clamp(1, l.channels);
        let blocks = l.channels.div_ceil(channels);
        let sums_size = c.panel * width;
        work.tile
            .resize(channels * l.taps.len() * width + SLACK, T::ZERO);
        work.sums
            .resize(sums_size * if blocks > 1 { c.panels } else { 1 }, T::ZERO);
        for block in 0..blocks {
            let range = block * channels..l.channels.min((block + 1) * channels);
            let rows = range.start * l.taps.len()..range.end * l.taps.len();
            Pack {
                correlation: c,
                group: self.group,
                channels: range,
                width,
                runs: &work.runs,
                source: self.source,
                buffer: &mut work.tile,
            }
            .with_simd(simd);
            for panel in 0..c.panels {
                let at = if blocks > 1 { panel * sums_size } else { 0 };
                let sums = &mut work.sums[at..at + sums_size];
                micro::product_of(
                    simd,
                    (c.panel, self.registers),
                    &c.panel_weights(self.group, panel)[rows.start * c.panel..rows.end * c.panel],
                    &work.tile[..rows.len() * width],
                    sums,
                    block == 0,
                );
                if block + 1 == blocks {
                    c.store(self.group, panel, width, sums, &work.runs, self.target);
                }
            }
        }
    }
}

/// Packs one tile.
struct Pack<'a, T> {
    correlation: &'a Correlation<T>,
    group: usize,
    channels: Range<usize>,
    width: usize,
    runs: &'a [Run],
    source: &'a [T],
    buffer: &'a mut [T],
}

impl<T: Real> WithSimd for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let c = self.correlation;
        let block = c.block(self.group, &self.channels, self.runs, self.source.len());
        macro_rules! pack {
            ($block:literal) => {
                c.pack::<$block>(
                    self.group,
                    self.channels,
                    self.width,
                    self.runs,
                    self.source,
                    self.buffer,
                )
            };
        }
        match block {
            16 => pack!(16),
            8 => pack!(8),
            4 => pack!(4),
            2 => pack!(2),
            _ => pack!(1),
        }
    }
}

/// Multiplies one panel with one packed tile.
struct Multiply<'a, T> {
    shape: (usize, usize),
    weights: &'a [T],
    tile: &'a [T],
    sums: &'a mut [T],
    first: bool,
}

impl<T: Real> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        micro::product_of(
            simd,
            self.shape,
            self.weights,
            self.tile,
            self.sums,
            self.first,
        );
    }
}
