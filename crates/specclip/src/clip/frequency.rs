//! Clipping by frequencies.

use super::Moved;
use crate::error::Error;
use crate::weight::Parametric;

pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    crop: bool,
) -> Result<Moved, Error> {
    let _ = (op, c, crop);
    Err(Error::NotApplicable {
        method: "frequency",
        reason: "use scale or fastclip".to_owned(),
    })
}
