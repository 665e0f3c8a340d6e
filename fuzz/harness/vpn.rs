//! What the fuzz targets of L2TP and PPP, and the stable test that replays their corpus, do with bytes.

#![allow(dead_code)] // each target uses one half
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use sluice_router::vpn::Random;
use sluice_router::vpn::l2tp::{Action, Lns, Peer, Settings};
use sluice_router::vpn::ppp::{self, Desk, Link, Method, Output};

fn random() -> Random {
    let mut next = 0_u8;
    Random::new(move |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(5).wrapping_add(3);
            *byte = next;
        }
    })
}

/// Parts of the input, each after a byte that says how many bytes it has: several datagrams of one peer.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (part, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        Some(part)
    })
}

/// A peer sends datagrams a second apart: nothing panics, what is set up goes down again, and in the end nothing is left.
pub(crate) fn datagrams(bytes: &[u8]) {
    let mut server = Lns::new(Settings::default(), random());
    let peer = Peer {
        mark: 1,
        remote: SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 1701),
        local: Ipv4Addr::new(198, 51, 100, 10),
    };
    let mut open = 0;
    let mut now = Duration::ZERO;
    for part in parts(bytes).take(64) {
        server.datagram(now, peer, part);
        // and as an answer to the tunnel that the first one may have made
        if let Some(addressed) = addressed(part) {
            server.datagram(now, peer, &addressed);
        }
        open += changes(&server.actions());
        now += Duration::from_secs(1);
        server.tick(now);
        // with the last of these nothing may be left to wait for
        open += changes(&server.actions());
    }
    while let Some(at) = server.deadline() {
        assert!(at < now + Duration::from_secs(600), "it never ends");
        server.tick(at);
        open += changes(&server.actions());
    }
    assert_eq!(open, 0, "tunnels and calls that were set up and not taken down");
}

/// The same with the first id that the server gives out.
fn addressed(part: &[u8]) -> Option<Vec<u8>> {
    let id = random().nonzero().to_be_bytes();
    let mut bytes = part.to_vec();
    bytes.get_mut(4..6)?.copy_from_slice(&id);
    Some(bytes)
}

fn changes(actions: &[Action]) -> i32 {
    let change = |action: &Action| match action {
        Action::TunnelUp { .. } | Action::SessionUp { .. } => 1,
        Action::TunnelDown { .. } | Action::SessionDown { .. } => -1,
        Action::Send { bytes, .. } => {
            assert!((12..=1500).contains(&bytes.len()), "{} bytes", bytes.len());
            0
        }
    };
    actions.iter().map(change).sum()
}

struct OneUser;

impl Desk for OneUser {
    fn password(&self, user: &str) -> Option<&str> {
        (user == "anna").then_some("correct horse")
    }

    fn lease(&mut self, _: &str) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::new(10, 1, 2, 2))
    }
}

/// A peer sends frames a second apart: nothing panics, ups and downs alternate, and the link ends.
pub(crate) fn frames(bytes: &[u8]) {
    let settings = ppp::Settings {
        name: "sluice".to_owned(),
        local: Ipv4Addr::new(10, 1, 2, 1),
        dns: vec![Ipv4Addr::new(10, 1, 1, 1)],
        mtu: 1400,
        methods: vec![Method::MsChapV2, Method::ChapMd5, Method::Pap],
    };
    let mut link = Link::new(settings, Duration::ZERO, random());
    let (mut now, mut up) = (Duration::ZERO, false);
    for part in parts(bytes).take(64) {
        link.receive(now, part, &mut OneUser);
        follow(&link.outputs(), &mut up);
        now += Duration::from_secs(1);
        link.tick(now);
        follow(&link.outputs(), &mut up);
    }
    while let Some(at) = link.deadline() {
        assert!(at < now + Duration::from_secs(600), "it never ends");
        link.tick(at);
        follow(&link.outputs(), &mut up);
    }
    assert!(!up, "over, and still up");
}

fn follow(outputs: &[Output], up: &mut bool) {
    for output in outputs {
        match output {
            Output::Up(_) => assert!(!std::mem::replace(up, true), "up twice"),
            Output::Down => assert!(std::mem::replace(up, false), "down without up"),
            Output::Frame(frame) => {
                assert!((6..=1500).contains(&frame.len()), "{} bytes", frame.len());
            }
            Output::Finished(_) => (),
        }
    }
}
