//! The agent's API as its clients meet it: real TLS on loopback, the real engine, a kernel in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    clippy::indexing_slicing
)]

mod blobs;
mod client;
mod diagnostics;
mod flow;
mod identity;
mod refusals;
mod world;
