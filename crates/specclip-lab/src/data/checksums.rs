//! The SHA-256 sums that lie beside data, as `sha256sum` writes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file;
use crate::Error;

const NAME: &str = "SHA256SUMS";
const DIGITS: usize = 64;

/// What the files of one folder must sum to. Files that are not named are not checked.
#[derive(Debug)]
pub(super) struct Checksums {
    path: PathBuf,
    sums: HashMap<String, String>,
}

impl Checksums {
    /// The sums in a folder's `SHA256SUMS`; none if there is no such file.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let mut sums = HashMap::new();
        if !file::exists(&path)? {
            return Ok(Self { path, sums });
        }
        let bytes = file::read(&path)?;
        for (i, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let (sum, name) = parse(line).ok_or_else(|| Error::ChecksumSyntax {
                path: path.clone(),
                line: i + 1,
            })?;
            sums.insert(name, sum);
        }
        Ok(Self { path, sums })
    }

    /// Refuses the bytes of a file in the folder if their sum is not the one written down.
    pub fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let Some(expected) = name.and_then(|name| self.sums.get(name.as_ref())) else {
            return Ok(());
        };
        let found = sha256(bytes);
        if found == *expected {
            return Ok(());
        }
        Err(Error::Checksum {
            path: path.to_owned(),
            sums: self.path.clone(),
            expected: expected.clone(),
            found,
        })
    }
}

/// The sum in lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(DIGITS), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all that is written to it");
            text
        })
}

/// `<64 hexadecimal digits><space><space or *><name>`.
fn parse(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let (sum, name) = line.split_at_checked(DIGITS)?;
    let name = name.strip_prefix("  ").or(name.strip_prefix(" *"))?;
    let valid = sum.bytes().all(|byte| byte.is_ascii_hexdigit()) && !name.is_empty();
    valid.then(|| (sum.to_ascii_lowercase(), name.to_owned()))
}
