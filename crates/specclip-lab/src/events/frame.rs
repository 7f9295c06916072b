//! The frame around each record of a TFRecord file: its length, a checksum of the length, the record, its checksum.
//!
//! Numbers are little-endian. Checksums are CRC-32C, rotated and shifted as TensorFlow's `record_writer.h` describes, so
//! that a file of frames can be checksummed again.

use std::io::{self, Read};

use crc::{CRC_32_ISCSI, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const MASK: u32 = 0xa282_ead8;
const HEADER: u64 = 8 + 4;
const FOOTER: u64 = 4;

/// What is next in a file.
pub(super) enum Frame {
    /// A record.
    Whole(Vec<u8>),
    /// The end of the file, perhaps after a part of a frame.
    Cut,
    /// A checksum is not that of the length or the record.
    Damaged,
}

/// A record in its frame.
pub(super) fn frame(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(record.len() + (HEADER + FOOTER) as usize);
    frame.extend(length);
    frame.extend(checksum(&length).to_le_bytes());
    frame.extend(record);
    frame.extend(checksum(record).to_le_bytes());
    frame
}

/// The bytes of a record's frame.
pub(super) fn length(record: &[u8]) -> u64 {
    HEADER + record.len() as u64 + FOOTER
}

/// Reads a frame from a file of which `left` bytes are left; these may be fewer than a frame that was written in part.
pub(super) fn read(file: &mut impl Read, left: u64) -> io::Result<Frame> {
    if left < HEADER {
        return Ok(Frame::Cut);
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    if checksum(&length) != number(file)? {
        return Ok(Frame::Damaged);
    }
    let length = u64::from_le_bytes(length);
    // Nothing is allocated that is not there.
    if left - HEADER < length.saturating_add(FOOTER) {
        return Ok(Frame::Cut);
    }
    let mut record = Vec::new();
    file.by_ref().take(length).read_to_end(&mut record)?;
    if checksum(&record) != number(file)? {
        return Ok(Frame::Damaged);
    }
    Ok(Frame::Whole(record))
}

fn number(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(MASK)
}
