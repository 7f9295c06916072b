//! The nearest weights with a norm of at most c.

use super::{Moved, Params, Projection};
use crate::error::Error;
use crate::weight::Parametric;

/// Moves the weights of `op` to the nearest ones with norm at most `c`.
pub(super) fn solve<P: Parametric + ?Sized>(
    op: &mut P,
    c: f64,
    settings: &Projection,
    params: &Params,
) -> Result<Moved, Error> {
    let _ = (op, c, settings, params);
    Err(Error::NotApplicable {
        method: "projection",
        reason: "use scale or fastclip".to_owned(),
    })
}
