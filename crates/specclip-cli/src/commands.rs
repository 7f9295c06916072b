//! One file a command.

mod bound;
mod clip;
mod compare;
mod export;
mod reproduce;
mod spectrum;
mod train;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::error::Error;

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for is there.
    Done,
    /// A result missed what was asked.
    Missed,
}

impl Outcome {
    /// Missed, where anything was.
    fn of(missed: bool) -> Self {
        if missed { Self::Missed } else { Self::Done }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Missed => Self::from(1),
        }
    }
}

/// Runs the command asked for.
pub fn run(cli: &Cli) -> Result<Outcome, Error> {
    match &cli.command {
        Command::Spectrum(args) => spectrum::run(args),
        Command::Bound(args) => bound::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Reproduce(args) => reproduce::run(args),
        Command::Clip(args) => clip::run(args),
        Command::Train(args) => train::run(args),
        Command::Export(args) => export::run(args),
    }
}
