//! Published methods against sigma_1, end to end.

mod common;

use std::process::Output;

use common::{layer, model, program, record, refused, stderr, stdout};
use serde_json::Value;

fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = program("compare");
    command.arg(model(name)).args(arguments);
    command.output().expect("the program starts")
}

fn said<'a>(record: &'a Value, layer_name: &str, method: &str) -> &'a Value {
    let methods = layer(record, layer_name)["methods"]
        .as_array()
        .expect("methods");
    let found = methods.iter().find(|entry| entry["method"] == method);
    found.expect("every method has an entry")
}

#[test]
fn circular_padding_is_what_the_circular_value_is_for() {
    let output = run("circular.onnx", &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = record(&output);
    let error = |layer, method| {
        said(&record, layer, method)["relative_error"]
            .as_f64()
            .unwrap()
    };
    assert!(error("circular", "circular").abs() < 1e-9);
    assert!(error("zeros", "circular") > 1e-3);
    for name in ["circular", "zeros"] {
        assert!(error(name, "reshaped") < -1e-3);
        for method in ["gram", "lipgrid", "fantastic-four", "proven"] {
            assert!(error(name, method) > -1e-12, "{name}, {method}");
            assert_eq!(said(&record, name, method)["claims_bound"], true);
            assert_eq!(said(&record, name, method)["below_sigma_1"], false);
        }
    }
}

/// The network inside begins with a layer with reflect padding.
#[test]
fn a_bound_that_is_none_is_marked() {
    let output = program("compare")
        .args(["--layer", "features.0"])
        .output()
        .expect("the program starts");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("%!") && text.contains("! claims to be a bound"),
        "{text}"
    );
    let output = program("compare")
        .args(["--layer", "features.0", "--json"])
        .output();
    let record = record(&output.expect("the program starts"));
    assert_eq!(said(&record, "features.0", "gram")["below_sigma_1"], true);
    assert_eq!(
        said(&record, "features.0", "lipgrid")["below_sigma_1"],
        true
    );
    assert_eq!(
        said(&record, "features.0", "circular")["below_sigma_1"],
        false
    );
    assert_eq!(
        said(&record, "features.0", "proven")["below_sigma_1"],
        false
    );
    assert_eq!(record["totals"]["broken_bounds"], 2);
}

#[test]
fn methods_that_do_not_exist_for_a_layer_say_nothing() {
    let record = record(&run("mixed.onnx", &["--json"]));
    for method in ["reshaped", "circular", "gram", "lipgrid", "fantastic-four"] {
        assert!(said(&record, "norm", method)["value"].is_null(), "{method}");
    }
    assert!(said(&record, "tokens", "circular")["value"].is_null());
    let error = said(&record, "tokens", "reshaped")["relative_error"]
        .as_f64()
        .unwrap();
    assert!(error.abs() < 1e-9, "a dense layer is its matrix");
}

#[test]
fn what_did_not_converge_is_marked_and_exits_1() {
    let output = run("circular.onnx", &["--tol", "1e-300"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("* missed the tolerance"), "{text}");
    assert!(stderr(&output).contains("missed the tolerance"));
}

#[test]
fn one_csv_row_a_layer_and_method() {
    let csv = stdout(&run("mixed.onnx", &["--csv"]));
    assert!(csv.starts_with("layer,kind,input_shape,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 5 * 6);
}

#[test]
fn options_that_mean_nothing() {
    for (option, value) in [
        ("--tol", "0"),
        ("--tol", "nan"),
        ("--layer", "nothing*"),
        ("--svg", "x"),
        ("--input", "1x0"),
    ] {
        let output = program("compare").args([option, value]).output();
        refused(&output.expect("the program starts"), &[]);
    }
    refused(&run("nan.onnx", &[]), &["body", "29", "NaN"]);
}

#[test]
fn the_table() {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+\.\d+ seconds", "[time] seconds");
    settings.add_filter(r"(?m)^\S*/tests/models/", "[models]/");
    let text = stdout(&run("mixed.onnx", &[]));
    settings.bind(|| insta::assert_snapshot!(text));
}

#[test]
fn the_help() {
    let output = program("compare")
        .arg("--help")
        .env("COLUMNS", "100")
        .output();
    insta::assert_snapshot!(stdout(&output.expect("the program starts")));
}
