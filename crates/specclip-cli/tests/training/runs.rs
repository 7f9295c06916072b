//! What a run shows and writes.

use super::*;
use crate::common::{stderr, stdout};

#[test]
fn a_clipped_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    let arguments =
        "--recipe simple --channels 4 --batch 10 --epochs 4 --norm 2 --every 7 --lr 0.05";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = train(&data, &out, &arguments).output().expect("a run");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in [
        "largest norm",
        "conv.conv",
        "head",
        "best.safetensors is epoch",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let record = record(&out);
    assert_eq!(record["schema"], 1);
    assert_eq!(record["finished"], true);
    assert_eq!(record["settings"]["seed"], 0);
    assert_eq!(record["data"]["name"], "MNIST");
    let epochs = record["epochs"].as_array().expect("epochs");
    assert_eq!(epochs.len(), 4);
    let last = &epochs[3];
    assert!(
        last["test_accuracy"].as_f64().expect("a number") > 0.9,
        "{last}"
    );
    for layer in last["layers"].as_array().expect("layers") {
        assert_eq!(layer["converged"], true);
        assert_eq!(layer["target"], 2.0);
        assert!(
            layer["norm"].as_f64().expect("a number") <= 2.0 * 1.001,
            "{layer}"
        );
    }
    for epoch in epochs {
        let clips = &epoch["clips"];
        assert!(clips["count"].as_u64().expect("a number") >= 2, "{clips}");
        assert!(
            clips["largest"].as_f64().expect("a number") <= 1.001,
            "{clips}"
        );
    }
}

/// Weights that grow without a bound end the run in a sentence, whoever finds them, and the last checkpoint stays.
#[test]
fn a_run_that_diverges() {
    // With spectral normalisation the network does not depend on the size of the weights.
    for method in [
        "none",
        "projection",
        "fastclip",
        "scale-each-step",
        "gram-penalty",
    ] {
        diverging(method, "1e30");
    }
    // In the first step already, where the clip at the end of the epoch is the first to see it.
    diverging("projection", "1e39 --steps 1");
    diverging("none", "1e39 --steps 1");
}

fn diverging(method: &str, rate: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    let mut arguments =
        format!("--recipe simple --channels 2 --batch 10 --checkpoint-every 1 --lr {rate}");
    if method != "none" {
        arguments += &format!(" --norm 1 --method {method}");
    }
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = train(&data, &out, &arguments).output().expect("a run");
    assert_eq!(output.status.code(), Some(2), "{method} {rate}");
    let message = stderr(&output);
    assert!(message.contains("not a finite number in step"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let (state, _, tensors) = checkpoint(&out.join("last.safetensors"));
    assert!(state["position"]["step"].as_u64().expect("a number") <= 2);
    let values = tensors
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
    assert!(values.into_iter().all(f32::is_finite));
}
