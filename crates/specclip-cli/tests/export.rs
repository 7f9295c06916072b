//! `specclip export`, and the commands that read checkpoints as they are.

mod common;

#[cfg(not(feature = "lab"))]
#[test]
fn a_program_without_training_says_how_to_get_it() {
    use common::{program, refused};

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    let header = br#"{"__metadata__":{"specclip":"{}"}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    std::fs::write(&path, bytes).expect("a file");
    for command in ["spectrum", "bound", "compare"] {
        let output = program(command).arg(&path).output().expect("a run");
        refused(&output, &["last.safetensors", "--features lab"]);
    }
    let mut command = program("export");
    command
        .arg(&path)
        .arg("-o")
        .arg(folder.path().join("x.onnx"));
    refused(&command.output().expect("a run"), &["--features lab"]);
}

#[cfg(feature = "lab")]
mod lab {
    use std::fs;
    use std::path::{Path, PathBuf};

    use crate::common::images::{images, train};
    use crate::common::{layer, program, record, refused, stderr, stdout};
    use assert_cmd::Command;
    use serde_json::Value;

    /// A folder with a short run that is over, and its checkpoint.
    fn trained(model: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = images(folder.path());
        let out = folder.path().join("run");
        let settings = "--batch 5 --epochs 1 --steps 1 --threads 1";
        let arguments = model.split(' ').chain(settings.split(' '));
        let arguments: Vec<&str> = arguments.collect();
        let output = train(&data, &out, &arguments).output().expect("a run");
        assert!(output.status.success(), "{output:?}");
        let checkpoint = out.join("last.safetensors");
        (folder, checkpoint)
    }

    const SIMPLE: &str = "--recipe simple --channels 3 --padding-mode circular";

    fn export(checkpoint: &Path, to: &Path) -> Command {
        let mut command = program("export");
        command.arg(checkpoint).arg("-o").arg(to);
        command
    }

    fn exported(checkpoint: &Path, to: &Path) {
        let output = export(checkpoint, to).output().expect("a run");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let name = to.file_name().expect("a name").to_string_lossy();
        assert!(stdout(&output).contains(&*name));
    }

    fn spectrum(model: &Path) -> Value {
        let mut command = program("spectrum");
        command.arg(model).args(["--json", "--top", "1"]);
        record(&command.output().expect("a run"))
    }

    /// What the run measured of a layer at its end.
    fn measured(checkpoint: &Path, name: &str) -> f64 {
        let text = fs::read(checkpoint.with_file_name("run.json")).expect("a record");
        let run: Value = serde_json::from_slice(&text).expect("a record");
        let layers = run["epochs"][0]["layers"].as_array().expect("layers");
        let found = layers.iter().find(|layer| layer["name"] == name);
        found.expect("the layer")["norm"].as_f64().expect("a norm")
    }

    #[test]
    fn a_checkpoint_and_both_exports_have_the_norms_of_the_run() {
        let (folder, checkpoint) = trained(SIMPLE);
        let onnx = folder.path().join("net.onnx");
        let weights = folder.path().join("net.safetensors");
        exported(&checkpoint, &onnx);
        exported(&checkpoint, &weights);
        for model in [&checkpoint, &onnx, &weights] {
            let found = spectrum(model);
            assert_eq!(found["layers"].as_array().expect("layers").len(), 2);
            for name in ["conv.conv", "head"] {
                let sigma = layer(&found, name)["singular_values"][0].as_f64();
                let off = sigma.expect("a value") / measured(&checkpoint, name) - 1.0;
                assert!(off.abs() < 1e-3, "{model:?} {name} {off}");
            }
        }
    }

    #[test]
    fn a_deep_network_is_bounded_from_its_checkpoint() {
        let (_folder, checkpoint) = trained("--recipe mnist --batch-norm none");
        let found = spectrum(&checkpoint);
        let layers = found["layers"].as_array().expect("layers");
        let named = |name: &str| layers.iter().any(|layer| layer["name"] == name);
        assert!(
            named("stem.conv") && named("blocks.2.shortcut.conv"),
            "{found:#}"
        );
        let mut command = program("compare");
        command.arg(&checkpoint).args(["--layer", "head"]);
        let output = command.output().expect("a run");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }

    #[test]
    fn a_simple_network_is_bounded_from_its_checkpoint() {
        let (_folder, checkpoint) = trained(SIMPLE);
        let mut command = program("bound");
        command.arg(&checkpoint).arg("--json");
        let output = command.output().expect("a run");
        let found = record(&output);
        let upper = found["network"]["upper"].as_f64();
        let product = measured(&checkpoint, "conv.conv") * measured(&checkpoint, "head");
        // Never above the product of the norms, but for what proofs add.
        assert!(
            upper.is_some_and(|upper| upper < 1.05 * product),
            "{found:#}"
        );
    }

    #[test]
    fn nothing_is_overwritten_unasked() {
        let (folder, checkpoint) = trained(SIMPLE);
        let before = fs::read(&checkpoint).expect("a checkpoint");
        for name in ["net.onnx", "net.safetensors", "net.toml"] {
            let path = folder.path().join(name);
            fs::write(&path, "mine").expect("a file");
            let to = match name {
                "net.toml" => folder.path().join("net.SafeTensors"),
                _ => path.clone(),
            };
            let output = export(&checkpoint, &to).output().expect("a run");
            refused(&output, &[name, "it exists", "--force"]);
            assert_eq!(fs::read(&path).expect("a file"), b"mine");
            let mut command = export(&checkpoint, &to);
            let output = command.arg("--force").output().expect("a run");
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_ne!(fs::read(&path).expect("a file"), b"mine");
            fs::remove_file(&path).expect("a file");
            let _ = fs::remove_file(path.with_extension("toml"));
        }
        let mut command = export(&checkpoint, &checkpoint);
        let output = command.arg("--force").output().expect("a run");
        refused(&output, &["last.safetensors", "never replaced"]);
        assert_eq!(fs::read(&checkpoint).expect("a checkpoint"), before);
    }

    #[test]
    fn what_cannot_be_exported_is_refused_in_a_sentence() {
        let (folder, checkpoint) = trained(SIMPLE);
        let to = |name: &str| folder.path().join(name);
        let refuse = |from: &Path, to: &Path, words: &[&str]| {
            refused(&export(from, to).output().expect("a run"), words);
            assert!(!to.exists());
        };
        refuse(
            &checkpoint,
            &to("net.pth"),
            &["net.pth", ".onnx", ".safetensors"],
        );
        refuse(
            &checkpoint,
            &to("no/net.onnx"),
            &["there is no such folder"],
        );
        refuse(
            &to("gone.safetensors"),
            &to("net.onnx"),
            &["gone.safetensors", "cannot read"],
        );
        let bytes = fs::read(&checkpoint).expect("a checkpoint");
        let short = to("short.safetensors");
        fs::write(&short, &bytes[..bytes.len() - 4]).expect("a file");
        refuse(
            &short,
            &to("net.onnx"),
            &["short.safetensors", "no checkpoint"],
        );
        let mut command = program("spectrum");
        refused(
            &command.arg(&short).output().expect("a run"),
            &["short.safetensors"],
        );
        let run = checkpoint.parent().expect("a folder");
        let words = ["is a folder", "best.safetensors or last.safetensors"];
        refuse(run, &to("net.onnx"), &words);
        let mut command = program("spectrum");
        refused(&command.arg(run).output().expect("a run"), &words);
        // A clipped network cannot go on training where the checkpoint was.
        let mut command = program("clip");
        command
            .arg(&checkpoint)
            .args(["--norm", "1", "-o"])
            .arg(to("clipped.onnx"));
        refused(
            &command.output().expect("a run"),
            &["specclip export", "last.safetensors"],
        );
    }
}
