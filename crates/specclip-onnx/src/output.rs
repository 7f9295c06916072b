//! Files that appear whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Error;

/// Writes a new file, and perhaps another one that belongs to it.
///
/// Both appear whole or not at all: each is written under a temporary name in its folder and renamed. Existing files are
/// replaced only with `overwrite`, and never `source`, which the bytes were made from. A link stays a link; the file
/// behind it is replaced.
///
/// # Errors
/// [`Error::Write`] when a name cannot be used, or the system refuses to write (no space, no permission). Then nothing
/// is left behind.
pub fn write_new(
    file: (&Path, &[u8]),
    companion: Option<(&Path, &[u8])>,
    source: &Path,
    overwrite: bool,
) -> Result<(), Error> {
    let behind = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (path, companion) = (behind(file.0), companion.map(|(p, b)| (behind(p), b)));
    let beside = companion.as_ref().map(|(path, _)| path.as_path());
    let targets = std::iter::once(path.as_path()).chain(beside);
    check(targets, &[source], overwrite)?;
    let mut companions = Vec::new();
    if let Some((path, bytes)) = &companion {
        companions.push((filled(path, bytes)?, path.as_path()));
    }
    publish((filled(&path, file.1)?, &path), companions, overwrite)
}

fn filled(path: &Path, bytes: &[u8]) -> Result<NamedTempFile, Error> {
    let mut file = temporary(path)?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|e| failed(path, &without_temporary(e)))?;
    Ok(file)
}

/// Refuses names that cannot be written to. The first is the file, those after it belong to it; `sources` are what it
/// was made from.
pub(crate) fn check<'a>(
    targets: impl Iterator<Item = &'a Path>,
    sources: &[&Path],
    overwrite: bool,
) -> Result<(), Error> {
    for target in targets {
        let refuse = |problem| Err(unwritable(target, problem));
        if !folder(target).is_dir() {
            return refuse("there is no such folder");
        }
        // Of a link that leads nowhere there is no more than the link itself.
        let Ok(kind) = fs::metadata(target).or_else(|_| fs::symlink_metadata(target)) else {
            continue;
        };
        if kind.is_dir() {
            return refuse("it is a folder");
        }
        if !kind.is_file() && !kind.is_symlink() {
            return refuse("it is a device or a pipe, and a model is written as a whole file");
        }
        if sources.iter().any(|source| same_file(source, target)) {
            return refuse(
                "the model is read from this file, which is never replaced; choose another name",
            );
        }
        if !overwrite {
            return refuse("it exists; choose another name, or give --force to replace it");
        }
    }
    Ok(())
}

/// A file without a name of its own in the folder of `path`.
pub(crate) fn temporary(path: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    // Temporaries are private by default; this one gets the mode of any new file (less the umask).
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let made = builder.tempfile_in(folder(path));
    made.map_err(|e| failed(path, &without_temporary(e)))
}

/// Gives the temporaries their names. A model that is replaced goes before what belongs to it does, so that at no time
/// there is one with data that is not its own.
pub(crate) fn publish(
    (model, path): (NamedTempFile, &Path),
    companions: Vec<(NamedTempFile, &Path)>,
    overwrite: bool,
) -> Result<(), Error> {
    if overwrite && !companions.is_empty() {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(failed(path, &e));
            }
            _ => {}
        }
    }
    let mut published: Vec<&Path> = Vec::new();
    for (temporary, path) in companions.into_iter().chain([(model, path)]) {
        let done = match overwrite {
            true => temporary.persist(path),
            false => temporary.persist_noclobber(path),
        };
        if let Err(error) = done {
            // What is already there is useless without the rest; that it cannot be removed changes nothing.
            published.iter().for_each(|p| drop(fs::remove_file(p)));
            return Err(failed(path, &error.error));
        }
        published.push(path);
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether both names, which may be links and need not exist yet, are those of one file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    let place = |path: &Path| {
        let beside = || Some(fs::canonicalize(folder(path)).ok()?.join(path.file_name()?));
        fs::canonicalize(path).ok().or_else(beside)
    };
    place(a).is_some_and(|a| place(b) == Some(a))
}

/// An error of a temporary file without the file's name, which says nothing to a reader and is gone when it is read.
pub fn without_temporary(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((words, _)) => io::Error::new(error.kind(), words.to_owned()),
        None => error,
    }
}

/// What the system has refused.
pub(crate) fn failed(path: &Path, error: &io::Error) -> Error {
    unwritable(
        path,
        format!("{error}; check the path, its permissions and the space on its disk"),
    )
}

pub(crate) fn unwritable(path: &Path, problem: impl ToString) -> Error {
    Error::Write {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
