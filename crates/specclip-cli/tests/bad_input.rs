//! Whatever the program is given, it answers with a result or with one clear sentence and exit code 2.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{model, refused, spectrum, stderr, stdout};

fn run(path: &Path, arguments: &[&str]) -> Output {
    spectrum()
        .arg(path)
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// Writes a file into a folder of its own and runs the program on it.
fn run_on(name: &str, bytes: &[u8]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file in it");
    run(&path, &[])
}

#[test]
fn a_missing_file() {
    refused(
        &run(Path::new("no/such/model.onnx"), &[]),
        &["no/such/model.onnx"],
    );
}

#[test]
fn a_folder() {
    refused(&run(Path::new(env!("CARGO_MANIFEST_DIR")), &[]), &[]);
}

#[test]
fn an_empty_file() {
    refused(&run_on("empty.onnx", b""), &["empty.onnx"]);
}

#[test]
fn a_text_file_named_onnx() {
    refused(
        &run_on("notes.onnx", b"Dear diary,\ntoday I trained a network.\n"),
        &["notes.onnx"],
    );
}

#[test]
fn random_bytes() {
    let mut state = 1_u32;
    let bytes: Vec<u8> = (0..4096)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    refused(&run_on("noise.onnx", &bytes), &["noise.onnx"]);
}

#[test]
fn a_file_truncated_anywhere() {
    let whole = fs::read(model("mixed.onnx")).expect("the test model");
    for part in 1..=10 {
        let length = whole.len() * part / 11;
        refused(&run_on("half.onnx", &whole[..length]), &["half.onnx"]);
    }
}

#[test]
fn a_flipped_byte_anywhere_is_an_answer_or_a_sentence() {
    let whole = fs::read(model("dynamic.onnx")).expect("the test model");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("flipped.onnx");
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        fs::write(&path, bytes).expect("a file in it");
        let output = run(&path, &["--input", "1x3x6x6"]);
        let message = stderr(&output);
        assert!(
            matches!(output.status.code(), Some(0..=2)),
            "byte {place}: {message}"
        );
        assert!(!message.contains("panicked"), "byte {place}: {message}");
    }
}

#[test]
fn a_weight_with_a_nan_is_named_with_its_index() {
    refused(&run(&model("nan.onnx"), &[]), &["body", "29", "NaN"]);
}

#[test]
fn an_input_of_the_wrong_rank() {
    refused(
        &run(&model("dynamic.onnx"), &["--input", "3x8x8"]),
        &["x", "3x8x8"],
    );
}

#[test]
fn an_input_with_the_wrong_channels() {
    refused(
        &run(&model("dynamic.onnx"), &["--input", "1x4x8x8"]),
        &["x", "1x4x8x8"],
    );
}

#[test]
fn an_input_that_the_model_does_not_have() {
    refused(
        &run(&model("dynamic.onnx"), &["--input", "image=1x3x8x8"]),
        &["image", "x"],
    );
}

#[test]
fn an_input_left_open_asks_for_it() {
    let output = run(&model("dynamic.onnx"), &[]);
    refused(&output, &["--input"]);
}

#[test]
fn an_input_smaller_than_the_kernel() {
    refused(&run(&model("mixed.onnx"), &["--input", "1x3x1x1"]), &[]);
}

#[test]
fn a_graph_without_a_linear_layer() {
    refused(
        &run(&model("no_linear.onnx"), &[]),
        &["no_linear.onnx", "no linear layer"],
    );
}

#[test]
fn initialisers_whose_size_is_a_lie() {
    for name in ["lie_large.onnx", "lie_small.onnx", "negative.onnx"] {
        refused(&run(&model(name), &[]), &["body.weight"]);
    }
}

#[test]
fn dimensions_whose_product_overflows() {
    refused(&run(&model("overflow.onnx"), &[]), &["body.weight"]);
    for shape in ["1x3x9999999999x9999999999", "1x3x99999999999999999999x8"] {
        refused(&run(&model("dynamic.onnx"), &["--input", shape]), &[shape]);
    }
}

#[test]
fn option_values_that_mean_nothing() {
    for (option, value) in [
        ("--method", "guess"),
        ("--precision", "f16"),
        ("--top", "0"),
        ("--top", "three"),
        ("--tol", "0"),
        ("--tol", "-1e-4"),
        ("--tol", "nan"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--threads", "lots"),
        ("--input", "1x3xHxW"),
        ("--input", "1x0x8x8"),
        ("--input", ""),
    ] {
        let output = spectrum()
            .args([option, value])
            .output()
            .expect("the program starts");
        refused(&output, &[option]);
    }
}

#[test]
fn an_option_that_does_not_exist() {
    refused(
        &spectrum()
            .arg("--fast")
            .output()
            .expect("the program starts"),
        &["--fast"],
    );
}

#[test]
fn options_that_exclude_each_other() {
    let cases: [&[&str]; 4] = [
        &["--json", "--csv"],
        &["--json=out", "--csv=out"],
        &["--full", "--method", "lanczos"],
        &["--full", "--method", "power-qr"],
    ];
    for arguments in cases {
        refused(
            &spectrum()
                .args(arguments)
                .output()
                .expect("the program starts"),
            &["--"],
        );
    }
}

#[test]
fn a_pattern_that_names_no_layer_lists_some_that_exist() {
    refused(
        &run(&model("mixed.onnx"), &["--layer", "decoder*"]),
        &["decoder*", "stem"],
    );
}

#[test]
fn a_pattern_that_names_a_skipped_layer_says_why() {
    refused(
        &run(&model("mixed.onnx"), &["--layer", "resize"]),
        &["resize", "cubic"],
    );
}

#[test]
fn a_pattern_that_is_no_glob() {
    refused(&run(&model("mixed.onnx"), &["--layer", "a[b"]), &["a[b"]);
}

#[test]
fn an_output_that_cannot_be_written() {
    refused(
        &run(&model("mixed.onnx"), &["--json=no/such/folder/out.json"]),
        &["out.json"],
    );
    refused(
        &run(
            &model("mixed.onnx"),
            &[&format!("--csv={}", env!("CARGO_MANIFEST_DIR"))],
        ),
        &[],
    );
}

#[test]
fn names_in_the_file_cannot_write_to_the_terminal() {
    for arguments in [&[][..], &["--layer", "nothing"]] {
        let output = run(&model("hostile_name.onnx"), arguments);
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(
            !text.lines().any(|line| line.starts_with("error: forged")),
            "{text}"
        );
    }
}

/// The address space of each run is limited: a size that a file merely claims is never allocated.
#[cfg(unix)]
#[test]
fn memory_is_bounded() {
    let program = assert_cmd::cargo::cargo_bin!("specclip");
    let limited = |path: &Path, input: &str| {
        std::process::Command::new("sh")
            .args([
                "-c",
                "ulimit -v 3000000 && exec \"$0\" spectrum \"$1\" $2 --threads 2",
            ])
            .args([program.as_os_str(), path.as_os_str(), input.as_ref()])
            .output()
            .expect("a shell")
    };
    for name in [
        "lie_large.onnx",
        "lie_small.onnx",
        "overflow.onnx",
        "negative.onnx",
    ] {
        refused(&limited(&model(name), ""), &[]);
    }
    let usual = limited(&model("dynamic.onnx"), "--input=1x3x8x8");
    assert_eq!(usual.status.code(), Some(0), "{}", stderr(&usual));
}

/// Layers whose vectors alone would fill the memory refuse; they do not end the program.
#[test]
fn an_input_too_large_to_analyse_is_refused() {
    for size in ["1x3x16000x16000", "1x3x40000000x40000000"] {
        let output = run(&model("dynamic.onnx"), &["--input", size]);
        let message = stderr(&output);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{size}: {message}"
        );
        assert!(!message.contains("panicked"), "{size}: {message}");
    }
}
