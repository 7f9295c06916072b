//! Doubts about results, each with advice. They go to standard error after the table.

use std::fmt;

use crate::cli::shared::Precision;
use crate::record::spectrum::Report;

/// A doubt about the results of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The tolerance is finer than the numbers.
    ToleranceBelowPrecision {
        /// What was asked.
        tolerance: f64,
        /// The number type.
        precision: &'static str,
    },
    /// Some values missed the tolerance.
    Missed {
        /// In how many layers.
        layers: usize,
    },
    /// Some layers refused what was asked.
    Refused {
        /// How many.
        layers: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToleranceBelowPrecision {
                tolerance,
                precision: "f32",
            } => write!(
                out,
                "a tolerance of {tolerance:e} is finer than f32 can show; add --precision f64"
            ),
            Self::ToleranceBelowPrecision {
                tolerance,
                precision,
            } => write!(
                out,
                "a tolerance of {tolerance:e} is finer than {precision} can show; ask for a larger --tol"
            ),
            Self::Missed { layers } => write!(
                out,
                "values of {} missed the tolerance; they are marked, and their residuals say how \
                 far off they may be; try a larger --tol, --precision f64 or another --method",
                counted(*layers)
            ),
            Self::Refused { layers } => write!(
                out,
                "what was asked cannot be done on {}; the reasons are listed as skipped",
                counted(*layers)
            ),
        }
    }
}

fn counted(layers: usize) -> String {
    if layers == 1 {
        "1 layer".into()
    } else {
        format!("{layers} layers")
    }
}

/// The doubts about a report.
pub fn of(report: &Report, precision: Precision) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let tolerance = report.asked.tolerance;
    // Residuals of a converged triplet level off at a few units of rounding of sigma_1.
    if !report.asked.full && tolerance < 4.0 * precision.epsilon() {
        warnings.push(Warning::ToleranceBelowPrecision {
            tolerance,
            precision: precision.name(),
        });
    }
    match report.missed() {
        0 => {}
        layers => warnings.push(Warning::Missed { layers }),
    }
    match report.refused() {
        0 => {}
        layers => warnings.push(Warning::Refused { layers }),
    }
    warnings
}
