//! Writing results: standard output that may be closed early, files that appear whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use specclip_onnx::without_temporary;
use tempfile::NamedTempFile;

use crate::error::Error;
use crate::options::{Outputs, Source};
use crate::report::{self, Formats};

const BUILT_IN_NOTE: &str =
    "No model given: this is the small MNIST network built into the program.";

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, in place of the table.
    Stdout,
    /// A file, beside the table.
    File(PathBuf),
}

impl Target {
    /// `-` is standard output, anything else a file.
    pub fn new(path: &Path) -> Self {
        if path == Path::new("-") {
            Self::Stdout
        } else {
            Self::File(path.to_path_buf())
        }
    }

    /// Writes a whole report.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Stdout => write_stdout(bytes),
            Self::File(path) => write_file(path, bytes).map_err(|source| Error::Write {
                path: path.clone(),
                source,
            }),
        }
    }

    /// Whether the file could be written, asked before hours are spent on the results.
    pub fn check(&self) -> Result<(), Error> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let probe = if path.is_dir() {
            Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a directory",
            ))
        } else if let Err(problem) = check_folder(folder(path)) {
            Err(problem)
        } else if is_device(path) {
            Ok(())
        } else {
            sibling(path).map(drop)
        };
        probe.map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })
    }
}

/// Writes the files that were asked for and prints the table, unless something else takes its place.
///
/// Files first: a reader of standard output may leave early, and the files are wanted all the same.
pub fn publish(report: &impl Formats, outputs: &Outputs, source: &Source) -> Result<(), Error> {
    if let Some(target) = &outputs.json {
        target.write(&report.json()?)?;
    }
    if let Some(target) = &outputs.csv {
        target.write(&report.csv()?)?;
    }
    if let Some(target) = &outputs.svg {
        target.write(report.svg()?.as_bytes())?;
    }
    let built_in = matches!(source, Source::BuiltIn);
    if outputs.replace_table() {
        if built_in {
            complain(BUILT_IN_NOTE);
        }
        return Ok(());
    }
    let note = if built_in {
        format!("{BUILT_IN_NOTE}\n")
    } else {
        String::new()
    };
    let table = report.table(report::terminal_width());
    write_stdout(format!("{note}{table}").as_bytes())
}

/// Writes to standard output; a reader that has gone away, as in `| head`, is no error.
pub fn write_stdout(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes one line to standard error; that nobody reads it is no error either, and there is nowhere to report one.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a sibling temporary and renames it, so that a reader never meets half a file.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_device(path) {
        return fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(bytes);
    }
    // A link stays a link: the file behind it is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut file = sibling(path)?;
    file.write_all(bytes).map_err(without_temporary)?;
    if let Ok(existing) = fs::metadata(path) {
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.persist(path)?;
    Ok(())
}

/// A pipe or a device, such as /dev/stdout: there is nothing to rename over.
fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}

fn check_folder(folder: &Path) -> io::Result<()> {
    let problem = match fs::metadata(folder) {
        Ok(data) if data.is_dir() => return Ok(()),
        // It may be there, behind one that may not be entered.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        _ => "there is no such folder",
    };
    Err(io::Error::new(io::ErrorKind::NotFound, problem))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sibling(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // Temporaries are private by default; this one will be a result, with the mode of any new file (less the umask).
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder(path)).map_err(without_temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        for text in ["a long first text", "short"] {
            Target::new(&path).write(text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_noticed_before_the_work() {
        let target = Target::new(Path::new("/no/such/folder/out.json"));
        assert!(matches!(target.check(), Err(Error::Write { .. })));
        assert!(matches!(target.write(b"x"), Err(Error::Write { .. })));
    }
}
