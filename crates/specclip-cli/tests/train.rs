//! `specclip train`, run as a user runs it: killed and resumed, given what it cannot use, and on real digits.

#![cfg(feature = "lab")]

mod common;
mod training;
