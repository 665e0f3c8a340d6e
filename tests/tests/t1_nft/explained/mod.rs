//! What `explain` says against what a kernel does: random configurations of routers, compiled and brought into force by
//! the plan, and first packets of random connections; each leaves by the link and as whom the explanation says, or not at all.
//!
//! Tries what fits into some seconds; `SLUICE_FULL=1` thousands of configurations; `SLUICE_SEED` one seed.

mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_agent::Appliance as _;
use sluice_agent::plan::plan;
use sluice_api::RouterDocument;
use sluice_api::report::{ExplainQuestion, Explanation, Outcome};
use sluice_api::types::{AskedProtocol, Cidr};
use sluice_lab::netns::{Namespace, Topology, VethEnd};
use sluice_router::Router;
use sluice_router::compile;
use sluice_router::explain::explain;
use sluice_sys::kernel::{Kernel as _, NftProgram, RealKernel};
use sluice_sys::model::{Desired, Observed};
use sluice_sys::nft::eval::{Header, Packet};
use sluice_sys::nft::{ObservedChain, ObservedTable, Protocol, early};
use sluice_sys::packet::{FrameSocket, Hear};

use crate::agree::frames::{self, Sight, frame};
use crate::agree::random::Random;
use crate::agree::wires::{ip, name, ours, theirs};

/// Configurations tried with one router: each connection of its life has a port of its own.
const WITH_ONE: u64 = 1_000;
/// How long an ordinary run goes on, once it has tried `LEAST` of them.
const ENOUGH: Duration = Duration::from_secs(10);
const LEAST: usize = 20;
/// Connections asked about, for each configuration.
const FLOWS: u16 = 32;
/// Where their source ports begin.
const FIRST_PORT: u16 = 20_000;

/// The router's links, in the order of their wires.
const LINKS: [&str; 5] = ["guest0", "guest1", "pub0", "pub1", "priv0"];

/// Those that take whatever source a packet has: on guest links the kernel asks for the way back (`rp_filter`).
const OUTER: [&str; 3] = ["pub0", "pub1", "priv0"];

/// Whose neighbours are at the other end of a wire, the gateways among them.
const NEIGHBOURS: [(&str, &[&str]); 5] = [
    ("guest0", &["10.1.1.23", "10.1.1.24", "2001:db8:1::23"]),
    ("guest1", &["10.1.2.23", "10.1.2.24", "2001:db8:2::23"]),
    ("pub0", &["198.51.100.1", "198.51.100.77", "2001:db8:ffff::1"]),
    ("pub1", &["203.0.113.1", "203.0.113.77", "2001:db8:fffe::1"]),
    ("priv0", &["172.16.0.1", "172.16.0.9"]),
];

/// Before everything: what the router itself says is not what is asked about.
const SILENCE: &str = "add table inet probe
add chain inet probe silence { type filter hook output priority -500; policy drop; }";

struct Wires {
    router: Namespace,
    others: Namespace,
    _topology: Topology,
}

impl Wires {
    fn new() -> Self {
        let mut topology = Topology::new().unwrap();
        let router = topology.namespace("router").unwrap();
        let others = topology.namespace("others").unwrap();
        others.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1").check().unwrap();
        // its addresses are its own at once
        let at_once =
            "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0";
        router.sh(at_once).check().unwrap();
        for (number, link) in std::iter::once("ctl").chain(LINKS).enumerate() {
            let end = VethEnd::new(&router, name(link)).mac(ours(number));
            let other = VethEnd::new(&others, name(&wire(number))).mac(theirs(number));
            topology.veth(&end, &other).unwrap();
            let bare = format!("ip link set {0} arp off && ip addr flush dev {0}", wire(number));
            others.sh(&bare).check().unwrap();
        }
        let nft = crate::world::program();
        let loaded = router.command([nft.as_str(), "-f", "-"]).input(SILENCE).run().unwrap();
        assert!(loaded.ok(), "{}", loaded.stderr);
        Self { router, others, _topology: topology }
    }

    /// Brings `config` into force, as the agent does.
    fn reach(&self, config: &RouterDocument) {
        let wanted = Router.desired(config);
        let nft = crate::world::program();
        self.router
            .enter_async(async || {
                let kernel = RealKernel::with_nft(NftProgram(nft.into())).unwrap();
                let keys = wanted.keys([early::table_id(), compile::table_id()]);
                // what the kernel does besides what it is told is mended
                for _ in 0..3 {
                    for step in plan(&wanted, &kernel.observe(&keys).await.unwrap()).steps {
                        let done = kernel.apply(&step).await;
                        done.unwrap_or_else(|error| panic!("{step}: {error}"));
                    }
                }
                let seen = kernel.observe(&keys).await.unwrap();
                let rest = plan(&wanted, &seen);
                assert!(rest.is_empty(), "left to do:\n{rest}\n{:#?}", otherwise(&wanted, &seen));
            })
            .unwrap();
        let known = NEIGHBOURS.iter().flat_map(|(link, all)| {
            let station = theirs(place(link));
            all.iter().map(move |one| {
                format!("neigh replace {one} lladdr {station} dev {link} nud permanent\n")
            })
        });
        // links that this configuration does not have, or not with IPv6, take none
        let known: String = known.collect();
        self.router.command(["ip", "-force", "-batch", "-"]).input(known).run().unwrap();
    }

    fn state(&self) -> String {
        let all = "ip addr; ip rule; ip route show table all; ip -6 rule; ip -6 route show table all; \
                   ip neigh; nft list ruleset; sysctl -a 2>/dev/null | grep -E 'rp_filter|forwarding'";
        self.router.sh(all).run().unwrap().stdout
    }
}

/// Chains that are not as they are wanted, and how they are.
fn otherwise(
    wanted: &Desired,
    seen: &Observed,
) -> Vec<(String, ObservedChain, Option<ObservedChain>)> {
    let chains = wanted.tables.iter().flat_map(|(id, table)| {
        ObservedTable::of(table).chains.into_iter().map(move |(name, chain)| (id, name, chain))
    });
    let pairs = chains.map(|(id, name, chain)| {
        let is = seen.tables.get(id).and_then(|table| table.chains.get(&name));
        (name, chain, is.cloned())
    });
    pairs.filter(|(_, wanted, is)| is.as_ref() != Some(wanted)).collect()
}

fn wire(number: usize) -> String {
    format!("wire{number}")
}

/// The number of a link's wire; the first one is the control network's.
fn place(link: &str) -> usize {
    1 + LINKS.iter().position(|known| *known == link).unwrap()
}

/// A connection, and what was said of it.
struct Asked {
    question: ExplainQuestion,
    told: Explanation,
}

impl Asked {
    /// The link and the words for what leaves the router, as explained.
    fn foreseen(&self) -> Option<(String, String)> {
        match self.told.verdict {
            Outcome::Passes => Some((
                self.told.leaves_by.as_ref().unwrap().to_string(),
                self.told.leaves_as.clone().unwrap(),
            )),
            _ => None,
        }
    }

    /// The frame that opens it, and where it comes in.
    fn frame(&self, number: u16) -> (usize, Vec<u8>) {
        let ExplainQuestion { from, to, protocol, port, from_port, .. } = &self.question;
        let header = match port {
            Some(port) => {
                Header::Ports { source: from_port.get(), destination: port.get(), opens: true }
            }
            None if *protocol != AskedProtocol::ICMP => Header::Other,
            None if from.is_ipv4() => Header::Icmp { kind: 8, code: 0 },
            None => Header::Icmp { kind: 128, code: 0 },
        };
        let protocol = match header {
            Header::Icmp { kind: 128, .. } => Protocol::ICMPV6,
            _ => Protocol::new(protocol.number()),
        };
        let packet = Packet::between(*from, *to, protocol, header).unwrap();
        let at = place(self.told.comes_by.as_ref().unwrap().as_str());
        (at, frame(&packet, theirs(at), ours(at), number, false))
    }
}

/// What one kind of protocol is asked of an address once alone: it has nothing else to tell connections apart by.
#[derive(Default)]
struct Taken(BTreeSet<(u8, IpAddr)>);

impl Taken {
    fn take(&mut self, question: &ExplainQuestion) -> bool {
        let number = question.protocol.number();
        question.protocol.has_ports()
            || question.protocol == AskedProtocol::ICMP
            || self.0.insert((number, question.from)) && self.0.insert((number, question.to))
    }
}

fn asked(
    random: &mut Random,
    config: &RouterDocument,
    from_port: u16,
    taken: &mut Taken,
) -> Option<Asked> {
    let from = ip(random.pick(config::HOSTS));
    let version = |to: &&&str| ip(to).is_ipv4() == from.is_ipv4() && ip(to) != from;
    let targets: Vec<&str> =
        config::HOSTS.iter().chain(config::OWN).filter(version).copied().collect();
    let protocol = match random.below(20) {
        0..=9 => AskedProtocol::TCP,
        10..=15 => AskedProtocol::UDP,
        16..=18 => AskedProtocol::ICMP,
        _ => config::OTHER.to_string().parse().unwrap(),
    };
    let port = |number: u16| crate::world::port(number.into());
    // some come by a link that does not lead to who they say they are
    let link = (random.below(8) == 0).then(|| name(random.pick(&OUTER)));
    let question = ExplainQuestion {
        from,
        to: ip(random.pick(&targets)),
        protocol,
        port: protocol.has_ports().then(|| port(random.pick(&config::PORTS))),
        from_port: port(from_port),
        link,
    };
    // nothing leads to where it is from: the question makes no sense
    let told = explain(config, &question).ok()?;
    taken.take(&question).then_some(Asked { question, told })
}

/// How a packet on a wire is written in an explanation.
fn words((from, to, protocol, header): &Sight) -> String {
    let end = |address: &IpAddr, port: u16| std::net::SocketAddr::new(*address, port).to_string();
    match header {
        Header::Ports { source, destination, .. } => {
            format!("{protocol} {} > {}", end(from, *source), end(to, *destination))
        }
        Header::Icmp { .. } => format!("ping {from} > {to}"),
        Header::Other => format!("protocol {protocol} {from} > {to}"),
    }
}

/// What tells a packet of ours from others: its port, the number of its echo, or its protocol alone.
fn is_ours(sight: &Sight, id: u16) -> bool {
    match sight.3 {
        Header::Ports { source, .. } => source >= FIRST_PORT,
        Header::Icmp { kind, .. } => matches!(kind, 8 | 128) && id >= FIRST_PORT,
        Header::Other => sight.2 == Protocol::new(config::OTHER),
    }
}

/// Sends all of them, and hears what leaves: the link, and the words for it.
fn sent(wires: &Wires, all: &[Asked], first: u16) -> Vec<(String, String)> {
    let foreseen = all.iter().filter(|one| one.foreseen().is_some()).count();
    wires
        .others
        .enter_async(async || {
            let open = |number: usize| FrameSocket::open(&name(&wire(number)), Hear::All).unwrap();
            let sockets: Vec<FrameSocket> = (0..=LINKS.len()).map(open).collect();
            for (asked, number) in all.iter().zip(first..) {
                let (at, frame) = asked.frame(number);
                sockets[at].send(&frame).unwrap();
            }
            let bound = Instant::now() + Duration::from_secs(20);
            let mut heard = Vec::new();
            // the kernel forwards within the sending call, so what leaves is there; a short silence is the end
            while heard.len() < foreseen.max(1) {
                for (link, (socket, number)) in LINKS.iter().zip(sockets[1..].iter().zip(1..)) {
                    let seen = hear(socket, number).await;
                    heard.extend(seen.into_iter().map(|words| ((*link).to_owned(), words)));
                }
                if foreseen == 0 || Instant::now() > bound {
                    break;
                }
            }
            heard
        })
        .unwrap()
}

async fn hear(socket: &FrameSocket, number: usize) -> Vec<String> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 2000]);
    while let Ok(seen) =
        tokio::time::timeout(Duration::from_millis(3), socket.receive(&mut buffer)).await
    {
        let taken = seen.unwrap().taken;
        let read = frames::read(&buffer[..taken], ours(number));
        heard
            .extend(read.filter(|(sight, id)| is_ours(sight, *id)).map(|(sight, _)| words(&sight)));
    }
    heard
}

/// What no configuration may lead to, whatever its rules say.
fn fault(router: &Value, told: &Explanation, from: IpAddr) -> Option<&'static str> {
    let public = told.leaves_by.as_ref().is_some_and(|link| link.as_str().starts_with("pub"));
    if let (true, Some(IpAddr::V4(address))) = (public, told.egress_address)
        && address.is_private()
    {
        return Some("an inside address is seen outside");
    }
    let forwards = router["port_forwards"].as_array()?;
    let by = told.destination.as_ref().map_or(&[][..], |moved| &moved.by.elements);
    let forward = forwards.iter().find(|forward| {
        let id = format!("forward/{}", forward["id"].as_str().unwrap());
        by.contains(&id)
    })?;
    let sources = forward["sources"].as_array().unwrap();
    let among = |net: &Value| net.as_str().unwrap().parse::<Cidr>().unwrap().contains(from);
    let passes = told.verdict == Outcome::Passes;
    (passes && !sources.is_empty() && !sources.iter().any(among))
        .then_some("a forward is used by who is none of its sources")
}

/// One configuration, and its connections. What came of them, by verdict.
fn try_one(wires: &Wires, seed: u64, first: u16, taken: &mut Taken) -> BTreeMap<String, usize> {
    let mut random = Random(seed);
    let document = config::sound(&mut random);
    let config = RouterDocument::decode(document.to_string().as_bytes()).unwrap().0;
    wires.reach(&config);
    let ports = first..first + FLOWS;
    let all: Vec<Asked> =
        ports.filter_map(|port| asked(&mut random, &config, port, taken)).collect();
    for asked in &all {
        let told = &asked.told;
        let fault = fault(&document["role"]["router"], told, asked.question.from);
        assert!(fault.is_none(), "seed {seed}: {}\n{told}\n{document:#}", fault.unwrap());
    }
    let mut heard = sent(wires, &all, first);
    let mut foreseen: Vec<_> = all.iter().filter_map(Asked::foreseen).collect();
    heard.sort();
    foreseen.sort();
    if heard != foreseen {
        let only = |these: &[(String, String)], those: &[(String, String)]| {
            these.iter().filter(|one| !those.contains(one)).cloned().collect::<Vec<_>>()
        };
        let about: Vec<String> = all.iter().map(|one| one.told.to_string()).collect();
        panic!(
            "seed {seed}: left and not foreseen: {:#?}\nforeseen and did not leave: {:#?}\n{}\n{document:#}\n{}",
            only(&heard, &foreseen),
            only(&foreseen, &heard),
            about.join("\n"),
            wires.state(),
        );
    }
    let mut verdicts = BTreeMap::new();
    for asked in &all {
        *verdicts.entry(format!("{:?}", asked.told.verdict)).or_default() += 1;
    }
    verdicts
}

#[test]
fn what_is_explained_is_what_packets_do() {
    let start: u64 = std::env::var("SLUICE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let all = std::env::var_os("SLUICE_FULL").is_some();
    let count = match std::env::var_os("SLUICE_SEED") {
        Some(_) => 1,
        None => WITH_ONE * if all { 3 } else { 1 },
    };
    let seeds: Vec<u64> = (start..start + count).collect();
    let (began, mut tried) = (Instant::now(), 0);
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    'all: for some in seeds.chunks(WITH_ONE.try_into().unwrap()) {
        let (wires, mut taken) = (Wires::new(), Taken::default());
        for (place, seed) in (0_u16..).zip(some) {
            if !all && tried >= LEAST && began.elapsed() > ENOUGH {
                break 'all;
            }
            for (verdict, count) in try_one(&wires, *seed, FIRST_PORT + place * FLOWS, &mut taken) {
                *verdicts.entry(verdict).or_default() += count;
            }
            tried += 1;
        }
    }
    eprintln!("{tried} configurations: {verdicts:?}");
    // a test of nothing that passes, or of nothing that does not, is none
    let some = |verdict: &str| verdicts.get(verdict).copied().unwrap_or_default();
    let least = tried.max(LEAST);
    assert!(count == 1 || some("Passes") > least && some("Dropped") > least, "{verdicts:?}");
}
