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

/// The largest number with so many digits that is not above `value`: a lower end stays true in print.
pub fn rounded_down(value: f64, digits: usize) -> String {
    directed(value, digits, false)
}

/// The smallest number with so many digits that is not below `value`: an upper end stays true in print.
pub fn rounded_up(value: f64, digits: usize) -> String {
    directed(value, digits, true)
}

/// Rounds a value that is not negative.
fn directed(value: f64, digits: usize, up: bool) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    // No number of this type has more digits, so these are all of them, without any rounding.
    let exact = format!("{value:.*e}", 800);
    let (mantissa, exponent) = exact.split_once('e').unwrap_or((&exact, "0"));
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let (kept, rest) = all.split_at(digits.min(all.len()));
    let mut kept: u64 = kept.parse().unwrap_or(0);
    if up && rest.bytes().any(|digit| digit != b'0') {
        kept += 1;
    }
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last = exponent - i32::try_from(digits).unwrap_or(0) + 1;
    let rounded: f64 = format!("{kept}e{last}").parse().unwrap_or(value);
    significant(rounded, digits)
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
    fn ends_are_rounded_outwards() {
        for (value, down, up) in [
            (0.0, "0", "0"),
            (1.0, "1.0000", "1.0000"),
            (12.345_678, "12.345", "12.346"),
            (12.345_2, "12.345", "12.346"),
            (9.999_996, "9.9999", "10.000"),
            // The number nearest to 0.1 is above it, that nearest to 0.3 below.
            (0.1, "0.10000", "0.10001"),
            (0.3, "0.29999", "0.30000"),
            (1.000_000_000_000_1e-7, "1.0000e-7", "1.0001e-7"),
            (999_999.9, "999990", "1.0000e6"),
            (f64::INFINITY, "inf", "inf"),
        ] {
            assert_eq!(rounded_down(value, 5), down, "{value}");
            assert_eq!(rounded_up(value, 5), up, "{value}");
        }
        for value in [
            1.0 / 3.0,
            2.0_f64.sqrt(),
            1e300 / 7.0,
            5e-324,
            123_456_789.0,
        ] {
            let parse = |text: String| text.parse::<f64>().unwrap();
            assert!(parse(rounded_down(value, 4)) <= value && parse(rounded_up(value, 4)) >= value);
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
