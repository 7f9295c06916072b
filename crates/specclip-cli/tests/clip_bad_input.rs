//! Whatever `specclip clip` is given, it writes a model, or says in one clear sentence why not and leaves nothing behind.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{clip, model, program, refused, stderr};
use tempfile::TempDir;

/// A folder with a copy of a small model, and nothing else.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(model("mixed.onnx"), folder.path().join("net.onnx")).expect("the model");
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = clip();
    command.current_dir(folder).args(arguments);
    command.output().expect("the program starts")
}

/// Refused, and the folder is as it was.
fn refuses(folder: &Path, arguments: &[&str], words: &[&str]) {
    let contents = || {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let (names, model) = (
        contents(),
        fs::read(folder.join("net.onnx")).expect("the model"),
    );
    refused(&run(folder, arguments), words);
    assert_eq!(contents(), names, "{arguments:?}");
    assert!(fs::read(folder.join("net.onnx")).expect("the model") == model);
}

const TO_OUT: [&str; 5] = ["net.onnx", "--method", "scale", "-o", "out.onnx"];

#[test]
fn norms_that_are_none() {
    let folder = folder();
    for norm in ["0", "-1", "-0.5", "nan", "inf", "-inf", "one", ""] {
        refuses(
            folder.path(),
            &[&TO_OUT[..], &["--norm", norm]].concat(),
            &["--norm"],
        );
    }
    refuses(folder.path(), &TO_OUT, &["--norm"]);
}

#[test]
fn option_values_that_mean_nothing() {
    let folder = folder();
    for (option, value) in [
        ("--tol", "0"),
        ("--tol", "-1e-3"),
        ("--tol", "nan"),
        ("--gap", "0"),
        ("--gap", "-1"),
        ("--time-limit", "0"),
        ("--time-limit", "soon"),
        ("--method", "guess"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--precision", "f16"),
    ] {
        let arguments = ["net.onnx", "--norm", "1", "-o", "out.onnx", option, value];
        refuses(folder.path(), &arguments, &[option]);
    }
}

#[test]
fn options_that_do_not_go_together() {
    let folder = folder();
    let cases: [(&[&str], &str); 7] = [
        (&["--method", "scale", "--raise"], "--raise"),
        (&["--raise"], "--raise"),
        (&["--method", "scale", "--gap", "0.1"], "--gap"),
        (
            &["--method", "fastclip", "--time-limit", "9"],
            "--time-limit",
        ),
        (&["--method", "fastclip", "--raise", "--proven"], "--proven"),
        (&["--json=out.onnx"], "out.onnx"),
        (&["--json", "--csv"], "standard output"),
    ];
    for (options, word) in cases {
        let arguments = ["net.onnx", "--norm", "1", "-o", "out.onnx"];
        refuses(folder.path(), &[&arguments[..], options].concat(), &[word]);
    }
}

#[test]
fn no_place_for_the_model() {
    let folder = folder();
    refuses(folder.path(), &["net.onnx", "--norm", "1"], &["--output"]);
    let to = |out: &str, options: &[&str], words: &[&str]| {
        let arguments = ["net.onnx", "--norm", "1", "--method", "scale", "-o", out];
        refuses(folder.path(), &[&arguments[..], options].concat(), words);
    };
    to("-", &[], &["standard output"]);
    to("-", &["--dry-run"], &["standard output"]);
    to(
        "no/such/folder/out.onnx",
        &[],
        &["out.onnx", "no such folder"],
    );
    to(".", &["--force"], &["it is a folder"]);
    to("", &[], &[]);
    fs::write(folder.path().join("old.onnx"), "old").expect("a file");
    to("old.onnx", &[], &["old.onnx", "it exists", "--force"]);
    assert_eq!(
        fs::read(folder.path().join("old.onnx")).expect("a file"),
        b"old"
    );
    #[cfg(target_os = "linux")]
    {
        // Nobody may write here, not even root.
        to("/proc/out.onnx", &[], &["/proc/out.onnx"]);
        to("/dev/null", &["--force"], &["/dev/null", "device"]);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("its mode");
    // Modes do not hold root back; where no file can be made, the kernel refuses root in the same words.
    let may_write = fs::write(closed.join("probe"), "").is_ok();
    let closed = if may_write {
        Path::new("/sys")
    } else {
        &closed
    };
    let out = closed.join("out.onnx");
    let out = out.to_str().expect("a path in letters");
    let arguments = ["net.onnx", "--norm", "1", "--method", "scale", "-o", out];
    refuses(folder.path(), &arguments, &[out]);
    let message = stderr(&run(folder.path(), &arguments));
    assert!(message.contains("check the path"), "{message}");
    assert!(!message.contains(".tmp"), "{message}");
    // In a container /sys may be mounted for reading only.
    assert!(
        message.contains("Permission denied") || message.contains("Read-only file system"),
        "{message}"
    );
}

#[test]
fn the_model_itself_by_any_name() {
    let folder = folder();
    let mut names = vec!["net.onnx", "./net.onnx"];
    fs::hard_link(
        folder.path().join("net.onnx"),
        folder.path().join("hard.onnx"),
    )
    .expect("a link");
    names.push("hard.onnx");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("net.onnx", folder.path().join("soft.onnx")).expect("a link");
        names.push("soft.onnx");
    }
    for name in names {
        for options in [&[][..], &["--force"]] {
            let arguments = ["net.onnx", "--norm", "1", "--method", "scale", "-o", name];
            let arguments = [&arguments[..], options].concat();
            refuses(
                folder.path(),
                &arguments,
                &["the model is read from this file"],
            );
        }
    }
}

#[test]
fn layers_that_match_nothing_or_have_no_weights() {
    let folder = folder();
    fs::copy(model("shared.onnx"), folder.path().join("pool.onnx")).expect("the model");
    let named = |file: &str, glob: &str, words: &[&str]| {
        let arguments = [
            file, "--norm", "1", "--method", "scale", "-o", "out.onnx", "--layer", glob,
        ];
        refuses(folder.path(), &arguments, words);
    };
    named(
        "net.onnx",
        "decoder*",
        &["decoder*", "matches no layer", "stem"],
    );
    named("net.onnx", "resize", &["resize", "cubic"]);
    named("net.onnx", "a[b", &["a[b"]);
    named("pool.onnx", "pool", &["pool", "no layer with weights"]);
}

#[test]
fn models_that_are_none() {
    let folder = folder();
    for name in ["nan.onnx", "lie_small.onnx", "no_linear.onnx"] {
        fs::copy(model(name), folder.path().join(name)).expect("the model");
        let arguments = [name, "--norm", "1", "--method", "scale", "-o", "out.onnx"];
        refuses(folder.path(), &arguments, &[]);
    }
    let missing = [
        "missing.onnx",
        "--norm",
        "1",
        "--method",
        "scale",
        "-o",
        "out.onnx",
    ];
    refuses(folder.path(), &missing, &["missing.onnx"]);
}

#[test]
fn bare_weights_stay_bare_weights() {
    let folder = folder();
    let header = r#"{"a.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(2.0_f32.to_le_bytes());
    fs::write(folder.path().join("bare.safetensors"), file).expect("a file");
    let description = "[[layer]]\nkind = \"linear\"\nweight = \"a.weight\"\n";
    fs::write(folder.path().join("bare.toml"), description).expect("a file");
    let to = |out: &str, words: &[&str]| {
        let arguments = [
            "bare.toml",
            "--norm",
            "1",
            "--method",
            "scale",
            "--force",
            "-o",
            out,
        ];
        refuses(folder.path(), &arguments, words);
    };
    to("out.onnx", &["must end in .safetensors"]);
    to("bare.safetensors", &["the model is read from this file"]);
    to("bare.toml", &["must end in .safetensors"]);
}

/// Records and tables never replace the model, by whatever name, nor what is written beside them.
#[test]
fn results_in_the_place_of_the_model() {
    let folder = folder();
    fs::hard_link(
        folder.path().join("net.onnx"),
        folder.path().join("hard.json"),
    )
    .expect("a link");
    let dry = ["net.onnx", "--norm", "1", "--dry-run"];
    for option in ["--json=net.onnx", "--csv=./net.onnx", "--json=hard.json"] {
        refuses(
            folder.path(),
            &[&dry[..], &[option]].concat(),
            &["read from"],
        );
        for command in ["spectrum", "bound", "compare"] {
            let mut program = program(command);
            let program = program
                .current_dir(folder.path())
                .args(["net.onnx", option]);
            let before = fs::read(folder.path().join("net.onnx")).expect("the model");
            refused(
                &program.output().expect("the program starts"),
                &["read from"],
            );
            assert!(fs::read(folder.path().join("net.onnx")).expect("the model") == before);
        }
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["planar_dynamo20.onnx", "planar_dynamo20.onnx.data"] {
        fs::copy(fixtures.join(name), folder.path().join(name)).expect("the fixture");
    }
    let clip = ["planar_dynamo20.onnx", "--norm", "1", "-o", "out.onnx"];
    for (option, words) in [
        ("--json=planar_dynamo20.onnx.data", "read from"),
        ("--json=out.onnx.data", "where the model goes"),
    ] {
        refuses(folder.path(), &[&clip[..], &[option]].concat(), &[words]);
    }
    for name in ["out.safetensors", "out.toml"] {
        let arguments = ["net.onnx", "--norm", "1", "-o", name];
        refuses(folder.path(), &arguments, &["end in .onnx"]);
    }
}
