//! The program `specclip`: exact leading singular values of every linear layer of a network, read from its model file.
//!
//! [`cli`] declares the command line, [`options`] gives it meaning, [`commands`] has one file a command and
//! [`report`] one file a format. Exit codes: 0 done; 1 a result missed what was asked; 2 bad usage or bad input.

mod analyse;
mod checkpoint;
mod cli;
mod commands;
mod error;
mod memory;
mod options;
mod output;
mod progress;
mod record;
mod report;
mod select;

use std::process::ExitCode;

use clap::Parser;

/// Training allocates and frees tensors of tens of megabytes with every step. The system's allocator returns each to the
/// kernel, and half of the time goes into getting pages back, zeroed.
#[cfg(feature = "lab")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // Names from a file are part of some messages: no line break or escape gets through.
            output::complain(&report::text::printable(&format!("error: {error}")));
            ExitCode::from(2)
        }
    }
}
