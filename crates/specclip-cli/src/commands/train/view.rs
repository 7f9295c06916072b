//! How a run is shown: a line for each epoch on standard output, and what is going on on standard error, as a bar on a
//! terminal and a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use specclip_lab::network::NetworkConfig;
use specclip_lab::train::{
    BatchNorms, ClipMethod, Epoch, LayerNorm, Observer, OptimizerConfig, Progress, Record, Run,
    Settings,
};

use crate::commands::Outcome;
use crate::error::Error;
use crate::output::{complain, write_stdout};
use crate::report::table::counted;
use crate::report::text::printable;

/// How often a line appears within an epoch where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How much a norm may be above its target and count as obeying: what the clips of training allow.
const TOLERANCE: f64 = 1e-3;

/// What the bar says at the end of an epoch.
const TESTING: &str = "test images";

const HEAD: &str = "epoch      step        lr  train loss  train %  test loss  test %  largest norm  seconds  clipping\n";

/// Shows a run.
pub struct View {
    bar: Option<ProgressBar>,
    spoke: Instant,
    /// The first failure to write a line, which is reported at the end.
    failed: Option<Error>,
}

impl View {
    /// Shows what there is of a run.
    pub fn new(run: &Run) -> Result<Self, Error> {
        let mut text = format!("{}\n\n{HEAD}", printable(&summary(run)));
        text.extend(run.epochs().iter().map(line));
        let position = run.position();
        if run.is_over() {
            complain("the run is over: there is nothing left to do");
        } else if position.step > 0 {
            complain(&format!(
                "going on after {} epochs and {} steps",
                position.epoch, position.batch
            ));
        }
        write_stdout(text.as_bytes())?;
        Ok(Self {
            bar: io::stderr().is_terminal().then(bar),
            spoke: Instant::now(),
            failed: None,
        })
    }

    /// The run is over: its files, its layers, and whether they obey.
    pub fn end(self, record: &Record, out: &Path) -> Result<Outcome, Error> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(last) = record.epochs.last() else {
            return Ok(Outcome::Done);
        };
        let mut text = layers(&last.layers);
        let there = out.join("best.safetensors").exists();
        if let Some(best) = best(&record.epochs) {
            text.push_str(&format!(
                "best.safetensors {} epoch {} with {:.2} % of the test images right\n",
                if there {
                    "is"
                } else {
                    "is no longer there; it was"
                },
                best.epoch,
                100.0 * best.test_accuracy
            ));
        }
        text.push_str(&format!(
            "written: {}/run.json, {}last.safetensors and an event file\n",
            printable(&out.display().to_string()),
            if there { "best.safetensors, " } else { "" },
        ));
        write_stdout(text.as_bytes())?;
        let missed: Vec<&str> = last
            .layers
            .iter()
            .filter(|layer| layer.target.is_some() && !obeys(layer))
            .map(|layer| layer.name.as_str())
            .collect();
        if missed.is_empty() {
            return Ok(Outcome::Done);
        }
        let more = match record.settings.clipping.method {
            ClipMethod::GramPenalty => " or a larger --penalty-weight",
            _ => "",
        };
        complain(&printable(&format!(
            "warning: above the norm at the end, or not converged: {}; try --method projection{more}",
            missed.join(", ")
        )));
        Ok(Outcome::Missed)
    }
}

/// What the run is, in a line.
fn summary(run: &Run) -> String {
    let Settings {
        network,
        epochs,
        steps,
        batch,
        optimizer,
        learning_rate,
        clipping,
        seed,
        threads,
        ..
    } = run.settings();
    let network_norms = network.batch_norm();
    let network = match network {
        NetworkConfig::SimpleConv(_) => "simple-conv",
        NetworkConfig::ResNet18(_) => "ResNet-18",
        NetworkConfig::Dla(_) => "DLA",
    };
    let optimizer = match optimizer {
        OptimizerConfig::Sgd { .. } => "SGD",
        OptimizerConfig::Adam { .. } => "Adam",
    };
    let steps = steps.map_or(String::new(), |steps| {
        format!(" or {}", counted(steps as usize, "step"))
    });
    let targets = clipping
        .targets
        .iter()
        .map(|target| match target.layers.as_str() {
            "*" => format!("norm {}", target.norm),
            layers => format!("{layers} to norm {}", target.norm),
        });
    let targets: Vec<String> = targets.collect();
    let batch_norms = match (network_norms, clipping.batch_norms) {
        (true, BatchNorms::Keep) => "; norms without batch norms",
        _ => "",
    };
    let clipping = match clipping.method {
        ClipMethod::None => "nothing is clipped".to_owned(),
        method => {
            let when = match method {
                ClipMethod::GramPenalty => format!(", weight {}", clipping.penalty_weight),
                _ if method.clips_now_and_then() => {
                    format!(", every {}", counted(clipping.every as usize, "step"))
                }
                _ => String::new(),
            };
            format!("{}, {}{when}", method.name(), targets.join(", "))
        }
    };
    format!(
        "{network} on {} images of {}: {}{steps}, batches of {batch}, {optimizer} at {learning_rate}; {clipping}{batch_norms}; seed {seed}, {}",
        run.data().train_images,
        run.data().name,
        counted(*epochs as usize, "epoch"),
        counted(*threads, "thread"),
    )
}

/// The first epoch with the highest accuracy, whose network is kept.
fn best(epochs: &[Epoch]) -> Option<&Epoch> {
    let mut best: Option<&Epoch> = None;
    for epoch in epochs {
        if best.is_none_or(|best| epoch.test_accuracy > best.test_accuracy) {
            best = Some(epoch);
        }
    }
    best
}

fn obeys(layer: &LayerNorm) -> bool {
    layer.converged
        && layer
            .target
            .is_none_or(|target| layer.norm <= target * (1.0 + TOLERANCE))
}

impl Observer for View {
    fn step(&mut self, progress: &Progress) {
        let Progress {
            epoch,
            epochs,
            batch,
            batches,
            loss,
            accuracy,
        } = *progress;
        let figures = format!("loss {}, {:.2} % right", short(loss), 100.0 * accuracy);
        if let Some(bar) = &self.bar {
            if bar.length() != Some(batches) || bar.message() == TESTING {
                bar.set_length(batches);
                bar.set_prefix(format!("epoch {epoch}/{epochs}"));
            }
            bar.set_position(batch);
            bar.set_message(figures);
        } else if self.spoke.elapsed() >= LINE_EVERY {
            self.spoke = Instant::now();
            complain(&format!(
                "epoch {epoch} of {epochs}, step {batch} of {batches}: {figures}"
            ));
        }
    }

    fn test(&mut self, batch: u64, batches: u64) {
        if let Some(bar) = &self.bar {
            if batch == 1 {
                bar.set_length(batches);
                bar.set_message(TESTING);
            }
            bar.set_position(batch);
        }
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.spoke = Instant::now();
        let line = line(epoch);
        let write = || write_stdout(line.as_bytes());
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        // The run matters more than its table.
        self.failed = self.failed.take().or(written.err());
    }
}

/// The row of an epoch.
fn line(epoch: &Epoch) -> String {
    let norm = epoch.largest().map_or_else(String::new, |layer| {
        let mark = if layer.converged { "" } else { "*" };
        format!("{}{mark}", short(layer.norm))
    });
    format!(
        "{:>5}  {:>8}  {:>8}  {:>10}  {:>7.2}  {:>9}  {:>6.2}  {norm:>12}  {:>7.1}  {:>8.2}\n",
        epoch.epoch,
        epoch.step,
        format!("{:.2e}", epoch.learning_rate),
        short(epoch.train_loss),
        100.0 * epoch.train_accuracy,
        short(epoch.test_loss),
        100.0 * epoch.test_accuracy,
        epoch.seconds.training + epoch.seconds.clipping + epoch.seconds.evaluation,
        epoch.seconds.clipping,
    )
}

/// Four digits behind the point, of absurd numbers the power of ten.
fn short(x: f64) -> String {
    if x.abs() < 1e5 {
        format!("{x:.4}")
    } else {
        format!("{x:.2e}")
    }
}

/// The table of layers.
fn layers(layers: &[LayerNorm]) -> String {
    let width = layers.iter().map(|layer| layer.name.len()).max();
    let width = width.unwrap_or(0).max(5);
    let mut text = format!(
        "\n{:<width$}  {:<15}  {:>9}  target\n",
        "layer", "kind", "norm"
    );
    for layer in layers {
        let mark = if layer.converged { ' ' } else { '*' };
        let target = layer
            .target
            .map_or("-".to_owned(), |target| target.to_string());
        text.push_str(&format!(
            "{:<width$}  {:<15}  {:>9}{mark} {target}\n",
            printable(&layer.name),
            layer.kind,
            short(layer.norm)
        ));
    }
    if layers.iter().any(|layer| !layer.converged) {
        text.push_str("* not converged: a lower estimate\n");
    }
    text
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A template that does not parse would leave the default style, which serves as well.
    let template = "{prefix} {bar:30} {pos}/{len} {elapsed}, {eta} left  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
