//! Folders with small data sets in them, good and bad.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use specclip_lab::{Dataset, Error, Split};
use tempfile::TempDir;

pub const IMAGES: &str = "train-images-idx3-ubyte";

pub const LABELS: &str = "train-labels-idx1-ubyte";

pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";

pub const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

pub fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    file.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    file.extend(elements);
    file
}

/// Pixels that differ from place to place and from image to image.
pub fn pixels(count: usize) -> Vec<u8> {
    (0..count * 784).map(|i| (i * 7 % 251) as u8).collect()
}

pub fn images(count: usize) -> Vec<u8> {
    idx(&[count as u32, 28, 28], &pixels(count))
}

pub fn labels(labels: &[u8]) -> Vec<u8> {
    idx(&[labels.len() as u32], labels)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

pub fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a writable folder");
    fs::write(path, bytes).expect("a writable folder");
}

/// A folder with these files.
pub fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        put(folder.path(), name, bytes);
    }
    folder
}

pub fn train(folder: &Path) -> Result<Dataset, Error> {
    Dataset::load(folder, Split::Train)
}

/// The one sentence that is said about a folder with these files.
pub fn refusal(files: &[(&str, &[u8])]) -> String {
    let folder = folder(files);
    let message = train(folder.path()).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message.replace(&folder.path().display().to_string(), "DATA")
}

pub fn cifar_batch(labels: &[u8]) -> Vec<u8> {
    let record = |(i, &label): (usize, &u8)| {
        let pixels = (0..3072).map(move |p| (p * 5 + i * 11) as u8);
        std::iter::once(label).chain(pixels)
    };
    labels.iter().enumerate().flat_map(record).collect()
}

/// A pickle as Python 2 and NumPy wrote those of CIFAR-10's Python version, down to the instructions that keep objects for
/// later.
pub fn cifar_pickle(labels: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05".to_vec();
    for thousand in labels.chunks(1000) {
        file.push(b'(');
        file.extend(thousand.iter().flat_map(|&label| [b'K', label]));
        file.push(b'e');
    }
    file.extend(b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85U\x01b\x87Rq\x09(K\x01");
    file.push(b'M');
    file.extend((labels.len() as u16).to_le_bytes());
    file.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\0K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
    file.extend((labels.len() as u32 * 3072).to_le_bytes());
    for record in cifar_batch(labels).chunks(3073) {
        file.extend(&record[1..]);
    }
    file.extend(b"tbU\x09filenamesq\x0c]q\x0d(");
    for i in 0..labels.len() {
        let name = format!("labels_data_{i:06}.png");
        file.extend([b'U', name.len() as u8]);
        file.extend(name.as_bytes());
        file.extend([b'r', i as u8, 1, 0, 0]);
    }
    file.extend(b"eu.");
    file
}

pub fn sum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
