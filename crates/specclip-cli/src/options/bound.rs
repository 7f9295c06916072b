//! What the arguments of `specclip bound` mean.

use specclip::bound::{Argument, Params};

use super::{Network, Outputs};
use crate::cli::bound::BoundArgs;
use crate::cli::shared::RunArgs;
use crate::error::Error;

/// What `specclip bound` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network and its layers.
    pub network: Network,
    /// Numbers, seed and threads.
    pub run: RunArgs,
    /// Which arguments may be used, and how likely they may fail.
    pub params: Params,
    /// The files to write.
    pub outputs: Outputs,
}

impl Options {
    /// Gives meaning to the arguments, or says which do not go together.
    pub fn new(args: &BoundArgs) -> Result<Self, Error> {
        if args.failure_probability == 0.0 && args.argument.contains(&Argument::Krylov) {
            return Err(Error::Usage(
                "--argument krylov may fail; give a --failure-probability above 0, such as 1e-9"
                    .into(),
            ));
        }
        Ok(Self {
            network: Network::new(&args.network, args.fold.compose)?,
            run: args.run,
            params: Params {
                arguments: args.argument.clone(),
                failure_probability: args.failure_probability,
                seed: args.run.seed,
            },
            outputs: Outputs::new(&args.records, None)?,
        })
    }
}
