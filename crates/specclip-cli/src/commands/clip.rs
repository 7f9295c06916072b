//! `specclip clip`: the model again, with no layer's norm above the target.

mod clipper;
mod layers;

use std::path::Path;
use std::time::Instant;

use specclip::Real;
use specclip_onnx::{LayerKind, Model};

use crate::analyse::start_threads;
use crate::cli::clip::ClipArgs;
use crate::cli::shared::Precision;
use crate::error::Error;
use crate::options::Network;
use crate::options::clip::Options;
use crate::output::{complain, publish};
use crate::record::Settings;
use crate::record::clip::{Asked, Report};
use crate::select::{self, Chosen, Unit};

use super::Outcome;

/// Reads the model, clips its layers, writes it, and prints and writes what was asked for.
pub fn run(args: &ClipArgs) -> Result<Outcome, Error> {
    let options = Options::new(args)?;
    start_threads(options.run.threads)?;
    let mut model = options.network.load(&options.outputs)?;
    if let Some(path) = &options.model {
        let written = model.check_output(path, options.force)?;
        options.outputs.spare(&written, "where the model goes")?;
    }
    let report = match options.run.precision {
        Precision::F32 => clipped::<f32>(&mut model, &options)?,
        Precision::F64 => clipped::<f64>(&mut model, &options)?,
    };
    if let Some(path) = &options.model {
        model.write(path, options.force)?;
    }
    publish(&report, &options.outputs, &options.network.source)?;
    for warning in warnings(&report, options.model.as_deref()) {
        complain(&format!("warning: {warning}"));
    }
    Ok(Outcome::of(report.missed() + report.refused() > 0))
}

fn clipped<T: Real>(model: &mut Model, options: &Options) -> Result<Report, Error> {
    let chosen = with_weights(model, &options.network)?;
    let started = Instant::now();
    let settings = Settings::new(model, &options.network, &options.run);
    let rows = layers::clip::<T>(model, chosen.units, options)?;
    Ok(Report {
        settings,
        asked: Asked {
            norm: options.norm,
            params: options.params.clone(),
            output: options.model.clone(),
        },
        rows,
        skipped: chosen.skipped,
        elapsed: started.elapsed(),
    })
}

/// The layers to clip: those that have weights, batch norms where a pattern names them.
fn with_weights(model: &Model, network: &Network) -> Result<Chosen, Error> {
    let mut chosen = select::choose(model, network)?;
    let wanted = |unit: &Unit| match model.layers[unit.layer].kind {
        LayerKind::Conv(_) | LayerKind::ConvTranspose(_) | LayerKind::Dense => true,
        LayerKind::BatchNorm => !network.layers.is_empty(),
        _ => false,
    };
    for pattern in &network.layers {
        let mut named = chosen.units.iter().filter(|unit| unit.answers_to(pattern));
        if let Some(first) = named.next()
            && !wanted(first)
            && !named.any(wanted)
        {
            return Err(Error::NoMatch {
                glob: pattern.text.clone(),
                hint: format!(
                    " with weights: {} is {}",
                    first.identity.name, first.identity.kind
                ),
            });
        }
    }
    chosen.units.retain(wanted);
    if chosen.units.is_empty() {
        return Err(Error::NothingToAnalyse {
            model: network.source.name(),
            why: "no convolution or dense layer to clip; name batch norms with --layer".into(),
        });
    }
    Ok(chosen)
}

/// Doubts about the result, with advice.
fn warnings(report: &Report, output: Option<&Path>) -> Vec<String> {
    let layers = |count| match count {
        1 => "1 layer is".to_owned(),
        _ => format!("{count} layers are"),
    };
    let mut warnings = Vec::new();
    let written = output.map_or(String::new(), |path| {
        format!("; {} is written with what was found", path.display())
    });
    if report.missed() > 0 {
        warnings.push(format!(
            "{} not shown to obey{written}; try --precision f64, a larger --tol or another --method",
            layers(report.missed())
        ));
    }
    if report.refused() > 0 {
        warnings.push(format!(
            "{} as before, for the reasons that are listed as skipped{written}",
            layers(report.refused())
        ));
    }
    warnings
}
