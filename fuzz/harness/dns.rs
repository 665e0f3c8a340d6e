//! What the DNS fuzz targets and the stable test that replays their corpus do with bytes.

#![allow(dead_code)] // each target uses one half
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::LazyLock;

use sluice_router::dns::answer::{Request, Verdict, answer};
use sluice_router::dns::cache::Cache;
use sluice_router::dns::counters::Tally;
use sluice_router::dns::snapshot::Snapshot;
use sluice_router::dns::stored::{Asked, Stored, Vetted};
use sluice_router::dns::{Settings, Transport, slice};

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1));
const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 23));
/// `www.example.test A`.
const QUESTION: &[u8] = b"\x03www\x07example\x04test\x00\x00\x01\x00\x01";

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let config = serde_json::from_str(include_str!("../../examples/router.json"));
    Snapshot::build(&slice(&config.expect("the example is a good configuration")), 1)
});

/// A guest sends `bytes`: whatever they are, the answer fits the client and is a response to it.
pub(crate) fn query(bytes: &[u8]) {
    let cache = Cache::new(1 << 16);
    for (transport, most) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
        let mut out = vec![0; most];
        if let Verdict::Answered(length) = ask(&cache, bytes, transport, 0, &mut out) {
            assert!((12..=most).contains(&length), "{length} bytes");
            assert_eq!(out.get(..2), bytes.get(..2), "the client's number");
            assert!(out.get(2).is_some_and(|flags| flags & 0x80 != 0), "a response");
        }
    }
}

/// An upstream sends `bytes` in answer to `www.example.test A`: what is taken can be answered from, now and later.
pub(crate) fn upstream_answer(bytes: &[u8]) {
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let asked = Asked { id, question: QUESTION, exact_case: false };
    let settings = Settings { min_ttl: 60, ..Settings::default() };
    let Ok(Vetted::Whole(stored) | Vetted::Truncated(stored)) =
        Stored::vet(bytes, asked, &settings)
    else {
        return;
    };
    let cache = Cache::new(1 << 24);
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
    query.extend(QUESTION);
    query.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    let mut out = vec![0; 65535];
    if let Verdict::Forward(key) = ask(&cache, &query, Transport::Tcp, 0, &mut out) {
        cache.insert(&key, Arc::new(stored), 0);
    }
    for (transport, most) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
        for now in [0, 59, 1_000_000] {
            if let Verdict::Answered(length) = ask(&cache, &query, transport, now, &mut out) {
                assert!((12..=most).contains(&length), "{length} bytes");
            }
        }
    }
}

fn ask(cache: &Cache, message: &[u8], transport: Transport, now: u32, out: &mut [u8]) -> Verdict {
    let network = SNAPSHOT.network(GATEWAY).expect("the example's first network");
    let request = Request { network, message, client: GUEST, local: GATEWAY, transport, now };
    answer(&SNAPSHOT, cache, &request, &mut Tally::default(), out)
}
