//! Forwarding: a TCP stream through a router with so many rules, against the same two hosts with plain routing between them.
//!
//! All hosts are namespaces on one machine, so the figures are of the kernel's path and not of any NIC. The flowtable needs
//! a kernel that has one; where there is none its row is left out.

#![allow(clippy::indexing_slicing)] // fields of documents that are made here

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use sluice_lab::netns::{Namespace, Topology, VethEnd};

use super::Row;

/// Rules of the router.
const SIZES: [usize; 3] = [0, 100, 10_000];
/// How long each stream is measured, and how often.
const LONG: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const SERVER: &str = "198.51.100.1:5001";

struct Path {
    guest: Namespace,
    router: Namespace,
    outside: Namespace,
    _topology: Topology,
}

impl Path {
    fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let guest = topology.namespace("guest")?;
        let router = topology.namespace("router")?;
        let outside = topology.namespace("inet")?;
        let link = |name: &str| name.parse().context("a link's name");
        for (near, other) in [("guest0", &guest), ("pub0", &outside)] {
            let near = VethEnd::new(&router, link(near)?);
            topology.veth(&near, &VethEnd::new(other, link("eth0")?))?;
        }
        for (ns, name, address) in [
            (&guest, "eth0", "10.1.1.23/24"),
            (&router, "guest0", "10.1.1.1/24"),
            (&router, "pub0", "198.51.100.10/24"),
            (&outside, "eth0", "198.51.100.1/24"),
        ] {
            ns.address(&link(name)?, address.parse()?)?;
        }
        guest.route(["default", "via", "10.1.1.1"])?;
        outside.route(["10.1.1.0/24", "via", "198.51.100.10"])?;
        router.sh("sysctl -qw net.ipv4.ip_forward=1").check()?;
        Ok(Self { guest, router, outside, _topology: topology })
    }

    /// Loads the rules of a configuration with `count` firewall rules, or takes all rules away.
    fn load(&self, count: Option<usize>, folder: &std::path::Path) -> Result<()> {
        self.router.sh("nft flush ruleset").check()?;
        let Some(count) = count else { return Ok(()) };
        let file = folder.join("rules.nft");
        std::fs::write(&file, sluice_router::desk::render(&config(count)?))?;
        self.router.sh(&format!("nft -f {}", file.display())).check()?;
        Ok(())
    }

    /// Gigabits in a second from the guest to the outside.
    fn rate(&self) -> Result<f64> {
        let server: SocketAddr = SERVER.parse()?;
        let listener = self.outside.enter(move || TcpListener::bind(server))??;
        let reader = std::thread::spawn(move || -> std::io::Result<(u64, Duration)> {
            let (mut stream, _) = listener.accept()?;
            let (start, mut bytes, mut buffer) = (Instant::now(), 0_u64, vec![0; 1 << 18]);
            loop {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Ok((bytes, start.elapsed()));
                }
                bytes += u64::try_from(length).unwrap_or(0);
            }
        });
        self.guest.enter(move || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(server)?;
            let (end, block) = (Instant::now() + LONG, vec![7_u8; 1 << 18]);
            while Instant::now() < end {
                stream.write_all(&block)?;
            }
            Ok(())
        })??;
        let (bytes, took) = reader.join().map_err(|_| anyhow::anyhow!("the reader ended"))??;
        #[allow(clippy::cast_precision_loss)] // of gigabits
        Ok(bytes as f64 * 8.0 / took.as_secs_f64() / 1e9)
    }
}

/// examples/router.json with one network, and firewall rules that this stream is not about.
fn config(count: usize) -> Result<sluice_api::RouterDocument> {
    let mut config = crate::faults::example();
    config.role.networks.truncate(1);
    let mut document = json!(config);
    let router = &mut document["role"]["router"];
    router["public_addresses"] =
        json!([{ "id": "ip-1", "address": "198.51.100.10", "link": "pub0" }]);
    router["firewall"] = (0..count)
        .map(|n| {
            json!({ "id": format!("fw-{n}"), "public": "198.51.100.10",
                    "traffic": { "tcp": { "ports": (1 + n).to_string() } } })
        })
        .collect();
    sluice_api::RouterDocument::decode(document.to_string().as_bytes())
        .map(|(config, _)| config)
        .map_err(|findings| anyhow::anyhow!("{:?}", findings.first()))
}

/// Measures; needs root and nft.
pub fn run() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let path = Path::new()?;
    let cases: Vec<Option<usize>> = std::iter::once(None).chain(SIZES.map(Some)).collect();
    let mut best = vec![0.0_f64; cases.len()];
    // in turns, so that what else the machine does is the same for all
    for _ in 0..ROUNDS {
        for (case, best) in cases.iter().zip(&mut best) {
            path.load(*case, folder.path())?;
            *best = best.max(path.rate()?);
        }
    }
    let of = |wanted: Option<usize>| {
        let found = cases.iter().zip(&best).find(|(case, _)| **case == wanted);
        found.map_or(f64::NAN, |(_, best)| *best)
    };
    let (plain, empty) = (of(None), of(Some(0)));
    Ok(SIZES
        .iter()
        .map(|size| {
            let ours = of(Some(*size));
            let share = ours / empty;
            Row {
                bench: "forward".to_owned(),
                case: format!("TCP through {size} firewall rules, {share:.2} x of none"),
                unit: "Gbit/s".to_owned(),
                ours,
                rival: Some(plain),
                rival_name: Some("no rules at all".to_owned()),
                ratio: Some(ours / plain),
                budget: (*size == 10_000).then(|| ">= 0.95 x of an empty ruleset".to_owned()),
                within: (*size == 10_000).then_some(share >= 0.95),
            }
        })
        .collect())
}
