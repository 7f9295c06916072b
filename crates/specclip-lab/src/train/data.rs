//! The images of a run, and what identifies them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{Dataset, Split};
use crate::error::Error;

/// Images to learn from and images to measure with.
#[derive(Debug, Clone)]
pub struct Data {
    /// The images to learn from.
    pub train: Dataset,
    /// The images to measure with.
    pub test: Dataset,
    /// The folder that they were read from.
    pub folder: PathBuf,
}

impl Data {
    /// Reads both parts of the data set in a folder.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            train: Dataset::load(folder, Split::Train)?,
            test: Dataset::load(folder, Split::Test)?,
            // A run may be resumed from another place.
            folder: std::path::absolute(folder).map_err(|e| Error::read(folder, e))?,
        })
    }

    pub(super) fn id(&self) -> DataId {
        let mut digest = Sha256::new();
        for part in [&self.train, &self.test] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.images());
            digest.update(part.labels());
        }
        let sha256 = digest.finalize().into_iter().map(|b| format!("{b:02x}"));
        DataId {
            name: self.train.kind().name().to_owned(),
            folder: self.folder.clone(),
            train_images: self.train.len(),
            test_images: self.test.len(),
            sha256: sha256.collect(),
        }
    }
}

/// What identifies the images of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataId {
    /// The name of the data set.
    pub name: String,
    /// The folder that they were read from when the run began.
    pub folder: PathBuf,
    /// The number of images to learn from.
    pub train_images: usize,
    /// The number of images to measure with.
    pub test_images: usize,
    /// The SHA-256 sum of both parts, each as its number of images (64 bits, little-endian), its pixels
    /// in NCHW order and its labels.
    pub sha256: String,
}
