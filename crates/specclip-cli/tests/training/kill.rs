//! A run that is killed again and again ends as one that was never interrupted.

use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::*;

/// The steps that the last checkpoint of a run has, if there is one.
fn steps(out: &Path) -> Option<u64> {
    let path = out.join("last.safetensors");
    path.exists()
        .then(|| checkpoint(&path).0["position"]["step"].as_u64())?
}

/// Kills the process once the run has come farther and some milliseconds are over; tells whether it was
/// still at work.
fn kill_later(mut child: Child, out: &Path, before: Option<u64>, delay: u64) -> bool {
    loop {
        if let Some(status) = child.try_wait().expect("a process") {
            assert!(is_over(status), "{status}");
            return false;
        }
        if steps(out) > before {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(delay));
    // SIGKILL on Unix: the process gets no chance to do anything.
    child.kill().expect("a process");
    !child.wait().expect("a process").success()
}

/// A run that came to its end, whether its layers obey or not: rivals promise no norm.
fn is_over(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 1))
}

/// Also kills before the first checkpoint, and a moment after each of the others.
fn killed_and_resumed(arguments: &[&str], last: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = images(folder.path());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let output = train(&data, &whole, arguments).output().expect("a run");
    assert!(is_over(output.status), "{output:?}");
    assert_eq!(steps(&whole), Some(last));

    let mut command = train(&data, &parts, arguments);
    command.arg("--resume");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for delay in [0, 5, 20] {
        let mut child = command.spawn().expect("a process");
        sleep(Duration::from_millis(delay));
        child.kill().expect("a process");
        child.wait().expect("a process");
    }
    let mut kills = 0;
    for attempt in 0.. {
        assert!(attempt < 100, "the run does not come to its end");
        let before = steps(&parts);
        let child = command.spawn().expect("a process");
        if !kill_later(child, &parts, before, attempt % 11) {
            break;
        }
        kills += u64::from(steps(&parts) < Some(last));
    }
    assert!(kills >= 3, "only {kills} kills were within the run");
    assert_same(&whole, &parts);
    // What is over stays as it is.
    assert!(is_over(command.status().expect("a run")));
    assert_same(&whole, &parts);
}

#[test]
fn projection_by_one_thread() {
    let arguments = "--recipe simple --channels 4 --batch 10 --epochs 3 --norm 0.8 --every 7 --lr 0.05 \
                     --checkpoint-every 5 --threads 1";
    killed_and_resumed(&arguments.split(' ').collect::<Vec<_>>(), 60);
}

/// With everything that a checkpoint holds: running statistics, both moments, and the vectors of FastClip.
#[test]
fn fastclip_by_two_threads() {
    let arguments = "--recipe simple --channels 4 --batch 12 --epochs 5 --steps 57 --method fastclip --norm 0.8 \
                     --layer head=2 --every 4 --optimizer adam --weight-decay 1e-3 --lr-step 1 --batch-norm compose \
                     --checkpoint-every 5 --seed 3 --threads 2";
    killed_and_resumed(&arguments.split(' ').collect::<Vec<_>>(), 57);
}

/// A rival's vectors, an optimiser that remembers nothing, and checkpoints that are as often as each process likes.
#[test]
fn spectral_normalisation_without_momentum() {
    let arguments = "--recipe simple --channels 3 --batch 10 --epochs 2 --method spectral-norm --norm 0.8 --momentum 0 \
                     --checkpoint-every 3 --threads 1";
    killed_and_resumed(&arguments.split(' ').collect::<Vec<_>>(), 40);
}

/// A network with many layers, whose checkpoints take a while to write.
#[test]
fn a_resnet() {
    let arguments = "--model resnet18 --batch 3 --steps 5 --method scale-each-step --norm 1 --optimizer sgd \
                     --momentum 0.9 --lr 0.01 --checkpoint-every 1 --threads 2";
    killed_and_resumed(&arguments.split(' ').collect::<Vec<_>>(), 5);
}
