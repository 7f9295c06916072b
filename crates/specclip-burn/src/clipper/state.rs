//! What a clipper carries from step to step.

use serde::{Deserialize, Serialize};
use specclip::clip::Warm;

use super::{Clipper, setting};
use crate::error::Error;

/// All that a clipper carries from step to step, for checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipperState {
    steps: u64,
    layers: Vec<LayerState>,
}

impl ClipperState {
    /// Whether all that it has are numbers.
    pub fn is_finite(&self) -> bool {
        let vectors = self.layers.iter().filter_map(|layer| layer.vector.as_ref());
        vectors.flatten().all(|x| x.is_finite())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LayerState {
    name: String,
    seed: u64,
    /// The singular vector that is followed from step to step.
    vector: Option<Vec<f32>>,
}

impl Clipper {
    /// What has to be kept so that a run goes on as if it had not been interrupted.
    pub fn state(&self) -> ClipperState {
        let layers = self.watched.iter().map(|watched| {
            let (vector, seed) = watched.warm.state();
            LayerState {
                name: watched.unit.name(),
                seed,
                vector: vector.map(<[f32]>::to_vec),
            }
        });
        ClipperState {
            steps: self.steps,
            layers: layers.collect(),
        }
    }

    /// Goes on from a state of the same network with the same settings.
    ///
    /// # Errors
    /// [`Error::Setting`] when the state is of other layers.
    pub fn restore(&mut self, state: ClipperState) -> Result<(), Error> {
        let names = self.watched.iter().map(|w| w.unit.name());
        if !names.eq(state.layers.iter().map(|layer| layer.name.clone())) {
            return Err(setting(
                "state",
                "it is of a network with other layers; restore the checkpoint into the network that it \
                 was made with"
                    .to_owned(),
            ));
        }
        for (watched, layer) in self.watched.iter_mut().zip(state.layers) {
            watched.warm = Warm::restore(layer.vector, layer.seed);
        }
        self.steps = state.steps;
        Ok(())
    }
}
