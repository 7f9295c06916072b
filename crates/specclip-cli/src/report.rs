//! What a run found, in each format: one folder a command, and what the formats of all commands share.

pub mod bound;
pub mod chart;
pub mod clip;
pub mod compare;
pub mod csv;
pub mod draw;
pub mod json;
pub mod layout;
pub mod number;
pub mod reproduce;
pub mod spectrum;
pub mod table;
pub mod text;

use crate::error::Error;

pub use table::terminal_width;

/// A report in each of its formats.
pub trait Formats {
    /// The JSON record.
    fn json(&self) -> Result<Vec<u8>, Error>;
    /// The CSV rows.
    fn csv(&self) -> Result<Vec<u8>, Error>;
    /// The table for people, at most so many columns wide where that is possible.
    fn table(&self, columns: Option<usize>) -> String;
    /// The picture, of reports that have one.
    fn svg(&self) -> Result<String, Error> {
        Err(Error::Picture("this command has none".into()))
    }
}
