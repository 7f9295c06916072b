//! The IDX files of MNIST and Fashion-MNIST.
//!
//! An IDX file is a magic number (two zeros, the type of its elements, the number of its dimensions), the dimensions as
//! big-endian 32-bit numbers, and the elements. Images have type 8 (unsigned bytes) and three dimensions, labels one.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::checksums::{Checksums, sha256};
use super::{Dataset, DatasetKind, Split, bad_label, file};
use crate::Error;

const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// SHA-256 sums of the label files of the published data sets, training and test.
const LABELS: [(&str, DatasetKind); 4] = [
    (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        DatasetKind::Mnist,
    ),
    (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        DatasetKind::Mnist,
    ),
    (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        DatasetKind::FashionMnist,
    ),
    (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        DatasetKind::FashionMnist,
    ),
];

/// Whether a folder has one of the files.
pub(super) fn is_in(folder: &Path) -> Result<bool, Error> {
    for name in TRAIN.iter().chain(&TEST) {
        if file::exists(&stored(folder, name)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads one part of the data set in a folder.
pub(super) fn load(folder: &Path, split: Split) -> Result<Dataset, Error> {
    let sums = Checksums::of(folder)?;
    let [images_name, labels_name] = match split {
        Split::Train => TRAIN,
        Split::Test => TEST,
    };

    let path = stored(folder, labels_name)?;
    let bytes = file::read(&path)?;
    sums.check(&path, &bytes)?;
    let (_, labels) = decode(&path, &bytes, label_bytes)?;
    if let Some(problem) = bad_label(&labels) {
        return Err(Error::damaged(&path, problem));
    }
    let kind = kind(folder, &labels);

    let path = stored(folder, images_name)?;
    let bytes = file::read(&path)?;
    sums.check(&path, &bytes)?;
    let ([count, _, _], images) = decode(&path, &bytes, |dims| image_bytes(kind, dims))?;
    if count as usize != labels.len() {
        let problem = format!(
            "it has {count} images, but there are {} labels in {labels_name}",
            labels.len()
        );
        return Err(Error::damaged(&path, problem));
    }
    Dataset::new(kind, images, labels)
}

/// The file as it is, or else with `.gz` after its name.
fn stored(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let plain = folder.join(name);
    let zipped = folder.join(format!("{name}.gz"));
    let use_zipped = !file::exists(&plain)? && file::exists(&zipped)?;
    Ok(if use_zipped { zipped } else { plain })
}

/// Which of the data sets has these labels; if neither has, by the name of the folder, or of the one above `raw`.
fn kind(folder: &Path, labels: &[u8]) -> DatasetKind {
    let published = [
        magic::<1>().as_slice(),
        &(labels.len() as u32).to_be_bytes(),
        labels,
    ]
    .concat();
    let sum = sha256(&published);
    if let Some((_, kind)) = LABELS.iter().find(|(known, _)| *known == sum) {
        return *kind;
    }
    let folder = folder.canonicalize().unwrap_or(folder.to_owned());
    let named = if folder.ends_with("raw") {
        folder.parent()
    } else {
        Some(folder.as_path())
    };
    let name = named.and_then(Path::file_name).unwrap_or_default();
    if name
        .to_string_lossy()
        .to_ascii_lowercase()
        .contains("fashion")
    {
        DatasetKind::FashionMnist
    } else {
        DatasetKind::Mnist
    }
}

/// Two zeros, the type of unsigned bytes, and the number of dimensions.
fn magic<const RANK: usize>() -> [u8; 4] {
    [0, 0, 8, RANK as u8]
}

/// The number of labels, if it can be.
fn label_bytes([count]: [u32; 1]) -> Result<u64, String> {
    match u64::from(count) {
        0 => Err("its header promises 0 labels".to_owned()),
        bytes if bytes > file::MAX_BYTES => Err(format!(
            "its header promises {count} labels, far more than this data set"
        )),
        bytes => Ok(bytes),
    }
}

/// The number of pixels, if the images have the right size and can be that many.
fn image_bytes(kind: DatasetKind, [count, height, width]: [u32; 3]) -> Result<u64, String> {
    let [_, h, w] = kind.shape();
    if (height as usize, width as usize) != (h, w) {
        return Err(format!(
            "its header promises images of {height}x{width} pixels, and those of {} have {h}x{w}",
            kind.name()
        ));
    }
    match u64::from(count) * (h * w) as u64 {
        0 => Err("its header promises 0 images".to_owned()),
        bytes if bytes > file::MAX_BYTES => Err(format!(
            "its header promises {count} images, far more than this data set"
        )),
        bytes => Ok(bytes),
    }
}

/// Dimensions and elements of a file, gzipped or not. `size` gives the number of elements for these dimensions, or the
/// reason why there is none.
fn decode<const RANK: usize>(
    path: &Path,
    bytes: &[u8],
    size: impl Fn([u32; RANK]) -> Result<u64, String>,
) -> Result<([u32; RANK], Vec<u8>), Error> {
    let decoded = if bytes.starts_with(&GZIP) {
        elements(MultiGzDecoder::new(bytes), size)
    } else {
        elements(bytes, size)
    };
    decoded.map_err(|problem| Error::damaged(path, problem))
}

fn elements<const RANK: usize>(
    mut file: impl Read,
    size: impl Fn([u32; RANK]) -> Result<u64, String>,
) -> Result<([u32; RANK], Vec<u8>), String> {
    let start: [u8; 4] = header(&mut file)?;
    if start != magic::<RANK>() {
        return Err(format!(
            "it begins with {start:02x?}, and an IDX file of {} begins with {:02x?}",
            if RANK == 1 { "labels" } else { "images" },
            magic::<RANK>()
        ));
    }
    let mut dims = [0; RANK];
    for dim in &mut dims {
        *dim = u32::from_be_bytes(header(&mut file)?);
    }
    let expected = size(dims)?;
    let mut elements = Vec::new();
    // What a header promises is not allocated before it has come, and nothing beyond it is unpacked.
    file.by_ref()
        .take(expected + 1)
        .read_to_end(&mut elements)
        .map_err(|e| unpacking(&e))?;
    match elements.len() as u64 {
        n if n < expected => Err(format!(
            "it ends after {n} of the {expected} bytes that its header promises"
        )),
        n if n > expected => Err(format!(
            "it has more than the {expected} bytes that its header promises"
        )),
        _ => Ok((dims, elements)),
    }
}

fn header(file: &mut impl Read) -> Result<[u8; 4], String> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => "it ends within its header".to_owned(),
        _ => unpacking(&e),
    })?;
    Ok(bytes)
}

/// Only unpacking can fail: the bytes are in memory.
fn unpacking(error: &io::Error) -> String {
    format!("it cannot be unpacked ({error})")
}
