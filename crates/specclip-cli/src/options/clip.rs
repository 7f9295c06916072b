//! What the arguments of `specclip clip` mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use specclip::clip::{FastClip, Method, Params, Projection};

use super::{Network, Outputs};
use crate::checkpoint::is_checkpoint;
use crate::cli::clip::{ClipArgs, MethodArg};
use crate::cli::shared::RunArgs;
use crate::error::Error;
use crate::output::Target;

/// What `specclip clip` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network and its layers.
    pub network: Network,
    /// Numbers, seed and threads.
    pub run: RunArgs,
    /// The largest norm allowed.
    pub norm: f64,
    /// How to get there.
    pub params: Params,
    /// The file for the model; none in a dry run.
    pub model: Option<PathBuf>,
    /// Whether it may be replaced.
    pub force: bool,
    /// The files to write beside it.
    pub outputs: Outputs,
}

impl Options {
    /// Gives meaning to the arguments, or says which do not go together.
    pub fn new(args: &ClipArgs) -> Result<Self, Error> {
        let outputs = Outputs::new(&args.records, None)?;
        if let Some(path) = &args.output {
            check(path, &outputs)?;
        }
        let model = args.output.clone().filter(|_| !args.dry_run);
        refuse_checkpoint(args)?;
        let params = Params {
            tolerance: args.tol,
            proven: args.proven,
            seed: args.run.seed,
            ..Params::new(method(args)?)
        };
        Ok(Self {
            network: Network::new(&args.network, args.fold.compose)?,
            run: args.run,
            norm: args.norm,
            params,
            model,
            force: args.force,
            outputs,
        })
    }
}

/// The clipped network could not be written as a checkpoint, which holds the state of its training as well.
fn refuse_checkpoint(args: &ClipArgs) -> Result<(), Error> {
    match &args.network.model {
        Some(path) if is_checkpoint(path) => Err(Error::Usage(format!(
            "{path:?} is a checkpoint of a training run; write its network with specclip export, as in specclip export \
             {path:?} -o net.onnx, and clip that file"
        ))),
        _ => Ok(()),
    }
}

/// The model goes to a file, and no record to the same one.
fn check(path: &Path, outputs: &Outputs) -> Result<(), Error> {
    let target = Target::new(path);
    if target == Target::Stdout {
        return Err(Error::Usage(
            "a model is not written to standard output; name a file after -o".into(),
        ));
    }
    let taken = [&outputs.json, &outputs.csv].into_iter().flatten();
    if taken.into_iter().any(|other| *other == target) {
        return Err(Error::Usage(format!(
            "the model and its record name the same file {path:?}; give each its own"
        )));
    }
    Ok(())
}

fn method(args: &ClipArgs) -> Result<Method, Error> {
    let needs = |option: &str, method: &str| {
        Err(Error::Usage(format!(
            "{option} is a setting of --method {method}, not of {}; leave one of them out",
            args.method.name()
        )))
    };
    if args.raise && args.method != MethodArg::FastClip {
        return needs("--raise", "fastclip");
    }
    if args.raise && args.proven {
        return Err(Error::Usage(
            "--raise raises a norm to C, and --proven asks for one that is below it for certain; leave one of them out"
                .into(),
        ));
    }
    if args.method != MethodArg::Projection {
        if args.gap.is_some() {
            return needs("--gap", "projection");
        }
        if args.time_limit.is_some() {
            return needs("--time-limit", "projection");
        }
    }
    Ok(match args.method {
        MethodArg::Scale => Method::Scale,
        MethodArg::FastClip => Method::FastClip(FastClip {
            raise: args.raise,
            ..FastClip::default()
        }),
        MethodArg::Projection => Method::Projection(Projection {
            gap: args.gap.unwrap_or(Projection::default().gap),
            time_limit: args.time_limit.map(Duration::from_secs_f64),
        }),
        MethodArg::Frequency => Method::Frequency { crop: true },
    })
}
