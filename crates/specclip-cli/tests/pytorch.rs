//! PyTorch exports against singular values that numpy computed from the PyTorch modules.
//! scripts/make_pytorch_fixture.py makes the files and says how.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{numbers, record, spectrum, stderr};
use serde_json::Value;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect();
    paths.sort();
    paths
}

fn spectrum_of(model: &Path, arguments: &[&str]) -> Value {
    let output = spectrum()
        .arg(model)
        .args(["--json", "--top", "6"])
        .args(arguments)
        .output();
    let output = output.expect("the program starts");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}: {}",
        model.display(),
        stderr(&output)
    );
    record(&output)
}

/// Compares every layer of the reference with the row of the same name and place.
fn compare(model: &Path, arguments: &[&str], tolerance: f64) {
    let text = fs::read_to_string(model.with_extension("json")).expect("the reference");
    let reference: Value = serde_json::from_str(&text).expect("a JSON record");
    let dimensions = numbers(&reference["input"])
        .iter()
        .map(f64::to_string)
        .collect::<Vec<_>>();
    let input = dimensions.join("x");
    let record = spectrum_of(model, &[arguments, &["--input", &input]].concat());
    let found = record["layers"].as_array().expect("layers");
    let expected = reference["layers"].as_array().expect("layers");
    let name = |layer: &Value| layer["name"].as_str().unwrap_or_default().to_owned();
    let names = |layers: &[Value]| layers.iter().map(name).collect::<Vec<_>>();
    assert_eq!(
        found.len(),
        expected.len(),
        "{}: {:?}, {:?}; {:#}",
        model.display(),
        names(found),
        names(expected),
        record["skipped"]
    );
    for (found, expected) in found.iter().zip(expected) {
        let what = format!("{} of {}", expected["name"], model.display());
        // Where the exporter invented a name for the weight, the node's or the module's says more.
        let accepted = ["name", "node", "module"].map(|field| &expected[field]);
        assert!(
            accepted.contains(&&found["name"]),
            "{what} is called {}",
            found["name"]
        );
        for field in ["kind", "input_shape", "output_shape", "multiplicity"] {
            assert_eq!(found[field], expected[field], "{field} of {what}");
        }
        let (values, exact) = (
            numbers(&found["singular_values"]),
            numbers(&expected["singular_values"]),
        );
        assert_eq!(values.len(), exact.len(), "{what}");
        for (value, exact_value) in values.iter().zip(&exact) {
            assert!(
                (value - exact_value).abs() <= tolerance * exact[0],
                "{what}: {values:?}, {exact:?}"
            );
        }
        let frobenius = expected["frobenius"].as_f64().expect("a number");
        let error = found["frobenius"].as_f64().expect("a number") - frobenius;
        assert!(
            error.abs() <= tolerance * frobenius,
            "Frobenius norm of {what}: {error}"
        );
    }
}

#[test]
fn in_double_precision() {
    for model in fixtures() {
        compare(&model, &["--precision", "f64", "--tol", "1e-9"], 1e-7);
    }
}

#[test]
fn in_single_precision_with_the_defaults_of_a_user() {
    for model in fixtures() {
        compare(&model, &[], 2e-4);
    }
}

#[test]
fn by_lanczos_alone() {
    for model in fixtures() {
        compare(
            &model,
            &["--method", "lanczos", "--precision", "f64", "--tol", "1e-8"],
            1e-7,
        );
    }
}
