//! Random vectors, drawn on the host from a seed so that they do not depend on the device.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::block::Block;

pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn normals(&mut self, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| StandardNormal.sample(&mut self.0))
            .collect()
    }

    /// Overwrites a block with independent standard normal numbers.
    pub(crate) fn fill<B: Block>(&mut self, block: &mut B) {
        let values = self.normals(block.rows() * block.cols());
        block.upload(&values);
    }

    /// Overwrites a block with independent random signs, which take a small part of the time.
    pub(crate) fn fill_with_signs<B: Block>(&mut self, block: &mut B) {
        let mut values = vec![1.0; block.rows() * block.cols()];
        for values in values.chunks_mut(64) {
            let bits = self.0.next_u64();
            for (i, value) in values.iter_mut().enumerate() {
                *value -= 2.0 * (bits >> i & 1) as f64;
            }
        }
        block.upload(&values);
    }
}
