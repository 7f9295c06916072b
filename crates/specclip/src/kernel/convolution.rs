//! One convolution, ready to run: forward, input gradient (the adjoint) and weight gradient.

use std::sync::OnceLock;

use pulp::Arch;
use rayon::prelude::*;

use super::correlation::{Correlation, Layout};
use super::geometry::{AXES, Axis, AxisMap, Geometry, strides};
use super::padding::Padding;
use super::scratch::Pool;
use super::unpacked::Unpacked;
use super::winograd::{self, Winograd};
use crate::Real;
use crate::operator::PaddingMode;

/// A convolution. Its weights are packed for an action when that is asked for the first time: weights that are
/// replaced before they have acted, as in a descent, are not packed for nothing.
#[derive(Clone)]
pub(crate) struct Convolution<T> {
    geometry: Geometry,
    weight: Vec<T>,
    arch: Arch,
    forward: OnceLock<Engine<T>>,
    /// What the weight gradient reads, and how its input is padded.
    layout: Layout,
    input_padding: Padding,
    backward: OnceLock<Engine<T>>,
    back: Backward,
    /// Sums the gradient of the padded input where padding copies samples; zeros need no sum.
    fold: Option<Padding>,
    padded: Pool<Vec<T>>,
}

/// How an action runs.
#[derive(Clone)]
enum Engine<T> {
    /// Correlations of a padded source: one, or for the adjoint one for each residue of the padded
    /// input coordinate modulo the stride.
    Direct(Vec<Correlation<T>>, Padding),
    Winograd(Winograd<T>),
}

impl<T: Real> Engine<T> {
    fn run(&self, batch: usize, padded: &Pool<Vec<T>>, source: &[T], target: &mut [T]) {
        match self {
            Self::Direct(correlations, padding) => with_padded(padded, padding, source, |source| {
                for correlation in correlations {
                    correlation.run(batch, source, target);
                }
            }),
            Self::Winograd(winograd) => {
                with_padded(padded, winograd.padding(), source, |source| {
                    winograd.run(batch, source, target);
                });
            }
        }
    }
}

impl<T: Real> Convolution<T> {
    /// `weight` is row-major (output channel, input channel within the group, taps).
    pub(crate) fn new(geometry: &Geometry, weight: Vec<T>, arch: Arch) -> Self {
        let geometry = geometry.flattened();
        let (layout, input_padding) = forward_layout(&geometry);
        let maps = geometry.axes.each_ref().map(Axis::map);
        let folds = geometry.axes.iter().any(|a| a.mode != PaddingMode::Zeros);
        Self {
            weight,
            arch,
            forward: OnceLock::new(),
            layout,
            input_padding,
            backward: OnceLock::new(),
            back: Backward::new(&geometry),
            fold: folds.then(|| Padding::new(maps, 1)),
            padded: Pool::default(),
            geometry,
        }
    }

    /// The weights, in the order in which they came.
    pub(crate) fn weight(&self) -> &[T] {
        &self.weight
    }

    /// Puts other weights in their place.
    pub(crate) fn set_weight(&mut self, weight: &[T]) {
        self.weight.copy_from_slice(weight);
        (self.forward, self.backward) = (OnceLock::new(), OnceLock::new());
    }

    fn forward_engine(&self) -> &Engine<T> {
        packed(&self.forward, || {
            let (geometry, weight, arch) = (&self.geometry, &self.weight, self.arch);
            match winograd_forward(geometry, weight, arch) {
                Some(winograd) => Engine::Winograd(winograd),
                None => Engine::Direct(
                    vec![forward(geometry, self.layout.clone(), weight, arch)],
                    self.input_padding.clone(),
                ),
            }
        })
    }

    fn backward_engine(&self) -> &Engine<T> {
        packed(&self.backward, || {
            let (geometry, weight, arch) = (&self.geometry, &self.weight, self.arch);
            match winograd_backward(geometry, self.fold.is_some(), weight, arch) {
                Some(winograd) => Engine::Winograd(winograd),
                None => Engine::Direct(
                    self.back.correlations(geometry, weight, arch),
                    self.back.padding.clone(),
                ),
            }
        })
    }

    /// `y` <- M `x` for `batch` images.
    pub(crate) fn forward(&self, batch: usize, x: &[T], y: &mut [T]) {
        self.forward_engine().run(batch, &self.padded, x, y);
    }

    /// `x` <- M' `y` for `batch` images.
    pub(crate) fn input_gradient(&self, batch: usize, y: &[T], x: &mut [T]) {
        match &self.fold {
            None => self.backward_into(batch, y, x),
            Some(fold) => self.padded.with(Vec::new, |gradient| {
                gradient.resize(batch * self.geometry.in_channels * fold.plane(), T::ZERO);
                self.backward_into(batch, y, gradient);
                fold.fold(gradient, x);
            }),
        }
    }

    /// [`forward`](Self::forward) on one image with weights that will not act again: they are not packed.
    pub(crate) fn forward_once(&self, x: &[T], y: &mut [T]) {
        match self.unpacked() {
            None => self.forward(1, x, y),
            Some(unpacked) => with_padded(&self.padded, &self.input_padding, x, |x| {
                unpacked.forward(x, y);
            }),
        }
    }

    /// [`input_gradient`](Self::input_gradient) on one image with weights that will not act again.
    pub(crate) fn input_gradient_once(&self, y: &[T], x: &mut [T]) {
        match self.unpacked() {
            None => self.input_gradient(1, y, x),
            Some(unpacked) if self.input_padding.is_identity() => unpacked.backward(y, x),
            Some(unpacked) => self.padded.with(Vec::new, |padded| {
                let plane = self.input_padding.plane();
                padded.resize(self.geometry.in_channels * plane, T::ZERO);
                unpacked.backward(y, padded);
                self.input_padding.fold(padded, x);
            }),
        }
    }

    fn unpacked(&self) -> Option<Unpacked<'_, T>> {
        Unpacked::new(&self.layout, self.geometry.output_plane(), &self.weight)
    }

    fn backward_into(&self, batch: usize, y: &[T], target: &mut [T]) {
        if self.back.clear {
            target.par_chunks_mut(1 << 14).for_each(|c| c.fill(T::ZERO));
        }
        self.backward_engine().run(batch, &self.padded, y, target);
    }

    /// The gradient of sum_i lambda_i <u_i, M(W) v_i> with respect to the weights.
    pub(crate) fn weight_gradient(&self, lambda: &[T], u: &[T], v: &[T]) -> Vec<T> {
        with_padded(&self.padded, &self.input_padding, v, |v| {
            super::gradient::weight_gradient(&self.geometry, &self.layout, lambda, u, v)
        })
    }
}

/// What is packed, now if it is not yet. No lock is held meanwhile: packing shares out its work among the threads of a pool,
/// and one of them may come here with other work of the same convolution.
fn packed<T>(place: &OnceLock<T>, pack: impl FnOnce() -> T) -> &T {
    if let Some(packed) = place.get() {
        return packed;
    }
    let new = pack();
    place.get_or_init(|| new)
}

/// Whether a convolution is of the one form that Winograd's filtering is written for.
fn is_winograd(g: &Geometry) -> bool {
    let plain = |a: &Axis| a.kernel == 3 && a.stride == 1 && a.dilation == 1;
    g.groups == 1 && g.axes[0] == Axis::UNIT && plain(&g.axes[1]) && plain(&g.axes[2])
}

fn winograd_forward<T: Real>(g: &Geometry, weight: &[T], arch: Arch) -> Option<Winograd<T>> {
    let grid = [g.axes[1].output, g.axes[2].output];
    let channels = (g.in_channels, g.out_channels);
    (is_winograd(g) && winograd::pays(channels.0, channels.1, grid)).then(|| {
        let maps = [g.axes[1].map(), g.axes[2].map()];
        Winograd::new(
            arch,
            channels,
            grid,
            maps.each_ref(),
            |row, channel, a, b| weight[((row * g.in_channels + channel) * 3 + a) * 3 + b],
        )
    })
}

/// The adjoint reads the output through the reversed taps. Where padding is folded afterwards it
/// writes the padded input, else the input, and then the output needs fewer zeros around it.
fn winograd_backward<T: Real>(
    g: &Geometry,
    folds: bool,
    weight: &[T],
    arch: Arch,
) -> Option<Winograd<T>> {
    let axes = [&g.axes[1], &g.axes[2]];
    let fits = |a: &&Axis| folds || a.padding.0.max(a.padding.1) <= 2;
    let grid = axes.map(|a| if folds { a.padded() } else { a.input });
    let channels = (g.out_channels, g.in_channels);
    let pays = winograd::pays(channels.0, channels.1, grid);
    (is_winograd(g) && axes.iter().all(fits) && pays).then(|| {
        let maps =
            axes.map(|a| AxisMap::embed(a.output, if folds { 2 } else { 2 - a.padding.0 }, 2));
        Winograd::new(
            arch,
            channels,
            grid,
            maps.each_ref(),
            |row, channel, a, b| weight[((channel * g.in_channels + row) * 3 + 2 - a) * 3 + 2 - b],
        )
    })
}

/// Runs `work` on the padded planes of `source`, or on `source` itself when nothing is added.
fn with_padded<T: Real, R>(
    pool: &Pool<Vec<T>>,
    padding: &Padding,
    source: &[T],
    work: impl FnOnce(&[T]) -> R,
) -> R {
    if padding.is_identity() {
        return work(source);
    }
    pool.with(Vec::new, |buffer| {
        let planes = source.len() / padding.source_plane();
        // Slack for the block copies of the last tile.
        buffer.resize(planes * padding.plane() + 16, T::ZERO);
        padding.fill(source, &mut buffer[..planes * padding.plane()]);
        work(buffer)
    })
}

fn forward_layout(g: &Geometry) -> (Layout, Padding) {
    let padding = Padding::new(g.axes.each_ref().map(Axis::map), g.axes[2].stride);
    let step = strides(&padding.dims());
    let taps = (0..g.taps())
        .map(|t| {
            let at = g.tap(t);
            let q = |a: usize| at[a] * g.axes[a].dilation;
            q(0) * step[0] + q(1) * step[1] + padding.column(q(2))
        })
        .collect();
    let output = g.axes.each_ref().map(|a| a.output);
    let layout = Layout {
        groups: g.groups,
        channels: g.in_per_group(),
        rows: g.out_per_group(),
        grid: output,
        source_step: [step[0] * g.axes[0].stride, step[1] * g.axes[1].stride, 1],
        taps,
        target_step: strides(&output),
        target_base: 0,
        source_plane: padding.plane(),
        target_plane: g.output_plane(),
    };
    (layout, padding)
}

fn forward<T: Real>(g: &Geometry, layout: Layout, weight: &[T], arch: Arch) -> Correlation<T> {
    let (rows, channels, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
    Correlation::new(layout, arch, |group, row, channel, tap| {
        weight[((group * rows + row) * channels + channel) * taps + tap]
    })
}

/// The residue classes of one axis.
#[derive(Clone)]
struct Phase {
    /// Kernel taps that reach this class, each with the output offset that it reads first.
    taps: Vec<(usize, isize)>,
    count: usize,
    first_target: usize,
}

/// How the adjoint of a convolution reads its zero-padded output.
#[derive(Clone)]
struct Backward {
    phases: [Vec<Phase>; AXES],
    margins: [usize; AXES],
    /// Sizes of the plane that is written: the input, or the padded input where it is folded.
    target: [usize; AXES],
    padding: Padding,
    /// Some input sample is read by no tap: the gradient starts from zeros.
    clear: bool,
}

impl Backward {
    fn new(g: &Geometry) -> Self {
        let folds = g.axes.iter().any(|a| a.mode != PaddingMode::Zeros);
        let mut clear = false;
        let mut margins = [(0, 0); AXES];
        let phases = std::array::from_fn(|i| {
            let axis = &g.axes[i];
            // Where zeros are added nothing is copied: only real samples need a gradient.
            let range = if folds {
                0..axis.padded()
            } else {
                clear |= axis.padding.0 + axis.input > axis.padded();
                axis.padding.0..axis.padded().min(axis.padding.0 + axis.input)
            };
            // A residue beyond the last sample has none.
            let phases: Vec<Phase> = (0..axis.stride.min(axis.padded()))
                .filter_map(|residue| phase(axis, residue, &range))
                .collect();
            for phase in &phases {
                clear |= phase.taps.is_empty();
                for &(_, first) in &phase.taps {
                    let last = first + phase.count as isize;
                    let after = (last - axis.output as isize).max(0) as usize;
                    margins[i].0 = margins[i].0.max(first.min(0).unsigned_abs());
                    margins[i].1 = margins[i].1.max(after);
                }
            }
            phases
        });
        let embed = |i: usize| AxisMap::embed(g.axes[i].output, margins[i].0, margins[i].1);
        let target = |a: &Axis| if folds { a.padded() } else { a.input };
        Self {
            phases,
            margins: margins.map(|m| m.0),
            target: g.axes.each_ref().map(target),
            padding: Padding::new(std::array::from_fn(embed), 1),
            clear,
        }
    }

    fn correlations<T: Real>(&self, g: &Geometry, weight: &[T], arch: Arch) -> Vec<Correlation<T>> {
        let mut all = Vec::new();
        for a in &self.phases[0] {
            for b in &self.phases[1] {
                for c in &self.phases[2] {
                    let phases = [a, b, c];
                    if phases.iter().all(|p| !p.taps.is_empty()) {
                        all.push(self.correlation(g, phases, weight, arch));
                    }
                }
            }
        }
        all
    }

    fn correlation<T: Real>(
        &self,
        g: &Geometry,
        phases: [&Phase; AXES],
        weight: &[T],
        arch: Arch,
    ) -> Correlation<T> {
        let source_step = strides(&self.padding.dims());
        let step = strides(&self.target);
        let kernel = strides(&g.axes.each_ref().map(|a| a.kernel));
        let mut taps = Vec::new();
        let mut offsets = Vec::new();
        for &(t0, o0) in &phases[0].taps {
            for &(t1, o1) in &phases[1].taps {
                for &(t2, o2) in &phases[2].taps {
                    taps.push(t0 * kernel[0] + t1 * kernel[1] + t2);
                    // Not negative: the margins were chosen for that.
                    offsets.push(
                        [o0, o1, o2]
                            .iter()
                            .zip(self.margins)
                            .zip(source_step)
                            .map(|((&o, margin), step)| (margin as isize + o) as usize * step)
                            .sum(),
                    );
                }
            }
        }
        let layout = Layout {
            groups: g.groups,
            channels: g.out_per_group(),
            rows: g.in_per_group(),
            grid: phases.map(|p| p.count),
            source_step,
            taps: offsets,
            target_step: std::array::from_fn(|i| step[i] * g.axes[i].stride),
            target_base: (0..AXES).map(|i| phases[i].first_target * step[i]).sum(),
            source_plane: self.padding.plane(),
            target_plane: self.target.iter().product(),
        };
        let (outs, ins, all) = (g.out_per_group(), g.in_per_group(), g.taps());
        Correlation::new(layout, arch, |group, row, channel, tap| {
            weight[((group * outs + channel) * ins + row) * all + taps[tap]]
        })
    }
}

/// The padded samples of `range` with this residue modulo the stride; none where there is none.
fn phase(axis: &Axis, residue: usize, range: &std::ops::Range<usize>) -> Option<Phase> {
    let stride = axis.stride;
    let first = range.start + (residue + stride - range.start % stride) % stride;
    if first >= range.end {
        return None;
    }
    let taps = (0..axis.kernel)
        .filter(|t| t * axis.dilation % stride == residue % stride)
        .map(|t| {
            let distance = first as isize - (t * axis.dilation) as isize;
            (t, distance / stride as isize)
        })
        .collect();
    Some(Phase {
        taps,
        count: (range.end - first).div_ceil(stride),
        first_target: first - range.start,
    })
}
