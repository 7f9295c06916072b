//! Matrices of layers written from PyTorch's definitions with plain loops, apart from the library.

use faer::Mat;
use specclip::operator::PaddingMode;

use crate::configurations::{ConvConfig, ConvTransposeConfig, PadConfig, PoolConfig};

/// All coordinates of an array of these sizes, row by row.
fn positions(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &size in sizes {
        let longer = |start: &Vec<usize>| {
            let start = start.clone();
            (0..size).map(move |i| {
                let mut position = start.clone();
                position.push(i);
                position
            })
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// The row-major index of `at` in channel `channel`.
fn index(channel: usize, sizes: &[usize], at: &[usize]) -> usize {
    at.iter()
        .zip(sizes)
        .fold(channel, |index, (at, size)| index * size + at)
}

/// The input sample at position `p`, which may be outside: none where padding is zero.
fn sample(p: isize, size: usize, mode: PaddingMode) -> Option<usize> {
    let n = size as isize;
    let inside = match mode {
        PaddingMode::Zeros => p,
        PaddingMode::Circular => p.rem_euclid(n),
        PaddingMode::Replicate => p.clamp(0, n - 1),
        PaddingMode::Reflect if p < 0 => -p,
        PaddingMode::Reflect if p >= n => 2 * (n - 1) - p,
        PaddingMode::Reflect => p,
    };
    (0..n).contains(&inside).then_some(inside as usize)
}

/// out(k, o) = sum over c, t of w(k, c, t) in(c, o stride - padding + t dilation).
pub fn conv(config: &ConvConfig) -> Mat<f64> {
    let (p, sizes, taps) = (
        &config.params,
        &config.input[1..],
        &config.weight_shape[2..],
    );
    let (outs, ins) = (config.weight_shape[0], config.weight_shape[1]);
    let outputs: Vec<usize> = (0..sizes.len())
        .map(|i| {
            let padded = sizes[i] + p.padding[i].0 + p.padding[i].1;
            (padded - p.dilation[i] * (taps[i] - 1) - 1) / p.stride[i] + 1
        })
        .collect();
    let rows = outs * outputs.iter().product::<usize>();
    let mut matrix = Mat::zeros(rows, config.input.iter().product());
    for o in positions(&outputs) {
        for t in positions(taps) {
            let read: Option<Vec<usize>> = (0..sizes.len())
                .map(|i| {
                    let position = (o[i] * p.stride[i] + t[i] * p.dilation[i]) as isize;
                    sample(position - p.padding[i].0 as isize, sizes[i], p.mode)
                })
                .collect();
            let Some(read) = read else { continue };
            for k in 0..outs {
                let group = k / (outs / p.groups);
                for c in 0..ins {
                    let row = index(k, &outputs, &o);
                    let column = index(group * ins + c, sizes, &read);
                    matrix[(row, column)] += config.weight[index(k * ins + c, taps, &t)];
                }
            }
        }
    }
    matrix
}

/// Every input adds w(c, k, t) in(c, i) to out(k, i stride - padding + t dilation), where there is
/// such an output.
pub fn conv_transpose(config: &ConvTransposeConfig) -> Mat<f64> {
    let (p, sizes, taps) = (
        &config.params,
        &config.input[1..],
        &config.weight_shape[2..],
    );
    let (ins, outs) = (config.weight_shape[0], config.weight_shape[1]);
    let outputs: Vec<usize> = (0..sizes.len())
        .map(|i| {
            (sizes[i] - 1) * p.stride[i] + p.dilation[i] * (taps[i] - 1) + p.output_padding[i] + 1
                - p.padding[i].0
                - p.padding[i].1
        })
        .collect();
    let rows = outs * p.groups * outputs.iter().product::<usize>();
    let mut matrix = Mat::zeros(rows, config.input.iter().product());
    for at in positions(sizes) {
        for t in positions(taps) {
            let written: Option<Vec<usize>> = (0..sizes.len())
                .map(|i| {
                    let position = (at[i] * p.stride[i] + t[i] * p.dilation[i]) as isize;
                    let position = position - p.padding[i].0 as isize;
                    sample(position, outputs[i], PaddingMode::Zeros)
                })
                .collect();
            let Some(written) = written else { continue };
            for c in 0..ins {
                let group = c / (ins / p.groups);
                for k in 0..outs {
                    let row = index(group * outs + k, &outputs, &written);
                    let column = index(c, sizes, &at);
                    matrix[(row, column)] += config.weight[index(c * outs + k, taps, &t)];
                }
            }
        }
    }
    matrix
}

/// The mean of each window. The divisor counts the samples of the window that lie in the input,
/// or in the input and its padding.
pub fn pool(config: &PoolConfig) -> Mat<f64> {
    let (p, sizes) = (&config.params, &config.input[1..]);
    let outputs: Vec<usize> = (0..sizes.len())
        .map(|i| {
            let padded = sizes[i] + p.padding[i].0 + p.padding[i].1;
            let slide = padded - p.dilation[i] * (p.kernel[i] - 1) - 1;
            let rounding = if p.ceil_mode { p.stride[i] - 1 } else { 0 };
            let windows = (slide + rounding) / p.stride[i] + 1;
            // A window must not start in the padding after the input.
            let late = (windows - 1) * p.stride[i] >= sizes[i] + p.padding[i].0;
            windows - usize::from(p.ceil_mode && late)
        })
        .collect();
    let (channels, plane) = (config.input[0], outputs.iter().product::<usize>());
    let mut matrix = Mat::zeros(channels * plane, config.input.iter().product());
    for o in positions(&outputs) {
        let (mut counted, mut read) = (0_u32, Vec::new());
        for t in positions(&p.kernel) {
            // Coordinates in the padded input.
            let at: Vec<usize> = (0..sizes.len())
                .map(|i| o[i] * p.stride[i] + t[i] * p.dilation[i])
                .collect();
            let inside: Option<Vec<usize>> = (0..sizes.len())
                .map(|i| {
                    let position = at[i] as isize - p.padding[i].0 as isize;
                    sample(position, sizes[i], PaddingMode::Zeros)
                })
                .collect();
            let in_padding =
                (0..sizes.len()).all(|i| at[i] < sizes[i] + p.padding[i].0 + p.padding[i].1);
            if inside.is_some() || (p.count_include_pad && in_padding) {
                counted += 1;
            }
            read.extend(inside);
        }
        for c in 0..channels {
            for at in &read {
                matrix[(index(c, &outputs, &o), index(c, sizes, at))] += 1.0 / f64::from(counted);
            }
        }
    }
    matrix
}

/// Every sample of the padded input is a sample of the input, or zero.
pub fn pad(config: &PadConfig) -> Mat<f64> {
    let sizes = &config.input[1..];
    let outputs: Vec<usize> = sizes
        .iter()
        .zip(&config.padding)
        .map(|(n, (before, after))| n + before + after)
        .collect();
    let (channels, plane) = (config.input[0], outputs.iter().product::<usize>());
    let mut matrix = Mat::zeros(channels * plane, config.input.iter().product());
    for o in positions(&outputs) {
        let read: Option<Vec<usize>> = (0..sizes.len())
            .map(|i| {
                let position = o[i] as isize - config.padding[i].0 as isize;
                sample(position, sizes[i], config.mode)
            })
            .collect();
        let Some(read) = read else { continue };
        for c in 0..channels {
            matrix[(index(c, &outputs, &o), index(c, sizes, &read))] = 1.0;
        }
    }
    matrix
}
