//! What the pictures of all commands share: inks, letters and the marks of an axis.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Letters.
pub const INK: RGBColor = RGBColor(38, 38, 38);
/// Axes.
pub const PALE_INK: RGBColor = RGBColor(150, 150, 150);
/// Lines of the grid.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
// The drawing library takes a font's line height: these come out at 13 and 17 pixels.
/// Height of ordinary letters.
pub const TEXT: i32 = 16;
/// Height of a title.
pub const TITLE: i32 = 21;

/// Where to draw.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing gives.
pub type Drawing = Result<(), Box<dyn std::error::Error>>;

/// Upright letters.
pub fn font(size: i32, align: HPos) -> TextStyle<'static> {
    let style: TextStyle<'static> = ("sans-serif", size).into_font().color(&INK);
    style.pos(Pos::new(align, VPos::Center))
}

/// Letters that are read from below.
pub fn turned(color: RGBColor, align: HPos) -> TextStyle<'static> {
    let font = ("sans-serif", TEXT)
        .into_font()
        .transform(FontTransform::Rotate270);
    font.color(&color).pos(Pos::new(align, VPos::Center))
}

/// About how many pixels ordinary letters take: the fonts that viewers use for sans-serif differ, and this is the width
/// in one of the wide ones.
pub fn text_width(text: &str) -> i32 {
    let width = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' => 4,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '-' => 5,
        'm' | 'w' | 'M' | 'W' | '=' => 12,
        _ if letter.is_ascii_uppercase() || letter.is_ascii_digit() => 9,
        _ => 8,
    };
    text.chars().map(width).sum()
}

/// A value beside an axis.
pub fn tick(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}
