//! The Python version of CIFAR-10: pickles of a dictionary with `labels`, a list of numbers, and `data`, a NumPy array of
//! bytes with a row of 3x32x32 pixels for each image.
//!
//! A pickle is a program that builds objects. Here it is not run: its instructions are gone through in their order, and
//! the numbers after the string "labels" are the labels, the first long string after the string "data" the pixels. So
//! a file can neither call anything nor nest objects without end, and whatever Python and NumPy it was written with,
//! these parts look the same.

/// No other string within an array is as long as the pixels of one image.
const IMAGE: usize = 3 * 32 * 32;

/// Pixels and labels of one file.
pub(super) fn batch(file: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut program = Program { file, at: 0 };
    let (mut pixels, mut labels) = (None, Vec::new());
    let mut key: &[u8] = b"";
    while let Some(instruction) = program.next()? {
        match instruction {
            Instruction::String(bytes) if key == b"data" && pixels.is_none() => {
                if bytes.len() >= IMAGE {
                    pixels = Some(bytes.to_vec());
                }
            }
            Instruction::String(bytes) => key = bytes,
            Instruction::Number(label) if key == b"labels" => {
                let label = u8::try_from(label)
                    .map_err(|_| format!("it has the label {label}, and labels are 0 to 9"))?;
                labels.push(label);
            }
            Instruction::Number(_) | Instruction::Other => {}
        }
    }
    let pixels = pixels.unwrap_or_default();
    if labels.is_empty() || labels.len().checked_mul(IMAGE) != Some(pixels.len()) {
        return Err(format!(
            "it has {} labels and {} pixels, and each image has one label and {IMAGE} pixels",
            labels.len(),
            pixels.len()
        ));
    }
    Ok((pixels, labels))
}

/// A pickle and the place that has been reached in it.
struct Program<'a> {
    file: &'a [u8],
    at: usize,
}

enum Instruction<'a> {
    String(&'a [u8]),
    Number(u32),
    Other,
}

impl<'a> Program<'a> {
    /// The next instruction; `None` after the last. The codes are those of Python's `pickletools`, as far as the
    /// binary protocols 2 to 5 write them for dictionaries, lists, strings, numbers and arrays.
    fn next(&mut self) -> Result<Option<Instruction<'a>>, String> {
        let start = self.at;
        let [code] = self.bytes()?;
        let other = Instruction::Other;
        Ok(Some(match code {
            b'.' => return Ok(None),
            // Numbers of 1, 2 and 4 bytes.
            b'K' => Instruction::Number(self.number::<1>()? as u32),
            b'M' => Instruction::Number(self.number::<2>()? as u32),
            b'J' => Instruction::Number(self.number::<4>()? as u32),
            // Strings and bytes, after their length in 1, 4 or 8 bytes.
            b'U' | b'C' | 0x8c => Instruction::String(self.string::<1>()?),
            b'T' | b'X' | b'B' => Instruction::String(self.string::<4>()?),
            0x8d | 0x8e | 0x96 => Instruction::String(self.string::<8>()?),
            // What builds objects, and what has nothing after it.
            b'(' | b'}' | b']' | b')' | b'N' | b't' | b'u' | b'e' | b'a' | b's' | b'b' | b'R' => {
                other
            }
            0x81 | 0x85..=0x89 | 0x93 | 0x94 => other,
            // The protocol, and objects kept for later and fetched again.
            0x80 | b'q' | b'h' => self.number::<1>().map(|_| other)?,
            b'r' | b'j' => self.number::<4>().map(|_| other)?,
            // The length of what follows.
            0x95 => self.number::<8>().map(|_| other)?,
            // A function: two lines.
            b'c' => self.line().and_then(|()| self.line()).map(|()| other)?,
            _ => {
                return Err(format!(
                    "at byte {start} it has the pickle instruction {code:#04x}, which no CIFAR-10 batch has"
                ));
            }
        }))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.file[self.at..]
            .get(..count)
            .ok_or("it ends within a pickle instruction")?;
        self.at += count;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A little-endian number of N bytes, at most 8.
    fn number<const N: usize>(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn string<const N: usize>(&mut self) -> Result<&'a [u8], String> {
        let length = self.number::<N>()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<(), String> {
        while self.bytes::<1>()? != *b"\n" {}
        Ok(())
    }
}
