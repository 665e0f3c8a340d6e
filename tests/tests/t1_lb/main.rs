//! T1: load balancing with real clients, real servers, and HAProxy beside ours.

#![allow(clippy::too_many_lines, clippy::manual_is_multiple_of, clippy::ignored_unit_patterns)] // tables and scripts of a test
#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::single_match,
    clippy::cast_possible_truncation
)] // likewise
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod differential;
mod flood;
mod handover;
mod haproxy;
mod hostile;
mod http;
mod http2;
mod idle;
mod live;
mod origin;
mod service;
mod sticky;
mod tcp;
mod tls;
