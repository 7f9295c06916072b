//! Line charts: panels side by side, each with its axes, and one legend for all.

mod axis;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::draw::{
    Canvas, Drawing, GRID, INK, PALE_INK, TEXT, TITLE, font, text_width, tick, turned,
};
use crate::error::Error;

pub use axis::Axis;

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

/// Colours that differ in lightness as well, for people who see few colours and for grey print.
const COLORS: [RGBColor; 8] = [
    RGBColor(20, 76, 130),
    RGBColor(205, 70, 20),
    RGBColor(60, 150, 90),
    RGBColor(150, 120, 190),
    RGBColor(90, 90, 90),
    RGBColor(220, 165, 30),
    RGBColor(80, 170, 225),
    RGBColor(185, 50, 125),
];
/// The marks of a line with more points are thinned out to at most so many.
const MARKS: usize = 12;

const LEFT: i32 = 84;
/// Of the panels, beneath a legend of one row.
const TOP: i32 = 124;
const LEGEND: i32 = 74;
const LEGEND_ROW: i32 = 22;
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
    let entries = legend_places(chart);
    let top = TOP - LEGEND + entries.last().map_or(LEGEND, |&(_, y)| y);
    let size = (
        (LEFT + PLOT + RIGHT).unsigned_abs(),
        (top + HEIGHT + BELOW).unsigned_abs(),
    );
    let canvas = SVGBackend::with_string(text, size).into_drawing_area();
    canvas.fill(&WHITE)?;
    canvas.draw_text(&chart.title, &font(TITLE, HPos::Left), (LEFT, 24))?;
    canvas.draw_text(&chart.subtitle, &font(TEXT, HPos::Left), (LEFT, 48))?;
    legend(&canvas, chart, &entries)?;
    for (index, panel) in chart.panels.iter().enumerate() {
        let place = Place {
            panel,
            left: LEFT + i32::try_from(index)? * (width + GAP),
            top,
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

/// Where each entry of the legend begins, the ring's last: from left to right, in as many rows as it takes.
fn legend_places(chart: &Chart) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (LEFT, LEGEND);
    let mut places = Vec::new();
    for label in chart.legend.iter().copied().chain(chart.ring) {
        let width = 32 + text_width(label);
        if x > LEFT && x + width > LEFT + PLOT {
            (x, y) = (LEFT, y + LEGEND_ROW);
        }
        places.push((x, y));
        x += width + 24;
    }
    places
}

fn legend(canvas: &Canvas<'_>, chart: &Chart, places: &[(i32, i32)]) -> Drawing {
    for (line, (label, &(x, y))) in chart.legend.iter().zip(places).enumerate() {
        let color = COLORS[line % COLORS.len()];
        canvas.draw(&PathElement::new(
            [(x, y), (x + 24, y)],
            color.stroke_width(2),
        ))?;
        mark(canvas, (x + 12, y), line, false)?;
        canvas.draw_text(label, &font(TEXT, HPos::Left), (x + 32, y))?;
    }
    if let (Some(label), Some(&(x, y))) = (chart.ring, places.last()) {
        canvas.draw(&Circle::new((x + 12, y), 6, INK.stroke_width(1)))?;
        canvas.draw_text(label, &font(TEXT, HPos::Left), (x + 24, y))?;
    }
    Ok(())
}

/// A panel and where it is.
struct Place<'a> {
    panel: &'a Panel,
    left: i32,
    top: i32,
    width: i32,
}

impl Place<'_> {
    fn across(&self, value: f64) -> i32 {
        self.left + (self.panel.x.share(value) * f64::from(self.width)).round() as i32
    }

    fn up(&self, value: f64) -> i32 {
        self.top + ((1.0 - self.panel.y.share(value)) * f64::from(HEIGHT)).round() as i32
    }
}

fn axes(canvas: &Canvas<'_>, place: &Place<'_>) -> Drawing {
    let (panel, left, right) = (place.panel, place.left, place.left + place.width);
    let (top, bottom) = (place.top, place.top + HEIGHT);
    canvas.draw_text(&panel.title, &font(TEXT, HPos::Left), (left, top - 18))?;
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
    let frame = [(left, top), (left, bottom), (right, bottom)];
    canvas.draw(&PathElement::new(frame, PALE_INK))?;
    let middle = ((left + right) / 2, bottom + 40);
    canvas.draw_text(panel.x.label, &font(TEXT, HPos::Center), middle)?;
    let beside = (left - 66, top + HEIGHT / 2);
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
    let every = points.len().div_ceil(MARKS);
    for (i, (point, &at)) in points.iter().zip(&places).enumerate() {
        if point.ring || i.is_multiple_of(every) {
            mark(canvas, at, line, point.ring)?;
        }
    }
    Ok(())
}

/// A mark of the line's own form, or with a ring around it; the second four lines have hollow marks.
fn mark(canvas: &Canvas<'_>, (x, y): (i32, i32), line: usize, ring: bool) -> Drawing {
    let color = COLORS[line % COLORS.len()];
    let corners: &[(i32, i32)] = match line % 4 {
        0 => &[],
        1 => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
        2 => &[(0, -5), (4, 3), (-4, 3)],
        _ => &[(0, -5), (5, 0), (0, 5), (-5, 0)],
    };
    let mut corners: Vec<(i32, i32)> = corners.iter().map(|(a, b)| (x + a, y + b)).collect();
    let hollow = line % COLORS.len() >= 4;
    match (corners.first().copied(), hollow) {
        (None, false) => canvas.draw(&Circle::new((x, y), 4, color.filled()))?,
        (None, true) => canvas.draw(&Circle::new((x, y), 4, color.stroke_width(1)))?,
        (Some(_), false) => canvas.draw(&Polygon::new(corners, color.filled()))?,
        (Some(first), true) => {
            corners.push(first);
            canvas.draw(&PathElement::new(corners, color.stroke_width(1)))?;
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
    fn a_long_legend_has_rows() {
        let chart = |count| Chart {
            title: String::new(),
            subtitle: String::new(),
            legend: vec!["a method with a name that is long"; count],
            ring: None,
            panels: Vec::new(),
        };
        let places = legend_places(&chart(8));
        let rows: Vec<i32> = places.iter().map(|&(_, y)| y).collect();
        assert_eq!(
            (rows[0], rows[7]),
            (LEGEND, LEGEND + 2 * LEGEND_ROW),
            "{places:?}"
        );
        assert!(legend_places(&chart(1)).len() == 1 && legend_places(&chart(0)).is_empty());
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
