//! What the arguments of `specclip compare` mean.

use specclip::svd::Params;

use super::{Network, Outputs};
use crate::cli::compare::CompareArgs;
use crate::cli::shared::RunArgs;
use crate::error::Error;

/// What `specclip compare` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network and its layers.
    pub network: Network,
    /// Numbers, seed and threads.
    pub run: RunArgs,
    /// How sigma_1 is computed.
    pub params: Params,
    /// The files to write.
    pub outputs: Outputs,
}

impl Options {
    /// Gives meaning to the arguments.
    pub fn new(args: &CompareArgs) -> Result<Self, Error> {
        Ok(Self {
            network: Network::new(&args.network, args.fold.compose)?,
            run: args.run,
            params: Params {
                tolerance: args.tol,
                seed: args.run.seed,
                ..Params::default()
            },
            outputs: Outputs::new(&args.records, None)?,
        })
    }
}
