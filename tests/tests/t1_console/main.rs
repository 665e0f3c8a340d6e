//! T1: the console proxy between real peers: QEMU's own VNC server on one side, Chromium on the other.

#![allow(clippy::too_many_lines, clippy::manual_is_multiple_of, clippy::ignored_unit_patterns)] // tables and scripts of a test
#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::single_match,
    clippy::cast_possible_truncation
)] // likewise
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod backends;
mod bench;
mod browser;
mod chromium;
mod keyboard;
mod log;
mod many;
mod page;
mod reverse;
mod service;
