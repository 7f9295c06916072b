//! The table for people: layers by methods.

use crate::record::compare::{Comparison, Method, Report, Row};
use crate::report::layout::{Column, Layout};
use crate::report::number::{seconds, significant};
use crate::report::table::{
    DIGITS, cells, counted, headline, hidden_note, join, kind, name, noted, shapes, skipped_lines,
};

/// Digits of the methods' values: their errors tell the rest.
const SHORT: usize = 4;

/// The whole table as text.
pub fn render(report: &Report, columns: Option<usize>) -> String {
    let layout = Layout::new(table_columns(report), columns);
    let asked = [
        format!("tolerance {:e}", report.asked.tolerance),
        format!("seed {}", report.settings.seed),
    ];
    let mut lines = vec![headline(&report.settings, &asked), String::new()];
    lines.extend(layout.lines());
    lines.extend(hidden_note(&layout));
    if report.missed() > 0 {
        lines.push("* missed the tolerance: sigma_1 may be larger".into());
    }
    let broken = Method::ALL
        .into_iter()
        .map(|method| report.broken(method))
        .sum::<usize>();
    if broken > 0 {
        lines.push("! claims to be a bound and is below sigma_1".into());
    }
    lines.extend(skipped_lines(&report.all_skipped(), columns));
    lines.push(String::new());
    lines.push(totals(report));
    lines.extend(
        Method::ALL
            .into_iter()
            .filter_map(|method| summary(report, method)),
    );
    join(&lines)
}

fn table_columns(report: &Report) -> Vec<Column> {
    let rows = &report.rows;
    let sigma = |row: &Row| {
        row.values().map_or_else(
            || "-".into(),
            |values| {
                let mark = if values.converged { "" } else { "*" };
                format!("{}{mark}", significant(values.sigma_1, DIGITS))
            },
        )
    };
    let mut columns = vec![
        Column::left("layer", cells(rows, name)).shortened(),
        Column::left("kind", cells(rows, kind)).rank(3),
        Column::left("input -> output", cells(rows, shapes)).rank(4),
        Column::right("sigma_1", cells(rows, sigma)),
    ];
    columns.extend(Method::ALL.map(|method| method_column(report, method)));
    columns
}

/// Values and errors, each lined up, with room for a mark where one is needed.
fn method_column(report: &Report, method: Method) -> Column {
    let marked = report.broken(method) > 0;
    let errors: Vec<Option<String>> = report
        .rows
        .iter()
        .map(|row| row.values().and_then(|values| error(values, method)))
        .collect();
    let widest = errors.iter().flatten().map(String::len).max().unwrap_or(0);
    let texts = report.rows.iter().zip(errors).map(|(row, error)| {
        let values = row.values();
        let value = values.and_then(|values| values.value(method));
        let mark = match values {
            Some(values) if values.broken(method) => "!",
            _ if marked => " ",
            _ => "",
        };
        value.map_or_else(
            || format!("-{}", if marked { " " } else { "" }),
            |value| {
                let error = error.unwrap_or_default();
                format!("{} {error:>widest$}{mark}", significant(value, SHORT))
            },
        )
    });
    let column = Column::right(method.name(), texts.collect());
    match method {
        Method::Proven => column.rank(2),
        Method::FantasticFour => column.rank(1),
        _ => column,
    }
}

/// The relative error in percent, with its sign.
fn error(values: &Comparison, method: Method) -> Option<String> {
    Some(percent(values.error(method)?))
}

fn percent(error: f64) -> String {
    let text = |percent: f64| {
        let decimals = match percent.abs() {
            p if p >= 9.95 => 0,
            p if p >= 0.995 => 1,
            _ => 2,
        };
        format!("{percent:+.decimals$}%")
    };
    // Less than can be seen is not called 0 with a sign.
    if error.abs() < 5e-5 {
        "0%".into()
    } else {
        text(100.0 * error)
    }
}

fn totals(report: &Report) -> String {
    let mut parts = vec![counted(report.rows.len(), "layer")];
    parts.extend(noted(&[
        (report.missed(), "missed the tolerance"),
        (report.refused(), "refused"),
        (report.skipped.len(), "skipped"),
    ]));
    parts.push(format!("{} seconds", seconds(report.elapsed)));
    parts.join(", ")
}

/// The errors of a method over all layers that have its value.
fn summary(report: &Report, method: Method) -> Option<String> {
    let errors = report
        .values()
        .filter_map(|(_, values)| values.error(method));
    let mut errors: Vec<f64> = errors.collect();
    errors.sort_by(f64::total_cmp);
    let (least, largest) = (errors.first()?, errors.last()?);
    let broken = match report.broken(method) {
        0 => String::new(),
        layers => format!(", below sigma_1 on {}", counted(layers, "layer")),
    };
    Some(format!(
        "{:<14} on {}: {} to {}{broken}",
        method.name(),
        counted(errors.len(), "layer"),
        percent(*least),
        percent(*largest)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_two_or_three_digits() {
        for (error, text) in [
            (0.0, "0%"),
            (-4e-5, "0%"),
            (0.000_123, "+0.01%"),
            (-0.034_5, "-3.5%"),
            (0.0995, "+10%"),
            (2.5, "+250%"),
            (-1.0, "-100%"),
        ] {
            assert_eq!(percent(error), text);
        }
    }
}
