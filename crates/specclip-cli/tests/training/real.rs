//! Real digits: `scripts/fetch-data mnist FOLDER`, then this with `SPECCLIP_DATA=FOLDER`, and `--ignored`.

use super::*;

/// Clipped to 1 by projection, no norm is above 1 after any clip, and the network reads digits; without, some steps lead to
/// a larger norm. A network that is not trained is right one time in ten.
#[test]
#[ignore = "needs the data set"]
fn mnist() {
    let data = PathBuf::from(std::env::var_os("SPECCLIP_DATA").expect("SPECCLIP_DATA is set"));
    let data = data.join("MNIST");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, arguments: &[&str]| {
        let out = folder.path().join(name);
        let usual = ["--recipe", "simple", "--lr", "0.005"];
        let output = train(&data, &out, &usual).args(arguments).output();
        let output = output.expect("a run");
        assert!(output.status.success(), "{output:?}");
        record(&out)["epochs"][0].clone()
    };
    let number = |value: &Value| value.as_f64().expect("a number");

    let clipped = run(
        "clipped",
        &["--norm", "1", "--every", "20", "--steps", "400"],
    );
    assert_eq!(clipped["clips"]["count"], 20);
    assert_eq!(clipped["clips"]["unconverged"], 0);
    assert!(
        number(&clipped["clips"]["largest"]) <= 1.0 + 1e-3,
        "{clipped}"
    );
    assert!(
        number(&clipped["clips"]["smallest"]) >= 1.0 - 1e-3,
        "{clipped}"
    );
    assert!(number(&clipped["test_accuracy"]) >= 0.7, "{clipped}");
    for layer in clipped["layers"].as_array().expect("layers") {
        assert!(number(&layer["norm"]) <= 1.0 + 1e-3, "{layer}");
        assert_eq!(layer["converged"], true);
    }

    let free = run("free", &["--steps", "50"]);
    assert_eq!(free["clips"]["count"], 0);
    let convolution = &free["layers"][0];
    assert_eq!(
        (&convolution["kind"], &convolution["target"]),
        (&"conv2d".into(), &Value::Null)
    );
    assert!(number(&convolution["norm"]) > 1.2, "{convolution}");
}
