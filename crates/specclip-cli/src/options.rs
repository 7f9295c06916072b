//! What the command line means: checked, and in the terms of the library. What the commands share is here, the rest in
//! one file a command.

pub mod bound;
pub mod clip;
pub mod compare;
pub mod spectrum;
#[cfg(feature = "lab")]
pub mod train;

use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};
use specclip_onnx::{Model, same_file};

use crate::checkpoint::{self, is_checkpoint, refuse_folder};
use crate::cli::shared::{NetworkArgs, RecordArgs};
use crate::error::Error;
use crate::output::Target;

/// A small convolutional network trained on MNIST, for a first look; made by scripts/make_demo_model.py.
const BUILT_IN: &[u8] = include_bytes!("../assets/demo.onnx");

/// Where the model comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The network embedded in the program.
    BuiltIn,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// The name in tables and records.
    pub fn name(&self) -> String {
        match self {
            Self::BuiltIn => "built-in".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// A `--layer` pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As given.
    pub text: String,
    glob: GlobMatcher,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        let glob = Glob::new(text).map_err(|error| Error::BadGlob {
            glob: text.into(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self {
            text: text.into(),
            glob: glob.compile_matcher(),
        })
    }

    /// A name matches as a glob or letter for letter: layer names may have brackets in them.
    pub fn matches(&self, name: &str) -> bool {
        self.text == name || self.glob.is_match(name)
    }
}

/// The network, how to read it, and which of its layers are asked for.
#[derive(Clone, Debug)]
pub struct Network {
    /// The file, or the network built in.
    pub source: Source,
    /// How to read it.
    pub reading: specclip_onnx::Options,
    /// Which layers; all when empty.
    pub layers: Vec<Pattern>,
    /// Whether to fold batch norms into the convolutions before them.
    pub compose: bool,
}

impl Network {
    /// Gives meaning to the arguments.
    pub fn new(args: &NetworkArgs, compose: bool) -> Result<Self, Error> {
        let layers = args.layer.iter().map(|text| Pattern::new(text));
        Ok(Self {
            source: args.model.clone().map_or(Source::BuiltIn, Source::File),
            reading: specclip_onnx::Options {
                inputs: args.input.clone(),
            },
            layers: layers.collect::<Result<_, _>>()?,
            compose,
        })
    }

    /// Reads the model, unless a result is to go where a part of it is.
    pub fn load(&self, outputs: &Outputs) -> Result<Model, Error> {
        let model = self.read()?;
        let mut files = model.files();
        if let Source::File(path) = &self.source {
            files.push(path.clone());
        }
        outputs.spare(&files, "which the model is read from")?;
        Ok(model)
    }

    fn read(&self) -> Result<Model, Error> {
        if let Source::File(path) = &self.source {
            refuse_folder(path)?;
        }
        Ok(match &self.source {
            Source::BuiltIn => specclip_onnx::load_bytes(BUILT_IN, &self.reading)?,
            Source::File(path) if is_checkpoint(path) => {
                specclip_onnx::load_bytes(&checkpoint::onnx(path)?, &self.reading)?
            }
            Source::File(path) => specclip_onnx::load(path, &self.reading)?,
        })
    }
}

/// A report other than the table, and where it goes.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The JSON record.
    pub json: Option<Target>,
    /// The CSV rows.
    pub csv: Option<Target>,
    /// The picture.
    pub svg: Option<Target>,
}

impl Outputs {
    /// Refuses two outputs in one place, and a file that could not be written.
    pub fn new(records: &RecordArgs, svg: Option<&Path>) -> Result<Self, Error> {
        let target = |path: Option<&Path>| path.map(Target::new);
        let outputs = Self {
            json: target(records.json.as_deref()),
            csv: target(records.csv.as_deref()),
            svg: target(svg),
        };
        outputs.check()?;
        Ok(outputs)
    }

    fn all(&self) -> impl Iterator<Item = &Target> {
        [&self.json, &self.csv, &self.svg].into_iter().flatten()
    }

    fn check(&self) -> Result<(), Error> {
        let targets: Vec<&Target> = self.all().collect();
        for (index, target) in targets.iter().enumerate() {
            if targets[index + 1..].contains(target) {
                return Err(Error::Usage(match target {
                    Target::Stdout => "only one of the results can go to standard output; \
                                       give the others a file, as in --csv=FILE"
                        .into(),
                    Target::File(path) => {
                        format!(
                            "two results name the same file {path:?}; give each its own, as in --csv=FILE"
                        )
                    }
                }));
            }
        }
        for target in targets {
            target.check()?;
        }
        Ok(())
    }

    /// Refuses results that would replace one of these files.
    pub fn spare(&self, files: &[PathBuf], what: &str) -> Result<(), Error> {
        let taken = |target: &Target| match target {
            Target::Stdout => None,
            Target::File(path) => {
                let taken = files.iter().any(|file| same_file(file, path));
                taken.then(|| path.clone())
            }
        };
        match self.all().find_map(taken) {
            None => Ok(()),
            Some(path) => Err(Error::Usage(format!(
                "a result would replace {path:?}, {what}; give it a name of its own"
            ))),
        }
    }

    /// Whether one of them takes the table's place on standard output.
    pub fn replace_table(&self) -> bool {
        self.all().any(|target| *target == Target::Stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_crosses_dots_and_slashes() {
        let pattern = Pattern::new("layer4*conv?").unwrap();
        assert!(pattern.matches("layer4.0/block.conv1"));
        assert!(!pattern.matches("layer3.0.conv1"));
    }

    #[test]
    fn a_name_with_brackets_matches_itself() {
        let pattern = Pattern::new("stage[1].conv").unwrap();
        assert!(pattern.matches("stage[1].conv"));
        assert!(pattern.matches("stage1.conv"));
    }

    #[test]
    fn a_broken_glob_says_how_to_write_it() {
        let message = Pattern::new("a[").unwrap_err().to_string();
        assert!(message.contains("[[]"), "{message}");
    }
}
