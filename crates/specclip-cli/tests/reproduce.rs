//! The paper's figures on a small scale, end to end.

mod common;

use std::fs;
use std::path::Path;

use common::{program, refused, stderr, stdout};
use serde_json::Value;

/// Runs a figure into a folder that does not exist yet; the table and the record.
fn run(figure: &str, arguments: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("new/results");
    let mut command = program("reproduce");
    command.arg(figure).args(arguments).arg("--out").arg(&out);
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let read = |extension: &str| {
        fs::read_to_string(out.join(format!("{figure}.{extension}"))).expect("a file")
    };
    assert!(read("svg").starts_with("<svg") && read("svg").trim_end().ends_with("</svg>"));
    assert!(read("csv").lines().count() > 1);
    assert_eq!(
        fs::read_dir(&out).expect("the folder").count(),
        3,
        "no temporary is left"
    );
    (
        stdout(&output),
        serde_json::from_str(&read("json")).expect("one record"),
    )
}

#[test]
fn the_circulant_value_is_right_for_circular_padding_only() {
    let (table, record) = run(
        "fig5a",
        &["--filters", "3", "--channels", "2,1", "--size", "8"],
    );
    let cells = record["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 3 * 2 * 4);
    for cell in cells {
        let difference = cell["mean_relative_difference"].as_f64().unwrap();
        let circular = cell["padding"] == "circular";
        assert_eq!(circular, difference < 1e-5, "{cell:#}");
        assert_eq!(cell["not_converged"], 0);
    }
    assert!(
        table.contains("replicate") && table.contains("7x7"),
        "{table}"
    );
    let (_, again) = run(
        "fig5a",
        &["--filters", "3", "--channels", "1,2", "--size", "8"],
    );
    assert_eq!(
        record["cells"], again["cells"],
        "the same seed gives the same filters"
    );
}

#[test]
fn three_methods_to_the_same_accuracy() {
    let (table, record) = run("fig5b", &["--top", "1,2", "--repetitions", "1"]);
    let points = record["points"].as_array().unwrap();
    assert_eq!(points.len(), 4 * 2);
    for point in points {
        assert!(point["error"].as_f64().unwrap() <= 1e-3, "{point:#}");
        assert_eq!(point["reached"], 1);
    }
    let matvecs = |method: &str| {
        let point = points
            .iter()
            .find(|point| point["method"] == method && point["k"] == 2);
        point.unwrap()["median_matvecs"].as_u64().unwrap()
    };
    assert!(matvecs("lanczos") < matvecs("deflation") && matvecs("lanczos") < matvecs("power-qr"));
    assert!(table.contains("power-qr"), "{table}");
}

/// Of the runs the one whose folder is gone is trained again, with the same figures.
#[cfg(feature = "lab")]
#[test]
fn norms_in_training_go_on_run_by_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = common::images::images(folder.path());
    let out = folder.path().join("new/fig1");
    let figure = || {
        let mut command = program("reproduce");
        command.args(["fig1", "--quick", "--data"]).arg(&data);
        command.arg("--out").arg(&out);
        let output = command.output().expect("a run");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let read = |end: &str| fs::read_to_string(out.join(format!("fig1.{end}"))).expect("a file");
        let mut record: Value = serde_json::from_str(&read("json")).expect("one record");
        for run in record["runs"].as_array_mut().expect("runs") {
            run.as_object_mut()
                .expect("a run")
                .retain(|key, _| !key.ends_with("_seconds"));
        }
        (stdout(&output), record, read("csv"), read("svg"))
    };
    let (table, record, csv, svg) = figure();
    assert!(table.contains("quick") && svg.contains("quick"), "{table}");
    assert!(
        svg.contains("8 epochs of 200 images"),
        "the picture says how short it is"
    );
    let runs = record["runs"].as_array().expect("runs");
    assert_eq!(csv.lines().count(), 1 + 8 * runs.len());
    for run in runs {
        let last = run["norms"][7]["norm"].as_f64().expect("a norm");
        match run["method"].as_str().expect("a method") {
            "none" => assert!(last > 2.0, "{run:#}"),
            "projection" | "scale" => assert!(last <= 1.001, "{run:#}"),
            // Followed from below.
            "scale-each-step" => assert!((last - 1.0).abs() < 0.1, "{run:#}"),
            "fastclip" => assert!(last <= 1.05, "{run:#}"),
            // Others hold down another norm.
            "frequency" | "spectral-norm" => assert!(last < 5.0, "{run:#}"),
            // In a few steps a penalty does not get far.
            "gram-penalty" => {}
            method => panic!("{method}"),
        }
    }
    let checkpoint = |run: &str| out.join(run).join("last.safetensors");
    let time = |run| {
        fs::metadata(checkpoint(run))
            .expect("a file")
            .modified()
            .expect("a time")
    };
    let before = (time("3x3-zeros-none"), time("3x3-zeros-scale"));
    fs::remove_dir_all(out.join("3x3-zeros-none")).expect("a folder");
    assert_eq!(figure(), (table, record, csv, svg));
    assert!(time("3x3-zeros-none") > before.0 && time("3x3-zeros-scale") == before.1);
}

#[test]
fn what_makes_no_sense_is_refused_before_the_work() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let taken = file.path().to_str().expect("a name");
    let cases: [&[&str]; 11] = [
        &["fig6"],
        &["fig5a", "--filters", "0"],
        &["fig5a", "--channels", "1,none"],
        &["fig5a", "--channels", ""],
        &["fig5a", "--size", "6"],
        &["fig5a", "--size", "4000000000"],
        &["fig5a", "--channels", "4000000000"],
        &["fig5a", "--out", taken],
        &["fig5b", "--top", "0"],
        &["fig5b", "--top", "40000"],
        &["fig5b", "--repetitions", "-1"],
    ];
    for arguments in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = program("reproduce");
        command.args(arguments).current_dir(folder.path());
        refused(&command.output().expect("the program starts"), &[]);
        let left = fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(left, 0, "{arguments:?}");
    }
    assert!(Path::new(taken).is_file());
}

/// That of a program with training; the other adds how to get it.
#[cfg(feature = "lab")]
#[test]
fn the_help() {
    for figure in ["fig1", "fig5a", "fig5b"] {
        let output = program("reproduce")
            .args([figure, "--help"])
            .env("COLUMNS", "100")
            .output();
        insta::assert_snapshot!(
            format!("the_help_of_{figure}"),
            stdout(&output.expect("the program starts"))
        );
    }
    let output = program("reproduce")
        .arg("--help")
        .env("COLUMNS", "100")
        .output();
    insta::assert_snapshot!(
        "the_help_of_reproduce",
        stdout(&output.expect("the program starts"))
    );
}
