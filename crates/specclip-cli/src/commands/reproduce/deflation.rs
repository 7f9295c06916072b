//! The baseline of figure 5b: power iteration on M'M, one singular value after the other, each on the complement of
//! the vectors found before. Virmaux & Scaman, "Lipschitz regularity of deep neural networks: analysis and efficient
//! estimation" (NeurIPS 2018); their program stops a value when its vector changes by less than 1e-8, or after 500
//! iterations.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use specclip::{Block, Columns, LinearOperator, Real};

/// When the iteration for one value ends.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The distance of the unit vector from the one before.
    pub change: f64,
    /// Iterations for one value at most.
    pub iterations: usize,
}

/// A value, and what it and those before it took.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The norm of M v.
    pub sigma: f64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Products with M and with its adjoint since the start.
    pub matvecs: usize,
}

/// The `k` leading values in the order in which they were found.
pub fn leading<T: Real, Op: LinearOperator<Block = Columns<T>>>(
    op: &Op,
    k: usize,
    stop: Stop,
    seed: u64,
) -> Result<Vec<Found>, specclip::Error> {
    let started = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut basis = op.input_block(k);
    let mut image = op.output_block(1);
    let mut found: Vec<Found> = Vec::with_capacity(k);
    let mut matvecs = 0;
    for index in 0..k {
        let mut v = op.input_block(1);
        let start: Vec<f64> = (0..op.inputs())
            .map(|_| StandardNormal.sample(&mut random))
            .collect();
        v.upload(&start);
        deflate(&mut v, &basis, index);
        normalise(&mut v);
        for _ in 0..stop.iterations {
            let mut next = op.input_block(1);
            op.apply(&v, &mut image)?;
            op.adjoint(&image, &mut next)?;
            matvecs += 2;
            deflate(&mut next, &basis, index);
            if normalise(&mut next) == 0.0 {
                break;
            }
            let change = distance(&v, &next);
            v = next;
            if change < stop.change {
                break;
            }
        }
        op.apply(&v, &mut image)?;
        matvecs += 1;
        basis.set_columns(index, &v);
        found.push(Found {
            sigma: image.norms()[0],
            elapsed: started.elapsed(),
            matvecs,
        });
    }
    Ok(found)
}

/// Takes out what lies along the first `count` vectors of the basis.
fn deflate<T: Real>(v: &mut Columns<T>, basis: &Columns<T>, count: usize) {
    if count > 0 {
        let mut along = basis.gram(0..count, v);
        for i in 0..count {
            along[(i, 0)] = -along[(i, 0)];
        }
        v.add_combination(basis, 0..count, along.as_ref());
    }
}

/// The norm before; a zero vector stays one.
fn normalise<T: Real>(v: &mut Columns<T>) -> f64 {
    let norm = v.norms()[0];
    if norm > 0.0 {
        v.scale(&[1.0 / norm]);
    }
    norm
}

fn distance<T: Real>(a: &Columns<T>, b: &Columns<T>) -> f64 {
    let squares = a.as_slice().iter().zip(b.as_slice());
    squares
        .map(|(a, b)| (a.to_f64() - b.to_f64()).powi(2))
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use specclip::operator::Dense;

    #[test]
    fn one_value_after_the_other() {
        let mut weight = vec![0.0; 4 * 6];
        for (i, sigma) in [1.0, 5.0, 2.0, 0.5].into_iter().enumerate() {
            weight[i * 6 + i] = sigma;
        }
        let op = Dense::<f64>::new(weight, 4, 6).unwrap();
        let stop = Stop {
            change: 1e-8,
            iterations: 500,
        };
        let found = leading(&op, 4, stop, 0).unwrap();
        for (found, sigma) in found.iter().zip([5.0, 2.0, 1.0, 0.5]) {
            assert!((found.sigma - sigma).abs() < 1e-8, "{found:?}");
        }
        assert!(
            found
                .windows(2)
                .all(|pair| pair[0].matvecs < pair[1].matvecs)
        );
        let stop = Stop {
            iterations: 7,
            change: 0.0,
        };
        assert_eq!(leading(&op, 2, stop, 0).unwrap()[1].matvecs, 30);
    }
}
