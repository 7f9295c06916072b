//! The table for people: one row a layer, what was skipped and why, totals.

mod layout;

use std::cmp::Ordering;
use std::io::{self, IsTerminal};

use crate::record::{Outcome, Report, Row, Skipped, Values};

use super::number::{seconds, shape, significant};
use super::text::{printable, shorten_all, width};
use layout::{Column, Layout};

/// Digits of the values in the table; the other formats have them all.
const DIGITS: usize = 5;

/// Values of a layer that the table has room for, however wide the terminal; the other formats have
/// them all.
const MOST_SHOWN: usize = 12;

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

/// The whole table as text.
pub fn render(report: &Report, columns: Option<usize>) -> String {
    let layout = Layout::new(table_columns(report), columns);
    let mut lines = vec![headline(report), String::new()];
    lines.extend(layout.lines());
    lines.extend(hidden_note(&layout));
    if wanted(report) > MOST_SHOWN {
        lines.push(format!(
            "the first {MOST_SHOWN} of up to {} values a layer; --json and --csv have them all",
            wanted(report)
        ));
    }
    if report.missed() > 0 {
        lines.push("* missed the tolerance: the residual says how far off the value may be".into());
    }
    lines.extend(skipped_lines(&report.all_skipped(), columns));
    lines.push(String::new());
    lines.extend(totals(report));
    let text: Vec<String> = lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect();
    text.join("\n") + "\n"
}

fn headline(report: &Report) -> String {
    let settings = &report.settings;
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
    parts.push(format!("method {}", settings.method));
    if settings.full {
        parts.push("whole spectra".into());
    } else {
        parts.push(format!("tolerance {:e}", settings.tolerance));
        parts.push(format!("seed {}", settings.seed));
    }
    printable(&parts.join(", "))
}

/// The columns in order. The layout drops those with the highest rank first.
fn table_columns(report: &Report) -> Vec<Column> {
    let rows = &report.rows;
    let texts = |cell: &dyn Fn(&Row) -> String| rows.iter().map(cell).collect::<Vec<_>>();
    let numbers = |cell: fn(&Values) -> Option<String>| texts(&|row| of_values(row, cell));
    let mut columns = vec![
        Column::left("layer", texts(&|row| printable(&row.layer.name))).shortened(),
        Column::left("kind", texts(&kind)).rank(7),
        Column::left("input -> output", texts(&shapes)).rank(5),
    ];
    let shown = wanted(report).min(MOST_SHOWN);
    let marked = report.missed() > 0;
    for index in 0..shown {
        let header = format!("sigma_{}", index + 1);
        let column = Column::right(&header, texts(&|row| sigma(row, index, marked)));
        // Values after the first three go before anything else, the last of them first.
        columns.push(column.rank(if index < 3 { index } else { 10 + index }));
    }
    columns.extend([
        Column::right("||M||_F", numbers(frobenius)).rank(6),
        Column::right("st.rank", numbers(stable_rank)).rank(4),
        Column::right("residual", numbers(residual)).rank(8),
        Column::left("state", texts(&|row| state(row, report.settings.full))),
        Column::right("matvecs", numbers(matvecs)).rank(9),
        Column::right("seconds", numbers(|values| Some(seconds(values.elapsed)))).rank(3),
    ]);
    columns
}

/// Values that a row of the table would have if it were as wide as it takes.
fn wanted(report: &Report) -> usize {
    report.settings.top.min(most_values(report).max(1))
}

fn most_values(report: &Report) -> usize {
    report
        .values()
        .map(|(_, values)| values.singular_values.len())
        .max()
        .unwrap_or(0)
}

fn kind(row: &Row) -> String {
    match row.layer.multiplicity {
        0 | 1 => printable(&row.layer.kind),
        positions => format!("{} x{positions}", printable(&row.layer.kind)),
    }
}

fn shapes(row: &Row) -> String {
    format!(
        "{} -> {}",
        shape(&row.layer.input_shape),
        shape(&row.layer.output_shape)
    )
}

/// A value, and room for a mark where any value of the table has one, so that digits line up.
fn sigma(row: &Row, index: usize, marked: bool) -> String {
    let Outcome::Values(values) = &row.outcome else {
        return "-".into();
    };
    let Some(&value) = values.singular_values.get(index) else {
        return "-".into();
    };
    let mark = match values.converged.get(index) {
        Some(false) => "*",
        _ if marked => " ",
        _ => "",
    };
    format!("{}{mark}", significant(value, DIGITS))
}

fn of_values(row: &Row, cell: fn(&Values) -> Option<String>) -> String {
    match &row.outcome {
        Outcome::Values(values) => cell(values).unwrap_or_else(|| "-".into()),
        Outcome::Refused(_) => "-".into(),
    }
}

/// A whole spectrum is not computed by products.
fn matvecs(values: &Values) -> Option<String> {
    (values.matvecs > 0).then(|| values.matvecs.to_string())
}

fn frobenius(values: &Values) -> Option<String> {
    values.frobenius.map(|norm| significant(norm, DIGITS))
}

fn stable_rank(values: &Values) -> Option<String> {
    values.stable_rank().map(|rank| significant(rank, 3))
}

fn residual(values: &Values) -> Option<String> {
    let relative = values.relative_residual()?;
    Some(if relative == 0.0 {
        "0".into()
    } else {
        format!("{relative:.1e}")
    })
}

fn state(row: &Row, full: bool) -> String {
    match &row.outcome {
        Outcome::Refused(_) => "refused",
        Outcome::Values(values) if !values.all_converged() => "missed",
        Outcome::Values(_) if full => "exact",
        Outcome::Values(_) => "ok",
    }
    .into()
}

fn hidden_note(layout: &Layout) -> Option<String> {
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

fn skipped_lines(skipped: &[Skipped], columns: Option<usize>) -> Vec<String> {
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

/// Totals and extremes. The product of the norms is left out: with branches it bounds nothing.
fn totals(report: &Report) -> Vec<String> {
    let mut counts = vec![match report.rows.len() {
        1 => "1 layer".into(),
        layers => format!("{layers} layers"),
    }];
    let noted = [
        (report.missed(), "missed the tolerance"),
        (report.refused(), "refused"),
        (report.skipped.len(), "skipped"),
    ];
    counts.extend(
        noted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(n, what)| format!("{n} {what}")),
    );
    counts.push(format!("{} matvecs", report.matvecs()));
    counts.push(format!("{} seconds", seconds(report.elapsed)));
    let mut lines = vec![counts.join(", ")];
    lines.extend(extremes(report));
    lines
}

fn extremes(report: &Report) -> Vec<String> {
    let norms = || {
        report
            .values()
            .filter_map(|(layer, values)| Some((values.sigma_1()?, layer)))
    };
    let order = |a: &(f64, _), b: &(f64, _)| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
    let ends = [
        ("largest", norms().max_by(order)),
        ("smallest", norms().min_by(order)),
    ];
    ends.into_iter()
        .filter_map(|(which, end)| {
            let (sigma_1, layer) = end?;
            let value = significant(sigma_1, DIGITS);
            Some(format!(
                "{which:<8} sigma_1 {value:>9}  {}",
                printable(&layer.name)
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn piped() {
        insta::assert_snapshot!(render(&sample::report(), None));
    }

    #[test]
    fn at_140_columns() {
        insta::assert_snapshot!(render(&sample::report(), Some(140)));
    }

    #[test]
    fn at_100_columns() {
        insta::assert_snapshot!(render(&sample::report(), Some(100)));
    }

    #[test]
    fn rows_fit_wherever_they_can() {
        for columns in [70, 80, 100, 120, 140, 160, 200] {
            let text = render(&sample::report(), Some(columns));
            let rows = text.lines().skip(2).take(7);
            assert!(
                rows.clone().all(|row| width(row) <= columns),
                "{columns}:\n{text}"
            );
        }
    }

    #[test]
    fn a_whole_spectrum_shows_its_leading_values() {
        let mut report = sample::report();
        report.settings.full = true;
        report.settings.top = 2;
        report.rows.truncate(1);
        let text = render(&report, None);
        assert!(
            text.contains("sigma_2") && !text.contains("sigma_3"),
            "{text}"
        );
        assert!(text.contains("exact"), "{text}");
    }

    #[test]
    fn escapes_from_the_file_stay_there() {
        assert!(!render(&sample::report(), None).contains('\u{1b}'));
    }
}
