//! The figures of `specclip reproduce`: table, CSV, JSON and picture of each.

pub mod fig5a;
pub mod fig5b;
