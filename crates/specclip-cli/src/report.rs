//! One file a format.

pub mod csv;
pub mod json;
pub mod number;
#[cfg(test)]
pub mod sample;
pub mod svg;
pub mod table;
pub mod text;
