//! The command line, declared: one file a command, and what they share. What the values mean is settled in
//! [`crate::options`].

pub mod bound;
pub mod clip;
pub mod compare;
pub mod export;
pub mod reproduce;
pub mod shared;
pub mod spectrum;
pub mod train;

use clap::{Parser, Subcommand};

/// Exact singular values of the linear layers of a network, read from its model file
#[derive(Debug, Parser)]
#[command(
    name = "specclip",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    // A doc comment here would hide the longer text that the arguments carry.
    Spectrum(Box<spectrum::SpectrumArgs>),
    Bound(Box<bound::BoundArgs>),
    Compare(Box<compare::CompareArgs>),
    Reproduce(Box<reproduce::ReproduceArgs>),
    Clip(Box<clip::ClipArgs>),
    Train(Box<train::TrainArgs>),
    Export(Box<export::ExportArgs>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }
}
