//! CSV: one row a layer.

use specclip::bound::Interval;

use crate::error::Error;
use crate::record::bound::{Report, Row, gap};
use crate::report::csv::{known, text};
use crate::report::number::shape;

const HEADER: [&str; 12] = [
    "layer",
    "kind",
    "input_shape",
    "output_shape",
    "multiplicity",
    "lower",
    "upper",
    "gap",
    "lower_by",
    "upper_by",
    "failure_probability",
    "seconds",
];

/// The rows as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    text(
        &HEADER,
        report
            .layers
            .values()
            .map(|(layer, interval)| row(layer, interval)),
    )
}

fn row(row: &Row, interval: &Interval) -> [String; 12] {
    let layer = &row.layer;
    [
        layer.name.clone(),
        layer.kind.clone(),
        shape(&layer.input_shape),
        shape(&layer.output_shape),
        layer.multiplicity.to_string(),
        known(Some(interval.lower)),
        known(Some(interval.upper)),
        known(gap(interval)),
        interval.lower_by.name().into(),
        interval.upper_by.name().into(),
        known(Some(interval.failure_probability)),
        row.elapsed.as_secs_f64().to_string(),
    ]
}
