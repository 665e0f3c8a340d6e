//! Tunnels between the template as built and machines with Debian's own strongSwan, xl2tpd and pppd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere

mod peer;
mod roaming;
mod sites;
mod world;
