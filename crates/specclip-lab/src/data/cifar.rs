//! CIFAR-10: its binary version, made of records of one label and 3x32x32 pixels, and its Python version.

use std::path::Path;

use rayon::prelude::*;

use super::checksums::Checksums;
use super::{Dataset, DatasetKind, Split, bad_label, file, pickle};
use crate::Error;

const TRAIN: [&str; 5] = [
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
];
const TEST: [&str; 1] = ["test_batch"];

/// The two ways in which the batches are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Binary,
    Python,
}

impl Version {
    fn file_name(self, batch: &str) -> String {
        match self {
            Self::Binary => format!("{batch}.bin"),
            Self::Python => batch.to_owned(),
        }
    }
}

/// Whether a folder has one of the files.
pub(super) fn is_in(folder: &Path, version: Version) -> Result<bool, Error> {
    for batch in TRAIN.iter().chain(&TEST) {
        if file::exists(&folder.join(version.file_name(batch)))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads one part of the data set in a folder.
pub(super) fn load(folder: &Path, version: Version, split: Split) -> Result<Dataset, Error> {
    let sums = Checksums::of(folder)?;
    let names: &[&str] = match split {
        Split::Train => &TRAIN,
        Split::Test => &TEST,
    };
    // The sums take longest, so the files are read side by side; results are in the order of the names, and so is
    // the first error.
    let batches: Vec<Result<_, Error>> = names
        .par_iter()
        .map(|name| read(&folder.join(version.file_name(name)), version, &sums))
        .collect();
    let batches: Vec<_> = batches.into_iter().collect::<Result<_, _>>()?;
    let (images, labels): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    Dataset::new(DatasetKind::Cifar10, images.concat(), labels.concat())
}

/// Pixels and labels of one file.
fn read(path: &Path, version: Version, sums: &Checksums) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let bytes = file::read(path)?;
    sums.check(path, &bytes)?;
    let (pixels, labels) = match version {
        Version::Binary => records(&bytes),
        Version::Python => pickle::batch(&bytes),
    }
    .map_err(|problem| Error::damaged(path, problem))?;
    match bad_label(&labels) {
        Some(problem) => Err(Error::damaged(path, problem)),
        None => Ok((pixels, labels)),
    }
}

/// Pixels and labels of a file of the binary version.
fn records(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let size = 1 + DatasetKind::Cifar10.image_len();
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(format!(
            "it has {} bytes, and a CIFAR-10 batch is made of records of {size} bytes",
            bytes.len()
        ));
    }
    let records = bytes.chunks_exact(size);
    let labels: Vec<u8> = records.clone().map(|record| record[0]).collect();
    let mut pixels = Vec::with_capacity(bytes.len() - labels.len());
    for record in records {
        pixels.extend_from_slice(&record[1..]);
    }
    Ok((pixels, labels))
}
