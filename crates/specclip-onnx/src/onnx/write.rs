//! An ONNX file with other numbers in some of its tensors.
//!
//! Raw data and lists of floats keep their length, so that only the bytes of the numbers change. Lists of the bits of
//! 16-bit floats are written with one to three bytes each, and the name of a data file may be longer than the one it
//! replaces; there the lengths of the messages around them change too, and nothing else.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::initialiser;
use super::wire::{self, Form, Holder, Length, holders, push_varint, varint};
use crate::Error;
use crate::change::{Change, Changes, Place};
use crate::splice::Edit;
use crate::tensor::Payload;

/// Why the bytes cannot be edited although they were decoded.
const NOT_WALKED: &str =
    "the file's protobuf structure cannot be followed; save it again with onnx.save";

/// The files beside the model that hold numbers of its tensors: the path of each, and every name that the model has for
/// it, in the order in which the model mentions them.
pub(crate) struct DataFiles(pub Vec<(PathBuf, HashSet<String>)>);

impl DataFiles {
    /// Finds them; tensors that this crate does not read have some too.
    pub(crate) fn find(bytes: &[u8], model: &Path) -> Result<Self, Error> {
        let damaged = || Error::damaged(&model.display().to_string(), NOT_WALKED);
        let mut files: Vec<(PathBuf, HashSet<String>)> = Vec::new();
        for tensor in holders(bytes).ok_or_else(damaged)? {
            if !tensor.is_tensor || !tensor.is_external(bytes) {
                continue;
            }
            for entry in wire::entries(bytes, &tensor).ok_or_else(damaged)? {
                let refuse = |problem: String| Error::External {
                    tensor: tensor.name.clone(),
                    problem,
                };
                if entry.key == "checksum" {
                    let problem = "it states a checksum, which other numbers would contradict; save the model \
                                   again with onnx.save";
                    return Err(refuse(problem.to_owned()));
                }
                if entry.key != "location" {
                    continue;
                }
                let path = initialiser::resolve(model, &entry.value).map_err(refuse)?;
                match files.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, names)) => drop(names.insert(entry.value)),
                    None => files.push((path, HashSet::from([entry.value]))),
                }
            }
        }
        Ok(Self(files))
    }
}

/// The edits that give the model file its new numbers, and its data files the names that `names` has for theirs.
pub(crate) fn edits(
    bytes: &[u8],
    changes: &Changes,
    names: &HashMap<String, String>,
) -> Result<Vec<Edit>, String> {
    let mut script = Script {
        bytes,
        edits: Vec::new(),
        lengths: Vec::new(),
    };
    let lists = changes.iter().any(|(p, _)| matches!(p, Place::List(_)));
    let holders = if lists || !names.is_empty() {
        holders(bytes).ok_or(NOT_WALKED)?
    } else {
        Vec::new()
    };
    for (place, change) in changes.iter() {
        match place {
            Place::Address(address) => script.raw(*address, change)?,
            Place::List(name) => script.list(name, change, &holders)?,
            // In another file.
            Place::File(..) => {}
        }
    }
    for tensor in holders
        .iter()
        .filter(|h| h.is_tensor && h.is_external(bytes))
    {
        script.rename(tensor, names)?;
    }
    Ok(script.finish())
}

/// The place of raw data that decoding left in the file's buffer.
pub(crate) fn offset(bytes: &[u8], address: usize, length: usize) -> Option<usize> {
    let offset = address.checked_sub(bytes.as_ptr().addr())?;
    (offset.checked_add(length)? <= bytes.len()).then_some(offset)
}

struct Script<'a> {
    bytes: &'a [u8],
    edits: Vec<Edit>,
    /// Lengths that count bytes which were edited.
    lengths: Vec<Length>,
}

impl Script<'_> {
    fn raw(&mut self, address: usize, change: &Change) -> Result<(), String> {
        let place = offset(self.bytes, address, change.bytes.len());
        let start = place.ok_or("its numbers were not found in the file again")?;
        self.edits.push(Edit::patch(start, change.bytes.to_vec()));
        Ok(())
    }

    fn list(&mut self, name: &str, change: &Change, holders: &[Holder]) -> Result<(), String> {
        let width = change.tensor.element.size().unwrap_or(1);
        let original = change.tensor.bytes().map_err(|e| e.to_string())?;
        let places = holders.iter().filter(|h| h.name == name);
        let places = places.filter_map(|h| {
            let list = List::of(self.bytes, h, &change.tensor.payload)?;
            // A name inside a function or a branch may be another tensor's; its numbers tell.
            (list.numbers(self.bytes, width)? == original).then_some((h, list))
        });
        let [(holder, list)] = &places.collect::<Vec<_>>()[..] else {
            return Err(
                "its numbers are a list inside a function or a branch; save the model again \
                        with onnx.save, which stores them as raw data"
                    .to_owned(),
            );
        };
        let numbers = original.chunks(width).zip(change.bytes.chunks(width));
        for (range, (old, new)) in list.elements.iter().zip(numbers) {
            if old == new {
                continue;
            }
            let bytes = match list.varints {
                false => new.to_vec(),
                true => written(new),
            };
            self.edits.push(Edit {
                range: range.clone(),
                bytes,
            });
        }
        self.lengths.extend(holder.around.iter().cloned());
        self.lengths.extend(list.packed.iter().cloned());
        Ok(())
    }

    /// Lets a tensor's data lie in the file of another name.
    fn rename(&mut self, tensor: &Holder, names: &HashMap<String, String>) -> Result<(), String> {
        for entry in wire::entries(self.bytes, tensor).ok_or(NOT_WALKED)? {
            let Some(name) = names.get(&entry.value).filter(|_| entry.key == "location") else {
                continue;
            };
            let place = entry.around.last().ok_or(NOT_WALKED)?;
            self.edits.push(Edit {
                range: place.body.clone(),
                bytes: name.clone().into_bytes(),
            });
            self.lengths.extend(entry.around);
        }
        Ok(())
    }

    /// Corrects the lengths around what has grown or shrunk, from the inside out.
    fn finish(mut self) -> Vec<Edit> {
        let mut lengths = self.lengths;
        lengths.sort_by_key(|l| (std::cmp::Reverse(l.body.start), l.body.end));
        lengths.dedup();
        let mut resized: Vec<(usize, isize)> = self
            .edits
            .iter()
            .map(|e| (e.range.start, e.growth()))
            .collect();
        resized.retain(|(_, growth)| *growth != 0);
        for length in lengths {
            let inside = resized.iter().filter(|(at, _)| length.body.contains(at));
            let growth: isize = inside.map(|(_, growth)| growth).sum();
            if growth == 0 {
                continue;
            }
            let mut bytes = Vec::new();
            let counted = length.body.len().saturating_add_signed(growth);
            push_varint(counted as u64, &mut bytes);
            let edit = Edit {
                range: length.at,
                bytes,
            };
            resized.push((edit.range.start, edit.growth()));
            self.edits.push(edit);
        }
        self.edits
    }
}

/// A list of numbers in a message.
struct List {
    /// The place of each number.
    elements: Vec<Range<usize>>,
    /// Whether they are written seven bits a byte.
    varints: bool,
    /// The lengths of packed lists.
    packed: Vec<Length>,
}

impl List {
    /// The list that `holder` keeps numbers of this kind in.
    fn of(bytes: &[u8], holder: &Holder, payload: &Payload) -> Option<Self> {
        // `TensorProto` has a list for each type, `AttributeProto` a float and a list of floats.
        let (number, width) = match (payload, holder.is_tensor) {
            (Payload::F32(_), true) => (4, Some(4)),
            (Payload::F64(_), true) => (10, Some(8)),
            (Payload::I32(_), true) => (5, None),
            (Payload::F32(_), false) if holder.fields.iter().any(|f| f.number == 7) => (7, Some(4)),
            (Payload::F32(_), false) => (2, Some(4)),
            _ => return None,
        };
        let mut list = Self {
            elements: Vec::new(),
            varints: width.is_none(),
            packed: Vec::new(),
        };
        for field in holder.fields.iter().filter(|f| f.number == number) {
            let length = match &field.form {
                Form::Number(range) => {
                    list.elements.push(range.clone());
                    continue;
                }
                Form::Counted(length) => length,
            };
            let mut at = length.body.start;
            while at < length.body.end {
                let end = match width {
                    Some(width) => at + width,
                    None => varint(bytes, at..length.body.end)?.1,
                };
                list.elements.push(at..end);
                at = end;
            }
            list.packed.push(length.clone());
        }
        Some(list)
    }

    /// The numbers as little-endian bytes, `width` each.
    fn numbers(&self, bytes: &[u8], width: usize) -> Option<Vec<u8>> {
        let mut numbers = Vec::with_capacity(self.elements.len() * width);
        for range in &self.elements {
            match self.varints {
                false => numbers.extend(bytes.get(range.clone())?),
                true => numbers.extend(&varint(bytes, range.clone())?.0.to_le_bytes()[..width]),
            }
        }
        Some(numbers)
    }
}

/// The bits of a 16-bit float as a list of integers has them.
fn written(bits: &[u8]) -> Vec<u8> {
    let value = bits
        .iter()
        .rev()
        .fold(0, |value, &b| value << 8 | u64::from(b));
    let mut bytes = Vec::new();
    push_varint(value, &mut bytes);
    bytes
}
