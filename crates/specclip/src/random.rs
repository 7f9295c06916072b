//! Random vectors, drawn on the host from a seed so that they do not depend on the device.

use rand::SeedableRng;
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
}
