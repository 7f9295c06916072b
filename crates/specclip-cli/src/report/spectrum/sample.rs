//! A report with every kind of row, for the tests of the formats.

use std::time::Duration;

use crate::record::spectrum::{Asked, Report, Row, Values};
use crate::record::{Identity, Settings, Skipped};

type Outcome = crate::record::Outcome<Values>;

/// Converged, composed, missed, refused, zero, wide and many-positioned rows, and skipped layers.
pub fn report() -> Report {
    let stage = |n: usize| format!("backbone.stages.{n}.blocks.0.depthwise_separable.conv");
    let image = [16, 32, 32];
    Report {
        settings: settings(),
        asked: Asked {
            method: "auto",
            tolerance: 1e-4,
            top: 3,
            full: false,
        },
        rows: vec![
            row(
                &stage(0),
                "conv2d",
                &image,
                &image,
                values(&[12.345_678, 9.999_996, 0.5], 1.2e-5),
            ),
            row(
                &stage(1),
                "conv2d+bn",
                &image,
                &image,
                values(&[1e-4, 5e-5, 1e-9], 3e-6),
            ),
            row(
                "頭.畳み込み",
                "conv_transpose2d",
                &image,
                &[8, 64, 64],
                missed(),
            ),
            row(
                "zeros",
                "conv1d",
                &[3, 100],
                &[4, 98],
                values(&[0.0, 0.0, 0.0], 0.0),
            ),
            row("circular", "conv2d", &image, &image, refused()),
            Row {
                layer: Identity {
                    multiplicity: 256,
                    ..row("fc", "dense", &[2], &[10], refused()).layer
                },
                ..row("fc", "dense", &[2], &[10], values(&[2.5, 1.5], 9e-5))
            },
        ],
        skipped: vec![
            Skipped {
                name: "quantised.conv".into(),
                op: "QLinearConv".into(),
                reason: "its weights are quantised".into(),
            },
            Skipped {
                name: "up\u{1b}[2J".into(),
                op: "Resize".into(),
                reason: "cubic interpolation is not read".into(),
            },
        ],
        elapsed: Duration::from_micros(1_234_567),
    }
}

fn settings() -> Settings {
    Settings {
        model: "nets/model.onnx".into(),
        inputs: vec![("x".into(), vec![1, 3, 32, 32]), ("a".into(), vec![1, 77])],
        precision: "f32",
        seed: 7,
        compose: true,
        globs: Vec::new(),
        threads: 2,
    }
}

fn row(name: &str, kind: &str, input: &[usize], output: &[usize], outcome: Outcome) -> Row {
    let layer = Identity {
        name: name.into(),
        kind: kind.into(),
        input_shape: input.to_vec(),
        output_shape: output.to_vec(),
        weight: Some((format!("{name}.weight"), vec![3, 2])),
        multiplicity: 1,
    };
    Row {
        layer,
        outcome,
        elapsed: Duration::from_micros(1234),
    }
}

/// Values whose residuals are this times sigma_1.
fn values(sigma: &[f64], relative: f64) -> Outcome {
    Outcome::Values(Values {
        method: "lanczos",
        singular_values: sigma.to_vec(),
        residuals: sigma.iter().map(|_| relative * sigma[0]).collect(),
        converged: vec![true; sigma.len()],
        frobenius: Some(sigma[0] * 4.0),
        matvecs: 42,
    })
}

fn missed() -> Outcome {
    let Outcome::Values(values) = values(&[3.0, 2.0, 1.0], 2e-3) else {
        return refused();
    };
    Outcome::Values(Values {
        converged: vec![true, false, false],
        frobenius: None,
        ..values
    })
}

fn refused() -> Outcome {
    Outcome::Refused("circulant does not apply: it pads with zeros; use lanczos".into())
}
