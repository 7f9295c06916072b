//! Checkpoints: one safetensors file with everything that a run goes on from.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use specclip_burn::ClipperState;

use super::data::DataId;
use super::figures::{Clips, Epoch, Position, Seconds};
use super::folder::{has_run, last};
use super::parameters::{self, Stored};
use super::score::Score;
use super::settings::{ClipMethod, Settings};
use crate::error::Error;
use crate::network::Network;

/// The key of the metadata.
const KEY: &str = "specclip";
/// Before the names of what the optimiser keeps; no parameter's name begins so.
const OPTIMIZER: &str = "optimizer.";
/// The version of the format.
pub(super) const FORMAT: u32 = 1;
/// More than any of the networks needs.
const LARGEST: u64 = 1 << 32;

/// Everything about a run at some moment that is not as large as its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub format: u32,
    pub settings: Settings,
    pub data: DataId,
    pub position: Position,
    pub begun: Begun,
    pub epochs: Vec<Epoch>,
    pub clipper: ClipperState,
    /// How many steps the optimiser has counted, by parameter.
    pub optimizer: BTreeMap<String, u64>,
}

/// The figures of an epoch that is not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub score: Score,
    pub clips: Clips,
    pub seconds: Seconds,
}

/// A file from which a run goes on, or in which it left its best network: weights, statistics of batch
/// normalisations and what the optimiser keeps as tensors of `f32`; settings, position, figures and the
/// clipper's vectors as JSON in the metadata.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) state: State,
    pub(super) parameters: BTreeMap<String, Stored>,
    pub(super) optimizer: BTreeMap<String, Stored>,
}

impl Checkpoint {
    /// The settings of the run that wrote a checkpoint, and its network as it was used (with spectral
    /// normalisation: with weights that are divided by their norms), for inference on the CPU.
    ///
    /// # Errors
    /// When the file cannot be read or is no whole checkpoint.
    pub fn load(path: &Path) -> Result<(Settings, Network), Error> {
        let mut checkpoint = Self::read(path)?;
        let network = checkpoint.network(path, &Device::flex())?;
        let State {
            settings, clipper, ..
        } = checkpoint.state;
        let used = used(&settings, network, clipper);
        let network = used.map_err(|error| refuse(path, error.to_string()))?;
        Ok((settings, network))
    }

    /// The settings of the run in a folder, the images that it learns from, and how far it has come; none
    /// if there is no run in the folder.
    ///
    /// # Errors
    /// When its last checkpoint cannot be read or is no whole checkpoint.
    pub fn of_run(folder: &Path) -> Result<Option<(Settings, DataId, Position)>, Error> {
        if !has_run(folder)? {
            return Ok(None);
        }
        let path = last(folder);
        let State {
            settings,
            data,
            position,
            ..
        } = Self::read(&path)?.state;
        Ok(Some((settings, data, position)))
    }

    /// Its network on a device, with nothing left over. Takes the parameters.
    pub(super) fn network(&mut self, path: &Path, device: &Device) -> Result<Network, Error> {
        let (config, seed) = (&self.state.settings.network, self.state.settings.seed);
        let parameters = &mut self.parameters;
        // Nothing of it is left to be drawn, but Burn might, and other networks are drawn from the same source.
        let network = parameters::drawn(seed, device, || {
            let network = config.init(device).map_err(|error| error.to_string())?;
            parameters::load(network, parameters)
        });
        let network = network.map_err(|problem| refuse(path, problem))?;
        match self.parameters.first_key_value() {
            Some((name, _)) => {
                let problem = format!("its tensor {name} is none of the network's");
                Err(refuse(path, problem))
            }
            None => Ok(network),
        }
    }

    /// Whether all weights are numbers, and all that the optimiser and the clipper keep.
    pub(super) fn is_finite(&self) -> bool {
        let tensors = self.parameters.values().chain(self.optimizer.values());
        let clipper = self.state.clipper.is_finite();
        clipper
            && tensors
                .flat_map(|tensor| tensor.bytes.chunks_exact(4))
                .all(|bytes| {
                    bytes
                        .try_into()
                        .is_ok_and(|bytes| f32::from_le_bytes(bytes).is_finite())
                })
    }

    /// The bytes of a file. They depend on nothing but the contents.
    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let state = serde_json::to_string(&self.state);
        let state = state.map_err(|error| refuse(path, error.to_string()))?;
        let own = self.parameters.iter().map(|(name, t)| (name.clone(), t));
        let optimizer = self.optimizer.iter();
        let optimizer = optimizer.map(|(name, t)| (format!("{OPTIMIZER}{name}"), t));
        let views = own.chain(optimizer).map(|(name, tensor)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &tensor.bytes)?;
            Ok((name, view))
        });
        let bytes = views
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .and_then(|views| {
                safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), state)])))
            });
        bytes.map_err(|error| refuse(path, error.to_string()))
    }

    /// Reads a whole file; nothing that it says is trusted.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = bytes_of(path)?;
        Self::from_bytes(path, &bytes)
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |problem: String| refuse(path, problem);
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|e| refuse(format!("it is not a whole safetensors file ({e})")))?;
        let state = header.metadata().as_ref().and_then(|all| all.get(KEY));
        let state = state.ok_or_else(|| {
            refuse("it is a safetensors file without the settings of a run".to_owned())
        })?;
        let state: State = serde_json::from_str(state)
            .map_err(|e| refuse(format!("the settings in it cannot be read ({e})")))?;
        if state.format != FORMAT {
            let format = state.format;
            let problem =
                format!("its format is {format}, and this version of specclip knows {FORMAT}");
            return Err(refuse(problem));
        }
        let mut checkpoint = Self {
            state,
            parameters: BTreeMap::new(),
            optimizer: BTreeMap::new(),
        };
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| refuse(format!("it is not a whole safetensors file ({e})")))?;
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(refuse(format!("its tensor {name} is not of type F32")));
            }
            let tensor = Stored {
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            };
            match name.strip_prefix(OPTIMIZER) {
                Some(name) => checkpoint.optimizer.insert(name.to_owned(), tensor),
                None => checkpoint.parameters.insert(name, tensor),
            };
        }
        Ok(checkpoint)
    }
}

/// A network as it is used.
fn used(settings: &Settings, network: Network, clipper: ClipperState) -> Result<Network, Error> {
    if settings.clipping.method != ClipMethod::SpectralNorm {
        return Ok(network);
    }
    let input = settings.network.input_shape();
    let mut follower = settings.clipping.clipper(&network, input)?;
    follower.restore(clipper)?;
    Ok(follower.effective(&network)?)
}

/// The bytes of a file of a size that a checkpoint may have.
fn bytes_of(path: &Path) -> Result<Vec<u8>, Error> {
    let read = |e| Error::read(path, e);
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    let mut limited = file.take(LARGEST + 1);
    limited.read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > LARGEST {
        let problem = format!("it has more than {LARGEST} bytes");
        return Err(refuse(path, problem));
    }
    Ok(bytes)
}

pub(super) fn refuse(path: &Path, problem: String) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        problem,
    }
}
