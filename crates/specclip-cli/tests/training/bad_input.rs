//! Whatever a run cannot use is refused in one sentence, and nothing is lost.

use std::path::Path;

use super::*;
use crate::common::refused;

const SHORT: &str = "--recipe simple --channels 2 --batch 50 --epochs 1 --threads 1";

fn short() -> Vec<&'static str> {
    SHORT.split(' ').collect()
}

/// A folder with images and a short run that is over.
fn finished() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    let output = train(&data, &out, &short()).output().expect("a run");
    assert!(output.status.success(), "{output:?}");
    (folder, data, out)
}

/// The files of a run stay as they are.
fn refused_and_kept(mut command: Command, out: &Path, words: &[&str]) {
    let files = || -> Vec<Vec<u8>> {
        let names = [
            "last.safetensors",
            "best.safetensors",
            "run.json",
            "events.out.tfevents.specclip",
        ];
        names
            .iter()
            .map(|name| fs::read(out.join(name)).expect("a file"))
            .collect()
    };
    let before = files();
    refused(&command.output().expect("a run"), words);
    assert!(files() == before, "a file has changed");
}

#[test]
fn images_that_are_not_there_or_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let run = |data: &Path| train(data, &out, &short()).output().expect("a run");
    refused(
        &run(&folder.path().join("nowhere")),
        &["cannot read", "nowhere"],
    );
    refused(
        &run(folder.path()),
        &["there is no data set", "scripts/fetch-data"],
    );
    let data = images(folder.path());
    let sums = format!("{}  train-labels-idx1-ubyte\n", "0".repeat(64));
    fs::write(data.join("SHA256SUMS"), sums).expect("sums");
    refused(&run(&data), &["train-labels-idx1-ubyte", "SHA-256"]);
    assert!(!out.exists());
}

#[test]
fn settings_that_make_no_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    let cases: [(&str, &[&str]); 17] = [
        ("--recipe simple --threads 2000", &["2000", "--threads"]),
        (
            "--recipe cifar100",
            &["cifar100", "mnist", "cifar10", "simple"],
        ),
        ("--epochs 1", &["--recipe", "--model"]),
        ("--recipe simple --method scale", &["a norm"]),
        (
            "--recipe simple --method none --norm 1",
            &["--method none", "leave one"],
        ),
        ("--recipe simple --batch 201", &["201", "200"]),
        (
            "--recipe simple --norm 1 --batch-norm none --layer nowhere=2",
            &["--layer: ", "nowhere", "conv.conv"],
        ),
        ("--recipe mnist --kernel 3", &["--kernel", "simple-conv"]),
        ("--recipe mnist --momentum 0.9", &["--momentum", "sgd"]),
        ("--recipe simple --momentum 1", &["--momentum: 1"]),
        ("--recipe simple --kernel 99", &["kernel"]),
        (
            "--recipe simple --norm 1 --method hammer",
            &["--method: ", "conv.conv", "dense"],
        ),
        (
            "--recipe simple --norm 1 --batch-norm compose --method spectral-norm",
            &["conv.norm", "batch normalisation"],
        ),
        ("--recipe simple --every 5", &["--every", "--norm"]),
        (
            "--recipe simple --norm 1 --method spectral-norm --every 5",
            &["--every", "spectral-norm"],
        ),
        (
            "--recipe simple --norm 1 --method frequency",
            &["head", "convolutions"],
        ),
        (
            "--recipe simple --norm 1 --penalty-weight 2",
            &["--penalty-weight", "gram-penalty"],
        ),
    ];
    for (arguments, words) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        refused(
            &train(&data, &out, &arguments).output().expect("a run"),
            words,
        );
        assert!(!out.exists(), "{arguments:?}");
    }
}

#[test]
fn a_folder_that_is_taken_or_in_use() {
    let (_folder, data, out) = finished();
    refused_and_kept(train(&data, &out, &short()), &out, &["has a run", "resume"]);
    let lock = fs::File::open(out.join("lock")).expect("a lock");
    lock.lock().expect("a lock");
    let mut command = train(&data, &out, &short());
    command.arg("--resume");
    refused_and_kept(command, &out, &["another process"]);
    drop(lock);
    let resumed = train(&data, &out, &["--resume"]).output().expect("a run");
    assert!(resumed.status.success(), "{resumed:?}");
}

#[test]
fn another_run_than_the_one_that_began() {
    let (folder, data, out) = finished();
    let cases: [(&str, &str); 6] = [
        (
            "--resume --lr 0.5",
            "learning_rate is 0.001 there and 0.5 here",
        ),
        ("--resume --seed 1", "seed is 0 there and 1 here"),
        ("--resume --threads 2", "threads is 1 there and 2 here"),
        ("--resume --norm 1", "clipping"),
        (
            "--resume --channels 3",
            "network.channels is 2 there and 3 here",
        ),
        ("--resume --model resnet18 --threads 1", "network."),
    ];
    for (arguments, words) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        refused_and_kept(train(&data, &out, &arguments), &out, &[words]);
    }
    let labels = data.join("train-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).expect("labels");
    let last = bytes.len() - 1;
    bytes[last] = 9 - bytes[last];
    fs::write(&labels, bytes).expect("labels");
    refused_and_kept(
        train(&data, &out, &["--resume"]),
        &out,
        &["contents differ"],
    );
    drop(folder);
}

#[test]
fn a_run_that_steps_have_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    let mut arguments = short();
    arguments.extend(["--steps", "3"]);
    let output = train(&data, &out, &arguments).output().expect("a run");
    assert!(output.status.success(), "{output:?}");
    for longer in ["--epochs", "--steps"] {
        let command = train(&data, &out, &["--resume", longer, "9"]);
        refused_and_kept(command, &out, &["ends after 3 steps", "another folder"]);
    }
}

#[test]
fn a_best_checkpoint_that_is_gone() {
    let (_folder, data, out) = finished();
    fs::remove_file(out.join("best.safetensors")).expect("a file");
    let resumed = train(&data, &out, &["--resume"]).output().expect("a run");
    assert!(resumed.status.success(), "{resumed:?}");
    let text = String::from_utf8_lossy(&resumed.stdout);
    assert!(
        text.contains("best.safetensors is no longer there"),
        "{text}"
    );
    assert!(text.contains("/run.json, last.safetensors"), "{text}");
}

#[test]
fn checkpoints_that_are_damaged_or_hostile() {
    let (_folder, data, out) = finished();
    let last = out.join("last.safetensors");
    let good = fs::read(&last).expect("a checkpoint");
    let length = u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;
    let header = String::from_utf8(good[8..8 + length].to_vec()).expect("text");
    let changed = |from: &str, to: &str| {
        let header = header.replace(from, to);
        assert!(header.contains(to), "{from}");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(&good[8 + length..]);
        bytes
    };
    let number = r#"\"channels\":2"#;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "safetensors"),
        (good[..good.len() - 1].to_vec(), "safetensors"),
        (good[..100].to_vec(), "safetensors"),
        (
            [&u64::MAX.to_le_bytes(), &good[8..]].concat(),
            "safetensors",
        ),
        (changed("specclip", "elsewhat"), "without the settings"),
        (changed(r#"\"format\":1"#, r#"\"format\":9"#), "format"),
        (
            changed(number, r#"\"channels\":1000000000000000000"#),
            "beyond any network",
        ),
        (changed(number, r#"\"channels\":20000"#), "shape"),
        (changed(number, r#"\"channels\":-2"#), "settings"),
        (
            changed("conv.conv.weight", "conv.conv.height"),
            "conv.conv.weight",
        ),
        (
            changed("optimizer.head.bias", "optimizer.head.bios"),
            "head.bias",
        ),
        (
            changed(
                "optimizer.head.bias.momentum.velocity",
                "optimizer.head.bias.momentum.elsewhere",
            ),
            "head.bias",
        ),
        (changed(r#"\"batch\":0"#, r#"\"batch\":77"#), "77"),
        (changed("F32", "I32"), "F32"),
    ];
    for (bytes, words) in cases {
        fs::write(&last, bytes).expect("a checkpoint");
        refused_and_kept(
            train(&data, &out, &["--resume"]),
            &out,
            &["last.safetensors", words],
        );
    }
}

/// A file that cannot grow, as on a full disk: the last checkpoint stays whole, and the run goes on from it.
#[cfg(unix)]
#[test]
fn no_room_for_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let out = folder.path().join("run");
    // Its checkpoints have 250 kB, or 500 kB once there is momentum.
    let arguments = "train --recipe simple --channels 8 --batch 50 --epochs 1 --threads 1 --resume";
    let script =
        format!("trap '' XFSZ; ulimit -f 600; exec \"$0\" {arguments} --data \"$1\" --out \"$2\"");
    let program = assert_cmd::cargo::cargo_bin!("specclip");
    let output = Command::new("sh")
        .args(["-c", &script])
        .args([program.as_os_str(), data.as_os_str(), out.as_os_str()])
        .output()
        .expect("a shell");
    let message = crate::common::stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("cannot write") && message.contains("File too large"),
        "{message}"
    );
    let (state, ..) = checkpoint(&out.join("last.safetensors"));
    assert_eq!(state["position"]["step"], 0);
    let arguments: Vec<&str> = arguments.split(' ').skip(1).collect();
    let resumed = train(&data, &out, &arguments).output().expect("a run");
    assert!(resumed.status.success(), "{resumed:?}");
}
