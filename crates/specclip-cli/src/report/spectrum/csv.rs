//! CSV in long form: one row a singular value, so that any program can group, filter and draw it.

use crate::error::Error;
use crate::record::spectrum::{Report, Row, Values};
use crate::report::csv::{known, text};
use crate::report::number::shape;

const HEADER: [&str; 15] = [
    "layer",
    "kind",
    "input_shape",
    "output_shape",
    "multiplicity",
    "index",
    "singular_value",
    "residual",
    "relative_residual",
    "converged",
    "frobenius",
    "stable_rank",
    "method",
    "matvecs",
    "seconds",
];

/// The rows as text. Numbers are written in full; an unknown one is an empty field.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let rows = report.values().flat_map(|(layer, values)| {
        (0..values.singular_values.len()).map(move |index| row(layer, values, index))
    });
    text(&HEADER, rows)
}

fn row(layer: &Row, values: &Values, index: usize) -> [String; 15] {
    let identity = &layer.layer;
    let residual = values.residuals.get(index).copied();
    let sigma_1 = values.sigma_1().filter(|&sigma_1| sigma_1 > 0.0);
    let relative = residual
        .zip(sigma_1)
        .map(|(residual, sigma_1)| residual / sigma_1);
    [
        identity.name.clone(),
        identity.kind.clone(),
        shape(&identity.input_shape),
        shape(&identity.output_shape),
        identity.multiplicity.to_string(),
        (index + 1).to_string(),
        known(values.singular_values.get(index).copied()),
        known(residual),
        known(relative),
        known(values.converged.get(index).copied()),
        known(values.frobenius),
        known(values.stable_rank()),
        values.method.to_owned(),
        values.matvecs.to_string(),
        layer.elapsed.as_secs_f64().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::spectrum::sample;

    #[test]
    fn one_row_a_value() {
        let text = String::from_utf8(render(&sample::report()).unwrap()).unwrap();
        insta::assert_snapshot!(text);
    }
}
