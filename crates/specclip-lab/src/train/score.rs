//! Cross entropy and accuracy of logits.

use serde::{Deserialize, Serialize};

/// The sums over some images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    /// Of the cross entropies, in nats.
    loss: f64,
    correct: u64,
    images: u64,
}

impl Score {
    /// Of logits (examples, classes), each example with one of the labels.
    pub fn new(logits: &[f32], labels: &[u8]) -> Self {
        let classes = logits.len() / labels.len().max(1);
        let mut score = Self::default();
        for (logits, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            let label = usize::from(label);
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let above: f64 = logits.iter().map(|&z| f64::from(z - largest).exp()).sum();
            score.loss += above.ln() - f64::from(logits[label] - largest);
            // Of equal logits the first counts, as argmax has it.
            score.correct += u64::from(logits.iter().position(|&z| z == largest) == Some(label));
            score.images += 1;
        }
        score
    }

    pub fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.images += other.images;
    }

    /// The mean cross entropy in nats.
    pub fn loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    /// The share that is right, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    pub fn is_finite(&self) -> bool {
        self.loss.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_images() {
        // Softmax of (0, ln 3) is (1/4, 3/4).
        let three = 3f32.ln();
        let score = Score::new(&[0.0, three, 0.0, three], &[1, 0]);
        let expected = ((4f64 / 3.0).ln() + 4f64.ln()) / 2.0;
        assert!((score.loss() - expected).abs() < 1e-7, "{}", score.loss());
        assert_eq!(score.accuracy(), 0.5);
    }

    #[test]
    fn large_logits_do_not_overflow_and_nan_is_noticed() {
        let score = Score::new(&[1e30, -1e30], &[0]);
        assert_eq!((score.loss(), score.accuracy()), (0.0, 1.0));
        assert!(!Score::new(&[f32::NAN, 0.0], &[0]).is_finite());
        assert!(!Score::new(&[f32::INFINITY, 0.0], &[1]).is_finite());
    }
}
