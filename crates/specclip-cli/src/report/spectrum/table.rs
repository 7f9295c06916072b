//! The table for people: one row a layer, what was skipped and why, totals.

use std::cmp::Ordering;

use crate::record::Outcome;
use crate::record::spectrum::{Report, Row, Values};
use crate::report::layout::{Column, Layout};
use crate::report::number::{seconds, significant};
use crate::report::table::{
    DIGITS, cells, counted, elapsed, headline, hidden_note, join, kind, name, noted, of_values,
    shapes, skipped_lines,
};
use crate::report::text::printable;

/// Values of a layer that the table has room for, however wide the terminal; the other formats have
/// them all.
const MOST_SHOWN: usize = 12;

/// The whole table as text.
pub fn render(report: &Report, columns: Option<usize>) -> String {
    let layout = Layout::new(table_columns(report), columns);
    let mut lines = vec![headline(&report.settings, &asked(report)), String::new()];
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
    join(&lines)
}

fn asked(report: &Report) -> Vec<String> {
    let asked = &report.asked;
    let mut parts = vec![format!("method {}", asked.method)];
    if asked.full {
        parts.push("whole spectra".into());
    } else {
        parts.push(format!("tolerance {:e}", asked.tolerance));
        parts.push(format!("seed {}", report.settings.seed));
    }
    parts
}

/// The columns in order. The layout drops those with the highest rank first.
fn table_columns(report: &Report) -> Vec<Column> {
    let rows = &report.rows;
    let numbers = |cell: fn(&Values) -> Option<String>| cells(rows, |row| of_values(row, cell));
    let mut columns = vec![
        Column::left("layer", cells(rows, name)).shortened(),
        Column::left("kind", cells(rows, kind)).rank(7),
        Column::left("input -> output", cells(rows, shapes)).rank(5),
    ];
    let shown = wanted(report).min(MOST_SHOWN);
    let marked = report.missed() > 0;
    for index in 0..shown {
        let header = format!("sigma_{}", index + 1);
        let column = Column::right(&header, cells(rows, |row| sigma(row, index, marked)));
        // Values after the first three go before anything else, the last of them first.
        columns.push(column.rank(if index < 3 { index } else { 10 + index }));
    }
    columns.extend([
        Column::right("||M||_F", numbers(frobenius)).rank(6),
        Column::right("st.rank", numbers(stable_rank)).rank(4),
        Column::right("residual", numbers(residual)).rank(8),
        Column::left("state", cells(rows, |row| state(row, report.asked.full))),
        Column::right("matvecs", numbers(matvecs)).rank(9),
        Column::right("seconds", cells(rows, elapsed)).rank(3),
    ]);
    columns
}

/// Values that a row of the table would have if it were as wide as it takes.
fn wanted(report: &Report) -> usize {
    report.asked.top.min(most_values(report).max(1))
}

fn most_values(report: &Report) -> usize {
    report
        .values()
        .map(|(_, values)| values.singular_values.len())
        .max()
        .unwrap_or(0)
}

/// A value, and room for a mark where any value of the table has one, so that digits line up.
fn sigma(row: &Row, index: usize, marked: bool) -> String {
    let value = row
        .values()
        .and_then(|values| Some((values, *values.singular_values.get(index)?)));
    let Some((values, value)) = value else {
        return "-".into();
    };
    let mark = match values.converged.get(index) {
        Some(false) => "*",
        _ if marked => " ",
        _ => "",
    };
    format!("{}{mark}", significant(value, DIGITS))
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

/// Totals and extremes. The product of the norms is left out: with branches it bounds nothing.
fn totals(report: &Report) -> Vec<String> {
    let mut counts = vec![counted(report.rows.len(), "layer")];
    counts.extend(noted(&[
        (report.missed(), "missed the tolerance"),
        (report.refused(), "refused"),
        (report.skipped.len(), "skipped"),
    ]));
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
            .filter_map(|(row, values)| Some((values.sigma_1()?, &row.layer)))
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
    use crate::report::spectrum::sample;
    use crate::report::text::width;

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
        report.asked.full = true;
        report.asked.top = 2;
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
