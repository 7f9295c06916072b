//! Line charts: panels side by side, each with its axes, and one legend for all.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::draw::{
    Canvas, Drawing, GRID, INK, PALE_INK, TEXT, TITLE, font, text_width, tick, turned,
};
use crate::error::Error;

/// A picture.
pub struct Chart {
    /// Above everything.
    pub title: String,
    /// Beneath the title: how the numbers came about.
    pub subtitle: String,
    /// What the lines of all panels are.
    pub legend: Vec<&'static str>,
    /// What a ring means, where there is one.
    pub ring: Option<&'static str>,
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// One for each entry of the legend, in that order.
    pub lines: Vec<Vec<Point>>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// A ring instead of a dot.
    pub ring: bool,
}

/// An axis with its ends and the values that are marked on it.
pub struct Axis {
    /// What is on it, with its unit.
    pub label: &'static str,
    log: bool,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// A logarithmic axis on which exactly these values are marked.
    pub fn log_at(label: &'static str, ticks: &[f64]) -> Self {
        let (low, high) = ends(ticks.iter().copied());
        Self {
            label,
            log: true,
            low: low / 1.2,
            high: high * 1.2,
            ticks: ticks.to_vec(),
        }
    }

    /// A logarithmic axis for these positive values, with powers of ten marked.
    pub fn log(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values.filter(|&value| value > 0.0));
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks: Vec<f64> = powers
            .filter_map(|power| format!("1e{power}").parse().ok())
            .collect();
        let (low, high) = ends(ticks.iter().copied());
        Self {
            label,
            log: true,
            low,
            high: high.max(low * 10.0),
            ticks,
        }
    }

    /// A linear axis from 0 that covers these values, with round values marked.
    pub fn linear(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let high = values.fold(0.0, f64::max);
        let high = if high > 0.0 && high.is_finite() {
            high
        } else {
            1.0
        };
        let power = 10.0_f64.powf((high / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power);
        let step = step
            .clone()
            .find(|step| high / step <= 6.0)
            .unwrap_or(10.0 * power);
        let count = (high / step).ceil() as i32;
        Self {
            label,
            log: false,
            low: 0.0,
            high: f64::from(count) * step,
            ticks: (0..=count).map(|tick| f64::from(tick) * step).collect(),
        }
    }

    /// Where a value is, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if ends.0 > ends.1 { (1.0, 10.0) } else { ends }
}

/// Colours that differ in lightness as well, for people who see few colours and for grey print.
const COLORS: [RGBColor; 4] = [
    RGBColor(20, 76, 130),
    RGBColor(205, 70, 20),
    RGBColor(60, 150, 90),
    RGBColor(150, 120, 190),
];

const LEFT: i32 = 84;
const TOP: i32 = 124;
const HEIGHT: i32 = 300;
const GAP: i32 = 92;
const RIGHT: i32 = 24;
const BELOW: i32 = 56;
/// Of all panels with the gaps between them.
const PLOT: i32 = 1080;

/// The picture as SVG text.
pub fn render(chart: &Chart) -> Result<String, Error> {
    let mut text = String::new();
    draw(&mut text, chart).map_err(|error| Error::Picture(error.to_string()))?;
    Ok(text)
}

fn draw(text: &mut String, chart: &Chart) -> Drawing {
    let count = i32::try_from(chart.panels.len())?.max(1);
    let width = (PLOT - (count - 1) * GAP) / count;
    let size = (
        (LEFT + PLOT + RIGHT).unsigned_abs(),
        (TOP + HEIGHT + BELOW).unsigned_abs(),
    );
    let canvas = SVGBackend::with_string(text, size).into_drawing_area();
    canvas.fill(&WHITE)?;
    canvas.draw_text(&chart.title, &font(TITLE, HPos::Left), (LEFT, 24))?;
    canvas.draw_text(&chart.subtitle, &font(TEXT, HPos::Left), (LEFT, 48))?;
    legend(&canvas, chart)?;
    for (index, panel) in chart.panels.iter().enumerate() {
        let place = Place {
            panel,
            left: LEFT + i32::try_from(index)? * (width + GAP),
            width,
        };
        axes(&canvas, &place)?;
        for (line, points) in panel.lines.iter().enumerate() {
            draw_line(&canvas, &place, line, points)?;
        }
    }
    canvas.present()?;
    Ok(())
}

fn legend(canvas: &Canvas<'_>, chart: &Chart) -> Drawing {
    const Y: i32 = 74;
    let mut x = LEFT;
    for (line, label) in chart.legend.iter().enumerate() {
        let color = COLORS[line % COLORS.len()];
        canvas.draw(&PathElement::new(
            [(x, Y), (x + 24, Y)],
            color.stroke_width(2),
        ))?;
        mark(canvas, (x + 12, Y), line, false)?;
        canvas.draw_text(label, &font(TEXT, HPos::Left), (x + 32, Y))?;
        x += 56 + text_width(label);
    }
    if let Some(label) = chart.ring {
        canvas.draw(&Circle::new((x + 12, Y), 6, INK.stroke_width(1)))?;
        canvas.draw_text(label, &font(TEXT, HPos::Left), (x + 24, Y))?;
    }
    Ok(())
}

/// A panel and where it is.
struct Place<'a> {
    panel: &'a Panel,
    left: i32,
    width: i32,
}

impl Place<'_> {
    fn across(&self, value: f64) -> i32 {
        self.left + (self.panel.x.share(value) * f64::from(self.width)).round() as i32
    }

    fn up(&self, value: f64) -> i32 {
        TOP + ((1.0 - self.panel.y.share(value)) * f64::from(HEIGHT)).round() as i32
    }
}

fn axes(canvas: &Canvas<'_>, place: &Place<'_>) -> Drawing {
    let (panel, left, right) = (place.panel, place.left, place.left + place.width);
    let bottom = TOP + HEIGHT;
    canvas.draw_text(&panel.title, &font(TEXT, HPos::Left), (left, TOP - 18))?;
    for &value in &panel.y.ticks {
        let y = place.up(value);
        canvas.draw(&PathElement::new([(left, y), (right, y)], GRID))?;
        canvas.draw_text(&tick(value), &font(TEXT, HPos::Right), (left - 8, y))?;
    }
    for &value in &panel.x.ticks {
        let x = place.across(value);
        canvas.draw(&PathElement::new([(x, bottom), (x, bottom + 4)], PALE_INK))?;
        canvas.draw_text(&tick(value), &font(TEXT, HPos::Center), (x, bottom + 16))?;
    }
    let frame = [(left, TOP), (left, bottom), (right, bottom)];
    canvas.draw(&PathElement::new(frame, PALE_INK))?;
    let middle = ((left + right) / 2, bottom + 40);
    canvas.draw_text(panel.x.label, &font(TEXT, HPos::Center), middle)?;
    let beside = (left - 66, TOP + HEIGHT / 2);
    canvas.draw_text(panel.y.label, &turned(INK, HPos::Center), beside)?;
    Ok(())
}

fn draw_line(canvas: &Canvas<'_>, place: &Place<'_>, line: usize, points: &[Point]) -> Drawing {
    let color = COLORS[line % COLORS.len()];
    let places: Vec<(i32, i32)> = points
        .iter()
        .map(|point| (place.across(point.x), place.up(point.y)))
        .collect();
    canvas.draw(&PathElement::new(places.clone(), color.stroke_width(2)))?;
    for (point, &at) in points.iter().zip(&places) {
        mark(canvas, at, line, point.ring)?;
    }
    Ok(())
}

/// A mark of the line's own form, or with a ring around it.
fn mark(canvas: &Canvas<'_>, (x, y): (i32, i32), line: usize, ring: bool) -> Drawing {
    let style = COLORS[line % COLORS.len()].filled();
    match line % 4 {
        0 => canvas.draw(&Circle::new((x, y), 4, style))?,
        1 => canvas.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style))?,
        2 => canvas.draw(&TriangleMarker::new((x, y), 5, style))?,
        _ => {
            let corners = [(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)];
            canvas.draw(&Polygon::new(corners, style))?;
        }
    }
    if ring {
        canvas.draw(&Circle::new((x, y), 8, INK.stroke_width(1)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_marks() {
        let axis = Axis::linear("", [3.7, 0.2].into_iter());
        assert_eq!(axis.ticks, [0.0, 1.0, 2.0, 3.0, 4.0]);
        let axis = Axis::linear("", [0.0].into_iter());
        assert_eq!((axis.low, axis.high), (0.0, 1.0));
        let axis = Axis::log("", [0.02, 3.0].into_iter());
        assert_eq!(axis.ticks, [0.01, 0.1, 1.0, 10.0]);
        assert_eq!(Axis::log("", std::iter::empty()).ticks, [1.0, 10.0]);
    }

    #[test]
    fn places_are_shares_of_the_axis() {
        let axis = Axis::log("", [0.01, 100.0].into_iter());
        assert!((axis.share(1.0) - 0.5).abs() < 1e-12);
        assert_eq!(axis.share(0.0), 0.0);
        assert_eq!(Axis::linear("", [4.0].into_iter()).share(1.0), 0.25);
    }

    #[test]
    fn every_point_has_a_mark() {
        let point = |x| Point {
            x,
            y: x,
            ring: x == 2.0,
        };
        let panel = Panel {
            title: "a".into(),
            x: Axis::log_at("x", &[1.0, 2.0]),
            y: Axis::linear("y", [1.0, 2.0].into_iter()),
            lines: vec![vec![point(1.0), point(2.0)]],
        };
        let chart = Chart {
            title: "title <&>".into(),
            subtitle: String::new(),
            legend: vec!["one"],
            ring: None,
            panels: vec![panel],
        };
        let text = render(&chart).unwrap();
        // One in the legend, two points, one ring.
        assert_eq!(text.matches("<circle").count(), 4);
        assert!(!text.contains("<&>"));
    }
}
