//! Files in memory, within a limit.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::Error;

/// More than any file of these data sets has, compressed or not: the largest, MNIST's training images, has 47 MB.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// All bytes of a file that has at most [`MAX_BYTES`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::read(path, e))?;
    // Reading a pipe could wait for ever.
    if !metadata.is_file() {
        let source = io::Error::other("it is not a file");
        return Err(Error::read(path, source));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::read(path, e))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::damaged(
            path,
            "it has more than 1 GiB, far more than this data set",
        ));
    }
    Ok(bytes)
}

/// Whether there is a file or folder of this name; it is an error if that may not be known.
pub(super) fn exists(path: &Path) -> Result<bool, Error> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Error::read(path, e)),
        Err(_) => Ok(false),
    }
}
