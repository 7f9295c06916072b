//! Reports with every kind of row and of network, for the tests of the formats.

use std::time::Duration;

use specclip::bound::network::{Ends, NetworkBound, Outcome, Reason, Step, Stop};
use specclip::bound::{Argument, Interval};

use crate::record::bound::{Asked, Layers, Network, Report, Row};
use crate::record::{Identity, Outcome as Came, Settings, Skipped};

/// A bounded network with a random argument, a refused layer and one of lower end 0.
pub fn bounded() -> Report {
    let ends = Ends {
        lower: None,
        upper: 41.000_001,
        failure_probability: 2e-9,
    };
    Report {
        layers: layers(),
        network: Some(network(Outcome::Bounded(ends), true)),
    }
}

/// A network with operators that no rule covers.
pub fn stopped() -> Report {
    let stop = |name: &str, operator: &str, reason: &str| Stop {
        name: name.into(),
        operator: operator.into(),
        reason: reason.into(),
    };
    let stops = vec![
        stop(
            "gate.0",
            "Mul",
            "a product of two computed values has no Lipschitz constant",
        ),
        stop(
            "norm\u{1b}[2J",
            "LayerNormalization",
            "it has none near constant inputs",
        ),
        stop(
            "gate.1",
            "Mul",
            "a product of two computed values has no Lipschitz constant",
        ),
    ];
    Report {
        layers: layers(),
        network: Some(network(Outcome::Stopped(stops), false)),
    }
}

fn layers() -> Layers {
    let image = [16, 32, 32];
    Layers {
        settings: Settings {
            model: "nets/model.onnx".into(),
            inputs: vec![("x".into(), vec![1, 3, 32, 32])],
            precision: "f64",
            seed: 7,
            compose: false,
            globs: Vec::new(),
            threads: 2,
        },
        asked: Asked {
            arguments: vec!["frequency", "krylov"],
            failure_probability: 1e-9,
        },
        rows: vec![
            row(
                "stem",
                "conv2d",
                &image,
                Some(interval(4.445_58, 4.520_01, Argument::Frequency, 0.0)),
            ),
            row(
                "body.conv",
                "conv2d",
                &image,
                Some(interval(2.0, 2.060_000_1, Argument::Krylov, 1e-9)),
            ),
            row(
                "zero",
                "dense",
                &[12],
                Some(interval(0.0, 1e-9, Argument::Frobenius, 0.0)),
            ),
            row(
                "exact",
                "batch_norm",
                &image,
                Some(interval(0.5, 0.5, Argument::Channels, 0.0)),
            ),
            row("odd", "conv3d", &image, None),
        ],
        skipped: vec![Skipped {
            name: "up".into(),
            op: "Resize".into(),
            reason: "cubic interpolation is not read".into(),
        }],
        elapsed: Duration::from_micros(1_234_567),
    }
}

fn interval(lower: f64, upper: f64, upper_by: Argument, failure_probability: f64) -> Interval {
    Interval {
        lower,
        upper,
        lower_by: Argument::Vector,
        upper_by,
        failure_probability,
    }
}

fn row(name: &str, kind: &str, shape: &[usize], interval: Option<Interval>) -> Row {
    Row {
        layer: Identity {
            name: name.into(),
            kind: kind.into(),
            input_shape: shape.to_vec(),
            output_shape: shape.to_vec(),
            weight: Some((format!("{name}.weight"), vec![3, 2])),
            multiplicity: 1,
        },
        outcome: interval.map_or_else(|| Came::Refused("no argument applies".into()), Came::Values),
        elapsed: Duration::from_micros(1234),
    }
}

fn network(outcome: Outcome, shares: bool) -> Network {
    let step = |name: &str, kind: &str, factor, reason, constant| Step {
        name: name.into(),
        kind: kind.into(),
        layers: if kind == "Conv" { vec![0] } else { Vec::new() },
        factor,
        reason,
        inputs: vec![1.0],
        constant,
        failure_probability: 0.0,
        contribution: factor.filter(|_| shares),
    };
    let bound = NetworkBound {
        outcome,
        steps: vec![
            step(
                "stem",
                "Conv",
                Some(4.520_01),
                Reason::Norm(Argument::Frequency),
                4.520_01,
            ),
            step("relu", "Relu", Some(1.0), Reason::Lipschitz, 4.520_01),
            step("add", "Add", None, Reason::Sum, 41.000_001),
        ],
    };
    Network::Bound {
        bound,
        names: vec!["stem".into()],
    }
}
