//! T1: the storage service with real servers and clients: nginx, dnsmasq, curl, qemu-img, xz, zstd,
//! and OpenStack Swift, which speaks S3 as well.

#![allow(clippy::too_many_lines, clippy::manual_is_multiple_of, clippy::ignored_unit_patterns)] // tables and scripts of a test
#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::single_match,
    clippy::cast_possible_truncation
)] // likewise
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adopted;
mod agent;
mod bench;
mod broken;
mod browser;
mod buckets;
mod chains;
#[allow(dead_code)] // what only consoles do with it
#[path = "../t1_console/chromium.rs"]
mod chromium;
mod copies;
mod download;
mod formats;
mod hostile;
mod kill;
mod network;
mod peers;
mod server;
mod swift;
mod upload;
