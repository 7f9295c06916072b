//! Images to train with, and the files of a run as the tests compare them.

mod bad_input;
mod kill;
mod real;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub use crate::common::images::{images, train};

/// The metadata of a checkpoint without times, and its tensors with their description.
pub fn checkpoint(path: &Path) -> (Value, Value, Vec<u8>) {
    let bytes = fs::read(path).expect("a checkpoint");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let state = header["__metadata__"]["specclip"].take();
    let mut state = serde_json::from_str(state.as_str().expect("text")).expect("JSON");
    forget_times(&mut state);
    (state, header, bytes[8 + length..].to_vec())
}

/// The record of a run without times.
pub fn record(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("run.json")).expect("a record");
    let mut record = serde_json::from_str(&text).expect("JSON");
    forget_times(&mut record);
    record
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("seconds");
            object.values_mut().for_each(forget_times);
        }
        Value::Array(array) => array.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// The events of a run without their times: each begins with the tag of its time and 8 bytes.
pub fn events(out: &Path) -> Vec<Vec<u8>> {
    let mut bytes = &fs::read(out.join("events.out.tfevents.specclip")).expect("events")[..];
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let event = &bytes[12..12 + length];
        assert_eq!(event[0], 0x09);
        events.push(event[9..].to_vec());
        bytes = &bytes[12 + length + 4..];
    }
    events
}

/// Two runs are the same, all but their times.
pub fn assert_same(a: &Path, b: &Path) {
    for name in ["last.safetensors", "best.safetensors"] {
        let (state_a, header_a, tensors_a) = checkpoint(&a.join(name));
        let (state_b, header_b, tensors_b) = checkpoint(&b.join(name));
        assert_eq!(header_a, header_b, "{name}");
        assert!(tensors_a == tensors_b, "the tensors of {name} differ");
        assert_eq!(state_a, state_b, "{name}");
    }
    assert_eq!(record(a), record(b));
    assert!(events(a) == events(b), "the events differ");
}
