//! What ends the program with exit code 2, each in one sentence that says what to try.

use std::io;
use std::path::PathBuf;

/// Bad usage, bad input, or an output that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model file could not be read, makes no sense, or has a weight without singular values.
    #[error(transparent)]
    Model(#[from] specclip_onnx::Error),
    /// A data set, a run or a checkpoint.
    #[cfg(feature = "lab")]
    #[error(transparent)]
    Lab(specclip_lab::Error),
    /// A model without a single layer to analyse.
    #[error("{model}: {why}")]
    NothingToAnalyse {
        /// The file, as given.
        model: String,
        /// Whether there was no linear layer, or only such as are skipped.
        why: String,
    },
    /// A `--layer` pattern that no layer answers to.
    #[error("--layer {glob:?} matches no layer{hint}")]
    NoMatch {
        /// The pattern.
        glob: String,
        /// Some names that exist, or why the matching ones cannot be analysed.
        hint: String,
    },
    /// A `--layer` pattern that is not a glob.
    #[error(
        "--layer {glob:?} is not a glob: {reason}; write a literal bracket as [[] or a literal star as [*]"
    )]
    BadGlob {
        /// The pattern.
        glob: String,
        /// What the parser says.
        reason: String,
    },
    /// Options that exclude each other.
    #[error("{0}")]
    Usage(String),
    /// The thread pool could not be made.
    #[error("cannot start {threads} threads ({reason}); ask for fewer with --threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool says.
        reason: String,
    },
    /// An output file could not be written.
    #[error("cannot write {path:?}: {source}; choose another file or make room")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output could not be written, for another reason than a closed pipe.
    #[error("cannot write to standard output: {0}; send it to where there is room")]
    Stdout(io::Error),
    /// A picture that could not be drawn.
    #[error("cannot draw the picture: {0}; use --csv and draw it with another program")]
    Picture(String),
    /// A record that could not be written out.
    #[error("cannot write the results out as {format}: {reason}; try another format")]
    Format {
        /// JSON or CSV.
        format: &'static str,
        /// What the writer says.
        reason: String,
    },
}

#[cfg(feature = "lab")]
impl From<specclip_lab::Error> for Error {
    /// Settings of a run are called by their options.
    fn from(error: specclip_lab::Error) -> Self {
        let specclip_lab::Error::Setting { setting, problem } = error else {
            return Self::Lab(error);
        };
        match setting {
            "batch" | "layer" | "method" | "momentum" | "norm" | "threads" => {
                Self::Usage(format!("--{setting}: {problem}"))
            }
            _ => Self::Lab(specclip_lab::Error::Setting { setting, problem }),
        }
    }
}
