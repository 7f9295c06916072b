//! What a run has to agree with before its first step, and what comes back from a checkpoint.

use std::collections::BTreeMap;

use super::checkpoint::State;
use super::data::Data;
use super::folder::Folder;
use super::learner::Learner;
use super::optimizer::Memory;
use super::parameters::Stored;
use super::settings::Settings;
use crate::batches::Batches;
use crate::error::Error;
use crate::network::Network;

/// Refuses settings that make no run on these images with the threads at work.
pub(super) fn check(settings: &Settings, data: &Data) -> Result<(), Error> {
    let (train, test) = (data.train.kind(), data.test.kind());
    if train != test {
        let (train, test) = (train.name(), test.name());
        return Err(Error::Parts {
            problem: format!(
                "the images to learn from are {train}'s, those to measure with {test}'s"
            ),
        });
    }
    let threads = rayon::current_num_threads();
    if settings.threads != threads {
        let asked = settings.threads;
        return Err(Error::Setting {
            setting: "threads",
            problem: format!("{asked} are asked for and {threads} are at work"),
        });
    }
    settings.check(train)?;
    if settings.batch > data.train.len() {
        let (batch, images) = (settings.batch, data.train.len());
        return Err(Error::Setting {
            setting: "batch",
            problem: format!("{batch} images are more than the {images} there are"),
        });
    }
    Batches::training(&data.train, &settings.sampling(), 0).map(|_| ())
}

/// A run goes on with the settings and the images that it began with; only the number of its epochs may be larger, where it has
/// not been ended by a number of steps: no step depends on how many epochs follow.
pub(super) fn compare(
    folder: &Folder,
    state: &State,
    settings: &Settings,
    data: &Data,
) -> Result<(), Error> {
    let different = |difference| {
        Err(Error::Different {
            folder: folder.path().to_owned(),
            difference,
        })
    };
    let mut begun = state.settings.clone();
    match begun.steps {
        None => begun.epochs = begun.epochs.max(settings.epochs),
        // After the last step comes a clip that a longer run does not have there.
        Some(steps) if begun.epochs < settings.epochs || settings.steps > begun.steps => {
            return different(format!(
                "it ends after {steps} steps, and cannot go on beyond them"
            ));
        }
        Some(_) => {}
    }
    if let Some(difference) = begun.difference(settings) {
        return different(difference);
    }
    let id = data.id();
    if state.data.sha256 != id.sha256 {
        let (there, here) = (&state.data, &id);
        return different(format!(
            "it learns from {} images of {} and these are {} of {}, or their contents differ",
            there.train_images, there.name, here.train_images, here.name
        ));
    }
    Ok(())
}

/// Everything but the network as it was.
pub(super) fn restore(
    learner: &mut Learner,
    network: &Network,
    state: &State,
    tensors: BTreeMap<String, Stored>,
) -> Result<(), String> {
    let clipper = learner.clipper.restore(state.clipper.clone());
    clipper.map_err(|e| e.to_string())?;
    // Before the first step an optimiser has nothing to remember.
    if state.position.step == 0 {
        return Ok(());
    }
    let counts = state.optimizer.clone();
    learner
        .optimizer
        .restore(network, Memory { tensors, counts })
}
