//! Figure 1 in its formats.

use crate::error::Error;
use crate::record::reproduce::fig1::{Epoch, Fig1, METHODS, Run, Setting};
use crate::report::chart::{self, Axis, Chart, Panel, Point};
use crate::report::layout::{Column, Layout};
use crate::report::number::significant;
use crate::report::{csv, json, table};

const HEADER: [&str; 9] = [
    "kernel",
    "stride",
    "padding",
    "padding_mode",
    "method",
    "epoch",
    "norm",
    "converged",
    "test_accuracy",
];

/// One row a run and epoch.
pub fn csv(figure: &Fig1) -> Result<Vec<u8>, Error> {
    let rows = figure.runs.iter().flat_map(|run| {
        run.norms.iter().map(|epoch| {
            [
                run.setting.kernel.to_string(),
                run.setting.stride.to_string(),
                run.setting.padding.to_string(),
                run.setting.padding_mode.name().into(),
                run.method.name().into(),
                epoch.epoch.to_string(),
                csv::known(Some(epoch.norm)),
                epoch.converged.to_string(),
                csv::known(Some(epoch.test_accuracy)),
            ]
        })
    });
    csv::text(&HEADER, rows)
}

/// The whole record.
pub fn json(figure: &Fig1) -> Result<Vec<u8>, Error> {
    json::text(figure)
}

/// One panel a setting, one line a method, the norm over the epochs.
pub fn svg(figure: &Fig1) -> Result<String, Error> {
    let norms = figure.runs.iter().flat_map(|run| &run.norms);
    let panel = |setting: Setting| Panel {
        title: setting.label(),
        x: Axis::linear("epoch", [f64::from(figure.epochs)].into_iter()),
        // The same in all panels, so that they compare.
        y: Axis::log_fine("sigma_1", norms.clone().map(|epoch| epoch.norm)),
        lines: METHODS
            .into_iter()
            .map(|(method, _)| figure.run(setting, method).map_or(Vec::new(), points))
            .collect(),
    };
    chart::render(&Chart {
        title: format!(
            "Spectral norm of a convolution in training, held down to {} by each method{}",
            figure.target,
            if figure.quick { " (quick version)" } else { "" }
        ),
        subtitle: format!(
            "{}, {} of {} images in batches of {}; clips every {} steps; 64 channels, then a dense layer; seed {}",
            figure.data,
            table::counted(figure.epochs as usize, "epoch"),
            figure.train_images,
            figure.batch,
            figure.every,
            figure.settings.seed,
        ),
        legend: METHODS.map(|(_, label)| label).to_vec(),
        ring: (figure.not_converged() > 0).then_some("not converged"),
        panels: Setting::ALL.into_iter().map(panel).collect(),
    })
}

fn points(run: &Run) -> Vec<Point> {
    let point = |epoch: &Epoch| Point {
        x: f64::from(epoch.epoch),
        y: epoch.norm,
        ring: !epoch.converged,
    };
    run.norms.iter().map(point).collect()
}

/// One row a method, and for each setting the norm and the accuracy at the end.
pub fn table(figure: &Fig1) -> String {
    let last = |method, setting| figure.run(setting, method).and_then(|run| run.norms.last());
    let cells = |setting, cell: fn(&Epoch) -> String| {
        let cell = |(method, _)| last(method, setting).map_or("-".to_owned(), cell);
        METHODS.map(cell).to_vec()
    };
    let mut columns = vec![Column::left(
        "method",
        METHODS.map(|(method, _)| method.name().to_owned()).to_vec(),
    )];
    let names = Setting::ALL.map(Setting::label);
    for (setting, name) in Setting::ALL.into_iter().zip(&names) {
        columns.push(Column::right(name, cells(setting, norm)));
        columns.push(Column::right("right", cells(setting, accuracy)));
    }
    let mut lines = vec![
        format!(
            "sigma_1 of the convolution and share of right answers after {}, target {}{}",
            table::counted(figure.epochs as usize, "epoch"),
            figure.target,
            if figure.quick {
                format!(" (quick: {} images)", figure.train_images)
            } else {
                String::new()
            }
        ),
        String::new(),
    ];
    lines.extend(Layout::new(columns, None).lines());
    lines.push(String::new());
    if figure.not_converged() > 0 {
        lines.push(format!(
            "* {} norms did not converge: they are lower estimates",
            figure.not_converged()
        ));
    }
    table::join(&lines)
}

fn norm(epoch: &Epoch) -> String {
    let mark = if epoch.converged { "" } else { "*" };
    format!("{}{mark}", significant(epoch.norm, 4))
}

fn accuracy(epoch: &Epoch) -> String {
    format!("{:.1} %", 100.0 * epoch.test_accuracy)
}
