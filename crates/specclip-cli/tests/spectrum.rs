//! The table, its options and its exit codes, end to end.

mod common;

use std::io::Read;
use std::process::{Output, Stdio};

use common::{layer, model, numbers, record, spectrum, stderr, stdout};

fn run(name: &str, arguments: &[&str]) -> Output {
    spectrum()
        .arg(model(name))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    stdout(output)
}

/// Times, products and residuals at the level of rounding differ from run to run and from machine to machine.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m) +seconds$", " seconds");
    settings.add_filter(r"(?m)  ok +\d+ +\d+\.\d+$", "  ok  [matvecs] [time]");
    settings.add_filter(r"(?m)matvecs seconds$", "[matvecs] [time]");
    settings.add_filter(r"\d+ matvecs", "[n] matvecs");
    settings.add_filter(r"\d+\.\d+ seconds", "[time] seconds");
    settings.add_filter(r" +(\d\.\de-\d+|0)  ok", " [tiny]  ok");
    settings.add_filter(r" +residual  state", " residual  state");
    settings.add_filter(r"(?m)^\S*/tests/models/", "[models]/");
    settings
}

#[test]
fn the_table_of_a_mixed_model() {
    let text = done(&run(
        "mixed.onnx",
        &["--precision", "f64", "--tol", "1e-10"],
    ));
    settings().bind(|| insta::assert_snapshot!(text));
}

#[test]
fn the_help() {
    let output = spectrum()
        .arg("--help")
        .env("COLUMNS", "100")
        .output()
        .expect("the program starts");
    insta::assert_snapshot!(done(&output));
}

#[test]
fn without_a_model_it_shows_the_network_inside() {
    let text = done(&spectrum().output().expect("the program starts"));
    assert!(text.starts_with("No model given"), "{text}");
    assert!(text.contains("classifier"), "{text}");
}

#[test]
fn a_table_that_is_not_read_to_the_end_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("specclip"))
        .args(["spectrum", "--layer", "classifier"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut message = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut message)
        .expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(0), "{message}");
    assert_eq!(message, "");
}

#[test]
fn what_did_not_converge_is_marked_and_exits_1() {
    let output = run(
        "mixed.onnx",
        &["--method", "power-qr", "--tol", "1e-300", "--layer", "stem"],
    );
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(text.contains("missed") && text.contains('*'), "{text}");
    assert!(
        stderr(&output).contains("--precision f64"),
        "{}",
        stderr(&output)
    );
    let again = [
        "--method", "power-qr", "--tol", "1e-300", "--layer", "stem", "--json",
    ];
    let record = record(&run("mixed.onnx", &again));
    assert!(
        layer(&record, "stem")["converged"]
            .as_array()
            .unwrap()
            .contains(&false.into())
    );
}

#[test]
fn a_method_that_does_not_apply_is_refused_layer_by_layer() {
    let output = run("circular.onnx", &["--method", "circulant"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("refused") && text.contains("ok"), "{text}");
    let record = record(&run("circular.onnx", &["--method", "circulant", "--json"]));
    assert_eq!(layer(&record, "circular")["method"], "circulant");
    assert_eq!(record["skipped"][0]["name"], "zeros");
    assert_eq!(record["skipped"][0]["op"], "conv2d");
}

#[test]
fn methods_agree() {
    let exact = numbers(
        &layer(&json("circular.onnx", &["--method", "dense"]), "circular")["singular_values"],
    );
    for method in ["auto", "lanczos", "power-qr", "circulant"] {
        let arguments = [
            "--method",
            method,
            "--layer",
            "circular",
            "--precision",
            "f64",
            "--tol",
            "1e-8",
        ];
        let values =
            numbers(&layer(&json("circular.onnx", &arguments), "circular")["singular_values"]);
        assert_eq!(values.len(), 3, "{method}");
        for (value, exact) in values.iter().zip(&exact) {
            assert!(
                (value - exact).abs() < 1e-5 * exact,
                "{method}: {values:?}, {exact}"
            );
        }
    }
}

fn json(name: &str, arguments: &[&str]) -> serde_json::Value {
    let output = run(name, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    record(&output)
}

#[test]
fn composing_replaces_both_rows_by_one() {
    let apart = json("mixed.onnx", &[]);
    let folded = json("mixed.onnx", &["--compose"]);
    let names = |record: &serde_json::Value| -> Vec<String> {
        let layers = record["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&apart)[..2], ["stem", "norm"]);
    assert_eq!(names(&folded)[..1], ["stem+norm"]);
    assert_eq!(names(&folded).len() + 1, names(&apart).len());
    assert_eq!(layer(&folded, "stem+norm")["kind"], "conv2d+bn");
    let sigma_1 = |record, name| numbers(&layer(record, name)["singular_values"])[0];
    let bound = sigma_1(&apart, "stem") * sigma_1(&apart, "norm");
    assert!(sigma_1(&folded, "stem+norm") <= bound * (1.0 + 1e-4));
    for glob in ["norm", "stem", "stem+norm"] {
        assert_eq!(
            names(&json("mixed.onnx", &["--compose", "--layer", glob])),
            ["stem+norm"]
        );
    }
}

#[test]
fn patterns_choose_layers() {
    let record = json(
        "mixed.onnx",
        &["--layer", "enc*", "--layer", "tok?ns", "--layer", "[tq]*"],
    );
    assert_eq!(record["layers"].as_array().unwrap().len(), 2);
    assert_eq!(record["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(record["layer_globs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_product_at_many_positions_says_how_many() {
    let record = json("mixed.onnx", &["--layer", "tokens", "--top", "9"]);
    let tokens = layer(&record, "tokens");
    assert_eq!(tokens["multiplicity"], 128);
    assert_eq!(
        numbers(&tokens["singular_values"]).len(),
        5,
        "16 to 5 has five values"
    );
    assert!(done(&run("mixed.onnx", &["--layer", "tokens"])).contains("x128"));
}

#[test]
fn a_whole_spectrum_has_every_value() {
    let record = json("circular.onnx", &["--full", "--precision", "f64"]);
    for entry in record["layers"].as_array().unwrap() {
        let values = numbers(&entry["singular_values"]);
        assert_eq!(values.len(), 256);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let frobenius = entry["frobenius"].as_f64().unwrap();
        assert!((squares.sqrt() - frobenius).abs() < 1e-10 * frobenius);
    }
    let text = done(&run("circular.onnx", &["--full"]));
    assert!(
        text.contains("exact") && text.contains("sigma_3") && !text.contains("sigma_4"),
        "{text}"
    );
}

#[test]
fn a_whole_spectrum_that_costs_too_much_is_refused_with_the_cost() {
    let output = run("dynamic.onnx", &["--full", "--input", "1x3x512x512"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("GB"), "{}", stdout(&output));
}

#[test]
fn the_same_seed_gives_the_same_record() {
    let run = |seed: &str| {
        let arguments = ["--method", "lanczos", "--seed", seed, "--threads", "2"];
        let mut record = json("mixed.onnx", &arguments);
        record["totals"]["seconds"] = 0.into();
        for layer in record["layers"].as_array_mut().unwrap() {
            layer["seconds"] = 0.into();
        }
        record
    };
    assert_eq!(run("3"), run("3"));
    assert_eq!(run("3")["threads"], 2);
}

#[test]
fn sizes_come_from_the_input_option() {
    let record = json("dynamic.onnx", &["--input", "x=1x3x10x12"]);
    assert_eq!(numbers(&record["input"]["x"]), [1.0, 3.0, 10.0, 12.0]);
    assert_eq!(
        numbers(&layer(&record, "conv")["output_shape"]),
        [4.0, 10.0, 12.0]
    );
}

#[test]
fn files_stand_beside_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let option = |format: &str| format!("--{format}={}", path(format).display());
    let options = [option("json"), option("csv"), option("svg")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let text = done(&run("mixed.onnx", &options));
    assert!(text.contains("sigma_1"), "{text}");
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&read("json")).unwrap();
    let values: usize = record["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["singular_values"].as_array().unwrap().len())
        .sum();
    assert_eq!(read("csv").lines().count(), values + 1);
    assert!(read("svg").starts_with("<svg") && read("svg").trim_end().ends_with("</svg>"));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        3,
        "no temporary is left"
    );
}

#[test]
fn formats_take_the_place_of_the_table() {
    let csv = done(&run("mixed.onnx", &["--csv"]));
    assert!(csv.starts_with("layer,kind,"), "{csv}");
    let svg = done(&run("mixed.onnx", &["--svg"]));
    assert!(svg.starts_with("<svg"), "{svg}");
    let output = spectrum()
        .args(["--json", "--layer", "classifier"])
        .output()
        .unwrap();
    assert_eq!(record(&output)["model"], "built-in");
    assert!(stderr(&output).starts_with("No model given"));
}

#[test]
fn more_values_than_a_table_has_room_for_are_in_the_other_formats() {
    let arguments = ["--top", "1000000000000", "--layer", "stem"];
    let text = done(&run("mixed.onnx", &arguments));
    assert!(
        text.contains("sigma_12") && !text.contains("sigma_13"),
        "{text}"
    );
    assert!(text.contains("the first 12 of up to 192 values"), "{text}");
    let record = json("mixed.onnx", &arguments);
    assert_eq!(
        numbers(&layer(&record, "stem")["singular_values"]).len(),
        192
    );
}
