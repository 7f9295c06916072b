//! Where things are in the picture, in pixels, and which values the axis marks.

use crate::record::spectrum::{Report, Values};
use crate::report::text::{printable, shorten_all, width};

/// Widest name below the axis, in characters; longer ones lose their middle.
const NAME_COLUMNS: usize = 32;
/// About the width of a character at the size of the names.
pub const CHARACTER: i32 = 7;
/// Left edge of the plot.
pub const LEFT: i32 = 90;
/// Space right of the plot.
const RIGHT: i32 = 24;
/// Upper edge of the plot.
pub const TOP: i32 = 76;
/// Height of the plot.
const PLOT_HEIGHT: i32 = 400;
/// Values this far below the largest are rounding, and would squeeze all others into a corner.
const LOWEST: f64 = 1e-8;

/// The geometry of a picture.
pub struct Frame {
    /// The names below the axis.
    pub names: Vec<String>,
    /// Width of the whole picture.
    pub width: i32,
    /// Height of the whole picture.
    pub height: i32,
    step: f64,
    /// Decimal logarithms of the ends of the axis.
    low: f64,
    high: f64,
}

impl Frame {
    /// Makes room for the layers of a report.
    pub fn new(report: &Report) -> Self {
        let names: Vec<String> = report
            .rows
            .iter()
            .map(|row| printable(&row.layer.name))
            .collect();
        let names = shorten_all(&names, NAME_COLUMNS);
        let longest = names.iter().map(|name| width(name)).max().unwrap_or(0);
        let count = names.len().max(1) as f64;
        // Room for a turned line of text each, and not too much of it in a small network.
        let plot_width = (count * (900.0 / count).clamp(20.0, 60.0)).max(420.0);
        let (low, high) = span(report);
        Self {
            width: LEFT + RIGHT + plot_width as i32,
            height: TOP + PLOT_HEIGHT + 28 + longest as i32 * CHARACTER,
            step: plot_width / count,
            names,
            low,
            high,
        }
    }

    /// Lower edge of the plot.
    pub fn bottom(&self) -> i32 {
        TOP + PLOT_HEIGHT
    }

    /// Right edge of the plot.
    pub fn right(&self) -> i32 {
        self.width - RIGHT
    }

    /// The middle of a layer's strip.
    pub fn x(&self, index: usize) -> i32 {
        LEFT + ((index as f64 + 0.5) * self.step).round() as i32
    }

    /// The height of a value, if it is on the axis.
    pub fn y(&self, value: f64) -> Option<i32> {
        let share = (self.high - value.log10()) / (self.high - self.low);
        (0.0..=1.0)
            .contains(&share)
            .then(|| TOP + (share * f64::from(PLOT_HEIGHT)).round() as i32)
    }

    /// The values to mark: powers of ten, every so many of them on a long axis, and their doubles
    /// and fivefolds on a short one.
    pub fn ticks(&self) -> Vec<f64> {
        let decades = self.high - self.low;
        let factors: &[u32] = if decades < 2.5 { &[1, 2, 5] } else { &[1] };
        let every = (decades / 10.0).ceil().max(1.0) as i32;
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let ticks = powers
            .filter(|power| power.rem_euclid(every) == 0)
            .flat_map(|power| {
                // Parsed, for 10^-3 by multiplication is not 0.001.
                factors
                    .iter()
                    .filter_map(move |factor| format!("{factor}e{power}").parse().ok())
            });
        ticks.filter(|&value| self.y(value).is_some()).collect()
    }
}

/// The values that the picture shows: as many as the table has, and no zeros on a log axis.
pub fn shown(report: &Report, values: &Values) -> impl Iterator<Item = (usize, f64)> {
    let leading = values
        .singular_values
        .iter()
        .take(report.asked.top)
        .copied();
    leading
        .enumerate()
        .filter(|(_, value)| value.is_normal() && *value > 0.0)
}

/// The ends of the axis with a margin, as decimal logarithms.
fn span(report: &Report) -> (f64, f64) {
    let all = || {
        report
            .values()
            .flat_map(|(_, values)| shown(report, values))
            .map(|(_, value)| value)
    };
    let high = all().fold(0.0, f64::max);
    if high == 0.0 {
        return (-1.0, 1.0);
    }
    let low = all()
        .filter(|&value| value >= high * LOWEST)
        .fold(high, f64::min);
    let margin = ((high / low).log10() * 0.06).max(0.15);
    (low.log10() - margin, high.log10() + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(low: f64, high: f64) -> Frame {
        let names = vec!["conv".to_owned()];
        Frame {
            names,
            width: 600,
            height: 600,
            step: 60.0,
            low,
            high,
        }
    }

    #[test]
    fn ticks_suit_the_length_of_the_axis() {
        assert_eq!(frame(-0.1, 1.1).ticks(), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(frame(-3.1, 1.1).ticks(), [1e-3, 1e-2, 1e-1, 1.0, 10.0]);
        assert_eq!(frame(-20.0, 0.0).ticks().len(), 11);
        assert_eq!(frame(-310.0, 300.0).ticks().len(), 10);
    }

    #[test]
    fn values_off_the_axis_have_no_place() {
        let frame = frame(-1.0, 1.0);
        assert_eq!(frame.y(1.0), Some(TOP + PLOT_HEIGHT / 2));
        assert_eq!(frame.y(1e-3), None);
        assert_eq!(frame.y(0.0), None);
    }
}
