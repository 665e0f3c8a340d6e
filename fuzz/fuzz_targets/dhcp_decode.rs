//! A datagram on port 67: decoding and answering never panic, and a reply is never longer than a client takes.

#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sluice_api::types::LinkName;
use sluice_router::dhcp::{Arrival, Server, slice};

static SERVER: LazyLock<(Server, LinkName)> = LazyLock::new(|| {
    let config = serde_json::from_str(include_str!("../../examples/router.json"));
    let slice = slice(&config.expect("the example is a good configuration"));
    let link = slice.networks.first().expect("the example has a network").link.clone();
    (Server::new(&slice), link)
});

fuzz_target!(|bytes: &[u8]| {
    let (server, link) = &*SERVER;
    let arrival = Arrival { link, source: Ipv4Addr::new(10, 1, 1, 9), bytes };
    let outcome = server.clone().handle(Duration::ZERO, arrival);
    assert!(outcome.reply.is_none_or(|reply| (300..=1472).contains(&reply.bytes.len())));
});
