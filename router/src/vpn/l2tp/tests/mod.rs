//! The server's end against a client, against bytes of real ones, and over a bad network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attributes;
mod calls;
pub(in crate::vpn) mod client;
mod clients;
mod datagrams;
mod hostile;
mod lossy;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::*;
use crate::vpn::Random;

pub(in crate::vpn) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A peer behind the NAT that all of them share: only the mark tells them apart.
pub(in crate::vpn) fn peer(mark: u32) -> Peer {
    let remote = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), PORT);
    Peer { mark, remote, local: Ipv4Addr::new(198, 51, 100, 10) }
}

/// Predictable, and never the same twice.
pub(in crate::vpn) fn random() -> Random {
    let mut state = 1_u64;
    Random::new(move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
    })
}

pub(super) fn server() -> Lns {
    Lns::new(Settings::default(), random())
}

/// Lets time pass until nothing is to come; panics when that takes too long.
pub(in crate::vpn) fn run_out(server: &mut Lns) -> (Duration, Vec<Action>) {
    let (mut last, mut all) = (Duration::ZERO, Vec::new());
    while let Some(at) = server.deadline() {
        assert!(at < seconds(4000), "it never ends");
        server.tick(at);
        all.extend(server.actions());
        last = at;
    }
    (last, all)
}
