//! What the tables of all commands share: columns, the line above them, and the list of what was skipped.

use std::io::{self, IsTerminal};

use crate::record::{Row, Settings, Skipped};

use super::layout::{self, Layout};
use super::number::{seconds, shape};
use super::text::{printable, shorten_all, width};

/// Digits of the values in tables; the other formats have them all.
pub const DIGITS: usize = 5;

/// The width to fit: what `COLUMNS` says, else the terminal's, else none, and then names are whole.
pub fn terminal_width() -> Option<usize> {
    let stated = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let measured = || {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(width.0))
    };
    stated
        .or_else(|| io::stdout().is_terminal().then(measured).flatten())
        .filter(|&width| width > 0)
}

/// Joins lines, without blanks at their ends.
pub fn join(lines: &[String]) -> String {
    let text: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    text.join("\n") + "\n"
}

/// The line above the table: the model, its inputs, the numbers, and what else was asked.
pub fn headline(settings: &Settings, asked: &[String]) -> String {
    let inputs: Vec<String> = settings
        .inputs
        .iter()
        .map(|(name, dims)| format!("{name} {}", shape(dims)))
        .collect();
    let mut parts = vec![settings.model.clone()];
    if !inputs.is_empty() {
        parts.push(format!("input {}", inputs.join(" and ")));
    }
    parts.push(settings.precision.into());
    parts.extend_from_slice(asked);
    printable(&parts.join(", "))
}

/// One cell a row.
pub fn cells<V>(rows: &[Row<V>], cell: impl Fn(&Row<V>) -> String) -> Vec<String> {
    rows.iter().map(cell).collect()
}

/// A cell of a row's values; a dash where there is none.
pub fn of_values<V>(row: &Row<V>, cell: impl Fn(&V) -> Option<String>) -> String {
    row.values().and_then(cell).unwrap_or_else(|| "-".into())
}

/// The seconds that a row's values took.
pub fn elapsed<V>(row: &Row<V>) -> String {
    of_values(row, |_| Some(seconds(row.elapsed)))
}

/// The name of a row's layer.
pub fn name<V>(row: &Row<V>) -> String {
    printable(&row.layer.name)
}

/// The kind of a row's layer, with its positions.
pub fn kind<V>(row: &Row<V>) -> String {
    match row.layer.multiplicity {
        0 | 1 => printable(&row.layer.kind),
        positions => format!("{} x{positions}", printable(&row.layer.kind)),
    }
}

/// The shapes of a row's layer.
pub fn shapes<V>(row: &Row<V>) -> String {
    format!(
        "{} -> {}",
        shape(&row.layer.input_shape),
        shape(&row.layer.output_shape)
    )
}

/// Which columns had no room.
pub fn hidden_note(layout: &Layout) -> Option<String> {
    let (values, others): (Vec<&str>, Vec<&str>) = layout
        .hidden()
        .iter()
        .map(String::as_str)
        .partition(|name| name.starts_with("sigma_"));
    let mut names: Vec<String> = others.into_iter().map(str::to_owned).collect();
    match (values.first(), values.last()) {
        (Some(first), Some(last)) if first != last => names.push(format!("{first} to {last}")),
        (Some(only), _) => names.push((*only).into()),
        _ => {}
    }
    let advice = "widen the terminal, pipe the table, or use --csv";
    (!names.is_empty()).then(|| format!("(no room for {}: {advice})", names.join(", ")))
}

/// The list of what has no row, or a row without values, and why.
pub fn skipped_lines(skipped: &[Skipped], columns: Option<usize>) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let limit = columns.map_or(usize::MAX, |columns| {
        (columns / 3).max(layout::NARROWEST_NAME)
    });
    let names: Vec<String> = skipped
        .iter()
        .map(|skipped| printable(&skipped.name))
        .collect();
    let names = shorten_all(&names, limit);
    let ops: Vec<String> = skipped
        .iter()
        .map(|skipped| printable(&skipped.op))
        .collect();
    let widest = |texts: &[String]| texts.iter().map(|text| width(text)).max().unwrap_or(0);
    let (name_width, op_width) = (widest(&names), widest(&ops));
    let mut lines = vec![String::new(), "skipped:".into()];
    for ((name, op), skipped) in names.iter().zip(&ops).zip(skipped) {
        let name = layout::pad_right(name, name_width);
        let op = layout::pad_right(op, op_width);
        lines.push(format!("  {name}  {op}  {}", printable(&skipped.reason)));
    }
    lines
}

/// `2 missed`, for each kind of row that there is any of.
pub fn noted(kinds: &[(usize, &str)]) -> impl Iterator<Item = String> {
    let present = kinds.iter().filter(|(count, _)| *count > 0);
    present.map(|(count, what)| format!("{count} {what}"))
}

/// `1 layer`, `2 layers`.
pub fn counted(count: usize, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}
