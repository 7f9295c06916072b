//! The clipped model, its table, its record and its exit codes, end to end.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{clip, layer, model, record, spectrum, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn run(path: &Path, arguments: &[&str]) -> Output {
    let mut command = clip();
    command.arg(path).args(arguments);
    command.output().expect("the program starts")
}

/// Clips a test model to a file in `folder`; the record.
fn clipped(name: &str, out: &Path, arguments: &[&str]) -> Value {
    let mut command = clip();
    command.arg(model(name)).args(["--json", "-o"]).arg(out);
    let output = command
        .args(arguments)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    record(&output)
}

/// Every name and norm that a fresh run of the program finds, in double precision.
fn norms(path: &Path, arguments: &[&str]) -> Vec<(String, f64)> {
    let mut command = spectrum();
    command.arg(path).args(arguments);
    let command = command.args([
        "--json",
        "--top",
        "1",
        "--precision",
        "f64",
        "--tol",
        "1e-9",
    ]);
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = record(&output);
    let layers = record["layers"].as_array().expect("an array");
    let entry = |layer: &Value| {
        let name = layer["name"].as_str().expect("a name").to_owned();
        (
            name,
            layer["singular_values"][0].as_f64().expect("a number"),
        )
    };
    layers.iter().map(entry).collect()
}

fn sigma(record: &Value, name: &str, when: &str) -> f64 {
    layer(record, name)[when]["sigma"]
        .as_f64()
        .expect("a number")
}

fn state<'a>(record: &'a Value, name: &str) -> &'a str {
    layer(record, name)["state"].as_str().expect("a word")
}

#[test]
fn every_layer_obeys_and_the_others_are_as_they_were() {
    let before = norms(&model("mixed.onnx"), &[]);
    for method in ["scale", "fastclip", "projection"] {
        let folder = folder();
        let out = folder.path().join("out.onnx");
        let record = clipped("mixed.onnx", &out, &["--norm", "1.7", "--method", method]);
        let after = norms(&out, &[]);
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            if name == "norm" {
                assert_eq!(before, after);
                continue;
            }
            assert!(*after <= 1.7 * 1.001, "{method} {name}: {after}");
            assert!((sigma(&record, name, "before") - before).abs() < 1e-3 * before);
            assert!((sigma(&record, name, "after") - after).abs() < 1e-3 * after);
            let expected = if *before > 1.7 { "clipped" } else { "kept" };
            assert_eq!(state(&record, name), expected, "{name}");
            assert_eq!(before == after, expected == "kept");
        }
        assert_eq!(record["totals"]["changed"], 3);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}

#[test]
fn a_model_that_obeys_is_copied_byte_for_byte() {
    let folder = folder();
    let out = folder.path().join("out.onnx");
    let record = clipped("mixed.onnx", &out, &["--norm", "100"]);
    assert_eq!(record["totals"]["changed"], 0);
    assert!(state(&record, "stem") == "kept");
    let original = fs::read(model("mixed.onnx")).expect("the model");
    assert!(fs::read(&out).expect("the copy") == original);
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let folder = folder();
    let out = folder.path().join("out.onnx");
    let arguments = ["--norm", "1", "--method", "scale"];
    let real = clipped("mixed.onnx", &out, &arguments);
    assert_eq!(real["output"], out.to_str().expect("text"));
    fs::remove_file(&out).expect("the model");
    let dry = clipped(
        "mixed.onnx",
        &out,
        &[&arguments[..], &["--dry-run"]].concat(),
    );
    assert!(dry["output"].is_null());
    assert_eq!(sigma(&real, "stem", "after"), sigma(&dry, "stem", "after"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let without = run(
        &model("mixed.onnx"),
        &["--norm", "1", "--method", "scale", "--dry-run"],
    );
    assert!(stdout(&without).contains("nothing is written"));
}

#[test]
fn batch_norms_are_clipped_where_they_are_named() {
    let folder = folder();
    let out = folder.path().join("out.onnx");
    let arguments = ["--norm", "0.5", "--method", "scale", "--layer", "norm"];
    let record = clipped("mixed.onnx", &out, &arguments);
    assert_eq!(record["totals"]["layers"], 1);
    let after = norms(&out, &["--layer", "norm"]);
    assert!((after[0].1 - 0.5).abs() < 5e-4, "{after:?}");
}

/// The convolution and its batch norm together obey, whatever each of them does.
#[test]
fn a_composition_obeys_as_one_layer() {
    for method in ["scale", "fastclip", "projection"] {
        let folder = folder();
        let out = folder.path().join("out.onnx");
        let arguments = [
            "--norm",
            "1",
            "--method",
            method,
            "--compose",
            "--layer",
            "stem+norm",
        ];
        clipped("mixed.onnx", &out, &arguments);
        let after = norms(&out, &["--compose", "--layer", "stem"]);
        assert_eq!(after[0].0, "stem+norm");
        assert!(after[0].1 <= 1.001 && after[0].1 > 0.9, "{after:?}");
    }
}

/// The second use obeys already; the first decides.
#[test]
fn a_shared_weight_obeys_the_tightest_use() {
    for method in ["scale", "fastclip", "projection"] {
        let folder = folder();
        let out = folder.path().join("out.onnx");
        let record = clipped("shared.onnx", &out, &["--norm", "0.7", "--method", method]);
        let after = norms(&out, &[]);
        let of = |name: &str| after.iter().find(|(n, _)| n == name).expect("the layer").1;
        assert!(of("body") <= 0.7 * 1.001 && of("body") > 0.69, "{after:?}");
        assert!(of("body#2") < of("body"));
        // Both rows speak of the weight as it is written.
        for name in ["body", "body#2"] {
            assert!((sigma(&record, name, "after") - of(name)).abs() < 1e-4);
        }
        assert!((sigma(&record, "body#2", "before") - 1.2069).abs() < 1e-3);
        assert_eq!(
            layer(&record, "body")["distance"],
            layer(&record, "body#2")["distance"]
        );
    }
}

/// Rounding to 16 bits moves a norm by more than the tolerance; what is stored obeys all the same.
#[test]
fn weights_of_16_bits_obey_as_they_are_stored() {
    let mut again = 0;
    for method in ["scale", "fastclip", "projection"] {
        for norm in ["0.3", "0.5", "0.7", "1.1", "1.3"] {
            let folder = folder();
            let out = folder.path().join("out.onnx");
            let arguments = ["--norm", norm, "--tol", "2e-5", "--method", method];
            let record = clipped(
                "half.onnx",
                &out,
                &[&arguments[..], &["--precision", "f64"]].concat(),
            );
            let limit = norm.parse::<f64>().expect("a number") * (1.0 + 2e-5);
            for (name, after) in norms(&out, &[]) {
                assert!(after <= limit, "{method} {norm} {name}: {after}");
                let clips = layer(&record, &name)["clips"].as_u64().expect("a count");
                again += usize::from(clips > 1);
            }
            let length = |path: &Path| fs::metadata(path).expect("a file").len();
            // Lists of integers may take more or fewer bytes.
            assert!(length(&out).abs_diff(length(&model("half.onnx"))) < 600);
        }
    }
    assert!(again > 3, "rounding asked for a second clip {again} times");
}

#[test]
fn a_layer_that_the_method_cannot_clip_is_left_and_said() {
    let folder = folder();
    let out = folder.path().join("out.onnx");
    let path = out.to_str().expect("text");
    let arguments = ["--norm", "1.7", "--method", "frequency", "-o", path];
    let output = run(&model("mixed.onnx"), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("1 layer is as before"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("refused"), "{}", stdout(&output));
    for ((name, before), (_, after)) in norms(&model("mixed.onnx"), &[])
        .iter()
        .zip(norms(&out, &[]))
    {
        match name.as_str() {
            "tokens" | "norm" => assert_eq!(*before, after),
            _ => assert!(after <= 1.7 * 1.001, "{name}: {after}"),
        }
    }
}

/// Bare weights: the header and the other tensors stay.
#[test]
fn safetensors() {
    let folder = folder();
    let numbers: Vec<u8> = (0..24_i32)
        .flat_map(|i| ((i * 7 % 11) as f32 / 4.0 - 1.0).to_le_bytes())
        .collect();
    let header = r#"{"a.weight":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[12],"data_offsets":[48,96]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(&numbers);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("net.safetensors"), &file).expect("a file");
    let description =
        "weights = \"net.safetensors\"\n[[layer]]\nkind = \"linear\"\nweight = \"a.weight\"\n";
    fs::write(path("net.toml"), description).expect("a file");
    let out = path("out.safetensors");
    let arguments = [
        "--norm",
        "1",
        "--method",
        "scale",
        "-o",
        out.to_str().expect("text"),
    ];
    let output = run(&path("net.toml"), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let copy = fs::read(&out).expect("the copy");
    let start = file.len() - 96;
    assert_eq!(copy.len(), file.len());
    assert!(copy[..start] == file[..start] && copy[start + 48..] == file[start + 48..]);
    assert!(copy[start..start + 48] != file[start..start + 48]);
    fs::write(path("out.toml"), description.replace("net.s", "out.s")).expect("a file");
    assert!((norms(&path("out.toml"), &[])[0].1 - 1.0).abs() < 1e-5);
}

/// A data file beside the model is copied beside OUT, and the original left alone.
#[test]
fn external_data() {
    let folder = folder();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let path = |name: &str| folder.path().join(name);
    for name in ["planar_dynamo20.onnx", "planar_dynamo20.onnx.data"] {
        fs::copy(fixtures.join(name), path(name)).expect("the fixture");
    }
    let data = fs::read(path("planar_dynamo20.onnx.data")).expect("the data");
    let out = path("out.onnx");
    let arguments = [
        "--norm",
        "0.5",
        "--method",
        "scale",
        "-o",
        out.to_str().expect("text"),
    ];
    let output = run(&path("planar_dynamo20.onnx"), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::read(path("planar_dynamo20.onnx.data")).expect("the data") == data);
    fs::remove_file(path("planar_dynamo20.onnx.data")).expect("the data");
    let kinds = ["reflect", "circular", "grouped", "transposed"];
    for (name, after) in norms(&out, &[]) {
        if kinds.contains(&name.as_str()) {
            assert!(after <= 0.5 * 1.001, "{name}: {after}");
        }
    }
    let again = run(&path("planar_dynamo20.onnx"), &["--norm", "1", "--dry-run"]);
    assert_eq!(again.status.code(), Some(2), "its data is gone");
}

/// An existing file is replaced only when asked, and stays the link that it is.
#[test]
fn force_replaces() {
    let folder = folder();
    let out = folder.path().join("out.onnx");
    fs::write(&out, "something else").expect("a file");
    clipped(
        "mixed.onnx",
        &out,
        &["--norm", "1", "--method", "scale", "--force"],
    );
    let first = fs::read(&out).expect("the model");
    #[cfg(unix)]
    {
        let link = folder.path().join("link.onnx");
        std::os::unix::fs::symlink("out.onnx", &link).expect("a link");
        clipped(
            "mixed.onnx",
            &link,
            &["--norm", "2", "--method", "scale", "--force"],
        );
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert!(fs::read(&out).expect("the model") != first);
        assert!(norms(&out, &["--layer", "stem"])[0].1 <= 2.002);
    }
}

#[test]
fn csv_has_one_row_a_layer() {
    let arguments = ["--norm", "1", "--method", "scale", "--dry-run", "--csv"];
    let text = stdout(&run(&model("mixed.onnx"), &arguments));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("layer,kind,input_shape"), "{text}");
}

#[test]
fn the_built_in_network_can_be_clipped() {
    let folder = folder();
    let out = folder.path().join("demo.onnx");
    let path = out.to_str().expect("text");
    let output = clip()
        .args(["--norm", "1", "--method", "scale", "-o", path])
        .output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for (name, after) in norms(
        &out,
        &["--layer", "features.[036]", "--layer", "classifier"],
    ) {
        assert!(after <= 1.001, "{name}: {after}");
    }
}

#[test]
fn the_help() {
    let output = clip().arg("--help").env("COLUMNS", "100").output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stdout(&output));
}

/// A safetensors file whose writing takes a while, and the arguments that clip it to `out`.
#[cfg(unix)]
fn large(folder: &Path) -> PathBuf {
    let small: Vec<u8> = (0..12_i32)
        .flat_map(|i| (i as f32 / 3.0 - 1.0).to_le_bytes())
        .collect();
    let filler = 64 << 20;
    let header = format!(
        r#"{{"a.weight":{{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}},"b":{{"dtype":"U8","shape":[{filler}],"data_offsets":[48,{}]}}}}"#,
        48 + filler
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(&small);
    file.resize(file.len() + filler, 7);
    fs::write(folder.join("net.safetensors"), &file).expect("a file");
    let description = "[[layer]]\nkind = \"linear\"\nweight = \"a.weight\"\n";
    fs::write(folder.join("net.toml"), description).expect("a file");
    folder.join("net.safetensors")
}

/// Killed at any moment, the program leaves no OUT or a whole one.
#[cfg(unix)]
#[test]
fn a_kill_leaves_no_model_or_a_whole_one() {
    let folder = folder();
    let net = large(folder.path());
    let out = folder.path().join("out.safetensors");
    let start = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("specclip"));
        command
            .arg("clip")
            .arg(&net)
            .args(["--norm", "1", "--method", "scale", "-o"]);
        let quiet = || std::process::Stdio::null();
        let command = command.arg(&out).stdout(quiet()).stderr(quiet());
        command.spawn().expect("the program starts")
    };
    let begun = std::time::Instant::now();
    assert!(start().wait().expect("an end").success());
    let whole = begun.elapsed();
    let expected = fs::read(&out).expect("the model");
    let (mut absent, mut there) = (0, 0);
    for i in 0..24_u32 {
        fs::remove_file(&out).ok();
        let mut child = start();
        // Moments from the start to a little beyond the end, in an order that jumps about.
        std::thread::sleep(whole * (7 * i % 24) / 20);
        child.kill().ok();
        child.wait().expect("an end");
        match fs::read(&out) {
            Ok(found) => {
                assert!(found == expected, "kill {i} left a part");
                there += 1;
            }
            Err(_) => absent += 1,
        }
    }
    assert!(
        absent > 2 && there > 0,
        "{absent} without and {there} with a model"
    );
}

/// A file that cannot grow, as on a full disk: one sentence, and nothing is left.
#[cfg(unix)]
#[test]
fn no_room_for_the_model() {
    let folder = folder();
    let net = large(folder.path());
    let out = folder.path().join("out.safetensors");
    let before = fs::read_dir(folder.path()).expect("a folder").count();
    // The signal is ignored, so that writing beyond the limit is an error, as it is on a full disk.
    let script =
        "trap '' XFSZ; ulimit -f 2048; exec \"$0\" clip \"$1\" --norm 1 --method scale -o \"$2\"";
    let program = assert_cmd::cargo::cargo_bin!("specclip");
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .args([program.as_os_str(), net.as_os_str(), out.as_os_str()])
        .output()
        .expect("a shell");
    common::refused(&output, &["out.safetensors", "File too large"]);
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        before
    );
}

/// The same on a file system that is full. Mounting one takes rights that not every account has, so this runs only when
/// asked for, as the gate does.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "mounts a small tmpfs"]
fn no_room_on_the_disk() {
    let folder = folder();
    let net = large(folder.path());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let script = "mount -t tmpfs -o size=1m tmpfs \"$2\" || exit 99; \"$0\" clip \"$1\" --norm 1 --method scale \
                  -o \"$2/out.safetensors\"; code=$?; ls -A \"$2\"; exit $code";
    let program = assert_cmd::cargo::cargo_bin!("specclip");
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .args([program.as_os_str(), net.as_os_str(), disk.as_os_str()])
        .output()
        .expect("unshare");
    assert_ne!(
        output.status.code(),
        Some(99),
        "no tmpfs could be mounted: {}",
        stderr(&output)
    );
    common::refused(&output, &["out.safetensors", "No space left on device"]);
}
