//! Every error of this crate. A message says what was wrong, where, and what to try.

use std::io;
use std::path::{Path, PathBuf};

/// Why data cannot be used, or a record not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network of these sizes does not exist.
    #[error("the network: {0}")]
    Network(#[from] specclip::Error),
    /// The clipper refused a setting, a network or its weights.
    #[error(transparent)]
    Clipping(specclip_burn::Error),
    /// A setting of a run that makes no sense.
    #[error("the run's {setting}: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be accepted.
        problem: String,
    },
    /// A folder cannot have a new run.
    #[error(
        "{} has a run or other files already; resume the run, or choose another folder",
        folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process works on the run.
    #[error(
        "the run in {} is at work in another process; wait for its end, or choose another folder",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file is not a checkpoint, or is damaged.
    #[error(
        "{} is no checkpoint that can be used: {problem}; give one that train has written; to go on with a run whose \
         last.safetensors is damaged, copy its best.safetensors over it",
        path.display()
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A run cannot go on with other settings or images.
    #[error(
        "the run in {} cannot go on differently: {difference}; leave the setting as it is, or begin a run in another folder",
        folder.display()
    )]
    Different {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        difference: String,
    },
    /// Training has led to numbers that are none.
    #[error(
        "the loss or a weight is not a finite number in step {step}; begin a run in another folder with a lower learning rate, \
         or with layers clipped to a smaller norm"
    )]
    Diverged {
        /// The step, from 1 on.
        step: u64,
    },
    /// A network that cannot be written as a file.
    #[error("the network cannot be exported: {0}")]
    Export(String),
    /// A file or folder cannot be opened or read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file cannot be created, written or cut.
    #[error(
        "cannot write {}: {source}; check the path, its permissions and the space on its disk",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder has none of the data sets that are known.
    #[error(
        "there is no data set in {}: looked for the files of MNIST and Fashion-MNIST (such as \
         train-images-idx3-ubyte, also .gz) in the folder itself and in raw, MNIST/raw and FashionMNIST/raw, and for \
         those of CIFAR-10 (data_batch_1.bin or data_batch_1, and so on) in the folder itself and in \
         cifar-10-batches-bin and cifar-10-batches-py; give the folder that has them, or fetch them with scripts/fetch-data",
        folder.display()
    )]
    NoDataset {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder has more than one data set.
    #[error("{} has several data sets, in {choices}; give the folder of one of them", folder.display())]
    SeveralDatasets {
        /// The folder.
        folder: PathBuf,
        /// Where they are.
        choices: String,
    },
    /// A file is truncated, was changed or is something else than its name says.
    #[error("{} is damaged: {problem}; fetch it again, for example with scripts/fetch-data", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A file does not have the checksum that is written down for it.
    #[error(
        "{} is not the file that was fetched: its SHA-256 sum is {found}, but {} says {expected}; fetch it again, for \
         example with scripts/fetch-data",
        path.display(), sums.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The file with the expected sums.
        sums: PathBuf,
        /// The sum that is written down.
        expected: String,
        /// The sum of the file's bytes.
        found: String,
    },
    /// A line of a `SHA256SUMS` file is none.
    #[error(
        "line {line} of {} is not a SHA-256 sum and a file name; write the file with sha256sum, or remove it to read \
         the data unchecked",
        path.display()
    )]
    ChecksumSyntax {
        /// The file with the sums.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Images and labels do not make a data set.
    #[error("these images and labels are no data set: {problem}")]
    Parts {
        /// What does not fit.
        problem: String,
    },
    /// Batches cannot be made with these settings.
    #[error("batches cannot be made: {problem}")]
    Sampling {
        /// The setting, its value and what is accepted.
        problem: String,
    },
    /// A file is not an event file, or is damaged before the place where it is to be continued.
    #[error(
        "the event file {} cannot be continued: {problem}; move it away to start a new one",
        path.display()
    )]
    Events {
        /// The file.
        path: PathBuf,
        /// What is wrong and at which byte.
        problem: String,
    },
    /// Steps of an event file must not go back.
    #[error(
        "step {step} cannot be added to the event file {} after step {last}; cut it back by resuming it first",
        path.display()
    )]
    StepBack {
        /// The file.
        path: PathBuf,
        /// The step that was to be written.
        step: u64,
        /// The step of the last event in the file.
        last: u64,
    },
}

impl From<specclip_burn::Error> for Error {
    fn from(error: specclip_burn::Error) -> Self {
        match error {
            // What the clipper matches with names are the layers of a run's targets.
            specclip_burn::Error::Setting { setting, problem } => Self::Setting {
                setting: if setting == "glob" { "layer" } else { setting },
                problem,
            },
            other => Self::Clipping(other),
        }
    }
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
