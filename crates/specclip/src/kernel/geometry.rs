//! Sizes and index maps of a convolution, axis by axis.

use crate::error::{Error, checked_product};
use crate::operator::PaddingMode;

/// Convolutions have at most this many spatial axes; fewer are padded in front with axes of size 1.
pub(crate) const AXES: usize = 3;

/// One spatial axis of a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    /// Input samples.
    pub(crate) input: usize,
    /// Kernel taps.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Samples added before the first and after the last.
    pub(crate) padding: (usize, usize),
    pub(crate) mode: PaddingMode,
    /// Output samples.
    pub(crate) output: usize,
}

impl Axis {
    /// An axis of size 1 that changes nothing.
    pub(crate) const UNIT: Self = Self {
        input: 1,
        kernel: 1,
        stride: 1,
        dilation: 1,
        padding: (0, 0),
        mode: PaddingMode::Zeros,
        output: 1,
    };

    /// The same axis with a stride that is no longer than it takes to leave the padded input: there
    /// is one output then, and the stride does not act.
    pub(crate) fn with_least_stride(self) -> Self {
        let beyond = self.input + self.padding.0 + self.padding.1 + 1;
        Self {
            stride: self.stride.min(beyond),
            ..self
        }
    }

    /// Samples from the first to the last tap, both included.
    pub(crate) fn extent(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Samples of the padded input that are read.
    pub(crate) fn padded(&self) -> usize {
        (self.output - 1) * self.stride + self.extent()
    }

    /// The input sample behind a sample of the padded input; none where a zero was added.
    pub(crate) fn source(&self, padded: usize) -> Option<usize> {
        source(self.input, self.padding.0, self.mode, padded)
    }

    /// How often the most used input sample is read through one tap.
    pub(crate) fn most_reads(&self) -> usize {
        let mut reads = vec![0; self.input];
        for o in 0..self.output {
            if let Some(i) = self.source(o * self.stride) {
                reads[i] += 1;
            }
        }
        reads.into_iter().max().unwrap_or(0)
    }

    /// For every sample of the padded input that is read, the input sample behind it.
    pub(crate) fn map(&self) -> AxisMap {
        AxisMap::new(
            self.input,
            (0..self.padded()).map(|q| self.source(q)).collect(),
        )
    }

    /// How many outputs read, through taps `a` and `b`, the same input sample.
    pub(crate) fn coincidences(&self, a: usize, b: usize) -> usize {
        (0..self.output)
            .filter(|&o| {
                let left = self.source(o * self.stride + a * self.dilation);
                left.is_some() && left == self.source(o * self.stride + b * self.dilation)
            })
            .count()
    }
}

/// The input sample that padding puts at position `padded`.
pub(crate) fn source(
    input: usize,
    before: usize,
    mode: PaddingMode,
    padded: usize,
) -> Option<usize> {
    if let Some(i) = padded.checked_sub(before)
        && i < input
    {
        return Some(i);
    }
    match mode {
        PaddingMode::Zeros => None,
        // Modular arithmetic without negative numbers.
        PaddingMode::Circular => Some((padded + (input - before % input)) % input),
        PaddingMode::Replicate => Some(padded.saturating_sub(before).min(input - 1)),
        PaddingMode::Reflect if padded < before => Some(before - padded),
        PaddingMode::Reflect => Some(2 * (input - 1) - (padded - before)),
    }
}

/// Refuses padding that a mode cannot give.
pub(crate) fn check_padding(
    operation: &'static str,
    axis: usize,
    input: usize,
    padding: (usize, usize),
    mode: PaddingMode,
) -> Result<(), Error> {
    let most = padding.0.max(padding.1);
    if mode == PaddingMode::Reflect && most >= input {
        return Err(Error::invalid(
            operation,
            format!(
                "reflect padding {most} on spatial axis {axis} needs more than {most} samples, \
                 found {input}; use less padding or another mode"
            ),
        ));
    }
    checked_product(operation, &[input, 2])?;
    input
        .checked_add(padding.0)
        .and_then(|n| n.checked_add(padding.1))
        .filter(|&n| n <= isize::MAX as usize / 16)
        .map(|_| ())
        .ok_or_else(|| Error::TooLarge {
            operation,
            dimensions: vec![input, padding.0, padding.1],
        })
}

/// Refuses an axis whose padded samples could not even be counted out in memory.
pub(crate) fn check_padded(
    operation: &'static str,
    index: usize,
    axis: &Axis,
) -> Result<(), Error> {
    const MOST: usize = 1 << 28;
    let last = (axis.output - 1).checked_mul(axis.stride);
    match last.and_then(|last| last.checked_add(axis.extent())) {
        Some(padded) if padded <= MOST && axis.input <= MOST => Ok(()),
        _ => Err(Error::invalid(
            operation,
            format!(
                "spatial axis {index} reads more than {MOST} samples ({} of the input, stride {}, \
                 padding {:?})",
                axis.input, axis.stride, axis.padding
            ),
        )),
    }
}

/// For every sample of a padded axis, the source sample.
#[derive(Debug, Clone)]
pub(crate) struct AxisMap {
    /// Samples of the source.
    pub(crate) input: usize,
    pub(crate) source: Vec<Option<usize>>,
    /// Padded samples `start..end` are source samples `first..`, one for one.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) first: usize,
}

impl AxisMap {
    pub(crate) fn new(input: usize, source: Vec<Option<usize>>) -> Self {
        // The longest run of consecutive sources is copied as a block.
        let (mut best, mut start) = (0..0, 0);
        for q in 1..=source.len() {
            let joined = q < source.len()
                && matches!((source[q - 1], source[q]), (Some(a), Some(b)) if b == a + 1);
            if !joined {
                if q - start > best.len() && source[start].is_some() {
                    best = start..q;
                }
                start = q;
            }
        }
        let first = source.get(best.start).copied().flatten().unwrap_or(0);
        Self {
            input,
            start: best.start,
            end: best.end,
            first,
            source,
        }
    }

    /// A source surrounded by zeros.
    pub(crate) fn embed(input: usize, before: usize, after: usize) -> Self {
        let padded = before + input + after;
        Self::new(
            input,
            (0..padded)
                .map(|q| q.checked_sub(before).filter(|&i| i < input))
                .collect(),
        )
    }

    /// The same map, cut or followed by zeros to a length of `len`.
    pub(crate) fn resized(&self, len: usize) -> Self {
        let mut source = self.source.clone();
        source.resize(len, None);
        Self::new(self.input, source)
    }

    pub(crate) fn len(&self) -> usize {
        self.source.len()
    }

    pub(crate) fn is_identity(&self) -> bool {
        self.start == 0 && self.end == self.len() && self.len() == self.input
    }
}

/// The whole shape of a convolution: channels, groups and axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Geometry {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    pub(crate) axes: [Axis; AXES],
}

impl Geometry {
    pub(crate) fn input_plane(&self) -> usize {
        self.axes.iter().map(|a| a.input).product()
    }
    pub(crate) fn output_plane(&self) -> usize {
        self.axes.iter().map(|a| a.output).product()
    }
    pub(crate) fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }
    pub(crate) fn in_per_group(&self) -> usize {
        self.in_channels / self.groups
    }
    pub(crate) fn out_per_group(&self) -> usize {
        self.out_channels / self.groups
    }
    /// Weights of the convolution.
    pub(crate) fn weights(&self) -> usize {
        self.out_channels * self.in_per_group() * self.taps()
    }
    /// One of several groups as a convolution of its own.
    pub(crate) fn group(&self) -> Option<Self> {
        (self.groups > 1).then(|| Self {
            in_channels: self.in_per_group(),
            out_channels: self.out_per_group(),
            groups: 1,
            ..self.clone()
        })
    }

    /// The coordinates of tap `t`, counted row by row.
    pub(crate) fn tap(&self, t: usize) -> [usize; AXES] {
        unravel(t, &self.axes.each_ref().map(|a| a.kernel))
    }

    /// The same linear map with spatial axes merged where the convolution is pointwise, so that
    /// runs of positions are as long as they can be.
    pub(crate) fn flattened(&self) -> Self {
        let pointwise = |a: &Axis| a.kernel == 1 && a.stride == 1 && a.padding == (0, 0);
        if !self.axes.iter().all(pointwise) || self.axes.iter().any(|a| a.input != a.output) {
            return self.clone();
        }
        let plane = self.input_plane();
        Self {
            axes: [
                Axis::UNIT,
                Axis::UNIT,
                Axis {
                    input: plane,
                    output: plane,
                    ..Axis::UNIT
                },
            ],
            ..*self
        }
    }
}

/// The coordinates of a row-major index.
pub(crate) fn unravel(index: usize, dims: &[usize; AXES]) -> [usize; AXES] {
    let last = index % dims[2];
    let rest = index / dims[2];
    [rest / dims[1], rest % dims[1], last]
}

/// The row-major strides of a plane.
pub(crate) fn strides(dims: &[usize; AXES]) -> [usize; AXES] {
    [dims[1] * dims[2], dims[2], 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(input: usize, before: usize, after: usize, mode: PaddingMode) -> Vec<Option<usize>> {
        (0..before + input + after)
            .map(|q| source(input, before, mode, q))
            .collect()
    }

    #[test]
    fn padding_modes_follow_their_definitions() {
        let some = |v: &[usize]| v.iter().map(|&i| Some(i)).collect::<Vec<_>>();
        assert_eq!(
            padded(2, 1, 1, PaddingMode::Zeros),
            [None, Some(0), Some(1), None]
        );
        assert_eq!(
            padded(3, 2, 2, PaddingMode::Circular),
            some(&[1, 2, 0, 1, 2, 0, 1])
        );
        assert_eq!(
            padded(3, 4, 0, PaddingMode::Circular),
            some(&[2, 0, 1, 2, 0, 1, 2])
        );
        assert_eq!(
            padded(3, 2, 2, PaddingMode::Reflect),
            some(&[2, 1, 0, 1, 2, 1, 0])
        );
        assert_eq!(
            padded(3, 1, 2, PaddingMode::Replicate),
            some(&[0, 0, 1, 2, 2, 2])
        );
    }

    #[test]
    fn longest_run_is_found() {
        let map = AxisMap::new(3, padded(3, 2, 2, PaddingMode::Reflect));
        assert_eq!((map.start, map.end, map.first), (2, 5, 0));
        assert!(AxisMap::new(3, padded(3, 0, 0, PaddingMode::Zeros)).is_identity());
    }
}
