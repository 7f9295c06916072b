//! What the CSV of all commands shares. Numbers are written in full; an unknown one is an empty field.

use crate::error::Error;

/// A header and rows as text.
pub fn text<const N: usize>(
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<Vec<u8>, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(broken)?;
    for row in rows {
        writer.write_record(row).map_err(broken)?;
    }
    writer.into_inner().map_err(broken)
}

/// `Debug` is the shortest text that reads back as the same number, with an exponent where it is far
/// from 1; `Display` would write out three hundred zeros.
pub fn known<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

fn broken(error: impl ToString) -> Error {
    Error::Format {
        format: "CSV",
        reason: error.to_string(),
    }
}
