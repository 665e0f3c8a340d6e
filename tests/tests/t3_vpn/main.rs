//! Tunnels between the template as built and machines with Debian's own strongSwan, xl2tpd and pppd.
//!
//! `managed` is part of every run: one of each, from a description to packets. The others, from configurations that are
//! pushed by hand, run with `cargo xtask test --full`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere

mod changes;
mod keys;
mod managed;
mod nat;
mod roaming;
mod routers;
mod rows;
mod sites;
mod world;
