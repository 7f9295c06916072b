//! Checkpoints of training runs, read as models.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::Error;

/// The entry in a safetensors file's metadata that makes it a checkpoint.
const ENTRY: &str = "specclip";

/// Longer headers are refused by every reader of the format.
const LONGEST: u64 = 100_000_000;

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: HashMap<String, IgnoredAny>,
}

/// Whether a file is a checkpoint of a training run. A file that cannot be read is none; whoever reads it as something
/// else will say why.
pub fn is_checkpoint(path: &Path) -> bool {
    let header = || {
        let mut file = File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        (length <= LONGEST).then_some(())?;
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text).ok()?;
        serde_json::from_slice::<Header>(&text).ok()
    };
    header().is_some_and(|header| header.metadata.contains_key(ENTRY))
}

/// Refuses a folder where a file is to be read; of a training run it names the files to choose from.
pub fn refuse_folder(path: &Path) -> Result<(), Error> {
    if !path.is_dir() {
        return Ok(());
    }
    let files = ["best.safetensors", "last.safetensors"];
    let mut files = files.into_iter().filter(|file| path.join(file).is_file());
    let hint = match (files.next(), files.next()) {
        (Some(a), Some(b)) => format!(", such as {a} or {b} of the run"),
        (Some(a), None) => format!(", such as {a} of the run"),
        _ => String::new(),
    };
    Err(Error::Usage(format!(
        "{path:?} is a folder; name a file in it{hint}"
    )))
}

/// The network of a checkpoint as an ONNX model.
pub fn onnx(path: &Path) -> Result<Vec<u8>, Error> {
    lab::onnx(path)
}

/// The network of a checkpoint as a safetensors file and the description of its layers.
pub fn weights(path: &Path) -> Result<(Vec<u8>, String), Error> {
    lab::weights(path)
}

#[cfg(feature = "lab")]
mod lab {
    use std::path::Path;

    use specclip_lab::export;
    use specclip_lab::train::Checkpoint;

    use crate::error::Error;

    pub fn onnx(path: &Path) -> Result<Vec<u8>, Error> {
        let (settings, network) = Checkpoint::load(path)?;
        Ok(export::onnx(&network, settings.network.input_shape())?)
    }

    pub fn weights(path: &Path) -> Result<(Vec<u8>, String), Error> {
        let (settings, network) = Checkpoint::load(path)?;
        let weights = export::safetensors(&network, settings.network.input_shape())?;
        Ok((weights.bytes, weights.description))
    }
}

#[cfg(not(feature = "lab"))]
mod lab {
    use std::path::Path;

    use crate::cli::train::ABSENT;
    use crate::error::Error;

    pub fn onnx(path: &Path) -> Result<Vec<u8>, Error> {
        Err(Error::Usage(format!(
            "{path:?} is to be read as the checkpoint of a training run, and {ABSENT}"
        )))
    }

    pub fn weights(path: &Path) -> Result<(Vec<u8>, String), Error> {
        onnx(path).map(|bytes| (bytes, String::new()))
    }
}
