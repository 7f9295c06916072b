//! The figures of `specclip reproduce`: table, CSV, JSON and picture of each.

#[cfg(feature = "lab")]
pub mod fig1;
pub mod fig5a;
pub mod fig5b;
