//! CSV in long form: one row a layer and method.

use crate::error::Error;
use crate::record::compare::{Comparison, Method, Report, Row};
use crate::report::csv::{known, text};
use crate::report::number::shape;

const HEADER: [&str; 12] = [
    "layer",
    "kind",
    "input_shape",
    "output_shape",
    "multiplicity",
    "sigma_1",
    "converged",
    "method",
    "value",
    "relative_error",
    "claims_bound",
    "below_sigma_1",
];

/// The rows as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let rows = report.values().flat_map(|(layer, values)| {
        Method::ALL
            .into_iter()
            .map(move |method| row(layer, values, method))
    });
    text(&HEADER, rows)
}

fn row(row: &Row, values: &Comparison, method: Method) -> [String; 12] {
    let layer = &row.layer;
    [
        layer.name.clone(),
        layer.kind.clone(),
        shape(&layer.input_shape),
        shape(&layer.output_shape),
        layer.multiplicity.to_string(),
        known(Some(values.sigma_1)),
        values.converged.to_string(),
        method.name().into(),
        known(values.value(method)),
        known(values.error(method)),
        method.claims_bound().to_string(),
        values.broken(method).to_string(),
    ]
}
