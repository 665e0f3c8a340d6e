//! The server's end against a client of the same automaton, against hand-written frames, and over a bad network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(in crate::vpn) mod client;
mod hostile;
mod lossy;
mod phases;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::vpn::Random;

pub(super) const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 1);
pub(super) const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 2);
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
pub(super) const ALL: [Method; 3] = [Method::MsChapV2, Method::ChapMd5, Method::Pap];

/// Users and addresses.
pub(super) struct Users {
    pub(super) passwords: BTreeMap<&'static str, &'static str>,
    pub(super) free: Vec<Ipv4Addr>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            passwords: [("anna", "correct horse"), ("béa", "naïve")].into(), free: vec![REMOTE]
        }
    }
}

impl Desk for Users {
    fn password(&self, user: &str) -> Option<&str> {
        self.passwords.get(user).copied()
    }

    fn lease(&mut self, _: &str) -> Option<Ipv4Addr> {
        self.free.pop()
    }
}

pub(super) fn settings(methods: &[Method]) -> Settings {
    Settings {
        name: "sluice".to_owned(),
        local: LOCAL,
        dns: vec![DNS],
        mtu: 1400,
        methods: methods.to_vec(),
    }
}

/// Predictable, and never the same twice.
pub(in crate::vpn) fn random(seed: u8) -> Random {
    let mut state = u64::from(seed) + 1;
    Random::new(move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
    })
}

pub(super) fn server(methods: &[Method]) -> Link {
    Link::new(settings(methods), Duration::ZERO, random(1))
}

pub(super) fn sent(outputs: &[Output]) -> Vec<Vec<u8>> {
    let frame = |output: &Output| match output {
        Output::Frame(frame) => Some(frame.clone()),
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

pub(in crate::vpn) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
