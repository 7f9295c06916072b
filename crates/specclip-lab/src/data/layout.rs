//! Which data set a folder has, and in which folder below it the files are.

use std::path::{Path, PathBuf};

use super::cifar::{self, Version};
use super::idx;
use crate::Error;

/// How the files of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Idx,
    Cifar(Version),
}

/// A folder whose own files are a data set.
#[derive(Debug)]
pub(super) struct Place {
    pub folder: PathBuf,
    pub format: Format,
}

/// Where the files may be, below the folder that is given.
const PLACES: [(&str, Format); 8] = [
    ("", Format::Idx),
    ("raw", Format::Idx),
    ("MNIST/raw", Format::Idx),
    ("FashionMNIST/raw", Format::Idx),
    ("", Format::Cifar(Version::Binary)),
    ("cifar-10-batches-bin", Format::Cifar(Version::Binary)),
    ("", Format::Cifar(Version::Python)),
    ("cifar-10-batches-py", Format::Cifar(Version::Python)),
];

/// The one place with a data set: a place has one as soon as it has one of its files, so that a missing file is reported
/// by its name.
pub(super) fn find(folder: &Path) -> Result<Place, Error> {
    // Asked first, so that a folder that cannot be read is not taken for an empty one.
    std::fs::read_dir(folder).map_err(|e| Error::read(folder, e))?;
    let mut found = Vec::new();
    for (below, format) in PLACES {
        let place = Place {
            folder: join(folder, below),
            format,
        };
        if place.has_files()? {
            found.push(place);
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(place), true) => Ok(place),
        (Some(last), false) => {
            found.push(last);
            let choices: Vec<String> = found
                .iter()
                .map(|place| place.folder.display().to_string())
                .collect();
            Err(Error::SeveralDatasets {
                folder: folder.to_owned(),
                choices: choices.join(", "),
            })
        }
        (None, _) => Err(Error::NoDataset {
            folder: folder.to_owned(),
        }),
    }
}

impl Place {
    fn has_files(&self) -> Result<bool, Error> {
        match self.format {
            Format::Idx => idx::is_in(&self.folder),
            Format::Cifar(version) => cifar::is_in(&self.folder, version),
        }
    }
}

/// Joining an empty path would add a slash that messages would show.
fn join(folder: &Path, below: &str) -> PathBuf {
    if below.is_empty() {
        folder.to_owned()
    } else {
        folder.join(below)
    }
}
