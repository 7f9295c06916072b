//! Whether the vectors of a layer fit in memory, asked before they are made: a layer that does not
//! fit is refused with a reason, where an allocation would end the program, or another one.

use std::fs;

/// Vectors that an iterative solver holds on either side beyond two for each value asked for.
const SPARE: u64 = 16;

/// What a command asks of a solver.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Leading singular values.
    pub top: usize,
    /// The options that make it need less, as a sentence names them.
    pub options: &'static str,
}

impl Demand {
    /// One value of each layer: only a smaller input needs less.
    pub const ONE_VALUE: Self = Self {
        top: 1,
        options: "--input",
    };
}

/// Why a layer with these shapes cannot be analysed in the memory that is free, if so.
pub fn lack(input: &[usize], output: &[usize], demand: Demand, bytes: usize) -> Option<String> {
    let needed = needed(input, output, demand.top, bytes);
    lack_of(needed, available()?, demand.options)
}

fn lack_of(needed: u64, available: u64, options: &str) -> Option<String> {
    (needed > available).then(|| {
        format!(
            "its vectors need at least {} and {} are free; give a smaller {options}",
            gigabytes(needed),
            gigabytes(available)
        )
    })
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 * 1e-9)
}

/// At least so many bytes: `u64::MAX` when there are more than that.
fn needed(input: &[usize], output: &[usize], top: usize, bytes: usize) -> u64 {
    let size = |shape: &[usize]| {
        shape
            .iter()
            .try_fold(1_u64, |product, &n| product.checked_mul(n as u64))
    };
    let smaller = size(input).min(size(output)).unwrap_or(u64::MAX);
    // No solver keeps more vectors than the smaller side has dimensions.
    let vectors = (2 * (top as u64).min(u64::MAX / 4))
        .saturating_add(SPARE)
        .min(smaller);
    let elements = size(input)
        .zip(size(output))
        .and_then(|(m, n)| m.checked_add(n));
    elements
        .and_then(|elements| elements.checked_mul(vectors)?.checked_mul(bytes as u64))
        .unwrap_or(u64::MAX)
}

/// Bytes that the machine has free, or the container at most; unknown on systems without /proc.
fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let machine = field(&machine, "MemAvailable:")?.checked_mul(1024)?;
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|limit| limit.trim().parse().ok());
    Some(machine.min(container.unwrap_or(u64::MAX)))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_needs_its_vectors() {
        assert_eq!(needed(&[100, 10], &[1000], 2, 4), 20 * 2000 * 4);
        assert_eq!(needed(&[1000], &[3], 10, 8), 3 * 1003 * 8);
        assert_eq!(needed(&[usize::MAX, 2], &[3], 10, 8), u64::MAX);
        assert_eq!(needed(&[1 << 40], &[1 << 40], usize::MAX, 8), u64::MAX);
    }

    #[test]
    fn what_does_not_fit_says_what_to_try() {
        assert_eq!(lack_of(1000, 1000, "--input"), None);
        let reason = lack_of(3_000_000_000, 1_000_000_000, "--input").unwrap_or_default();
        assert!(
            reason.contains("3.0 GB") && reason.ends_with("; give a smaller --input"),
            "{reason}"
        );
    }

    #[test]
    fn the_system_s_words_are_understood() {
        let text = "MemTotal:       24 kB\nMemAvailable:   17 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(17));
        assert_eq!(field("nothing", "MemAvailable:"), None);
    }
}
