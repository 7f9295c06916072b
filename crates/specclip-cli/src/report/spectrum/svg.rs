//! One picture: the leading values of each layer in network order, on a log axis.

mod frame;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::error::Error;
use crate::record::Outcome;
use crate::record::spectrum::{Report, Values};
use crate::report::draw::{Canvas, Drawing, GRID, INK, PALE_INK, TEXT, TITLE, font, tick, turned};
use crate::report::text::{printable, shorten};

use frame::{CHARACTER, Frame, LEFT, TOP, shown};

const LEADING: RGBColor = RGBColor(20, 76, 130);
const OTHERS: RGBColor = RGBColor(132, 178, 219);
const MISSED: RGBColor = RGBColor(205, 70, 20);

/// The picture as SVG text.
pub fn render(report: &Report) -> Result<String, Error> {
    let frame = Frame::new(report);
    let mut text = String::new();
    draw(&mut text, report, &frame).map_err(|error| Error::Picture(error.to_string()))?;
    Ok(text)
}

fn draw(text: &mut String, report: &Report, frame: &Frame) -> Drawing {
    let size = (frame.width.unsigned_abs(), frame.height.unsigned_abs());
    let canvas = SVGBackend::with_string(text, size).into_drawing_area();
    canvas.fill(&WHITE)?;
    headings(&canvas, report, frame)?;
    axis(&canvas, frame)?;
    names(&canvas, report, frame)?;
    for (index, row) in report.rows.iter().enumerate() {
        if let Outcome::Values(values) = &row.outcome {
            layer(&canvas, frame, report, values, index)?;
        }
    }
    canvas.present()?;
    Ok(())
}

/// The title, and beneath it what the marks mean.
fn headings(canvas: &Canvas<'_>, report: &Report, frame: &Frame) -> Drawing {
    let settings = &report.settings;
    let room = usize::try_from((frame.width - LEFT) / 10).unwrap_or(0);
    let path = std::path::Path::new(&settings.model);
    let model = path.file_name().map_or_else(
        || settings.model.clone(),
        |name| name.to_string_lossy().into_owned(),
    );
    let title = format!("Leading singular values, {}", printable(&model));
    canvas.draw_text(&shorten(&title, room), &font(TITLE, HPos::Left), (LEFT, 24))?;
    let mut x = LEFT + 6;
    let mut entry = |label: &str, dot: Circle<(i32, i32), i32>| -> Drawing {
        canvas.draw(&(EmptyElement::at((x, 52)) + dot))?;
        canvas.draw_text(label, &font(TEXT, HPos::Left), (x + 12, 52))?;
        x += 32 + i32::try_from(label.len())? * CHARACTER;
        Ok(())
    };
    entry("sigma_1", dot((0, 0), 0, true))?;
    match report.asked.top {
        1 => {}
        2 => entry("sigma_2", dot((0, 0), 1, true))?,
        top => entry(&format!("sigma_2 to sigma_{top}"), dot((0, 0), 1, true))?,
    }
    if report.missed() > 0 {
        entry("missed the tolerance", dot((0, 0), 1, false))?;
    }
    Ok(())
}

/// The mark of a value: sigma_1 is large and dark, and what missed the tolerance a ring.
fn dot(at: (i32, i32), rank: usize, converged: bool) -> Circle<(i32, i32), i32> {
    let (color, size) = if rank == 0 { (LEADING, 5) } else { (OTHERS, 3) };
    let style = if converged {
        color.filled()
    } else {
        MISSED.stroke_width(2)
    };
    Circle::new(at, size, style)
}

fn axis(canvas: &Canvas<'_>, frame: &Frame) -> Drawing {
    for value in frame.ticks() {
        let Some(y) = frame.y(value) else { continue };
        // What has norm 1 neither stretches nor shrinks: that line is worth finding.
        let color = if value == 1.0 { PALE_INK } else { GRID };
        canvas.draw(&PathElement::new([(LEFT, y), (frame.right(), y)], color))?;
        canvas.draw_text(&tick(value), &font(TEXT, HPos::Right), (LEFT - 8, y))?;
    }
    canvas.draw(&PathElement::new(
        [(LEFT, TOP), (LEFT, frame.bottom())],
        PALE_INK,
    ))?;
    let style = turned(INK, HPos::Center);
    canvas.draw_text("singular value", &style, (22, (TOP + frame.bottom()) / 2))?;
    Ok(())
}

/// Names below the axis, read from below; those without values are pale.
fn names(canvas: &Canvas<'_>, report: &Report, frame: &Frame) -> Drawing {
    for (index, (name, row)) in frame.names.iter().zip(&report.rows).enumerate() {
        let color = if matches!(row.outcome, Outcome::Refused(_)) {
            PALE_INK
        } else {
            INK
        };
        let style = turned(color, HPos::Right);
        canvas.draw_text(name, &style, (frame.x(index), frame.bottom() + 12))?;
    }
    Ok(())
}

/// A line that joins the values of a layer, the lighter ones first, so that sigma_1 lies on top.
fn layer(
    canvas: &Canvas<'_>,
    frame: &Frame,
    report: &Report,
    values: &Values,
    index: usize,
) -> Drawing {
    let x = frame.x(index);
    let points: Vec<(usize, i32)> = shown(report, values)
        .filter_map(|(rank, value)| Some((rank, frame.y(value)?)))
        .collect();
    if let (Some((_, high)), Some((_, low))) = (points.first(), points.last()) {
        canvas.draw(&PathElement::new([(x, *low), (x, *high)], OTHERS))?;
    }
    for &(rank, y) in points.iter().rev() {
        let converged = values.converged.get(rank) != Some(&false);
        canvas.draw(&dot((x, y), rank, converged))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::spectrum::Row;
    use crate::report::spectrum::sample;

    #[test]
    fn every_positive_value_has_a_mark() {
        let text = render(&sample::report()).unwrap();
        // 3 in the legend, 3 + 2 + 3 + 2 in the rows: zeros have no place on a log axis, and 1e-9
        // next to 12 is rounding.
        assert_eq!(text.matches("<circle").count(), 13);
        assert_eq!(
            text.matches("stroke=\"#CD4614\"").count(),
            3,
            "one in the legend, two values"
        );
    }

    #[test]
    fn names_are_escaped() {
        let mut report = sample::report();
        report.rows[0].layer.name = "<script>&\"".into();
        let text = render(&report).unwrap();
        assert!(!text.contains("<script>"), "{text}");
    }

    #[test]
    fn no_report_is_too_odd_to_draw() {
        let mut report = sample::report();
        for sigma in [
            f64::MIN_POSITIVE,
            f64::MAX,
            1e-310,
            0.0,
            f64::NAN,
            f64::INFINITY,
        ] {
            if let Outcome::Values(values) = &mut report.rows[0].outcome {
                values.singular_values[0] = sigma;
            }
            assert!(render(&report).is_ok(), "{sigma}");
        }
        report.rows = Vec::<Row>::new();
        assert!(render(&report).is_ok());
    }
}
