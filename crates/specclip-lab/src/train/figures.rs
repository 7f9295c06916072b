//! What a run has measured, and where it is.

use serde::{Deserialize, Serialize};
use specclip_burn::LayerReport;

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are over.
    pub epoch: u32,
    /// Steps made in the epoch that has begun.
    pub batch: u64,
    /// Steps made in all.
    pub step: u64,
}

/// The norm of a layer at the end of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// The layer's path in the network; of a composition both paths.
    pub name: String,
    /// conv2d, dense, batch_norm or conv2d+bn.
    pub kind: String,
    /// The norm asked for; none where the layer is only watched.
    pub target: Option<f64>,
    /// sigma_1.
    pub norm: f64,
    /// Whether the solve has converged; an unconverged value is a lower estimate.
    pub converged: bool,
}

/// The clips of an epoch, together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Clips {
    /// How often the layers were clipped.
    pub count: u64,
    /// The largest norm after a clip, as a multiple of its target; 0 without a clip.
    pub largest: f64,
    /// The smallest norm after a clip of those that were above their target before, as a multiple of it;
    /// none if none was.
    pub smallest: Option<f64>,
    /// Norms of which the solve has not converged: lower estimates.
    pub unconverged: u64,
}

impl Default for Clips {
    fn default() -> Self {
        Self {
            count: 0,
            largest: 0.0,
            smallest: None,
            unconverged: 0,
        }
    }
}

impl Clips {
    pub(super) fn add(&mut self, report: &[LayerReport]) {
        self.count += 1;
        for layer in report {
            self.unconverged += u64::from(!layer.converged);
            let Some(target) = layer.target else {
                continue;
            };
            let after = layer.after / target;
            self.largest = self.largest.max(after);
            if layer.before > target {
                self.smallest = Some(self.smallest.map_or(after, |least| least.min(after)));
            }
        }
    }
}

/// Wall time in seconds. What was lost with an interruption and repeated is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Batches, forward and backward passes, and the optimiser.
    pub training: f64,
    /// What the clipper did.
    pub clipping: f64,
    /// The passes over the test images, and measuring norms where nothing is clipped.
    pub evaluation: f64,
}

/// The figures of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Which, from 1 on.
    pub epoch: u32,
    /// Steps of the run at its end.
    pub step: u64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The mean cross entropy of the images while they were learnt from, in nats.
    pub train_loss: f64,
    /// The share of them that was right, 0 to 1.
    pub train_accuracy: f64,
    /// The mean cross entropy of the test images at the end, in nats.
    pub test_loss: f64,
    /// The share of them that was right, 0 to 1.
    pub test_accuracy: f64,
    /// The layers at the end.
    pub layers: Vec<LayerNorm>,
    /// What was clipped meanwhile.
    pub clips: Clips,
    /// How long it took.
    pub seconds: Seconds,
}

impl Epoch {
    /// The layer whose norm is largest, of those that have a target if there are any.
    pub fn largest(&self) -> Option<&LayerNorm> {
        let any = self.layers.iter().any(|layer| layer.target.is_some());
        let seen = self.layers.iter().filter(|l| l.target.is_some() || !any);
        seen.max_by(|a, b| a.norm.total_cmp(&b.norm))
    }
}
