//! Placeholder.

pub mod tap;
