//! Exact decompositions of operators whose structure gives them away.
//!
//! - One factor for each channel: the factors are the singular values, once for each position.
//! - A convolution with single taps and no padding, with any stride: the singular values of each
//!   group's matrix, once for each output position. (A stride leaves input positions unread, which
//!   only adds zeros.)
//! - Every channel alike, one matrix for each axis: products of the axes' singular values, once for
//!   each channel.
//!
//! Such values are multiple, many times over, which is where iterative solvers are slowest and
//! least certain.

use faer::Mat;

use super::exact::failed;
use super::{Method, Params, Triplets, finish};
use crate::block::Block;
use crate::error::Error;
use crate::kernel::geometry::{AXES, unravel};
use crate::operator::{AxisMatrix, FilterBank, LinearOperator, Structure};

/// The smaller side of a group's matrix, and of an axis's, up to which it is decomposed.
const LARGEST: usize = 768;

/// Elements of one such matrix.
const MOST_ELEMENTS: usize = 1 << 24;

/// Products of the axes' singular values that are looked at.
const MOST_PRODUCTS: usize = 1 << 22;

/// The `k` leading triplets; `None` where the structure does not give them.
pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
) -> Result<Option<Triplets<Op::Block>>, Error> {
    let Some(exact) = Exact::new(op, k)? else {
        return Ok(None);
    };
    let (rows, cols) = (op.outputs(), op.inputs());
    let (mut u, mut v) = (vec![0.0; rows * k], vec![0.0; cols * k]);
    let mut sigma = Vec::with_capacity(k);
    for &(value, family) in &exact.families {
        let taken = exact.copies.min(k - sigma.len());
        if taken == 0 {
            break;
        }
        let (left, right) = (exact.vectors)(family);
        for copy in 0..taken {
            let (out, into) = (exact.offsets)(copy);
            let at = sigma.len();
            for &(i, x) in &left {
                u[at * rows + i + out] = x;
            }
            for &(i, x) in &right {
                v[at * cols + i + into] = x;
            }
            sigma.push(value);
        }
    }
    if sigma.len() < k {
        return Ok(None);
    }
    let (mut left, mut right) = (op.output_block(k), op.input_block(k));
    left.upload(&u);
    right.upload(&v);
    finish(op, (left, sigma, right), params, 0, Method::Structured).map(Some)
}

/// All singular values, in descending order; `None` where the structure does not give them.
pub(super) fn spectrum<Op: LinearOperator + ?Sized>(op: &Op) -> Result<Option<Vec<f64>>, Error> {
    let all = op.inputs().min(op.outputs());
    Ok(Exact::new(op, all)?.map(|exact| {
        let copies = |&(sigma, _): &(f64, usize)| std::iter::repeat_n(sigma, exact.copies);
        let mut sigma: Vec<f64> = exact.families.iter().flat_map(copies).take(all).collect();
        sigma.resize(all, 0.0);
        sigma
    }))
}

/// Entries of a vector that are not zero, with their places.
type Sparse = Vec<(usize, f64)>;

/// Families of triplets that differ only in where their vectors lie.
struct Exact {
    /// Singular values in descending order, each with the number of its family.
    families: Vec<(f64, usize)>,
    /// Members of every family.
    copies: usize,
    /// How far the vectors of a member are from those of the first: left and right.
    offsets: Box<dyn Fn(usize) -> (usize, usize)>,
    /// Left and right vector of a family's first member.
    vectors: Box<dyn Fn(usize) -> (Sparse, Sparse)>,
}

impl Exact {
    fn new<Op: LinearOperator + ?Sized>(op: &Op, k: usize) -> Result<Option<Self>, Error> {
        let plane = |shape: &[usize]| shape[1..].iter().product::<usize>();
        let planes = (plane(op.output_shape()), plane(op.input_shape()));
        match op.structure() {
            Structure::Channels(factors) => Ok(Some(channels(factors, planes.0))),
            Structure::Filters(bank) => pointwise(bank),
            Structure::Axes(axes) => separable(&axes, op.input_shape()[0], planes, k),
            _ => Ok(None),
        }
    }

    fn sorted(mut self) -> Self {
        self.families.sort_by(|a, b| b.0.total_cmp(&a.0));
        self
    }
}

fn channels(factors: Vec<f64>, plane: usize) -> Exact {
    let families = factors.iter().enumerate().map(|(c, f)| (f.abs(), c));
    Exact {
        families: families.collect(),
        copies: plane,
        offsets: Box::new(|position| (position, position)),
        vectors: Box::new(move |c| {
            (
                vec![(c * plane, factors[c].signum())],
                vec![(c * plane, 1.0)],
            )
        }),
    }
    .sorted()
}

fn pointwise(bank: FilterBank) -> Result<Option<Exact>, Error> {
    let g = &bank.geometry;
    let single = g.axes.iter().all(|a| a.kernel == 1 && a.padding == (0, 0));
    let (rows, cols, groups) = (g.out_per_group(), g.in_per_group(), g.groups);
    if !single || rows.min(cols) > LARGEST || rows * cols > MOST_ELEMENTS {
        return Ok(None);
    }
    let mut families = Vec::new();
    let mut parts = Vec::with_capacity(groups);
    for (group, weight) in bank.weight.chunks_exact(rows * cols).enumerate() {
        let matrix = faer::MatRef::from_row_major_slice(weight, rows, cols);
        let svd = matrix.thin_svd().map_err(failed)?;
        let values = svd.S().column_vector().iter().enumerate();
        families.extend(values.map(|(i, &sigma)| (sigma, group * rows.min(cols) + i)));
        parts.push((svd.U().to_owned(), svd.V().to_owned()));
    }
    let (out_plane, in_plane) = (g.output_plane(), g.input_plane());
    let outputs = g.axes.each_ref().map(|a| a.output);
    let inputs = g.axes.each_ref().map(|a| a.input);
    let strides = g.axes.each_ref().map(|a| a.stride);
    let transposed = bank.transposed;
    let swap = move |(out, into)| if transposed { (into, out) } else { (out, into) };
    let offsets = move |position| {
        let at = unravel(position, &outputs);
        let read: [usize; AXES] = std::array::from_fn(|i| at[i] * strides[i]);
        (
            position,
            (read[0] * inputs[1] + read[1]) * inputs[2] + read[2],
        )
    };
    let vectors = move |family: usize| {
        let (group, i) = (family / rows.min(cols), family % rows.min(cols));
        let (u, v) = &parts[group];
        let sparse = |m: &Mat<f64>, plane: usize| -> Sparse {
            let first = group * m.nrows();
            (0..m.nrows())
                .map(|c| ((first + c) * plane, m[(c, i)]))
                .collect()
        };
        (sparse(u, out_plane), sparse(v, in_plane))
    };
    let exact = Exact {
        families,
        copies: out_plane,
        offsets: Box::new(move |position| swap(offsets(position))),
        vectors: Box::new(move |family| {
            let (u, v) = vectors(family);
            if transposed { (v, u) } else { (u, v) }
        }),
    };
    Ok(Some(exact.sorted()))
}

/// The decomposition of one axis's matrix.
struct AxisParts {
    sigma: Vec<f64>,
    u: Mat<f64>,
    v: Mat<f64>,
}

fn separable(
    axes: &[AxisMatrix],
    channels: usize,
    (out_plane, in_plane): (usize, usize),
    k: usize,
) -> Result<Option<Exact>, Error> {
    let affordable = |axis: &AxisMatrix| {
        let (rows, cols) = axis.shape();
        rows.min(cols) <= LARGEST && rows.saturating_mul(cols) <= MOST_ELEMENTS
    };
    if !axes.iter().all(affordable) {
        return Ok(None);
    }
    let mut parts = Vec::with_capacity(axes.len());
    for axis in axes {
        let svd = axis.to_dense().thin_svd().map_err(failed)?;
        parts.push(AxisParts {
            // The k largest products are products of the k largest factors.
            sigma: svd.S().column_vector().iter().copied().take(k).collect(),
            u: svd.U().to_owned(),
            v: svd.V().to_owned(),
        });
    }
    let counts: Vec<usize> = parts.iter().map(|p| p.sigma.len()).collect();
    let products = counts.iter().try_fold(1_usize, |n, &c| n.checked_mul(c));
    let Some(products) = products.filter(|&n| n <= MOST_PRODUCTS) else {
        return Ok(None);
    };
    let families = (0..products).map(|family| {
        let factors = digits(family, &counts).into_iter().zip(&parts);
        (factors.map(|(i, p)| p.sigma[i]).product(), family)
    });
    let exact = Exact {
        families: families.collect(),
        copies: channels,
        offsets: Box::new(move |channel| (channel * out_plane, channel * in_plane)),
        vectors: Box::new(move |family| {
            let places = digits(family, &counts);
            let side = |of: fn(&AxisParts) -> &Mat<f64>| {
                let columns = parts.iter().zip(&places).map(|(p, &i)| of(p).col(i));
                let product = columns.fold(vec![1.0], |left: Vec<f64>, column| {
                    let row = |x: &f64| column.iter().map(|y| x * y).collect::<Vec<_>>();
                    left.iter().flat_map(row).collect()
                });
                product.into_iter().enumerate().collect()
            };
            (side(|p| &p.u), side(|p| &p.v))
        }),
    };
    Ok(Some(exact.sorted()))
}

/// The digits of a number whose places count `counts`.
fn digits(mut number: usize, counts: &[usize]) -> Vec<usize> {
    let mut digits = vec![0; counts.len()];
    for (digit, count) in digits.iter_mut().zip(counts).rev() {
        *digit = number % count;
        number /= count;
    }
    digits
}
