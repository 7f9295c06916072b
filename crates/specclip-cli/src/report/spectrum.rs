//! Spectra, one file a format.

mod csv;
mod json;
#[cfg(test)]
mod sample;
mod svg;
mod table;

use super::Formats;
use crate::error::Error;
use crate::record::spectrum::Report;

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
    fn svg(&self) -> Result<String, Error> {
        svg::render(self)
    }
}
