//! What the arguments of `specclip spectrum` mean.

use specclip::svd::{Method, Params};

use super::{Network, Outputs};
use crate::cli::shared::RunArgs;
use crate::cli::spectrum::{MethodArg, SpectrumArgs};
use crate::error::Error;

/// What `specclip spectrum` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network and its layers.
    pub network: Network,
    /// Numbers, seed and threads.
    pub run: RunArgs,
    /// How many values.
    pub top: usize,
    /// How to compute them.
    pub params: Params,
    /// Whether to compute whole spectra.
    pub full: bool,
    /// The files to write.
    pub outputs: Outputs,
}

impl Options {
    /// Gives meaning to the arguments, or says which do not go together.
    pub fn new(args: &SpectrumArgs) -> Result<Self, Error> {
        let outputs = Outputs::new(&args.records, args.svg.as_deref())?;
        if args.full && args.method != MethodArg::Auto {
            return Err(Error::Usage(
                "--full picks the exact method that each layer admits; leave --method out".into(),
            ));
        }
        let params = Params {
            method: method(args.method),
            tolerance: args.tol,
            seed: args.run.seed,
            ..Params::default()
        };
        Ok(Self {
            network: Network::new(&args.network, args.fold.compose)?,
            run: args.run,
            top: args.top,
            params,
            full: args.full,
            outputs,
        })
    }
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
