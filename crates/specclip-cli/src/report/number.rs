//! Numbers for people: a fixed count of significant digits, as `%g` would print them.

use std::time::Duration;

/// Magnitudes from 10^-3 up to 10^6 are written out, others with an exponent.
const FIXED: std::ops::RangeInclusive<i32> = -3..=5;

/// `value` with `digits` significant digits; trailing zeros stay, so that columns read alike.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let exponent = exponent_after_rounding(value, digits);
    if FIXED.contains(&exponent) {
        fixed(value, digits, exponent)
    } else {
        format!("{value:.*e}", digits.saturating_sub(1))
    }
}

/// Seconds with three significant digits, down to microseconds, and never an exponent.
pub fn seconds(time: Duration) -> String {
    let value = time.as_secs_f64();
    if value == 0.0 {
        return "0".into();
    }
    fixed(value, 3, exponent_after_rounding(value, 3).max(-4))
}

fn fixed(value: f64, digits: usize, exponent: i32) -> String {
    let decimals = i32::try_from(digits)
        .unwrap_or(i32::MAX)
        .saturating_sub(1 + exponent);
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// The decimal exponent of what will be printed: 9.99996 to five digits is 10.000.
fn exponent_after_rounding(value: f64, digits: usize) -> i32 {
    let text = format!("{value:.*e}", digits.saturating_sub(1));
    text.split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0)
}

/// Dimensions as 64x32x32.
pub fn shape(dimensions: &[usize]) -> String {
    if dimensions.is_empty() {
        return "scalar".into();
    }
    dimensions
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_significant() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1.0000"),
            (12.345_678, "12.346"),
            (9.999_996, "10.000"),
            (0.001_234_56, "0.0012346"),
            (0.000_999_999_9, "0.0010000"),
            (0.000_123_456, "1.2346e-4"),
            (123_456.7, "123457"),
            (999_999.9, "1.0000e6"),
            (1.5e30, "1.5000e30"),
        ] {
            assert_eq!(significant(value, 5), text);
        }
    }

    #[test]
    fn seconds_have_three_digits() {
        for (micros, text) in [
            (0, "0"),
            (7, "0.000007"),
            (1234, "0.00123"),
            (999_900, "1.00"),
            (123_400_000, "123"),
            (12_345_600_000, "12346"),
        ] {
            assert_eq!(seconds(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn shapes_read_as_products() {
        assert_eq!(shape(&[64, 32, 32]), "64x32x32");
        assert_eq!(shape(&[]), "scalar");
    }
}
