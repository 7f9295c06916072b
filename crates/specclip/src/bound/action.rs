//! One action in `f64`, from an operator's structure, with a bound of its rounding error.
//!
//! A sum of K products has an error of at most gamma_K times the sum of their absolute values, so
//! ||fl(M x) - M x|| <= gamma_K || |M| || ||x||, and || |M| || is at most sqrt(||M||_1 ||M||_inf). The
//! error of earlier actions is multiplied by a norm no larger than that.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::rounding::{ENTRY, gamma, norm_above, norm_below, up};
use super::schur::{most_uses, schur};
use crate::kernel::geometry::{AXES, Geometry, unravel};
use crate::operator::{AxisMatrix, FilterBank, Part, Structure};

/// A vector and how far it may be from the exact one, in norm.
#[derive(Clone)]
struct Image {
    values: Vec<f64>,
    error: f64,
}

/// No more than ||M x|| / ||x||; none where the structure is not known.
pub(super) fn ratio_below(part: &Part, x: &[f64]) -> Option<f64> {
    let (image, error) = image_error(part, x.to_vec())?;
    let norm = norm_above(x);
    if norm == 0.0 {
        return Some(0.0);
    }
    Some((norm_below(&image) - error).max(0.0) / up(norm))
}

/// M x and no less than the norm of its error; none where the structure is not known.
pub(super) fn image_error(part: &Part, x: Vec<f64>) -> Option<(Vec<f64>, f64)> {
    let exact = Image {
        values: x,
        error: 0.0,
    };
    apply(part, exact).map(|image| (image.values, image.error))
}

fn apply(part: &Part, x: Image) -> Option<Image> {
    match &part.structure {
        Structure::Product(parts) => parts.iter().try_fold(x, |x, part| apply(part, x)),
        Structure::Sum(terms) => {
            let mut total: Option<Image> = None;
            for structure in terms {
                let term = apply(&part.term(structure), x.clone())?;
                total = Some(match total {
                    None => term,
                    Some(total) => add(total, &term),
                });
            }
            total
        }
        structure => leaf(structure, part, x),
    }
}

fn add(a: Image, b: &Image) -> Image {
    let values: Vec<f64> = a.values.iter().zip(&b.values).map(|(a, b)| a + b).collect();
    let rounding = gamma(1) * norm_above(&values) * 2.0;
    Image {
        error: up(a.error + b.error + rounding),
        values,
    }
}

fn leaf(structure: &Structure, part: &Part, x: Image) -> Option<Image> {
    let size = schur(structure)?;
    let (values, terms) = match structure {
        Structure::Matrix(m) => {
            let mut y = vec![0.0; m.nrows()];
            matmul(
                MatMut::from_column_major_slice_mut(&mut y, m.nrows(), 1),
                Accum::Replace,
                m.as_ref(),
                MatRef::from_column_major_slice(&x.values, m.ncols(), 1),
                1.0,
                Par::Seq,
            );
            (y, m.ncols())
        }
        Structure::Channels(factors) => {
            let plane = x.values.len() / factors.len();
            let y = x.values.iter().enumerate();
            (y.map(|(i, x)| x * factors[i / plane]).collect(), 1)
        }
        Structure::Axes(axes) => along_axes(axes, part.input_shape[0], &x.values),
        Structure::Filters(bank) if bank.transposed => (scatter(bank, &x.values), most_uses(bank)),
        Structure::Filters(bank) => {
            let g = &bank.geometry;
            (gather(bank, &x.values), g.in_per_group() * g.taps())
        }
        Structure::Product(_) | Structure::Sum(_) | Structure::Unknown => return None,
    };
    let rounding = (gamma(terms + 1) + ENTRY) * (norm_above(&x.values) + x.error);
    Some(Image {
        error: up(size * (rounding + x.error)),
        values,
    })
}

/// One axis after the other; also the largest number of roundings of one output.
fn along_axes(axes: &[AxisMatrix], channels: usize, x: &[f64]) -> (Vec<f64>, usize) {
    let mut sizes: Vec<usize> = axes.iter().map(|a| a.shape().1).collect();
    let mut current = x.to_vec();
    let mut terms = 1;
    for (i, axis) in axes.iter().enumerate() {
        let inner: usize = sizes[i + 1..].iter().product();
        let outer: usize = channels * sizes[..i].iter().product::<usize>();
        let mut next = Vec::with_capacity(outer * axis.shape().0 * inner);
        for source in current.chunks_exact(axis.shape().1 * inner) {
            for row in axis.rows() {
                let start = next.len();
                next.resize(start + inner, 0.0);
                for &(input, factor) in row {
                    let source = &source[input * inner..][..inner];
                    for (t, s) in next[start..].iter_mut().zip(source) {
                        *t += factor * s;
                    }
                }
            }
        }
        terms += axis.rows().iter().map(Vec::len).max().unwrap_or(0) + 1;
        sizes[i] = axis.shape().0;
        current = next;
    }
    (current, terms)
}

/// For each output position, the input position that tap `t` reads.
pub(super) fn read_by(g: &Geometry, t: usize) -> Vec<Option<usize>> {
    let tap = g.tap(t);
    let sources: [Vec<Option<usize>>; AXES] = std::array::from_fn(|i| {
        let axis = &g.axes[i];
        let source = |o: usize| axis.source(o * axis.stride + tap[i] * axis.dilation);
        (0..axis.output).map(source).collect()
    });
    let outputs = g.axes.each_ref().map(|a| a.output);
    let position = |o: usize| {
        let at = unravel(o, &outputs);
        let (a, b, c) = (sources[0][at[0]]?, sources[1][at[1]]?, sources[2][at[2]]?);
        Some((a * g.axes[1].input + b) * g.axes[2].input + c)
    };
    (0..g.output_plane()).map(position).collect()
}

/// The weights of one tap and one group: (output channels, input channels), row-major.
pub(super) fn tap_matrix(bank: &FilterBank, group: usize, t: usize) -> Vec<f64> {
    let g = &bank.geometry;
    let (outs, ins, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
    let start = group * outs * ins * taps;
    let weights = &bank.weight[start..start + outs * ins * taps];
    weights.iter().skip(t).step_by(taps).copied().collect()
}

/// The convolution: a product with each tap's weights.
fn gather(bank: &FilterBank, x: &[f64]) -> Vec<f64> {
    let g = &bank.geometry;
    let (outs, ins) = (g.out_per_group(), g.in_per_group());
    let (from, to) = (g.input_plane(), g.output_plane());
    let mut y = vec![0.0; g.out_channels * to];
    for t in 0..g.taps() {
        let read = read_by(g, t);
        for group in 0..g.groups {
            let mut samples = vec![0.0; ins * to];
            for (c, samples) in samples.chunks_exact_mut(to).enumerate() {
                let plane = &x[(group * ins + c) * from..][..from];
                for (s, at) in samples.iter_mut().zip(&read) {
                    *s = at.map_or(0.0, |at| plane[at]);
                }
            }
            let weights = tap_matrix(bank, group, t);
            matmul(
                MatMut::from_row_major_slice_mut(
                    &mut y[group * outs * to..][..outs * to],
                    outs,
                    to,
                ),
                Accum::Add,
                MatRef::from_row_major_slice(&weights, outs, ins),
                MatRef::from_row_major_slice(&samples, ins, to),
                1.0,
                Par::Seq,
            );
        }
    }
    y
}

/// The transposed convolution: what each tap gives is added to where the tap reads.
fn scatter(bank: &FilterBank, y: &[f64]) -> Vec<f64> {
    let g = &bank.geometry;
    let (outs, ins) = (g.out_per_group(), g.in_per_group());
    let (to, from) = (g.input_plane(), g.output_plane());
    let mut x = vec![0.0; g.in_channels * to];
    for t in 0..g.taps() {
        let read = read_by(g, t);
        for group in 0..g.groups {
            let weights = tap_matrix(bank, group, t);
            let mut given = vec![0.0; ins * from];
            matmul(
                MatMut::from_row_major_slice_mut(&mut given, ins, from),
                Accum::Replace,
                MatRef::from_row_major_slice(&weights, outs, ins).transpose(),
                MatRef::from_row_major_slice(&y[group * outs * from..][..outs * from], outs, from),
                1.0,
                Par::Seq,
            );
            for (c, given) in given.chunks_exact(from).enumerate() {
                let plane = &mut x[(group * ins + c) * to..][..to];
                for (value, at) in given.iter().zip(&read) {
                    if let Some(at) = at {
                        plane[*at] += value;
                    }
                }
            }
        }
    }
    x
}
