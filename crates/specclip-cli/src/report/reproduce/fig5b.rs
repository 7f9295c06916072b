//! Figure 5b in its formats.

use std::time::Duration;

use crate::error::Error;
use crate::record::reproduce::{Contender, Fig5b};
use crate::report::chart::{self, Axis, Chart, Panel, Point};
use crate::report::layout::{Column, Layout};
use crate::report::number::{seconds, significant};
use crate::report::{csv, json, table};

const HEADER: [&str; 7] = [
    "method",
    "k",
    "median_seconds",
    "median_matvecs",
    "error",
    "reached",
    "repetitions",
];

/// One row a method and number of values.
pub fn csv(figure: &Fig5b) -> Result<Vec<u8>, Error> {
    let rows = figure.points.iter().map(|point| {
        [
            point.method.name().into(),
            point.k.to_string(),
            csv::known(Some(point.median_seconds)),
            point.median_matvecs.to_string(),
            csv::known(Some(point.error)),
            point.reached.to_string(),
            figure.repetitions.to_string(),
        ]
    });
    csv::text(&HEADER, rows)
}

/// The whole record.
pub fn json(figure: &Fig5b) -> Result<Vec<u8>, Error> {
    json::text(figure)
}

fn counts(figure: &Fig5b) -> Vec<usize> {
    let mut counts: Vec<usize> = figure.points.iter().map(|point| point.k).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

fn missed(figure: &Fig5b) -> bool {
    figure
        .points
        .iter()
        .any(|point| point.reached < figure.repetitions)
}

/// Time and products, one line a method.
pub fn svg(figure: &Fig5b) -> Result<String, Error> {
    let panel = |title: &str, label, of: fn(&crate::record::reproduce::Point) -> f64| Panel {
        title: title.into(),
        x: Axis::linear(
            "leading singular values (k)",
            counts(figure).into_iter().map(|k| k as f64),
        ),
        y: Axis::log(label, figure.points.iter().map(of)),
        lines: Contender::ALL
            .into_iter()
            .map(|method| {
                let points = figure.points.iter().filter(|point| point.method == method);
                points
                    .map(|point| Point {
                        x: point.k as f64,
                        y: of(point),
                        ring: point.reached < figure.repetitions,
                    })
                    .collect()
            })
            .collect(),
    };
    chart::render(&Chart {
        title: format!(
            "k leading singular values, all within {:e} of the truth",
            figure.accuracy
        ),
        subtitle: format!(
            "3 x 3 convolution, 32 channels, 32 x 32 samples, zero padding; {}, {}, median of {}",
            figure.settings.precision,
            table::counted(figure.settings.threads, "thread"),
            table::counted(figure.repetitions, "run"),
        ),
        legend: Contender::ALL.map(Contender::label).to_vec(),
        ring: missed(figure).then_some("missed the accuracy"),
        panels: vec![
            panel("Time", "seconds", |point| point.median_seconds),
            panel(
                "Products with M and with its adjoint",
                "products",
                |point| point.median_matvecs as f64,
            ),
        ],
    })
}

/// One row a number of values: for each method time, products and error.
pub fn table(figure: &Fig5b) -> String {
    let counts = counts(figure);
    let mut columns = vec![Column::right(
        "k",
        counts.iter().map(usize::to_string).collect(),
    )];
    for method in Contender::ALL {
        let cells = |cell: &dyn Fn(&crate::record::reproduce::Point) -> String| {
            let points = counts.iter().map(|&k| figure.point(method, k));
            points
                .map(|point| point.map_or_else(|| "-".into(), cell))
                .collect()
        };
        let mark = |reached| {
            if reached < figure.repetitions {
                "*"
            } else {
                " "
            }
        };
        let time = |seconds_: f64| seconds(Duration::from_secs_f64(seconds_));
        columns.push(Column::right(
            &format!("{} s ", method.name()),
            cells(&|point| format!("{}{}", time(point.median_seconds), mark(point.reached))),
        ));
        columns.push(Column::right(
            "matvecs",
            cells(&|point| point.median_matvecs.to_string()),
        ));
        columns.push(Column::right(
            "error",
            cells(&|point| format!("{:.0e}", point.error)),
        ));
    }
    let mut lines = vec![
        format!(
            "k leading singular values within {:e}: 3x3 taps, 32 channels, 32x32 samples, zeros, {}, seed {}",
            figure.accuracy, figure.settings.precision, figure.settings.seed
        ),
        String::new(),
    ];
    lines.extend(Layout::new(columns, None).lines());
    lines.push(String::new());
    if missed(figure) {
        lines.push("* not every run reached the accuracy with any setting; the error is the largest of the runs".into());
    }
    let last = counts.last().copied().unwrap_or(0);
    let time = |method| figure.point(method, last).map(|point| point.median_seconds);
    if let (Some(deflation), Some(power_qr), Some(default)) = (
        time(Contender::Deflation),
        time(Contender::PowerQr),
        time(Contender::Default),
    ) {
        lines.push(format!(
            "at k = {last} the default takes 1/{} of the time of deflation and 1/{} of that of PowerQR",
            significant(deflation / default, 2),
            significant(power_qr / default, 2)
        ));
    }
    lines.push(format!(
        "{} seconds on {}",
        seconds(Duration::from_secs_f64(figure.seconds)),
        table::counted(figure.settings.threads, "thread")
    ));
    table::join(&lines)
}
