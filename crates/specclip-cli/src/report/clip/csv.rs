//! The CSV of a clip: one row a layer.

use crate::error::Error;
use crate::record::clip::{Report, Row, Values};
use crate::report::csv::{known, text};
use crate::report::number::shape;

const HEADER: [&str; 19] = [
    "layer",
    "kind",
    "input_shape",
    "output_shape",
    "multiplicity",
    "sigma_before",
    "converged_before",
    "sigma_after",
    "converged_after",
    "upper",
    "upper_by",
    "state",
    "distance",
    "relative_distance",
    "gap",
    "rounds",
    "clips",
    "matvecs",
    "seconds",
];

/// The rows as text.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    text(
        &HEADER,
        report.values().map(|(layer, values)| row(layer, values)),
    )
}

fn row(layer: &Row, values: &Values) -> [String; 19] {
    let identity = &layer.layer;
    let (before, after) = (&values.before, &values.after);
    [
        identity.name.clone(),
        identity.kind.clone(),
        shape(&identity.input_shape),
        shape(&identity.output_shape),
        identity.multiplicity.to_string(),
        known(Some(before.sigma)),
        before.converged.to_string(),
        known(Some(after.sigma)),
        after.converged.to_string(),
        known(Some(after.interval.upper)),
        after.interval.upper_by.to_string(),
        values.state().to_owned(),
        known(Some(values.distance)),
        known(values.relative_distance()),
        known(values.gap()),
        values.rounds.to_string(),
        values.clips.to_string(),
        values.matvecs.to_string(),
        layer.elapsed.as_secs_f64().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::clip::sample;

    #[test]
    fn one_row_a_layer() {
        let text = String::from_utf8(render(&sample::report()).unwrap()).unwrap();
        insta::assert_snapshot!(text);
    }
}
