//! What the command line means: checked, and in the terms of the library.

use std::path::PathBuf;

use globset::{Glob, GlobMatcher};
use specclip::svd::{Method, Params};
use specclip_onnx::Options as ModelOptions;

use crate::cli::{MethodArg, Precision, SpectrumArgs};
use crate::error::Error;
use crate::output::Target;

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
    fn all(&self) -> impl Iterator<Item = &Target> {
        [&self.json, &self.csv, &self.svg].into_iter().flatten()
    }

    /// Whether one of them takes the table's place on standard output.
    pub fn replace_table(&self) -> bool {
        self.all().any(|target| *target == Target::Stdout)
    }
}

/// What `specclip spectrum` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model.
    pub source: Source,
    /// How to read it.
    pub model: ModelOptions,
    /// Which layers; all when empty.
    pub layers: Vec<Pattern>,
    /// How many values.
    pub top: usize,
    /// How to compute them.
    pub params: Params,
    /// The number type.
    pub precision: Precision,
    /// Whether to fold batch norms.
    pub compose: bool,
    /// Whether to compute whole spectra.
    pub full: bool,
    /// Size of the thread pool, if asked.
    pub threads: Option<usize>,
    /// The files to write.
    pub outputs: Outputs,
}

impl Options {
    /// Gives meaning to the arguments, or says which do not go together.
    pub fn new(args: &SpectrumArgs) -> Result<Self, Error> {
        let outputs = outputs(args)?;
        for target in outputs.all() {
            target.check()?;
        }
        if args.full && args.method != MethodArg::Auto {
            return Err(Error::Usage(
                "--full picks the exact method that each layer admits; leave --method out".into(),
            ));
        }
        let layers = args
            .layer
            .iter()
            .map(|text| Pattern::new(text))
            .collect::<Result<_, _>>()?;
        let params = Params {
            method: method(args.method),
            tolerance: args.tol,
            seed: args.seed,
            ..Params::default()
        };
        Ok(Self {
            source: args.model.clone().map_or(Source::BuiltIn, Source::File),
            model: ModelOptions {
                inputs: args.input.clone(),
            },
            layers,
            top: args.top,
            params,
            precision: args.precision,
            compose: args.compose,
            full: args.full,
            threads: args.threads,
            outputs,
        })
    }
}

fn outputs(args: &SpectrumArgs) -> Result<Outputs, Error> {
    let target = |path: &Option<PathBuf>| path.as_deref().map(Target::new);
    let outputs = Outputs {
        json: target(&args.json),
        csv: target(&args.csv),
        svg: target(&args.svg),
    };
    let targets: Vec<&Target> = outputs.all().collect();
    for (index, target) in targets.iter().enumerate() {
        if targets[index + 1..].contains(target) {
            return Err(Error::Usage(match target {
                Target::Stdout => "only one of --json, --csv and --svg can go to standard output; \
                                   give the others a file, as in --csv=FILE"
                    .into(),
                Target::File(path) => {
                    format!(
                        "two of --json, --csv and --svg name the same file {path:?}; give each its own"
                    )
                }
            }));
        }
    }
    Ok(outputs)
}

fn method(arg: MethodArg) -> Method {
    match arg {
        MethodArg::Auto => Method::Auto,
        MethodArg::Lanczos => Method::Lanczos,
        MethodArg::PowerQr => Method::PowerQr,
        MethodArg::Dense => Method::Dense,
        MethodArg::Circulant => Method::Circulant,
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
