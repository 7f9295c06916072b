//! Row-major arrays: strides, and the element order of transposed, sliced and broadcast views.

use crate::input::element_count;

/// How many elements apart neighbours along each axis are.
fn row_major(dims: &[usize]) -> Vec<isize> {
    let mut strides = vec![1_isize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis] as isize);
    }
    strides
}

/// A way to read an array: element (i, j, ...) of the view is element `base + i strides[0] + j strides[1] + ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub dims: Vec<usize>,
    strides: Vec<isize>,
    base: isize,
}

impl View {
    /// The elements of the view in row-major order. Elements outside `source` are left out, so that a wrong view
    /// gives a short answer and not a panic.
    pub(crate) fn read<T: Clone>(&self, source: &[T]) -> Vec<T> {
        let mut elements = Vec::with_capacity(element_count(&self.dims).unwrap_or(0));
        self.push(source, 0, self.base, &mut elements);
        elements
    }

    fn push<T: Clone>(&self, source: &[T], axis: usize, start: isize, elements: &mut Vec<T>) {
        let Some(&n) = self.dims.get(axis) else {
            elements.extend(
                usize::try_from(start)
                    .ok()
                    .and_then(|i| source.get(i))
                    .cloned(),
            );
            return;
        };
        let stride = self.strides[axis];
        let mut at = start;
        for _ in 0..n {
            self.push(source, axis + 1, at, elements);
            at = at.wrapping_add(stride);
        }
    }
}

/// The strides with which an array of `dims` is read when it is broadcast to `target`; `None` when it cannot be.
fn broadcast_strides(dims: &[usize], target: &[usize]) -> Option<Vec<isize>> {
    let missing = target.len().checked_sub(dims.len())?;
    let mut strides = vec![0; missing];
    for ((&n, &t), stride) in dims.iter().zip(&target[missing..]).zip(row_major(dims)) {
        match n {
            _ if n == t => strides.push(stride),
            1 => strides.push(0),
            _ => return None,
        }
    }
    Some(strides)
}

/// The view of an array of `dims` broadcast to `target`; `None` when it cannot be.
pub(crate) fn broadcast(dims: &[usize], target: &[usize]) -> Option<View> {
    Some(View {
        strides: broadcast_strides(dims, target)?,
        dims: target.to_vec(),
        base: 0,
    })
}

/// One axis of a slice: first index, step and number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: usize,
    pub step: isize,
    pub count: usize,
}

impl Range {
    /// A whole axis of `n` elements.
    pub(crate) fn all(n: usize) -> Self {
        Self {
            start: 0,
            step: 1,
            count: n,
        }
    }

    /// ONNX's and Python's rule for `start:end:step` on an axis of `n` elements; `None` for a step of 0.
    pub(crate) fn clamp(start: i64, end: i64, step: i64, n: usize) -> Option<Self> {
        let n = i64::try_from(n).ok()?;
        let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        // With a negative step the start is clamped to a real element, the end to one before the first.
        let start = from_end(start).clamp(low.max(0), high.max(0));
        let end = from_end(end).clamp(low, high);
        let count = match step {
            0 => return None,
            _ if n == 0 => 0,
            1.. => (end - start)
                .max(0)
                .unsigned_abs()
                .div_ceil(step.unsigned_abs()),
            _ => (start - end)
                .max(0)
                .unsigned_abs()
                .div_ceil(step.unsigned_abs()),
        };
        Some(Self {
            start: usize::try_from(start).ok()?,
            step: isize::try_from(step).ok()?,
            count: usize::try_from(count).ok()?,
        })
    }
}

/// The view that takes `ranges` of an array of `dims`.
pub(crate) fn slice(dims: &[usize], ranges: &[Range]) -> View {
    let strides = row_major(dims);
    let base = ranges
        .iter()
        .zip(&strides)
        .map(|(r, s)| r.start as isize * s)
        .sum();
    let steps: Vec<isize> = ranges
        .iter()
        .zip(&strides)
        .map(|(r, s)| r.step.saturating_mul(*s))
        .collect();
    View {
        dims: ranges.iter().map(|r| r.count).collect(),
        strides: steps,
        base,
    }
}

/// The view that permutes the axes of an array of `dims`: axis `i` of the view is axis `perm[i]`.
pub(crate) fn transpose(dims: &[usize], perm: &[usize]) -> View {
    let strides = row_major(dims);
    View {
        dims: perm.iter().map(|&p| dims[p]).collect(),
        strides: perm.iter().map(|&p| strides[p]).collect(),
        base: 0,
    }
}

/// Joins arrays along `axis`. `parts` have equal dimensions on every other axis.
pub(crate) fn concat<T: Clone>(parts: &[(&[usize], &[T])], axis: usize) -> Vec<T> {
    let Some((first, _)) = parts.first() else {
        return Vec::new();
    };
    let outer: usize = first[..axis].iter().product();
    let mut joined = Vec::with_capacity(parts.iter().map(|(_, data)| data.len()).sum());
    for i in 0..outer {
        for (_, data) in parts {
            let block = data.len() / outer;
            joined.extend_from_slice(&data[i * block..(i + 1) * block]);
        }
    }
    joined
}
