//! Gradients of the Gram bound and of the spectral norm with respect to the weights, as penalties
//! in training need them.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, get_global_parallelism};

use super::Argument;
use super::choice::{entrywise, grids, normalised, refuse};
use super::gram::{self, gram, scaled};
use super::rounding::Scalar;
use crate::Real;
use crate::error::Error;
use crate::operator::{FilterBank, Part, Structure};
use crate::svd::{self, singular_values};
use crate::weight::Parametric;

/// Floating-point operations for the frequency blocks, about: seconds.
const BUDGET: f64 = 6e10;

/// A value and its gradient with respect to each weight of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient<T> {
    /// The value.
    pub value: f64,
    /// One gradient for each weight, in the layout of [`Parametric::weights`].
    pub weights: Vec<Vec<T>>,
    /// Whether the value and the vectors behind the gradient have converged.
    pub converged: bool,
}

/// sigma_1 and its gradient G(u_1, v_1). Where sigma_1 is multiple the gradient is one of the
/// subgradients.
///
/// # Errors
/// As [`singular_values`].
pub fn norm_gradient<P: Parametric + ?Sized>(
    op: &P,
    params: &svd::Params,
) -> Result<Gradient<P::Scalar>, Error> {
    let top = singular_values(op, 1, params)?;
    Ok(Gradient {
        value: top.sigma[0],
        weights: op.weight_gradient(&[1.0], &top.u, &top.v)?,
        converged: top.converged(),
    })
}

/// The Gram bound after so many products, and its gradient, of a dense layer, a convolution, or one
/// of these followed by batch normalisation (or multiplied, or transposed).
///
/// The bound is a Schatten norm of a matrix, or of the frequency block of a periodic convolution
/// where it is largest (where several are, the gradient is one of the subgradients): with
/// q = 2^(products + 1), ||A||_q has the gradient A (A'A)^(q/2 - 1) / ||A||_q^(q-1), and
/// (A'A)^(q/2 - 1) is the product of the iteration's own matrices (Delattre et al. 2023).
///
/// # Errors
/// [`Error::NotApplicable`] where the operator is another one, or has so many channels that the bound
/// takes more than seconds; then use [`norm_gradient`].
///
/// ```
/// use specclip::bound::{GRAM_PRODUCTS, gram_gradient};
/// use specclip::operator::Dense;
///
/// let dense = Dense::<f64>::new(vec![3.0, 0.0, 0.0, 1.0], 2, 2)?;
/// let bound = gram_gradient(&dense, GRAM_PRODUCTS)?;
/// assert!(bound.value >= 3.0 && bound.value < 3.0 + 1e-9);
/// assert!((bound.weights[0][0] - 1.0).abs() < 1e-9);
/// # Ok::<(), specclip::Error>(())
/// ```
pub fn gram_gradient<P: Parametric + ?Sized>(
    op: &P,
    products: usize,
) -> Result<Gradient<P::Scalar>, Error> {
    let whole = Part::new(op);
    let (part, (first, second)) = normalised(&whole);
    let (value, gradient) = match &part.structure {
        Structure::Matrix(matrix) => {
            let par = get_global_parallelism();
            let bound = gram::norm(matrix.as_ref(), products, par);
            let direction = direction(matrix.as_ref(), products, par);
            let (rows, cols) = matrix.shape();
            let entries = (0..rows * cols).map(|i| direction[(i / cols, i % cols)]);
            (entrywise(bound, &part), entries.collect())
        }
        Structure::Filters(bank) => filters(bank, products)?,
        _ => return Err(misfit("the operator is neither a matrix nor a convolution")),
    };
    if value == 0.0 {
        let zeros = |w: &&[P::Scalar]| vec![P::Scalar::ZERO; w.len()];
        return Ok(Gradient {
            value,
            weights: op.weights().iter().map(zeros).collect(),
            converged: true,
        });
    }
    // The gradient does not depend on the scale of the weights.
    let weights = pull_back(op, &part.structure, first * second, &gradient)?;
    Ok(Gradient {
        value: value * first * second,
        weights,
        converged: true,
    })
}

fn misfit(reason: &str) -> Error {
    refuse(
        Argument::Gram,
        &format!("{reason}; use the gradient of sigma_1"),
    )
}

/// A (A'A)^(q/2 - 1) / ||A||_q^(q - 1).
fn direction<E: Scalar>(a: MatRef<'_, E>, products: usize, par: Par) -> Mat<E> {
    let norm = gram::norm(a, products, par);
    if norm == 0.0 {
        return Mat::zeros(a.nrows(), a.ncols());
    }
    let mut result = scaled(a, 1.0 / norm);
    let wide = a.nrows() < a.ncols();
    let mut power = result.clone();
    for _ in 0..products {
        power = gram(power.as_ref(), par);
        let mut next = Mat::<E>::zeros(a.nrows(), a.ncols());
        let (left, right) = if wide {
            (&power, &result)
        } else {
            (&result, &power)
        };
        matmul(
            next.as_mut(),
            Accum::Replace,
            left.as_ref(),
            right.as_ref(),
            E::real(1.0),
            par,
        );
        result = next;
    }
    result
}

/// The bound of a convolution and its gradient with respect to the structure's weights.
fn filters(bank: &FilterBank, products: usize) -> Result<(f64, Vec<f64>), Error> {
    let grids = grids(bank, BUDGET).into_iter();
    let bounds = grids.map(|grid| (grid.largest_gram(products), grid));
    let bounds = bounds.map(|(largest, grid)| (grid.whole(largest.norm), largest, grid));
    let best = bounds.min_by(|a, b| a.0.total_cmp(&b.0));
    let (value, largest, grid) = best.ok_or_else(|| misfit("there are too many channels"))?;
    let (blocks, f, group) = (&grid.blocks, largest.frequency, largest.group);
    let g = blocks.geometry();
    let mut gradient = vec![0.0; bank.weight.len()];
    let direction = direction(blocks.block(f, group).as_ref(), products, Par::Seq);
    let (rows, channels, taps) = (g.out_per_group(), g.in_per_group(), g.taps());
    let aliases = blocks.aliases(f);
    let scale = (1.0 / aliases.len() as f64).sqrt() * grid.factor;
    for (a, &alias) in aliases.iter().enumerate() {
        for t in 0..taps {
            let wave = blocks.tap_wave(alias, t) * scale;
            for k in 0..rows {
                for c in 0..channels {
                    let entry = direction[(k, a * channels + c)];
                    // Re <entry, d/dw of the block's entry>, and the block's entry is w times the wave.
                    gradient[((group * rows + k) * channels + c) * taps + t] +=
                        entry.re * wave.re + entry.im * wave.im;
                }
            }
        }
    }
    Ok((value, gradient))
}

/// The gradient with respect to the operator's weights, from that with respect to the structure's,
/// which are the only weight times a number, or the first weight times the factors of the outputs
/// that are the second. `unit` is what the structure was divided by.
fn pull_back<P: Parametric + ?Sized>(
    op: &P,
    structure: &Structure,
    unit: f64,
    gradient: &[f64],
) -> Result<Vec<Vec<P::Scalar>>, Error> {
    let weights: Vec<Vec<f64>> = op
        .weights()
        .iter()
        .map(|w| w.iter().map(|x| x.to_f64()).collect())
        .collect();
    let (entries, channels) = entries(structure);
    let none = [1.0];
    let (weight, factors) = match weights.as_slice() {
        [weight] => (weight, &none[..]),
        [weight, factors] => (weight, &factors[..]),
        _ => return Err(misfit("the operator has several weights")),
    };
    let unknown = || misfit("the operator's weights are not those of one matrix or convolution");
    if weight.len() != entries.len() {
        return Err(unknown());
    }
    for order in [Order::Same, Order::Transposed] {
        let Some(place) = order.places(structure) else {
            continue;
        };
        let channel = |i: usize| if factors.len() == 1 { 0 } else { channels(i) };
        if (0..entries.len()).any(|i| channel(i) >= factors.len()) {
            continue;
        }
        let product = |i: usize| weight[place(i)] * factors[channel(i)];
        // The number that all products are multiplied by, from the largest of them.
        let largest =
            (0..entries.len()).max_by(|&i, &j| product(i).abs().total_cmp(&product(j).abs()));
        let Some(largest) = largest.filter(|&i| product(i) != 0.0) else {
            continue;
        };
        let ratio = entries[largest] / product(largest);
        let near =
            |i: usize| (entries[i] - ratio * product(i)).abs() <= 1e-12 * entries[largest].abs();
        if !(0..entries.len()).all(near) {
            continue;
        }
        let ratio = ratio * unit;
        let mut by_weight = vec![0.0; weight.len()];
        let mut by_factor = vec![0.0; factors.len()];
        for (i, g) in gradient.iter().enumerate() {
            by_weight[place(i)] += ratio * factors[channel(i)] * g;
            by_factor[channel(i)] += ratio * weight[place(i)] * g;
        }
        let cast = |values: Vec<f64>| values.into_iter().map(P::Scalar::from_f64).collect();
        return Ok(match weights.len() {
            1 => vec![cast(by_weight)],
            _ => vec![cast(by_weight), cast(by_factor)],
        });
    }
    Err(unknown())
}

/// How the structure's entries lie among the operator's weights.
#[derive(Clone, Copy)]
enum Order {
    Same,
    Transposed,
}

impl Order {
    fn places(self, structure: &Structure) -> Option<impl Fn(usize) -> usize> {
        let (rows, cols) = match (self, structure) {
            (Self::Same, _) => (1, usize::MAX),
            (Self::Transposed, Structure::Matrix(m)) => m.shape(),
            (Self::Transposed, _) => return None,
        };
        Some(move |i: usize| i % cols * rows + i / cols)
    }
}

type Channel = Box<dyn Fn(usize) -> usize>;

/// The structure's entries in the order of its gradient, and the output channel of each.
fn entries(structure: &Structure) -> (Vec<f64>, Channel) {
    match structure {
        Structure::Matrix(m) => {
            let (rows, cols) = m.shape();
            let entries = (0..rows * cols).map(|i| m[(i / cols, i % cols)]).collect();
            (entries, Box::new(move |i| i / cols))
        }
        Structure::Filters(bank) => {
            let g = &bank.geometry;
            let (taps, ins, outs) = (g.taps(), g.in_per_group(), g.out_per_group());
            let transposed = bank.transposed;
            let channel = move |i: usize| {
                let (out, within) = (i / taps / ins, i / taps % ins);
                if transposed {
                    out / outs * ins + within
                } else {
                    out
                }
            };
            (bank.weight.clone(), Box::new(channel))
        }
        _ => (Vec::new(), Box::new(|_| 0)),
    }
}
