//! CSV in long form: one row a singular value, so that any program can group, filter and draw it.

use crate::error::Error;
use crate::record::{Identity, Report, Values};

use super::number::shape;

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
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).map_err(broken)?;
    for (identity, values) in report.values() {
        for index in 0..values.singular_values.len() {
            writer
                .write_record(row(identity, values, index))
                .map_err(broken)?;
        }
    }
    writer.into_inner().map_err(broken)
}

fn row(identity: &Identity, values: &Values, index: usize) -> [String; 15] {
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
        values.elapsed.as_secs_f64().to_string(),
    ]
}

/// `Debug` is the shortest text that reads back as the same number, with an exponent where it is far
/// from 1; `Display` would write out three hundred zeros.
fn known<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

fn broken(error: impl ToString) -> Error {
    Error::Format {
        format: "CSV",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn one_row_a_value() {
        let text = String::from_utf8(render(&sample::report()).unwrap()).unwrap();
        insta::assert_snapshot!(text);
    }
}
