//! New numbers for tensors of a file, kept beside the file until it is written again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::tensor::{ElementType, Payload, Tensor};

/// Where a tensor's numbers lie. Tensors that share them (constants of a function that is called several times) have the
/// same place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Raw bytes from this address, inside the buffer that holds the model file.
    Address(usize),
    /// A list of numbers in the message of the tensor with this name.
    List(String),
    /// Raw bytes in another file, from this offset.
    File(PathBuf, u64),
}

impl Place {
    /// The place of a tensor's numbers; `None` when it has none.
    pub(crate) fn of(tensor: &Tensor) -> Option<Self> {
        match &tensor.payload {
            Payload::Raw(bytes) => Some(Self::Address(bytes.as_ptr().addr())),
            Payload::File(path, offset) => Some(Self::File(path.clone(), *offset)),
            Payload::Opaque => None,
            _ => Some(Self::List(tensor.name.clone())),
        }
    }
}

/// One tensor with new numbers.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub tensor: Arc<Tensor>,
    /// All elements, little-endian in the tensor's own type.
    pub bytes: Bytes,
}

/// The tensors that have new numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(HashMap<Place, Change>);

impl Changes {
    /// The elements of a tensor when they are not the file's.
    pub(crate) fn get(&self, tensor: &Tensor) -> Option<&[u8]> {
        // Most models are only read.
        if self.0.is_empty() {
            return None;
        }
        let change = self.0.get(&Place::of(tensor)?)?;
        Some(&change.bytes)
    }

    /// Gives a tensor new elements.
    pub(crate) fn put(&mut self, tensor: &Arc<Tensor>, bytes: Bytes) -> Result<(), String> {
        let place = Place::of(tensor).ok_or("its numbers are not stored as such")?;
        let tensor = tensor.clone();
        self.0.insert(place, Change { tensor, bytes });
        Ok(())
    }

    /// All of them, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Change)> {
        self.0.iter()
    }
}

/// Appends a number, rounded to `element`, to little-endian `bytes`; `None` when it does not fit or the type is no
/// floating-point type.
pub(crate) fn encode(x: f64, element: ElementType, bytes: &mut Vec<u8>) -> Option<()> {
    let finite = match element {
        ElementType::F32 => {
            bytes.extend((x as f32).to_le_bytes());
            (x as f32).is_finite()
        }
        ElementType::F64 => {
            bytes.extend(x.to_le_bytes());
            x.is_finite()
        }
        ElementType::F16 => {
            bytes.extend(f16::from_f64(x).to_le_bytes());
            f16::from_f64(x).is_finite()
        }
        ElementType::BF16 => {
            bytes.extend(bf16::from_f64(x).to_le_bytes());
            bf16::from_f64(x).is_finite()
        }
        _ => return None,
    };
    finite.then_some(())
}
