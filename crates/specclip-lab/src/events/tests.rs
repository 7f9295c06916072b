//! The writer against TensorBoard's own, and what resuming keeps of a file.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::EventWriter;
use crate::Error;

/// Made by `scripts/make_event_fixture.py` with TensorBoard's writer.
const REFERENCE: &[u8] = include_bytes!("../../tests/fixtures/events.out.tfevents.scalars");

/// Where the events of [`REFERENCE`] begin, and its end.
const STARTS: [usize; 6] = starts(REFERENCE);

const fn starts<const N: usize>(file: &[u8]) -> [usize; N] {
    let (mut starts, mut i) = ([0; N], 1);
    while i < N {
        let at = starts[i - 1];
        // Records of the reference are shorter than 256 bytes.
        starts[i] = at + 16 + file[at] as usize;
        i += 1;
    }
    starts
}

type Values = &'static [(&'static str, f32)];

/// Times, steps and values that `scripts/make_event_fixture.py` has too.
const STEPS: [(f64, u64, Values); 4] = [
    (
        1_700_000_000.25,
        0,
        &[("train/loss", 2.3125), ("norm/conv1", 1.893)],
    ),
    (1_700_000_001.5, 1, &[("train/loss", 0.0)]),
    (
        1_700_000_002.75,
        300,
        &[("train/loss", f32::INFINITY), ("test/accuracy", 0.9569)],
    ),
    (1_700_000_003.0, 5_000_000_000, &[("größe", -1e-30)]),
];

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.out.tfevents.test");
    (folder, path)
}

/// A file with these bytes, resumed after `step`.
fn resumed(bytes: &[u8], step: u64) -> (Result<EventWriter, Error>, Vec<u8>) {
    let (_folder, path) = folder();
    fs::write(&path, bytes).expect("a writable folder");
    let writer = EventWriter::resume(&path, step);
    (writer, fs::read(&path).expect("the file is there"))
}

#[test]
fn bytes_are_those_of_tensorboard() {
    let (_folder, path) = folder();
    let mut writer = EventWriter::create_at(&path, 1_700_000_000.0).unwrap();
    for (time, step, values) in STEPS {
        writer.scalars_at(time, step, values).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), REFERENCE);
    assert_eq!(STARTS[5], REFERENCE.len());
}

#[test]
fn resuming_cuts_back_to_the_step() {
    for (step, end) in [
        (0, STARTS[2]),
        (1, STARTS[3]),
        (299, STARTS[3]),
        (300, STARTS[4]),
        (u64::MAX, STARTS[5]),
    ] {
        let (writer, left) = resumed(REFERENCE, step);
        assert_eq!(left, &REFERENCE[..end], "step {step}");
        assert!(writer.unwrap().last <= step);
    }
}

#[test]
fn a_resumed_run_writes_what_an_uninterrupted_one_writes() {
    let (_folder, path) = folder();
    fs::write(&path, REFERENCE).unwrap();
    let mut writer = EventWriter::resume(&path, 1).unwrap();
    for (time, step, values) in &STEPS[2..] {
        writer.scalars_at(*time, *step, values).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), REFERENCE);
}

#[test]
fn an_event_that_is_not_whole_is_removed() {
    for end in STARTS[3] + 1..STARTS[4] {
        let (writer, left) = resumed(&REFERENCE[..end], 1000);
        assert_eq!(writer.unwrap().last, 1);
        assert_eq!(left, &REFERENCE[..STARTS[3]], "cut at {end}");
    }
}

#[test]
fn an_empty_or_missing_file_is_started() {
    let (writer, left) = resumed(&[], 7);
    writer.unwrap();
    assert_eq!(left.len(), STARTS[1]);
    let (_folder, path) = folder();
    EventWriter::resume(&path, 7).unwrap();
    assert_eq!(fs::read(&path).unwrap().len(), STARTS[1]);
}

#[test]
fn damage_is_reported_and_nothing_is_removed() {
    let flipped = |at: usize| {
        let mut bytes = REFERENCE.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    // A whole record that is no message: field 1 with a wire type that is not its own.
    let mut foreign = REFERENCE[..STARTS[2]].to_vec();
    foreign.extend(super::frame::frame(&[0x08, 0x01]));
    let checksum = format!("a checksum of the record at byte {} is wrong", STARTS[1]);
    for (bytes, problem) in [
        (flipped(STARTS[1]), checksum.clone()),
        (flipped(STARTS[1] + 9), checksum.clone()),
        (flipped(STARTS[1] + 20), checksum.clone()),
        (flipped(STARTS[2] - 1), checksum),
        (
            REFERENCE[STARTS[1]..].to_vec(),
            "its first record does not name a version".to_owned(),
        ),
        (
            REFERENCE[..STARTS[1] - 1].to_vec(),
            "its first record is not whole".to_owned(),
        ),
        (
            b"notes".to_vec(),
            "its first record is not whole".to_owned(),
        ),
        (
            b"some notes about a run".to_vec(),
            "a checksum of the record at byte 0".to_owned(),
        ),
        (
            foreign,
            format!("the record at byte {} is not an event", STARTS[2]),
        ),
    ] {
        let (writer, left) = resumed(&bytes, 1000);
        let message = writer.unwrap_err().to_string();
        assert!(message.contains(&problem), "{message}");
        assert!(
            message.ends_with("move it away to start a new one"),
            "{message}"
        );
        assert_eq!(left, bytes);
    }
}

#[test]
fn steps_do_not_go_back() {
    let (_folder, path) = folder();
    let mut writer = EventWriter::create(&path).unwrap();
    writer.scalars(5, &[("a", 1.0)]).unwrap();
    writer.scalars(5, &[("b", 1.0)]).unwrap();
    let before = fs::read(&path).unwrap();
    let message = writer.scalars(4, &[("a", 1.0)]).unwrap_err().to_string();
    assert!(message.starts_with("step 4 cannot be added"), "{message}");
    assert!(message.contains("after step 5"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let mut writer = EventWriter::resume(&path, 5).unwrap();
    assert!(writer.scalars(4, &[("a", 1.0)]).is_err());
    writer.scalars(6, &[("a", 1.0)]).unwrap();
}

#[test]
fn files_that_cannot_be_written_are_named() {
    let (folder, path) = folder();
    EventWriter::create(&path).unwrap();
    let exists = EventWriter::create(&path).unwrap_err().to_string();
    assert!(
        exists.starts_with("cannot write") && exists.contains("tfevents.test"),
        "{exists}"
    );
    let missing = folder.path().join("no/such/folder/events.out.tfevents");
    assert!(matches!(
        EventWriter::create(&missing),
        Err(Error::Write { .. })
    ));
    assert!(matches!(
        EventWriter::resume(&missing, 0),
        Err(Error::Write { .. })
    ));
    assert!(matches!(
        EventWriter::resume(folder.path(), 0),
        Err(Error::Read { .. })
    ));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let message = EventWriter::resume("/dev/full".as_ref(), 0)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot write /dev/full: No space left"),
        "{message}"
    );
}
