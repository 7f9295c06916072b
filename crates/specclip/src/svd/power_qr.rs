//! PowerQR: Algorithm 1 of Ebrahimpour-Boroojeny, Telgarsky & Sundaram, "Spectrum Extraction and
//! Clipping for Implicitly Linear Layers" (AISTATS 2024). The reference method.
//!
//! It is subspace iteration on mu I + M'M: Q R = qr(X); X <- mu Q + M'M Q. With the shift mu = 1 of
//! the paper's code it stalls when sigma << 1; mu = 0 does not, and [`Shift::Relative`] follows the
//! scale of the operator.

use super::basis::{Basis, orthonormalise};
use super::{Method, Params, Shift, Triplets, finish};
use crate::block::Block;
use crate::error::Error;
use crate::operator::LinearOperator;
use crate::random::Random;

pub(super) fn solve<Op: LinearOperator + ?Sized>(
    op: &Op,
    k: usize,
    params: &Params,
    start: Option<&Op::Block>,
) -> Result<Triplets<Op::Block>, Error> {
    let mut random = Random::new(params.seed);
    let mut x = op.input_block(k);
    random.fill(&mut x);
    if let Some(start) = start {
        x.set_columns(0, &start.columns(0..k.min(start.cols())));
    }
    let empty = op.input_block(0);
    let mut mq = op.output_block(k);
    let mut next = op.input_block(k);
    let (mut shift, relative) = match params.shift {
        Shift::Fixed(mu) if mu >= 0.0 && mu.is_finite() => (Some(mu), 0.0),
        Shift::Relative(factor) if factor >= 0.0 && factor.is_finite() => (None, factor),
        shift => {
            return Err(Error::invalid(
                "PowerQR",
                format!("the shift {shift:?} must not be negative"),
            ));
        }
    };
    let mut matvecs = 0;
    let mut enough = false;
    let mut iteration = 0;
    loop {
        iteration += 1;
        // x <- Q, orthonormal; the diagonal of R estimates mu + sigma^2.
        let r = orthonormalise(&mut x, &Basis::whole(&empty, 0), 0.0, &mut random).within;
        op.apply(&x, &mut mq)?;
        matvecs += k;
        let images = mq.norms();
        enough |= params.iterations.is_some_and(|n| iteration >= n);
        if enough || matvecs + 2 * k > params.max_matvecs {
            // The first R is that of the start and says nothing.
            let mu = shift.filter(|_| iteration > 1);
            let sigma = mu.map_or_else(
                || images.clone(),
                |mu| {
                    (0..k)
                        .map(|i| (r[(i, i)].abs() - mu).max(0.0).sqrt())
                        .collect()
                },
            );
            return triplets(op, x, mq, (sigma, images), params, matvecs);
        }
        op.adjoint(&mq, &mut next)?;
        matvecs += k;
        let mu = *shift.get_or_insert_with(|| {
            let largest = images.iter().fold(0.0, |a: f64, &b| a.max(b));
            relative * largest * largest
        });
        // The next R is that of the converged vectors.
        enough = params.iterations.is_none() && converged(&x, &next, &images, params.tolerance);
        let diagonal = faer::Mat::from_fn(k, k, |i, j| if i == j { mu } else { 0.0 });
        next.add_combination(&x, 0..k, diagonal.as_ref());
        std::mem::swap(&mut x, &mut next);
    }
}

/// ||M'M q - sigma^2 q|| <= tolerance sigma_1 sigma for every vector, with sigma = ||M q||.
fn converged<B: Block>(q: &B, mmq: &B, sigma: &[f64], tolerance: f64) -> bool {
    let k = sigma.len();
    let mut residual = mmq.clone();
    let minus = faer::Mat::from_fn(k, k, |i, j| if i == j { -sigma[i] * sigma[i] } else { 0.0 });
    residual.add_combination(q, 0..k, minus.as_ref());
    let largest = sigma.iter().fold(0.0, |a: f64, &b| a.max(b));
    residual
        .norms()
        .iter()
        .zip(sigma)
        .all(|(&r, &s)| r <= tolerance * largest * s)
}

/// Triplets in descending order, u = M v / ||M v||.
fn triplets<Op: LinearOperator + ?Sized>(
    op: &Op,
    v: Op::Block,
    mut u: Op::Block,
    (sigma, images): (Vec<f64>, Vec<f64>),
    params: &Params,
    matvecs: usize,
) -> Result<Triplets<Op::Block>, Error> {
    let k = sigma.len();
    let inverse = |&n: &f64| if n > 0.0 { 1.0 / n } else { 0.0 };
    u.scale(&images.iter().map(inverse).collect::<Vec<_>>());
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|&a, &b| sigma[b].total_cmp(&sigma[a]));
    let (mut sorted_u, mut sorted_v) = (u.zeros_like(k), v.zeros_like(k));
    for (to, &from) in order.iter().enumerate() {
        sorted_u.set_columns(to, &u.columns(from..from + 1));
        sorted_v.set_columns(to, &v.columns(from..from + 1));
    }
    let sigma = order.iter().map(|&i| sigma[i]).collect();
    finish(
        op,
        (sorted_u, sigma, sorted_v),
        params,
        matvecs,
        Method::PowerQr,
    )
}
