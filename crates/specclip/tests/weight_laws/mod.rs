//! The laws of operators with weights: G(u, v) is the adjoint of W -> M(W), applied to u v'.
//!
//! Each takes the operator and, for the scale of its rounding errors, the operator of the absolute
//! weights.

use proptest::prelude::*;
use specclip::{Block, Columns, Parametric, Real};

use crate::common::{dot, norm};
use crate::configurations::values;
use crate::{absolute, adjoint_image, close, combine, filled, image};

/// Uploads one vector of `values`, or several.
fn block<T: Real>(rows: usize, values: &[f64]) -> Columns<T> {
    filled(Columns::zeros(rows, values.len() / rows), values)
}

fn in_f64<T: Real>(gradients: &[Vec<T>]) -> Vec<Vec<f64>> {
    let convert = |g: &Vec<T>| -> Vec<f64> { g.iter().map(|x| x.to_f64()).collect() };
    gradients.iter().map(convert).collect()
}

/// All G_i(u, v), weighted and summed over the vectors of the blocks.
fn gradients<P: Parametric>(op: &P, lambda: &[f64], u: &[f64], v: &[f64]) -> Vec<Vec<f64>> {
    let u = block::<P::Scalar>(op.outputs(), u);
    let v = block::<P::Scalar>(op.inputs(), v);
    in_f64(&op.weight_gradient(lambda, &u, &v).unwrap())
}

fn weights_of<P: Parametric>(op: &P) -> Vec<Vec<f64>> {
    let all: Vec<Vec<P::Scalar>> = op.weights().iter().map(|w| w.to_vec()).collect();
    in_f64(&all)
}

fn convert<T: Real>(weights: &[Vec<f64>]) -> Vec<Vec<T>> {
    let convert = |w: &Vec<f64>| -> Vec<T> { w.iter().map(|&x| T::from_f64(x)).collect() };
    weights.iter().map(convert).collect()
}

/// A direction for each weight.
fn directions(weights: &[Vec<f64>], seed: u64) -> Vec<Vec<f64>> {
    let direction = |(i, w): (usize, &Vec<f64>)| values(w.len(), seed.wrapping_add(2 + i as u64));
    weights.iter().enumerate().map(direction).collect()
}

/// u and v, of `k` vectors each.
fn pair<P: Parametric>(op: &P, k: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let u = values(k * op.outputs(), seed);
    (u, values(k * op.inputs(), seed.wrapping_add(1)))
}

/// <G_i(u, v), W_i> = u' M v for each weight: M is linear in each.
pub fn pairing<P, B>(op: &P, bound: &B, terms: usize, seed: u64) -> Result<(), TestCaseError>
where
    P: Parametric,
    B: Parametric<Scalar = f64>,
{
    let (u, v) = pair(op, 1, seed);
    let value = dot(&u, &image(op, &v));
    let scale = dot(&absolute(&u), &image(bound, &absolute(&v)));
    for (g, w) in gradients(op, &[1.0], &u, &v).iter().zip(weights_of(op)) {
        close::<P::Scalar>("<G, W>", &[dot(g, &w)], &[value], terms, scale)?;
    }
    Ok(())
}

/// The gradient of blocks is the sum of those of the pairs times their factors.
pub fn weighted_sum<P, B>(op: &P, bound: &B, terms: usize, seed: u64) -> Result<(), TestCaseError>
where
    P: Parametric,
    B: Parametric<Scalar = f64>,
{
    let k = 1 + (seed % 5) as usize;
    let (u, v) = pair(op, k, seed);
    let lambda = values(k, seed.wrapping_add(2));
    let left = gradients(op, &lambda, &u, &v).concat();
    let mut right = vec![0.0; left.len()];
    let pairs = u
        .chunks_exact(op.outputs())
        .zip(v.chunks_exact(op.inputs()));
    for ((u, v), l) in pairs.zip(&lambda) {
        right = combine(1.0, &right, *l, &gradients(op, &[1.0], u, v).concat());
    }
    let (lambda, u, v) = (absolute(&lambda), absolute(&u), absolute(&v));
    let scale = norm(&gradients(bound, &lambda, &u, &v).concat());
    close::<P::Scalar>("sum of gradients", &left, &right, k * terms, scale)
}

/// <G_i(u, v), dW_i> = u' (M(W + dW_i) - M(W)) v, with one weight moved at a time.
pub fn difference<P, B>(op: &P, bound: &B, terms: usize, seed: u64) -> Result<(), TestCaseError>
where
    P: Parametric + Clone,
    B: Parametric<Scalar = f64> + Clone,
{
    let (u, v) = pair(op, 1, seed);
    let all = weights_of(op);
    let moves = directions(&all, seed);
    let before = dot(&u, &image(op, &v));
    for (i, g) in gradients(op, &[1.0], &u, &v).iter().enumerate() {
        let mut weights = all.clone();
        weights[i] = combine(1.0, &weights[i], 1.0, &moves[i]);
        let mut moved = op.clone();
        moved.set_weights(&convert::<P::Scalar>(&weights)).unwrap();
        let after = dot(&u, &image(&moved, &v));

        let mut largest = bound.clone();
        let mut weights = weights_of(bound);
        weights[i] = combine(1.0, &weights[i], 1.0, &absolute(&moves[i]));
        largest.set_weights(&weights).unwrap();
        let scale = 2.0 * dot(&absolute(&u), &image(&largest, &absolute(&v)));
        let (left, right) = (dot(g, &moves[i]), after - before);
        close::<P::Scalar>("<G, dW>", &[left], &[right], terms, scale)?;
    }
    Ok(())
}

/// Actions that are made once are the actions; their targets need not be empty before.
pub fn once<P, B>(op: &P, bound: &B, terms: usize, seed: u64) -> Result<(), TestCaseError>
where
    P: Parametric,
    B: Parametric<Scalar = f64>,
{
    for k in [1, 2] {
        let (u, v) = pair(op, k, seed);
        let mut y = filled(op.output_block(k), &vec![f64::NAN; k * op.outputs()]);
        op.apply_once(&filled(op.input_block(k), &v), &mut y)
            .unwrap();
        let scale = norm(&image(bound, &absolute(&v)));
        close::<P::Scalar>("once", &y.download(), &image(op, &v), terms, scale)?;
        let mut x = filled(op.input_block(k), &vec![f64::NAN; k * op.inputs()]);
        op.adjoint_once(&filled(op.output_block(k), &u), &mut x)
            .unwrap();
        let scale = norm(&adjoint_image(bound, &absolute(&u)));
        close::<P::Scalar>(
            "once, adjoint",
            &x.download(),
            &adjoint_image(op, &u),
            terms,
            scale,
        )?;
    }
    Ok(())
}
