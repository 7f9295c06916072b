//! Gradients of bounds and of the norm with respect to the weights, against differences of values.

mod common;
mod configurations;

use configurations::values;
use specclip::bound::{GRAM_PRODUCTS, gram_gradient, norm_gradient};
use specclip::operator::{
    Adjoint, Compose, Conv, ConvParams, ConvTranspose, ConvTransposeParams, Dense, Diagonal,
    PaddingMode, Scaled,
};
use specclip::{LinearOperator, Parametric, svd};

/// An operator's value and gradient against differences of values.
fn gradient_is_difference<P: Parametric<Scalar = f64> + Clone>(
    name: &str,
    op: &P,
    value: impl Fn(&P) -> (f64, Vec<Vec<f64>>),
) {
    let (at, gradient) = value(op);
    let weights: Vec<Vec<f64>> = op.weights().iter().map(|w| w.to_vec()).collect();
    assert_eq!(gradient.len(), weights.len(), "{name}");
    // A weight moves by a part of its own size, whatever the others' is.
    let sizes: Vec<f64> = weights.iter().map(|w| common::norm(w)).collect();
    let slopes: Vec<f64> = gradient.iter().map(|g| common::norm(g)).collect();
    for seed in 0..3 {
        let direction: Vec<Vec<f64>> = (0..)
            .zip(&weights)
            .map(|(i, w)| {
                let random = values(w.len(), seed * 7 + i);
                random.iter().map(|x| x * sizes[i as usize]).collect()
            })
            .collect();
        let step = 1e-6;
        let moved = |sign: f64| {
            let moved: Vec<Vec<f64>> = weights
                .iter()
                .zip(&direction)
                .map(|(w, d)| w.iter().zip(d).map(|(w, d)| w + sign * step * d).collect())
                .collect();
            let mut op = op.clone();
            op.set_weights(&moved).unwrap();
            value(&op).0
        };
        let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let slope: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(g, d)| common::dot(g, d))
            .sum();
        let size: f64 = (0..slopes.len())
            .map(|i| slopes[i] * common::norm(&direction[i]))
            .sum();
        assert!(
            (difference - slope).abs() <= 1e-6 * size,
            "{name}: the difference is {difference}, the gradient says {slope} (value {at})"
        );
    }
}

fn gradients_are_differences<P: Parametric<Scalar = f64> + Clone>(name: &str, op: &P) {
    for products in [1, 3, GRAM_PRODUCTS] {
        gradient_is_difference(&format!("{name}, Gram {products}"), op, |op| {
            let bound = gram_gradient(op, products).unwrap();
            (bound.value, bound.weights)
        });
    }
    let solver = svd::Params {
        tolerance: 1e-10,
        ..svd::Params::default()
    };
    gradient_is_difference(&format!("{name}, norm"), op, |op| {
        let norm = norm_gradient(op, &solver).unwrap();
        assert!(norm.converged);
        (norm.value, norm.weights)
    });
}

#[test]
fn gradients_are_differences_of_values() {
    for scale in [1e-4, 1.0, 1e4] {
        let weight = |count, seed| -> Vec<f64> {
            values(count, seed).into_iter().map(|w| w * scale).collect()
        };
        let params = ConvParams::new(2)
            .padding(1, PaddingMode::Zeros)
            .stride(2)
            .groups(2);
        let conv =
            Conv::<f64>::new(weight(4 * 3 * 9, 3), &[4, 3, 3, 3], &[6, 7, 8], &params).unwrap();
        let transposed = ConvTransposeParams::new(1);
        let transposed =
            ConvTranspose::<f64>::new(weight(24, 6), &[4, 2, 3], &[4, 9], &transposed).unwrap();
        let norm = Diagonal::new(values(4, 4), conv.output_shape()).unwrap();
        let after = Diagonal::new(values(2, 8), transposed.output_shape()).unwrap();
        let dense = Dense::<f64>::new(weight(5 * 7, 5), 5, 7).unwrap();
        gradients_are_differences("convolution", &conv);
        gradients_are_differences("transposed convolution", &transposed);
        gradients_are_differences("normalised", &Compose::new(norm, conv).unwrap());
        gradients_are_differences("normalised", &Compose::new(after, transposed).unwrap());
        gradients_are_differences("dense", &dense);
        gradients_are_differences("scaled", &Scaled::new(Adjoint(dense), -2.5).unwrap());
    }
}
