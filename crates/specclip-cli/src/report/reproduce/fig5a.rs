//! Figure 5a in its formats.

use std::time::Duration;

use crate::error::Error;
use crate::record::reproduce::{Cell, Fig5a};
use crate::report::chart::{self, Axis, Chart, Panel, Point};
use crate::report::layout::{Column, Layout};
use crate::report::number::{seconds, significant};
use crate::report::{csv, json, table};

const HEADER: [&str; 9] = [
    "kernel",
    "channels",
    "padding",
    "mean_difference",
    "deviation",
    "largest_difference",
    "mean_relative_difference",
    "mean_sigma_1",
    "not_converged",
];

/// One row a mean.
pub fn csv(figure: &Fig5a) -> Result<Vec<u8>, Error> {
    csv::text(&HEADER, figure.cells.iter().map(row))
}

fn row(cell: &Cell) -> [String; 9] {
    let full = |value| csv::known(Some(value));
    [
        cell.kernel.to_string(),
        cell.channels.to_string(),
        cell.padding.into(),
        full(cell.mean_difference),
        full(cell.deviation),
        full(cell.largest_difference),
        full(cell.mean_relative_difference),
        full(cell.mean_sigma_1),
        cell.not_converged.to_string(),
    ]
}

/// The whole record.
pub fn json(figure: &Fig5a) -> Result<Vec<u8>, Error> {
    json::text(figure)
}

/// One panel a kernel size, one line a padding.
pub fn svg(figure: &Fig5a) -> Result<String, Error> {
    let panels = distinct(figure, |cell| cell.kernel)
        .into_iter()
        .map(|kernel| {
            let line = |padding| points(figure, kernel, padding);
            Panel {
                title: format!("{kernel} x {kernel} taps"),
                x: Axis::log_at(
                    "input and output channels",
                    &distinct(figure, |cell| cell.channels)
                        .into_iter()
                        .map(|channels| channels as f64)
                        .collect::<Vec<_>>(),
                ),
                y: Axis::linear("|sigma_1 - circulant value|", heights(figure, kernel)),
                lines: distinct(figure, |cell| cell.padding)
                    .into_iter()
                    .map(line)
                    .collect(),
            }
        });
    chart::render(&Chart {
        title: "The circulant value is not sigma_1 unless padding is circular".into(),
        subtitle: format!(
            "absolute difference, mean over {} filters with standard normal weights, stride 1, {n} x {n} samples",
            figure.filters,
            n = figure.size
        ),
        legend: distinct(figure, |cell| cell.padding),
        ring: (figure.not_converged() > 0).then_some("some sigma_1 missed the tolerance"),
        panels: panels.collect(),
    })
}

fn heights(figure: &Fig5a, kernel: usize) -> impl Iterator<Item = f64> + '_ {
    let cells = figure
        .cells
        .iter()
        .filter(move |cell| cell.kernel == kernel);
    cells.map(|cell| cell.mean_difference)
}

fn points(figure: &Fig5a, kernel: usize, padding: &str) -> Vec<Point> {
    let cells = figure.cells.iter();
    let cells = cells.filter(|cell| cell.kernel == kernel && cell.padding == padding);
    cells
        .map(|cell| Point {
            x: cell.channels as f64,
            y: cell.mean_difference,
            ring: cell.not_converged > 0,
        })
        .collect()
}

/// In the order of their first occurrence.
fn distinct<T: PartialEq>(figure: &Fig5a, of: impl Fn(&Cell) -> T) -> Vec<T> {
    let mut values = Vec::new();
    for value in figure.cells.iter().map(of) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// One row a kernel size and number of channels, one column a padding.
pub fn table(figure: &Fig5a) -> String {
    let paddings = distinct(figure, |cell| cell.padding);
    let rows: Vec<&[Cell]> = figure.cells.chunks(paddings.len().max(1)).collect();
    let cells = |cell: &dyn Fn(&[Cell]) -> String| rows.iter().map(|row| cell(row)).collect();
    let mut columns = vec![
        Column::right("kernel", cells(&|row| format!("{0}x{0}", row[0].kernel))),
        Column::right("channels", cells(&|row| row[0].channels.to_string())),
    ];
    for (index, padding) in paddings.iter().enumerate() {
        columns.push(Column::right(
            padding,
            cells(&|row| difference(&row[index])),
        ));
    }
    let sigma = |row: &[Cell]| significant(row[0].mean_sigma_1, 4);
    columns.push(Column::right("sigma_1 (zeros)", cells(&sigma)));
    let mut lines = vec![
        format!(
            "|sigma_1 - circulant value|, mean over {} filters, {n} x {n} samples, {}, seed {}",
            figure.filters,
            figure.settings.precision,
            figure.settings.seed,
            n = figure.size
        ),
        String::new(),
    ];
    lines.extend(Layout::new(columns, None).lines());
    lines.push(String::new());
    if figure.not_converged() > 0 {
        lines.push(format!(
            "* {} values of sigma_1 missed the tolerance",
            figure.not_converged()
        ));
    }
    let time = Duration::from_secs_f64(figure.seconds);
    lines.push(format!(
        "{} seconds on {}",
        seconds(time),
        table::counted(figure.settings.threads, "thread")
    ));
    table::join(&lines)
}

fn difference(cell: &Cell) -> String {
    let mark = if cell.not_converged > 0 { "*" } else { "" };
    format!("{}{mark}", significant(cell.mean_difference, 3))
}
