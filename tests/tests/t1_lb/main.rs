//! T1: load balancing with real clients, real servers, and HAProxy beside ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod differential;
mod haproxy;
mod hostile;
mod http;
mod live;
mod origin;
mod service;
mod tcp;
mod tls;
