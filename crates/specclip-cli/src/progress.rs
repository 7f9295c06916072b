//! Progress on standard error: a bar on a terminal, now and then a plain line elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::complain;

/// How often a plain line appears where there is no terminal. Short runs print none.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counts layers, or other pieces of work, for whoever is waiting.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    unit: &'static str,
    done: usize,
    started: Instant,
    spoke: Instant,
}

impl Progress {
    /// Starts to count to `total` of the pieces that `unit` names.
    pub fn new(total: usize, unit: &'static str) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| bar(total, unit));
        Self {
            bar,
            total,
            unit,
            done: 0,
            started: now,
            spoke: now,
        }
    }

    /// A piece is begun.
    pub fn begin(&mut self, name: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
        } else if self.spoke.elapsed() >= LINE_EVERY {
            self.spoke = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            complain(&format!(
                "{} of {} {} after {seconds} s, now {name}",
                self.done, self.total, self.unit
            ));
        }
    }

    /// The piece is done.
    pub fn end(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: usize, unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    // A template that does not parse would leave the default style, which serves as well.
    let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{elapsed}}  {{wide_msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
