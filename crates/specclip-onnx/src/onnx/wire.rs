//! Where in the bytes of an ONNX file its tensors are.
//!
//! The decoder of messages does not say where a field was. To replace a field and leave every other byte as it is, the
//! file is walked here field by field, as far as tensors can be nested.

use std::ops::Range;

/// Messages inside messages deeper than this are refused, as the decoder does.
const DEEPEST: usize = 100;

/// The length that stands in front of a message or a list, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Length {
    pub at: Range<usize>,
    pub body: Range<usize>,
}

/// How a field is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// A number in one piece: the range of its bytes.
    Number(Range<usize>),
    /// Text, bytes, a message or a packed list.
    Counted(Length),
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub number: u64,
    pub form: Form,
}

impl Field {
    fn body(&self) -> Option<&Range<usize>> {
        match &self.form {
            Form::Counted(length) => Some(&length.body),
            Form::Number(_) => None,
        }
    }
}

/// What a message is, as far as tensors are found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Kind {
    /// What the message in field `number` is (`onnx.proto`).
    fn inside(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            _ => return None,
        })
    }
}

/// A message that holds numbers: a tensor, or the attribute of a node.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// The value that the numbers are: an initialiser's own name, or the first output of the node.
    pub name: String,
    /// Whether it is a tensor.
    pub is_tensor: bool,
    /// The lengths of all messages around its fields, from the outside in.
    pub around: Vec<Length>,
    pub fields: Vec<Field>,
}

/// Everything in an ONNX file that holds numbers; `None` when the file is not made of protobuf fields.
pub(crate) fn holders(bytes: &[u8]) -> Option<Vec<Holder>> {
    let mut walk = Walk {
        bytes,
        around: Vec::new(),
        found: Vec::new(),
    };
    walk.message(Kind::Model, 0..bytes.len(), "")?;
    Some(walk.found)
}

struct Walk<'a> {
    bytes: &'a [u8],
    around: Vec<Length>,
    found: Vec<Holder>,
}

impl Walk<'_> {
    /// Visits a message; `value` is the output of the node that it is part of.
    fn message(&mut self, kind: Kind, body: Range<usize>, value: &str) -> Option<()> {
        if self.around.len() > DEEPEST {
            return None;
        }
        let fields = fields(self.bytes, body)?;
        let text = |number| last_text(self.bytes, &fields, number);
        let own = match kind {
            Kind::Node => text(2),
            Kind::Tensor if value.is_empty() => text(8),
            _ => None,
        };
        let value = own.unwrap_or(value.to_owned());
        if matches!(kind, Kind::Tensor | Kind::Attribute) {
            self.found.push(Holder {
                name: value.clone(),
                is_tensor: kind == Kind::Tensor,
                around: self.around.clone(),
                fields: fields.clone(),
            });
        }
        for field in fields {
            if let (Some(inner), Form::Counted(length)) = (kind.inside(field.number), field.form) {
                let body = length.body.clone();
                self.around.push(length);
                // The nodes of a body have outputs of their own, its initialisers names.
                let value = if inner == Kind::Graph { "" } else { &value };
                self.message(inner, body, value)?;
                self.around.pop();
            }
        }
        Some(())
    }
}

/// The last text in field `number`, which is the one that counts. (Of a node's outputs the first does; constants have one.)
fn last_text(bytes: &[u8], fields: &[Field], number: u64) -> Option<String> {
    let field = fields.iter().rfind(|f| f.number == number)?;
    String::from_utf8(bytes[field.body()?.clone()].to_vec()).ok()
}

/// The entries (key, value) of a tensor's data in another file, with the place of each value.
pub(crate) fn entries(bytes: &[u8], tensor: &Holder) -> Option<Vec<Entry>> {
    const EXTERNAL_DATA: u64 = 13;
    let mut entries = Vec::new();
    for field in tensor.fields.iter().filter(|f| f.number == EXTERNAL_DATA) {
        let Form::Counted(length) = &field.form else {
            return None;
        };
        let inside = fields(bytes, length.body.clone())?;
        let key = last_text(bytes, &inside, 1).unwrap_or_default();
        let Some(value) = inside.iter().rfind(|f| f.number == 2) else {
            continue;
        };
        let Form::Counted(place) = &value.form else {
            return None;
        };
        let mut around = tensor.around.clone();
        around.extend([length.clone(), place.clone()]);
        entries.push(Entry {
            key,
            value: last_text(bytes, &inside, 2)?,
            around,
        });
    }
    Some(entries)
}

/// One entry of a tensor's `external_data`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub value: String,
    /// The lengths around the value; the last is the value's own.
    pub around: Vec<Length>,
}

impl Holder {
    /// Whether the tensor's numbers are in another file.
    pub(crate) fn is_external(&self, bytes: &[u8]) -> bool {
        const DATA_LOCATION: u64 = 14;
        let last = self.fields.iter().rfind(|f| f.number == DATA_LOCATION);
        match last.map(|f| &f.form) {
            Some(Form::Number(range)) => varint(bytes, range.clone()).is_some_and(|(n, _)| n == 1),
            _ => false,
        }
    }
}

/// The fields of the message in `body`; `None` when it is not made of fields.
pub(crate) fn fields(bytes: &[u8], body: Range<usize>) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut at = body.start;
    while at < body.end {
        let (key, start) = varint(bytes, at..body.end)?;
        let number = key >> 3;
        let form = match key & 7 {
            0 => Form::Number(start..varint(bytes, start..body.end)?.1),
            1 => Form::Number(start..start.checked_add(8)?),
            5 => Form::Number(start..start.checked_add(4)?),
            2 => {
                let (length, first) = varint(bytes, start..body.end)?;
                let end = first.checked_add(usize::try_from(length).ok()?)?;
                Form::Counted(Length {
                    at: start..first,
                    body: first..end,
                })
            }
            // Groups are skipped by the decoder; no writer of ONNX makes them.
            _ => return None,
        };
        at = match &form {
            Form::Number(range) => range.end,
            Form::Counted(length) => length.body.end,
        };
        fields.push(Field { number, form });
    }
    (at == body.end).then_some(fields)
}

/// The number at the start of `range`, seven bits a byte, and where it ends.
pub(crate) fn varint(bytes: &[u8], range: Range<usize>) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.get(range.clone())?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((value, range.start + i + 1));
        }
    }
    None
}

/// Appends a number, seven bits a byte.
pub(crate) fn push_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut bytes = vec![0xff];
            push_varint(value, &mut bytes);
            assert_eq!(varint(&bytes, 1..bytes.len()), Some((value, bytes.len())));
            assert_eq!(varint(&bytes, 1..bytes.len() - 1), None);
        }
    }

    #[test]
    fn fields_of_every_form() {
        // Field 1 = 300, field 2 = "ab", field 3 = four bytes, field 4 = eight bytes.
        let bytes = [
            0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let found = fields(&bytes, 0..bytes.len()).unwrap();
        let forms: Vec<_> = found.iter().map(|f| (f.number, f.form.clone())).collect();
        let text = Length {
            at: 4..5,
            body: 5..7,
        };
        let expected = [
            (1, Form::Number(1..3)),
            (2, Form::Counted(text)),
            (3, Form::Number(8..12)),
            (4, Form::Number(13..21)),
        ];
        assert_eq!(forms, expected);
        assert_eq!(fields(&bytes, 0..6), None);
        assert_eq!(fields(&bytes, 0..20), None);
    }
}
