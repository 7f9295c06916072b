//! The table of a clip for people: one row a layer, before and after.

use specclip::clip::Norm;

use crate::record::Outcome;
use crate::record::clip::{Report, Row, Values, method_name};
use crate::report::layout::{Column, Layout};
use crate::report::number::{seconds, significant};
use crate::report::table::{
    DIGITS, cells, counted, headline, hidden_note, join, kind, name, noted, of_values, shapes,
    skipped_lines,
};
use crate::report::text::printable;

/// The whole table as text.
pub fn render(report: &Report, columns: Option<usize>) -> String {
    let layout = Layout::new(table_columns(report), columns);
    let mut lines = vec![headline(&report.settings, &asked(report)), String::new()];
    lines.extend(layout.lines());
    lines.extend(hidden_note(&layout));
    if unsure(report) {
        lines.push("* not converged: the norm may be larger".into());
    }
    lines.extend(skipped_lines(&report.all_skipped(), columns));
    lines.push(String::new());
    lines.extend(totals(report));
    join(&lines)
}

fn asked(report: &Report) -> Vec<String> {
    let asked = &report.asked;
    let mut parts = vec![
        format!("norm {}", asked.norm),
        format!("method {}", method_name(&asked.params.method)),
        format!("tolerance {:e}", asked.params.tolerance),
    ];
    if asked.params.proven {
        parts.push("proven".into());
    }
    parts.push(format!("seed {}", report.settings.seed));
    parts
}

/// The columns in order. The layout drops those with the highest rank first.
fn table_columns(report: &Report) -> Vec<Column> {
    let rows = &report.rows;
    let marked = unsure(report);
    let sigma = |norm: fn(&Values) -> &Norm| {
        cells(rows, |row| of_values(row, |v| Some(value(norm(v), marked))))
    };
    let numbers = |cell: fn(&Values) -> Option<String>| cells(rows, |row| of_values(row, cell));
    vec![
        Column::left("layer", cells(rows, name)).shortened(),
        Column::left("kind", cells(rows, kind)).rank(6),
        Column::left("input -> output", cells(rows, shapes)).rank(9),
        Column::right("before", sigma(|v| &v.before)),
        Column::right("after", sigma(|v| &v.after)),
        Column::right(
            "upper",
            numbers(|v| Some(significant(v.after.interval.upper, DIGITS))),
        )
        .rank(2),
        Column::right("moved", numbers(|v| Some(significant(v.distance, 3)))).rank(4),
        Column::right("of ||W||", numbers(|v| v.relative_distance().map(percent))).rank(3),
        Column::right("gap", numbers(|v| v.gap().map(gap))).rank(1),
        Column::right("rounds", numbers(|v| Some(v.rounds.to_string()))).rank(8),
        Column::left("state", cells(rows, state)),
        Column::right("matvecs", numbers(|v| Some(v.matvecs.to_string()))).rank(7),
        Column::right("seconds", cells(rows, |row| seconds(row.elapsed))).rank(5),
    ]
}

/// A norm, and room for a mark where any norm of the table has one, so that digits line up.
fn value(norm: &Norm, marked: bool) -> String {
    let mark = match norm.converged {
        false => "*",
        true if marked => " ",
        true => "",
    };
    format!("{}{mark}", significant(norm.sigma, DIGITS))
}

fn unsure(report: &Report) -> bool {
    let unsure = |v: &Values| !(v.before.converged && v.after.converged);
    report.values().any(|(_, values)| unsure(values))
}

/// What is less than can be seen is not written out.
fn gap(fraction: f64) -> String {
    if fraction > 0.0 && fraction < 1e-5 {
        "<0.001 %".into()
    } else {
        percent(fraction)
    }
}

fn percent(fraction: f64) -> String {
    format!("{} %", significant(100.0 * fraction, 3))
}

fn state(row: &Row) -> String {
    match &row.outcome {
        Outcome::Refused(_) => "refused".into(),
        Outcome::Values(values) => values.state().into(),
    }
}

fn totals(report: &Report) -> Vec<String> {
    let mut counts = vec![
        counted(report.rows.len(), "layer"),
        format!("{} with new weights", report.changed()),
    ];
    counts.extend(noted(&[
        (report.missed(), "missed"),
        (report.refused(), "refused"),
        (report.skipped.len(), "skipped"),
    ]));
    counts.push(format!("{} matvecs", report.matvecs()));
    counts.push(format!("{} seconds", seconds(report.elapsed)));
    let written = match &report.asked.output {
        Some(path) => printable(&format!("written to {}", path.display())),
        None => "nothing is written".into(),
    };
    vec![counts.join(", "), written]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::clip::sample;

    #[test]
    fn piped() {
        insta::assert_snapshot!(render(&sample::report(), None));
    }

    #[test]
    fn a_gap_that_only_rounding_makes_is_none() {
        assert_eq!(gap(0.0), "0 %");
        assert_eq!(gap(5e-11), "<0.001 %");
        assert_eq!(gap(0.02), "2.00 %");
        let report = sample::report();
        let (_, values) = report.values().next().unwrap();
        let nearer = Values {
            distance: values.least_distance.unwrap() * (1.0 - 1e-9),
            ..values.clone()
        };
        assert_eq!(nearer.gap(), Some(0.0));
    }

    #[test]
    fn at_100_columns() {
        insta::assert_snapshot!(render(&sample::report(), Some(100)));
    }
}
