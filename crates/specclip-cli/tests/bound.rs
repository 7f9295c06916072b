//! Intervals and the network's bound, end to end.

mod common;

use std::process::Output;

use common::{layer, model, numbers, program, record, refused, stderr, stdout};
use serde_json::Value;

fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = program("bound");
    command.arg(model(name)).args(arguments);
    command.output().expect("the program starts")
}

fn json(name: &str, arguments: &[&str]) -> Value {
    let output = run(name, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    record(&output)
}

/// sigma_1 of each layer by name, converged far beyond what is compared.
fn norms(name: &str, arguments: &[&str]) -> Vec<(String, f64)> {
    let mut command = program("spectrum");
    command.arg(model(name)).args(arguments);
    command.args([
        "--precision",
        "f64",
        "--tol",
        "1e-11",
        "--top",
        "1",
        "--json",
    ]);
    let record = record(&command.output().expect("the program starts"));
    let layers = record["layers"].as_array().expect("layers").iter();
    layers
        .map(|layer| {
            (
                layer["name"].as_str().unwrap().to_owned(),
                numbers(&layer["singular_values"])[0],
            )
        })
        .collect()
}

#[test]
fn every_interval_contains_the_norm() {
    for name in ["mixed.onnx", "circular.onnx"] {
        for arguments in [
            &[][..],
            &["--compose"],
            &["--precision", "f32"],
            &["--failure-probability", "0"],
        ] {
            let record = json(name, arguments);
            let composing: &[&str] = if arguments == ["--compose"] {
                arguments
            } else {
                &[]
            };
            for (layer_name, sigma_1) in norms(name, composing) {
                let found = layer(&record, &layer_name);
                let (lower, upper) = (
                    found["lower"].as_f64().unwrap(),
                    found["upper"].as_f64().unwrap(),
                );
                // In f32 the interval is that of the rounded layer.
                let rounding = sigma_1
                    * if arguments.contains(&"f32") {
                        1e-6
                    } else {
                        1e-10
                    };
                assert!(
                    lower <= sigma_1 + rounding && sigma_1 - rounding <= upper,
                    "{found:#}"
                );
                assert!(lower > 0.9 * sigma_1, "{found:#}");
                assert_eq!(found["lower_by"], "vector");
            }
        }
    }
}

#[test]
fn the_network_s_bound_is_the_product_of_its_steps() {
    let output = program("bound")
        .arg("--json")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    let record = record(&output);
    let network = &record["network"];
    let upper = network["upper"].as_f64().unwrap();
    let steps = network["steps"].as_array().unwrap();
    let product: f64 = steps
        .iter()
        .map(|step| step["factor"].as_f64().unwrap())
        .product();
    assert!((product / upper - 1.0).abs() < 1e-9);
    assert!(network["lower"].is_null() && network["stopped_by"].as_array().unwrap().is_empty());
    let layers = record["layers"].as_array().unwrap();
    let norms: f64 = layers
        .iter()
        .map(|layer| layer["upper"].as_f64().unwrap())
        .product();
    assert!(
        upper <= norms * (1.0 + 1e-9),
        "composing never makes it worse: {upper}, {norms}"
    );
}

#[test]
fn a_network_with_an_operator_that_is_not_understood_has_its_layers_all_the_same() {
    let record = json("mixed.onnx", &[]);
    assert_eq!(record["layers"].as_array().unwrap().len(), 5);
    let network = &record["network"];
    assert!(network["upper"].is_null());
    let stops = network["stopped_by"].as_array().unwrap();
    assert!(
        stops.iter().any(|stop| stop["op"] == "Resize"),
        "{network:#}"
    );
    let output = run("mixed.onnx", &[]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
    let text = stdout(&output);
    assert!(
        text.contains("network: no bound; its output depends on\n  resize (Resize): "),
        "{text}"
    );
}

#[test]
fn some_layers_have_no_network() {
    let record = json("mixed.onnx", &["--layer", "stem"]);
    assert_eq!(record["layers"].as_array().unwrap().len(), 1);
    assert!(record["network"].is_null());
    assert!(!stdout(&run("mixed.onnx", &["--layer", "stem"])).contains("network"));
}

#[test]
fn an_argument_asked_for_is_the_one_that_is_used() {
    for argument in ["frobenius", "frequency"] {
        let record = json("circular.onnx", &["--argument", argument]);
        for layer in record["layers"].as_array().unwrap() {
            assert_eq!(layer["upper_by"], argument);
        }
        assert_eq!(record["arguments"][0], argument);
    }
    let record = json(
        "circular.onnx",
        &["--argument", "krylov", "--failure-probability", "1e-6"],
    );
    let circular = layer(&record, "circular");
    assert_eq!(
        (&circular["upper_by"], &circular["failure_probability"]),
        (&"krylov".into(), &1e-6.into())
    );
    assert_eq!(record["totals"]["failure_probability"], 2e-6);
}

#[test]
fn an_argument_that_does_not_apply_refuses_layer_by_layer() {
    let output = run("mixed.onnx", &["--argument", "channels"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("skipped:") && text.contains("channels"),
        "{text}"
    );
    assert!(text.contains("network: no bound: "), "{text}");
    assert!(
        stderr(&output).contains("layers have no interval"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn certain_arguments_only() {
    let record = json("circular.onnx", &["--failure-probability", "0"]);
    for layer in record["layers"].as_array().unwrap() {
        assert_eq!(layer["failure_probability"], 0.0);
        assert_ne!(layer["upper_by"], "krylov");
    }
}

#[test]
fn one_csv_row_a_layer() {
    let csv = stdout(&run("mixed.onnx", &["--csv"]));
    assert!(
        csv.starts_with("layer,kind,input_shape,output_shape,multiplicity,lower,upper,gap,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 6);
}

#[test]
fn options_that_mean_nothing() {
    for (option, value) in [
        ("--failure-probability", "1"),
        ("--failure-probability", "-1e-9"),
        ("--failure-probability", "nan"),
        ("--failure-probability", "small"),
        ("--argument", "vector"),
        ("--argument", "guess"),
        ("--precision", "f16"),
        ("--layer", "nothing*"),
        ("--json", "=no/such/folder/out.json"),
    ] {
        let (option, rest) = match value.strip_prefix('=') {
            Some(_) => (format!("{option}{value}"), None),
            None => (option.to_owned(), Some(value)),
        };
        let output = program("bound").arg(&option).args(rest).output();
        refused(&output.expect("the program starts"), &[]);
    }
    let never = ["--argument", "krylov", "--failure-probability", "0"];
    refused(
        &run("circular.onnx", &never),
        &["krylov", "--failure-probability"],
    );
    refused(&run("nan.onnx", &[]), &["body", "29", "NaN"]);
    refused(&run("no/such.onnx", &[]), &["no/such.onnx"]);
}

#[test]
fn the_table_of_a_mixed_model() {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m) +seconds$", " seconds");
    settings.add_filter(r"(?m) +\d+\.\d+$", " [time]");
    settings.add_filter(r"\d+\.\d+ seconds", "[time] seconds");
    settings.add_filter(r"(?m)^\S*/tests/models/", "[models]/");
    // These two, so that a tighter argument does not change the table.
    let arguments = ["--argument", "cholesky", "--argument", "channels"];
    let text = stdout(&run(
        "mixed.onnx",
        &[&arguments[..], &["--layer", "[snte]*"]].concat(),
    ));
    settings.bind(|| insta::assert_snapshot!(text));
}

#[test]
fn the_help() {
    let output = program("bound")
        .arg("--help")
        .env("COLUMNS", "100")
        .output();
    insta::assert_snapshot!(stdout(&output.expect("the program starts")));
}
