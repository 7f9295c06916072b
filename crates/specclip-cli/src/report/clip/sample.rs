//! A report with every kind of row, for the tests of the formats.

use std::time::Duration;

use specclip::bound::{Argument, Interval};
use specclip::clip::{Method, Norm, Params, Projection};

use crate::record::clip::{Asked, Report, Row, Values};
use crate::record::{Identity, Settings, Skipped};

type Outcome = crate::record::Outcome<Values>;

/// Clipped, kept, missed and refused rows, and a skipped layer.
pub fn report() -> Report {
    let missed = Values {
        after: norm(1.25, false),
        reached: false,
        ..clipped()
    };
    let kept = Values {
        before: norm(0.75, true),
        after: norm(0.75, true),
        changed: false,
        distance: 0.0,
        least_distance: None,
        rounds: 0,
        clips: 0,
        ..clipped()
    };
    let refused = "its weight cannot be replaced in the file: the model computes it by arithmetic that cannot be undone";
    Report {
        settings: settings(),
        asked: Asked {
            norm: 1.0,
            params: Params {
                seed: 7,
                ..Params::new(Method::Projection(Projection::default()))
            },
            output: Some("nets/clipped.onnx".into()),
        },
        rows: vec![
            row(
                "backbone.stages.0.blocks.0.conv",
                Outcome::Values(clipped()),
            ),
            row("backbone.stages.1.blocks.0.conv", Outcome::Values(kept)),
            row("backbone.stages.2.blocks.0.conv", Outcome::Values(missed)),
            row("head", Outcome::Refused(refused.into())),
        ],
        skipped: vec![Skipped {
            name: "quantised.conv".into(),
            op: "QLinearConv".into(),
            reason: "its weights are quantised".into(),
        }],
        elapsed: Duration::from_micros(1_234_567),
    }
}

fn settings() -> Settings {
    Settings {
        model: "nets/model.onnx".into(),
        inputs: vec![("x".into(), vec![1, 3, 32, 32])],
        precision: "f32",
        seed: 7,
        compose: false,
        globs: Vec::new(),
        threads: 2,
    }
}

fn row(name: &str, outcome: Outcome) -> Row {
    Row {
        layer: Identity {
            name: name.into(),
            kind: "conv2d".into(),
            input_shape: vec![16, 32, 32],
            output_shape: vec![16, 32, 32],
            weight: Some((format!("{name}.weight"), vec![16, 16, 3, 3])),
            multiplicity: 1,
        },
        outcome,
        elapsed: Duration::from_micros(1234),
    }
}

fn clipped() -> Values {
    Values {
        before: norm(2.5, true),
        after: norm(1.0, true),
        changed: true,
        reached: true,
        distance: 0.51,
        weight: 8.0,
        least_distance: Some(0.5),
        rounds: 12,
        matvecs: 345,
        clips: 1,
    }
}

fn norm(sigma: f64, converged: bool) -> Norm {
    Norm {
        sigma,
        converged,
        interval: Interval {
            lower: 0.999 * sigma,
            upper: 1.01 * sigma,
            lower_by: Argument::Vector,
            upper_by: Argument::Frequency,
            failure_probability: 0.0,
        },
    }
}
