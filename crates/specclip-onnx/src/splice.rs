//! A copy of a file in which some ranges are replaced.

use std::io::{self, Write};
use std::ops::Range;

/// One range of the original and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub range: Range<usize>,
    pub bytes: Vec<u8>,
}

impl Edit {
    /// `bytes` in the place of as many others.
    pub(crate) fn patch(start: usize, bytes: Vec<u8>) -> Self {
        let range = start..start + bytes.len();
        Self { range, bytes }
    }

    /// How many bytes longer the copy gets.
    pub(crate) fn growth(&self) -> isize {
        self.bytes.len() as isize - self.range.len() as isize
    }
}

/// Writes `original` with `edits` made. They do not overlap and lie inside the original.
pub(crate) fn write(original: &[u8], edits: &[Edit], to: &mut impl Write) -> io::Result<()> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|e| e.range.start);
    let mut done = 0;
    for edit in sorted {
        let kept = original.get(done..edit.range.start);
        to.write_all(kept.ok_or(io::ErrorKind::InvalidInput)?)?;
        to.write_all(&edit.bytes)?;
        done = edit.range.end;
    }
    to.write_all(original.get(done..).ok_or(io::ErrorKind::InvalidInput)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(edits: &[Edit]) -> io::Result<Vec<u8>> {
        let mut copy = Vec::new();
        write(b"0123456789", edits, &mut copy)?;
        Ok(copy)
    }

    #[test]
    fn ranges_are_replaced_in_any_order() {
        let longer = Edit {
            range: 7..8,
            bytes: b"abc".to_vec(),
        };
        assert_eq!(longer.growth(), 2);
        let edits = [longer, Edit::patch(0, b"xy".to_vec())];
        assert_eq!(spliced(&edits).unwrap(), b"xy23456abc89");
        assert_eq!(spliced(&[]).unwrap(), b"0123456789");
    }

    #[test]
    fn edits_that_overlap_or_lie_outside_are_refused() {
        let outside = Edit::patch(9, b"xy".to_vec());
        assert!(spliced(&[outside]).is_err());
        let twice = [
            Edit::patch(3, b"xy".to_vec()),
            Edit::patch(4, b"z".to_vec()),
        ];
        assert!(spliced(&twice).is_err());
    }
}
