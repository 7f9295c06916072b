//! What a layer may cost. A file of a few bytes can ask for any amount of memory and time; these limits are far beyond what
//! networks have.

use crate::input::element_count;
use crate::spec::{Padding, Spec};

/// Elements of an input, an output, or an array between the two: one vector would fill gigabytes.
const LARGEST: usize = 1 << 30;
/// Samples along all spatial axes together, with padding: operators keep lists for every axis.
const LONGEST: usize = 1 << 22;
/// Taps of a kernel: the Frobenius norm looks at all pairs.
const MOST_TAPS: usize = 1 << 12;
/// Steps along one axis that building a convolution or its Frobenius norm may take.
const MOST_STEPS: usize = 1 << 32;
/// Samples that the windows of a pooling cover along one axis, overlaps counted.
const MOST_COVERED: usize = 1 << 24;
/// Spatial axes of a convolution.
const MOST_AXES: usize = 3;

/// Refuses, with the reason, a layer that cannot be built or that would take too much memory or time.
pub(crate) fn check(spec: &Spec, input: &[usize], output: &[usize]) -> Result<(), String> {
    if input.contains(&0) || output.contains(&0) {
        return Err("its input or output is empty".to_owned());
    }
    elements(input)?;
    elements(output)?;
    match spec {
        Spec::Dense { .. } | Spec::BatchNorm { .. } => Ok(()),
        Spec::Conv {
            weight,
            params,
            before,
        } => {
            let mut padded = input.to_vec();
            let own = Padding {
                amounts: params.padding.clone(),
                mode: params.mode,
            };
            before.iter().chain([&own]).try_for_each(|step| {
                padded = grown(&padded, &step.amounts)?;
                lengths(&padded)
            })?;
            elements(&padded)?;
            windows(&weight.dims, &params.stride, output)
        }
        Spec::ConvTranspose { weight, params } => {
            let full = grown(output, &params.padding)?;
            lengths(&full)?;
            elements(&full)?;
            let steps = params.stride.iter().zip(&params.dilation);
            for (&more, (&stride, &dilation)) in params.output_padding.iter().zip(steps) {
                if more > 0 && more >= stride.max(dilation) {
                    return Err(format!(
                        "its output ends in {more} samples that its kernel does not reach, as many as its stride \
                         of {stride} or more"
                    ));
                }
            }
            windows(&weight.dims, &params.stride, input)
        }
        Spec::AvgPool(params) => {
            let extents = params.kernel.iter().zip(&params.dilation);
            let empty = |((k, d), (begin, end)): ((&usize, &usize), &(usize, usize))| {
                let extent = (k - 1).saturating_mul(*d).saturating_add(1);
                (*begin).max(*end) >= extent
            };
            if params.kernel.contains(&0) || extents.zip(&params.padding).any(empty) {
                return Err(
                    "its padding is as wide as its windows, so that they may be empty".to_owned(),
                );
            }
            lengths(&grown(input, &params.padding)?)?;
            between(input, output)?;
            let sizes = params.kernel.iter().zip(&output[1..]);
            match sizes.map(|(k, n)| k.saturating_mul(*n)).max() {
                Some(covered) if covered > MOST_COVERED => Err(format!(
                    "its windows cover {covered} samples along an axis, more than {MOST_COVERED}"
                )),
                _ => Ok(()),
            }
        }
        Spec::Resize(_) => {
            lengths(input)?;
            lengths(output)?;
            between(input, output)
        }
        // Channels that are padded count as an axis.
        Spec::Pad { .. } => lengths(&[&[1], output].concat()),
    }
}

fn elements(shape: &[usize]) -> Result<(), String> {
    match element_count(shape) {
        Some(n) if n <= LARGEST => Ok(()),
        _ => Err(format!(
            "it needs an array of shape {shape:?}, more than {LARGEST} elements"
        )),
    }
}

fn lengths(shape: &[usize]) -> Result<(), String> {
    let spatial = shape.iter().skip(1);
    let total = spatial.fold(0, |sum: usize, &n| sum.saturating_add(n));
    if total > LONGEST {
        return Err(format!(
            "the axes of an array of shape {shape:?} have more than {LONGEST} samples"
        ));
    }
    Ok(())
}

/// Channels and spatial dimensions with padding.
fn grown(shape: &[usize], padding: &[(usize, usize)]) -> Result<Vec<usize>, String> {
    let add = |(i, &n): (usize, &usize)| {
        let (begin, end) = match i.checked_sub(1) {
            Some(axis) => padding.get(axis).copied().unwrap_or_default(),
            None => (0, 0),
        };
        n.checked_add(begin)?.checked_add(end)
    };
    let sizes: Option<Vec<usize>> = shape.iter().enumerate().map(add).collect();
    sizes.ok_or_else(|| format!("its padding {padding:?} is too large"))
}

/// Checks the arrays of an operator that goes from `input` to `output` one axis after the other.
fn between(input: &[usize], output: &[usize]) -> Result<(), String> {
    (1..input.len().min(output.len()))
        .try_for_each(|i| elements(&[&output[..i], &input[i..]].concat()))
}

/// Checks a kernel that slides with `stride` and stops at the positions `stops` (channels in front).
fn windows(weight: &[usize], stride: &[usize], stops: &[usize]) -> Result<(), String> {
    let kernel = weight.get(2..).unwrap_or_default();
    if kernel.len() > MOST_AXES {
        return Err(format!(
            "convolutions over {} axes are not analysed, only over 1 to {MOST_AXES}",
            kernel.len()
        ));
    }
    match element_count(kernel) {
        Some(taps) if taps <= MOST_TAPS => {}
        _ => {
            return Err(format!(
                "its kernel {kernel:?} has more than {MOST_TAPS} taps"
            ));
        }
    }
    for ((&k, &s), &n) in kernel.iter().zip(stride).zip(&stops[1..]) {
        let steps = k.saturating_mul(s.max(k.saturating_mul(n)));
        if steps > MOST_STEPS {
            return Err(format!(
                "{k} taps with stride {s} and {n} positions are too many along one axis"
            ));
        }
    }
    Ok(())
}
