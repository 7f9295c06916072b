//! `specclip export`: the network of a checkpoint as a model file.

use std::path::Path;

use crate::checkpoint;
use crate::cli::export::ExportArgs;
use crate::error::Error;
use crate::output::write_stdout;
use crate::report::text::printable;

use super::Outcome;

/// What is written, by the ending of its name.
enum Format {
    Onnx,
    Weights,
}

/// Reads the checkpoint and writes its network.
pub fn run(args: &ExportArgs) -> Result<Outcome, Error> {
    let format = format(&args.output)?;
    checkpoint::refuse_folder(&args.checkpoint)?;
    let write = |bytes: &[u8], companion: Option<(&Path, &[u8])>| {
        let file = (args.output.as_path(), bytes);
        specclip_onnx::write_new(file, companion, &args.checkpoint, args.force)
    };
    let written = match format {
        Format::Onnx => {
            write(&checkpoint::onnx(&args.checkpoint)?, None)?;
            args.output.display().to_string()
        }
        Format::Weights => {
            let (weights, text) = checkpoint::weights(&args.checkpoint)?;
            let description = args.output.with_extension("toml");
            let companion = (description.as_path(), text.as_bytes());
            write(&weights, Some(companion))?;
            format!("{} and {}", args.output.display(), description.display())
        }
    };
    write_stdout(format!("written: {}\n", printable(&written)).as_bytes())?;
    Ok(Outcome::Done)
}

fn format(output: &Path) -> Result<Format, Error> {
    let extension = output.extension().map(|e| e.to_ascii_lowercase());
    match extension.as_ref().and_then(|e| e.to_str()) {
        Some("onnx") => Ok(Format::Onnx),
        Some("safetensors") => Ok(Format::Weights),
        _ => Err(Error::Usage(format!(
            "-o {output:?} does not say what to write; give a name that ends in .onnx, or in .safetensors for weights \
             with a description beside them"
        ))),
    }
}
