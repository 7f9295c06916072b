//! `specclip reproduce`: figures of the paper, computed again.

mod deflation;
#[cfg(feature = "lab")]
mod fig1;
mod fig5a;
mod fig5b;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::reproduce::{Figure, ReproduceArgs};
use crate::cli::shared::RunArgs;
use crate::error::Error;
use crate::output::{Target, write_stdout};
use crate::record::reproduce::Settings;
use crate::report::json::processor;

use super::Outcome;

/// Computes the figure asked for, writes its files and prints its table.
pub fn run(args: &ReproduceArgs) -> Result<Outcome, Error> {
    match &args.figure {
        #[cfg(feature = "lab")]
        Figure::Fig1(args) => fig1::run(args),
        #[cfg(not(feature = "lab"))]
        Figure::Fig1(_) => Err(Error::Usage(crate::cli::train::ABSENT.into())),
        Figure::Fig5a(args) => fig5a::run(args),
        Figure::Fig5b(args) => fig5b::run(args),
    }
}

fn settings(run: &RunArgs) -> Settings {
    Settings {
        precision: run.precision.name(),
        seed: run.seed,
        threads: rayon::current_num_threads(),
        version: env!("CARGO_PKG_VERSION"),
        processor: processor(),
    }
}

/// The files of a figure.
struct Files {
    folder: PathBuf,
    figure: &'static str,
}

impl Files {
    /// Makes the folder, and sees before the work whether the files could be written.
    fn new(folder: &Path, figure: &'static str) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|source| Error::Write {
            path: folder.to_path_buf(),
            source,
        })?;
        let files = Self {
            folder: folder.to_path_buf(),
            figure,
        };
        for extension in ["csv", "json", "svg"] {
            files.target(extension).check()?;
        }
        Ok(files)
    }

    fn target(&self, extension: &str) -> Target {
        Target::File(self.folder.join(format!("{}.{extension}", self.figure)))
    }

    /// Writes the three files, and prints the table and where they are.
    fn write(&self, csv: &[u8], json: &[u8], svg: &str, table: &str) -> Result<(), Error> {
        self.target("csv").write(csv)?;
        self.target("json").write(json)?;
        self.target("svg").write(svg.as_bytes())?;
        let place = self.folder.join(self.figure);
        let place = crate::report::text::printable(&place.display().to_string());
        write_stdout(format!("{table}written: {place}.csv, .json and .svg\n").as_bytes())
    }
}
