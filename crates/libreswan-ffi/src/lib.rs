//! Everything that touches libreswan will be here: configuration and secrets files, the documented `ipsec` commands,
//! status parsing, the updown events.
//!
//! Not built yet: the crate holds its place in the layout and offers nothing.
