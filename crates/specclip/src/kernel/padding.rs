//! Copies planes into padded buffers, and folds gradients of padded planes back.

use rayon::prelude::*;

use super::geometry::{AXES, AxisMap};
use crate::Real;

/// How a plane of samples is padded and laid out.
///
/// With a stride s > 1 along the last axis, a padded row is stored as s sub-rows of every s-th
/// sample (its polyphase components): the samples that a tap reads for neighbouring outputs are
/// then neighbours in memory.
#[derive(Debug, Clone)]
pub(crate) struct Padding {
    maps: [AxisMap; AXES],
    phases: usize,
}

impl Padding {
    pub(crate) fn new(maps: [AxisMap; AXES], phases: usize) -> Self {
        Self { maps, phases }
    }

    /// Whether the padded plane is the plane itself.
    pub(crate) fn is_identity(&self) -> bool {
        self.phases == 1 && self.maps.iter().all(AxisMap::is_identity)
    }

    /// Samples of a source plane.
    pub(crate) fn source_plane(&self) -> usize {
        self.maps.iter().map(|m| m.input).product()
    }

    /// Sizes of the stored padded plane; the last holds all sub-rows.
    pub(crate) fn dims(&self) -> [usize; AXES] {
        [
            self.maps[0].len(),
            self.maps[1].len(),
            self.sub_row() * self.phases,
        ]
    }

    pub(crate) fn plane(&self) -> usize {
        self.dims().iter().product()
    }

    /// Length of one sub-row.
    pub(crate) fn sub_row(&self) -> usize {
        self.maps[2].len().div_ceil(self.phases)
    }

    /// Where padded sample `q` of the last axis lies in its row.
    pub(crate) fn column(&self, q: usize) -> usize {
        (q % self.phases) * self.sub_row() + q / self.phases
    }

    /// Writes the padded planes of `source` into `target`; both hold whole planes.
    pub(crate) fn fill<T: Real>(&self, source: &[T], target: &mut [T]) {
        target
            .par_chunks_exact_mut(self.plane())
            .zip(source.par_chunks_exact(self.source_plane()))
            .for_each(|(target, source)| self.fill_plane(source, target));
    }

    fn fill_plane<T: Real>(&self, source: &[T], target: &mut [T]) {
        let width = self.maps[2].input;
        let rows = target.chunks_exact_mut(self.sub_row() * self.phases);
        for (row, target) in rows.enumerate() {
            let (i, j) = (row / self.maps[1].len(), row % self.maps[1].len());
            match (self.maps[0].source[i], self.maps[1].source[j]) {
                (Some(i), Some(j)) => {
                    let start = (i * self.maps[1].input + j) * width;
                    self.fill_row(&source[start..start + width], target);
                }
                _ => target.fill(T::ZERO),
            }
        }
    }

    fn fill_row<T: Real>(&self, source: &[T], target: &mut [T]) {
        let map = &self.maps[2];
        if self.phases == 1 {
            let run = map.end - map.start;
            target[map.start..map.end].copy_from_slice(&source[map.first..map.first + run]);
            for q in (0..map.start).chain(map.end..map.len()) {
                target[q] = map.source[q].map_or(T::ZERO, |i| source[i]);
            }
        } else {
            let sub_rows = target.chunks_exact_mut(self.sub_row());
            for (phase, sub_row) in sub_rows.enumerate() {
                // The run of neighbours is read without looking each of them up.
                let start = map.start.saturating_sub(phase).div_ceil(self.phases);
                let end = map
                    .end
                    .saturating_sub(phase)
                    .div_ceil(self.phases)
                    .max(start);
                let first = map.first + start * self.phases + phase;
                let run = source.get(first - map.start..).unwrap_or_default();
                let run = run.iter().step_by(self.phases);
                for (t, &s) in sub_row[start..end].iter_mut().zip(run) {
                    *t = s;
                }
                for k in (0..start).chain(end..sub_row.len()) {
                    let place = map.source.get(k * self.phases + phase).copied().flatten();
                    sub_row[k] = place.map_or(T::ZERO, |i| source[i]);
                }
            }
        }
    }

    /// The adjoint of [`fill`](Self::fill): overwrites `source` with the sums of the padded samples
    /// that copy each source sample.
    pub(crate) fn fold<T: Real>(&self, padded: &[T], source: &mut [T]) {
        source
            .par_chunks_exact_mut(self.source_plane())
            .zip(padded.par_chunks_exact(self.plane()))
            .for_each(|(source, padded)| self.fold_plane(padded, source));
    }

    fn fold_plane<T: Real>(&self, padded: &[T], source: &mut [T]) {
        source.fill(T::ZERO);
        let map = &self.maps[2];
        let width = map.input;
        let rows = padded.chunks_exact(self.sub_row() * self.phases);
        for (row, padded) in rows.enumerate() {
            let (i, j) = (row / self.maps[1].len(), row % self.maps[1].len());
            let (Some(i), Some(j)) = (self.maps[0].source[i], self.maps[1].source[j]) else {
                continue;
            };
            let start = (i * self.maps[1].input + j) * width;
            let target = &mut source[start..start + width];
            for (q, i) in map.source.iter().enumerate() {
                if let Some(i) = i {
                    target[*i] += padded[self.column(q)];
                }
            }
        }
    }
}
