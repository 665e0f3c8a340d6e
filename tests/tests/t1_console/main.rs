//! T1: the console proxy between real peers: QEMU's own VNC server on one side, Chromium on the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backends;
mod bench;
mod browser;
mod certificates;
mod chromium;
mod client;
mod qemu;
mod service;
