//! What the end-to-end tests share.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod images;

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// `specclip` with a command, with no terminal width of its own.
pub fn program(command: &str) -> Command {
    let mut program = Command::new(assert_cmd::cargo::cargo_bin!("specclip"));
    program.env_remove("COLUMNS").arg(command);
    program
}

/// `specclip spectrum`.
pub fn spectrum() -> Command {
    program("spectrum")
}

/// `specclip clip`.
pub fn clip() -> Command {
    program("clip")
}

/// A file that scripts/make_test_models.py made.
pub fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(name)
}

/// What went to standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("standard output is text")
}

/// What went to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

/// The record that a run with `--json` printed.
pub fn record(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON record")
}

/// The entry of `layers` with this name.
pub fn layer<'a>(record: &'a Value, name: &str) -> &'a Value {
    let layers = record["layers"].as_array().expect("layers is an array");
    let found = layers.iter().find(|layer| layer["name"] == name);
    found.unwrap_or_else(|| panic!("no layer {name} in {record:#}"))
}

/// An array of numbers.
pub fn numbers(value: &Value) -> Vec<f64> {
    let array = value.as_array().expect("an array");
    array
        .iter()
        .map(|number| number.as_f64().expect("a number"))
        .collect()
}

/// Exit code 2, nothing on standard output, and one sentence that has these words in it.
pub fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(stdout(output), "", "{message}");
    assert_eq!(message.matches("error:").count(), 1, "{message}");
    assert!(message.starts_with("error: "), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "no {word:?} in {message}");
    }
    // The argument parser adds where to find help, after a blank line.
    let sentence = message.split("\n\n").next().unwrap_or_default().trim_end();
    assert!(!sentence.is_empty() && sentence.len() < 1500, "{message}");
    assert_eq!(
        sentence
            .lines()
            .filter(|line| !line.starts_with(' '))
            .count(),
        1,
        "{message}"
    );
}
