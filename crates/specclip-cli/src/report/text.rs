//! Text from a model file, made fit for a terminal: no control characters, measured in columns.

use std::cmp::Reverse;
use std::collections::HashSet;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands for the middle that was left out.
const ELLIPSIS: char = '…';

/// Names come from files: an escape sequence or a line break in one must not reach the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_direction(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Marks that reorder the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns of a terminal the text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text with its middle left out, at most `columns` wide.
pub fn shorten(text: &str, columns: usize) -> String {
    // The end differs more often between neighbours than the beginning, so it gets the odd column.
    shorten_at(text, columns, columns.saturating_sub(1) / 2)
}

/// All texts shortened alike, with the gap where it leaves most of them distinct: the layers
/// `stages.1.blocks.0.conv` and `stages.1.blocks.1.conv` differ in what plain halves leave out.
pub fn shorten_all(texts: &[String], columns: usize) -> Vec<String> {
    if texts.iter().all(|text| width(text) <= columns) {
        return texts.to_vec();
    }
    let cut = |head: usize| -> Vec<String> {
        texts
            .iter()
            .map(|text| shorten_at(text, columns, head))
            .collect()
    };
    let room = columns.saturating_sub(1);
    let distinct = |head: &usize| cut(*head).into_iter().collect::<HashSet<_>>().len();
    let balance = |head: &usize| Reverse(head.abs_diff(room / 2));
    let best = (0..=room).max_by_key(|head| (distinct(head), balance(head)));
    cut(best.unwrap_or(0))
}

fn shorten_at(text: &str, columns: usize, head: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let tail = take(text.chars().rev(), room.saturating_sub(head));
    let tail: String = tail.chars().rev().collect();
    format!("{}{ELLIPSIS}{tail}", take(text.chars(), head.min(room)))
}

fn take(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shorten("layer1.0.conv1", 14), "layer1.0.conv1");
        assert_eq!(shorten("layer1.0.conv1", 9), "laye…onv1");
        assert_eq!(shorten("layer1.0.conv1", 8), "lay…onv1");
    }

    #[test]
    fn neighbours_stay_distinct() {
        let names: Vec<String> = (0..4)
            .map(|n| format!("backbone.stages.{n}.blocks.depthwise_separable.conv"))
            .collect();
        let short: HashSet<String> = shorten_all(&names, 20).into_iter().collect();
        assert_eq!(short.len(), 4, "{short:?}");
        assert!(short.iter().all(|name| width(name) <= 20), "{short:?}");
    }

    #[test]
    fn wide_characters_are_never_split_over_the_limit() {
        for columns in 1..12 {
            assert!(width(&shorten("畳み込み層の重み", columns)) <= columns.max(1));
        }
    }

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
    }
}
