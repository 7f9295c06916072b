//! Clips, one file a format.

mod csv;
mod json;
#[cfg(test)]
mod sample;
mod table;

use super::Formats;
use crate::error::Error;
use crate::record::clip::Report;

impl Formats for Report {
    fn json(&self) -> Result<Vec<u8>, Error> {
        json::render(self)
    }
    fn csv(&self) -> Result<Vec<u8>, Error> {
        csv::render(self)
    }
    fn table(&self, columns: Option<usize>) -> String {
        table::render(self, columns)
    }
}
