//! T1: the storage service with real servers and clients: nginx, dnsmasq, curl, qemu-img, xz, zstd.

#![allow(clippy::too_many_lines, clippy::manual_is_multiple_of, clippy::ignored_unit_patterns)] // tables and scripts of a test
#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::single_match,
    clippy::cast_possible_truncation
)] // likewise
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod bench;
mod broken;
mod download;
mod formats;
mod hostile;
mod kill;
mod network;
mod server;
mod upload;
