//! Axes of charts.

/// An axis with its ends and the values that are marked on it.
pub struct Axis {
    /// What is on it, with its unit.
    pub label: &'static str,
    log: bool,
    low: f64,
    high: f64,
    pub(super) ticks: Vec<f64>,
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

    /// A logarithmic axis for these positive values, with 1, 2 and 5 times powers of ten marked; it covers all of them
    /// and at least from 1 to 2.
    #[cfg(any(feature = "lab", test))]
    pub fn log_fine(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values.filter(|value| *value > 0.0 && value.is_finite()));
        let (low, high) = (low.min(1.0), high.max(2.0));
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let marks =
            powers.flat_map(|power| ["1", "2", "5"].map(|digit| format!("{digit}e{power}")));
        let marks: Vec<f64> = marks.filter_map(|text| text.parse().ok()).collect();
        let first = marks.iter().rposition(|&mark| mark <= low).unwrap_or(0);
        let last = marks.iter().position(|&mark| mark >= high);
        let ticks = marks[first..=last.unwrap_or(marks.len() - 1)].to_vec();
        Self {
            label,
            log: true,
            low: ticks[0],
            high: ticks[ticks.len() - 1],
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
    pub(super) fn share(&self, value: f64) -> f64 {
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
    fn a_fine_axis_ends_at_marks_around_the_values() {
        let axis = Axis::log_fine("", [0.9, 4.6, f64::NAN].into_iter());
        assert_eq!(axis.ticks, [0.5, 1.0, 2.0, 5.0]);
        assert_eq!((axis.low, axis.high), (0.5, 5.0));
        assert_eq!(Axis::log_fine("", [1.0, 1.0].into_iter()).ticks, [1.0, 2.0]);
        assert_eq!(
            Axis::log_fine("", std::iter::empty()).ticks,
            [1.0, 2.0, 5.0, 10.0]
        );
    }

    #[test]
    fn places_are_shares_of_the_axis() {
        let axis = Axis::log("", [0.01, 100.0].into_iter());
        assert!((axis.share(1.0) - 0.5).abs() < 1e-12);
        assert_eq!(axis.share(0.0), 0.0);
        assert_eq!(Axis::linear("", [4.0].into_iter()).share(1.0), 0.25);
    }
}
