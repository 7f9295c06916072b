//! The folder of a run: one process at a time, and files that are whole or not there.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What a run keeps in its folder.
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
const RECORD: &str = "run.json";
const EVENTS: &str = "events.out.tfevents.specclip";
const LOCK: &str = "lock";
/// Behind the name of a file that is being written.
const PARTIAL: &str = "partial";

/// The folder of a run, which no other process writes to while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Unlocked by the operating system when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and locks it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|e| Error::write(path, e))?;
        let file = path.join(LOCK);
        let lock = File::create(&file).map_err(|e| Error::write(&file, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse {
                folder: path.to_owned(),
            }),
            Err(TryLockError::Error(e)) => Err(Error::write(&file, e)),
        }
    }

    /// Refuses a folder with anything in it that a run would not leave before its first checkpoint.
    pub fn check_empty(path: &Path) -> Result<(), Error> {
        let entries = match fs::read_dir(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| Error::read(path, e))?,
        };
        for entry in entries {
            let name = entry.map_err(|e| Error::read(path, e))?.file_name();
            let partial = Path::new(&name).extension().is_some_and(|e| e == PARTIAL);
            if name != LOCK && name != EVENTS && !partial {
                return Err(Error::Taken {
                    folder: path.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Removes the events of a run that has no checkpoint.
    pub fn forget_events(&self) -> Result<(), Error> {
        let path = self.events();
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::write(&path, e)),
            _ => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn last(&self) -> PathBuf {
        last(&self.path)
    }

    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    pub fn record(&self) -> PathBuf {
        self.path.join(RECORD)
    }

    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    /// Puts these bytes in the place of a file of the folder. They are on the disk before the name is
    /// theirs, so that whatever happens the name has the old file or the new one, whole.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{PARTIAL}"));
        let partial = PathBuf::from(partial);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&partial, path)?;
            sync(&self.path)
        };
        write().map_err(|e| {
            // What matters is the first failure.
            let _ = fs::remove_file(&partial);
            Error::write(path, e)
        })
    }
}

/// A new name is on the disk when its folder is.
#[cfg(unix)]
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder is not a file that can be asked for that.
#[cfg(not(unix))]
fn sync(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Whether there is a run in a folder that can go on.
pub(super) fn has_run(folder: &Path) -> Result<bool, Error> {
    let path = last(folder);
    path.try_exists().map_err(|e| Error::read(&path, e))
}

/// Where the run in a folder goes on.
pub(super) fn last(folder: &Path) -> PathBuf {
    folder.join(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(Error::InUse { .. })));
        drop(first);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn replaced_files_are_whole_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        Folder::check_empty(dir.path()).unwrap();
        for text in ["a long first text", "short"] {
            folder.replace(&folder.record(), text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(folder.record()).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(matches!(
            Folder::check_empty(dir.path()),
            Err(Error::Taken { .. })
        ));
    }
}
