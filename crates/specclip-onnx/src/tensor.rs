//! A named array of numbers as it lies in a file, decoded only when somebody asks for its values.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use half::{bf16, f16};

use crate::Error;
use crate::input::element_count;

/// How one element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
    /// Strings, complex numbers, floats of 8 bits and numbers of fewer: never a weight that can be analysed. By its
    /// name.
    Other(&'static str),
}

impl ElementType {
    /// The type with this number in ONNX.
    pub(crate) fn from_onnx(number: i32) -> Self {
        match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::BF16,
            8 => Self::Other("strings"),
            14 => Self::Other("complex64"),
            15 => Self::Other("complex128"),
            17 => Self::Other("float8e4m3fn"),
            18 => Self::Other("float8e4m3fnuz"),
            19 => Self::Other("float8e5m2"),
            20 => Self::Other("float8e5m2fnuz"),
            21 => Self::Other("uint4"),
            22 => Self::Other("int4"),
            23 => Self::Other("float4e2m1"),
            24 => Self::Other("float8e8m0"),
            25 => Self::Other("uint2"),
            26 => Self::Other("int2"),
            _ => Self::Other("an element type that ONNX does not define"),
        }
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::I8 | Self::U8 | Self::Bool => Some(1),
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => Some(2),
            Self::F32 | Self::I32 | Self::U32 => Some(4),
            Self::F64 | Self::I64 | Self::U64 => Some(8),
            Self::Other(_) => None,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// The name that error messages use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bool => "bool",
            Self::Other(name) => name,
        }
    }
}

/// Where the elements are.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Little-endian elements, a slice of the file's buffer.
    Raw(Bytes),
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Small integers, booleans and the bits of 16-bit floats.
    I32(Vec<i32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    /// Little-endian elements in another file, from this offset.
    File(PathBuf, u64),
    /// Something that is never decoded.
    Opaque,
}

/// A named array of numbers. Its dimensions and the size of its data were checked against each other.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub name: String,
    pub element: ElementType,
    pub dims: Vec<usize>,
    pub payload: Payload,
}

impl Tensor {
    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        // Checked when the tensor was made.
        element_count(&self.dims).unwrap_or(0)
    }

    /// The elements in row-major order, each passed through `convert`.
    pub(crate) fn decode<T>(&self, convert: impl Fn(f64) -> T) -> Result<Vec<T>, Error> {
        Ok(match &self.payload {
            Payload::Raw(bytes) => decode_bytes(bytes, self.element, convert),
            Payload::F32(v) => v.iter().map(|&x| convert(f64::from(x))).collect(),
            Payload::F64(v) => v.iter().map(|&x| convert(x)).collect(),
            Payload::I64(v) => v.iter().map(|&x| convert(x as f64)).collect(),
            Payload::U64(v) => v.iter().map(|&x| convert(x as f64)).collect(),
            Payload::I32(v) => v.iter().map(|&x| convert(self.decode_i32(x))).collect(),
            Payload::File(path, offset) => {
                let bytes = read_range(path, *offset, self.byte_len())?;
                decode_bytes(&bytes, self.element, convert)
            }
            Payload::Opaque => Vec::new(),
        })
    }

    /// The elements as little-endian bytes of their own type.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Error> {
        let each = |x: &i32| match self.element.size() {
            Some(1) => vec![*x as u8],
            Some(2) => (*x as u16).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        };
        Ok(match &self.payload {
            Payload::Raw(bytes) => bytes.to_vec(),
            Payload::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Payload::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Payload::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Payload::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Payload::I32(v) => v.iter().flat_map(each).collect(),
            Payload::File(path, offset) => read_range(path, *offset, self.byte_len())?,
            Payload::Opaque => Vec::new(),
        })
    }

    /// Bytes of the elements when they are stored raw.
    pub(crate) fn byte_len(&self) -> usize {
        // `element_count` leaves room for eight bytes an element.
        self.len() * self.element.size().unwrap_or(0)
    }

    fn decode_i32(&self, x: i32) -> f64 {
        match self.element {
            ElementType::F16 => f16::from_bits(x as u16).to_f64(),
            ElementType::BF16 => bf16::from_bits(x as u16).to_f64(),
            _ => f64::from(x),
        }
    }
}

fn read_range(path: &PathBuf, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    };
    read().map_err(|source| Error::read(path, source))
}

/// The elements of raw little-endian `bytes`, each passed through `convert`.
pub(crate) fn decode_bytes<T>(
    bytes: &[u8],
    element: ElementType,
    convert: impl Fn(f64) -> T,
) -> Vec<T> {
    /// Elements of N bytes each.
    fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&c| f(c)).collect()
    }
    match element {
        ElementType::F32 => each(bytes, |b| convert(f64::from(f32::from_le_bytes(b)))),
        ElementType::F64 => each(bytes, |b| convert(f64::from_le_bytes(b))),
        ElementType::F16 => each(bytes, |b| convert(f16::from_le_bytes(b).to_f64())),
        ElementType::BF16 => each(bytes, |b| convert(bf16::from_le_bytes(b).to_f64())),
        ElementType::I8 => each(bytes, |b| convert(f64::from(i8::from_le_bytes(b)))),
        ElementType::I16 => each(bytes, |b| convert(f64::from(i16::from_le_bytes(b)))),
        ElementType::I32 => each(bytes, |b| convert(f64::from(i32::from_le_bytes(b)))),
        ElementType::I64 => each(bytes, |b| convert(i64::from_le_bytes(b) as f64)),
        ElementType::U8 | ElementType::Bool => each(bytes, |[b]| convert(f64::from(b))),
        ElementType::U16 => each(bytes, |b| convert(f64::from(u16::from_le_bytes(b)))),
        ElementType::U32 => each(bytes, |b| convert(f64::from(u32::from_le_bytes(b)))),
        ElementType::U64 => each(bytes, |b| convert(u64::from_le_bytes(b) as f64)),
        ElementType::Other(_) => Vec::new(),
    }
}
