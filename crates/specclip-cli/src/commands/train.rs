//! `specclip train`: a network that is trained and clipped.

#[cfg(feature = "lab")]
mod view;

use crate::cli::train::TrainArgs;
use crate::error::Error;

use super::Outcome;

/// Says how to get the command.
#[cfg(not(feature = "lab"))]
pub fn run(_args: &TrainArgs) -> Result<Outcome, Error> {
    Err(Error::Usage(crate::cli::train::ABSENT.into()))
}

/// Begins a run, or goes on with one, and trains until it is over.
#[cfg(feature = "lab")]
pub fn run(args: &TrainArgs) -> Result<Outcome, Error> {
    use specclip_lab::train::{Checkpoint, Data, Options, Run};

    let begun = if args.resume {
        Checkpoint::of_run(&args.out)?
    } else {
        None
    };
    let threads = args.threads;
    let threads = threads.or_else(|| begun.as_ref().map(|(settings, ..)| settings.threads));
    crate::analyse::start_threads(threads)?;
    let usual = begun.as_ref().map(|(_, data, _)| data.folder.clone());
    let Some(folder) = args.data.clone().or(usual) else {
        let sentence =
            "a new run needs images; name their folder with --data (scripts/fetch-data makes one)";
        let none = format!(
            "there is no run in {} to go on with, and {sentence}",
            args.out.display()
        );
        return Err(Error::Usage(if args.resume {
            none
        } else {
            sentence.into()
        }));
    };
    let data = Data::load(&folder)?;
    let options = Options {
        checkpoint_every: args.checkpoint_every as u64,
        processor: crate::report::json::processor(),
    };
    let begun = begun.map(|(settings, ..)| settings);
    let settings = crate::options::train::settings(args, data.train.kind(), begun)?;
    let run = if args.resume {
        Run::open(&args.out, settings, &data, options)?
    } else {
        Run::start(&args.out, settings, &data, options)?
    };
    let mut view = view::View::new(&run)?;
    let record = run.finish(&mut view)?;
    view.end(&record, &args.out)
}
