//! Spectral normalisation: the norm of the reshaped kernel, and the gradient through the division by it (Miyato, Kataoka, Koyama
//! & Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018).

use specclip::clip::{Followed, Warm};
use specclip::operator::Dense;

use crate::trace::{Kind, TracedLayer};

/// What a weight was multiplied by in a forward pass: `target` over the norm of its matrix.
#[derive(Debug, Clone)]
pub(super) struct Division {
    target: f64,
    followed: Followed<f32>,
}

/// The shape of the matrix with a row for each output channel, and whether the weight's first two axes are
/// exchanged for it.
struct Matrix {
    exchanged: Option<[usize; 3]>,
    rows: usize,
    cols: usize,
}

impl Matrix {
    fn of(layer: &TracedLayer) -> Self {
        let shape = &layer.weight_shape;
        let entries: usize = shape.iter().product();
        let (rows, exchanged) = match layer.kind {
            // With groups: for each output channel of a group, as PyTorch has it.
            Kind::ConvTranspose(_) => {
                let taps = shape[2..].iter().product();
                (shape[1], Some([shape[0], shape[1], taps]))
            }
            // Of a dense layer (inputs, outputs): a matrix and its transpose have one norm.
            _ => (shape[0], None),
        };
        Self {
            exchanged,
            rows,
            cols: entries / rows.max(1),
        }
    }

    /// The matrix's entries of the weight's.
    fn of_weight(&self, weight: &[f32]) -> Vec<f32> {
        match self.exchanged {
            None => weight.to_vec(),
            Some([a, b, taps]) => exchanged(weight, [a, b, taps]),
        }
    }

    /// The weight's entries of the matrix's.
    fn to_weight(&self, matrix: Vec<f32>) -> Vec<f32> {
        match self.exchanged {
            None => matrix,
            Some([a, b, taps]) => exchanged(&matrix, [b, a, taps]),
        }
    }
}

/// The axes (a, b, c) in the order (b, a, c).
fn exchanged(values: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    let mut result = Vec::with_capacity(values.len());
    for j in 0..b {
        for i in 0..a {
            let start = (i * b + j) * c;
            result.extend_from_slice(&values[start..start + c]);
        }
    }
    result
}

/// The weight times `target` over the norm of its matrix, which one iteration of the power method follows; as
/// it is, with no division, where it is zero.
pub(super) fn normalise(
    layer: &TracedLayer,
    weight: &[f32],
    target: f64,
    warm: &mut Warm<f32>,
) -> Result<(Vec<f32>, Option<Division>), specclip::Error> {
    let matrix = Matrix::of(layer);
    let dense = Dense::new(matrix.of_weight(weight), matrix.rows, matrix.cols)?;
    let followed = warm.follow(&dense)?;
    if followed.sigma == 0.0 {
        return Ok((weight.to_vec(), None));
    }
    let factor = target / followed.sigma;
    let scaled = weight.iter().map(|&w| (f64::from(w) * factor) as f32);
    Ok((scaled.collect(), Some(Division { target, followed })))
}

impl Division {
    /// The gradient with respect to the weight W from that with respect to c W / sigma, with sigma = u' W v and
    /// u, v held fixed: c / sigma (G - <G, W> / sigma u v').
    pub(super) fn pull_back(
        &self,
        layer: &TracedLayer,
        weight: &[f32],
        gradient: &[f32],
    ) -> Vec<f32> {
        let matrix = Matrix::of(layer);
        let pairs = weight.iter().zip(gradient);
        let product: f64 = pairs.map(|(&w, &g)| f64::from(w) * f64::from(g)).sum();
        let Followed { sigma, u, v } = &self.followed;
        let (u, v) = (u.as_slice(), v.as_slice());
        let mut result = matrix.of_weight(gradient);
        let factor = self.target / sigma;
        for (row, &u) in result.chunks_exact_mut(matrix.cols.max(1)).zip(u) {
            let along = product / sigma * f64::from(u);
            for (g, &v) in row.iter_mut().zip(v) {
                *g = (factor * (f64::from(*g) - along * f64::from(v))) as f32;
            }
        }
        matrix.to_weight(result)
    }
}
