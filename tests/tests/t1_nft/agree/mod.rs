//! The evaluator against the kernel: random tables, and packets of random connections and their answers through a real
//! router; every rule has counted what the evaluator says that it matched, and every wire has seen what it says leaves.
//!
//! Tries what fits into some seconds; `SLUICE_FULL=1` thousands of tables; `SLUICE_SEED` one seed, or with
//! `SLUICE_FULL=1` where they begin.

mod fits;
pub(crate) mod frames;
pub(crate) mod random;
pub(crate) mod wires;

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use frames::{Sight, frame, sight};
use random::Random;
use sluice_sys::nft::eval::{
    Ending, Header, Judgement, Packet, Tracking, Translated, Ways, evaluate,
};
use sluice_sys::nft::{self, CtState, CtStatus, Direction, Protocol, Table, TableId};
use wires::{Ends, HOSTS, LINKS, OWN, Wires, ip, ours, theirs};

use crate::world;

/// Tables tried with one router.
const TABLES: u64 = 250;
/// How long an ordinary run goes on, once it has tried `LEAST` tables.
const ENOUGH: Duration = Duration::from_secs(10);
const LEAST: usize = 20;
/// Packets that open connections, for each table.
const OPENED: u16 = 24;

type Tables = BTreeMap<TableId, Table>;
type Counts = BTreeMap<(String, String), u64>;

/// What one table is to do with its packets.
#[derive(Default)]
struct Foreseen {
    counts: Counts,
    sights: Vec<(usize, Sight, u16)>,
    log: Vec<String>,
}

impl Foreseen {
    fn add(&mut self, judgement: &Judgement, id: u16) {
        self.log.push(format!("{id}: {judgement:?}"));
        for hit in &judgement.path {
            *self.counts.entry((hit.chain.to_string(), hit.rule.to_string())).or_default() += 1;
        }
        if let Ending::Sent(link) = &judgement.ending {
            let number = LINKS.iter().position(|(name, _)| *name == link.as_str()).unwrap();
            let id = if matches!(judgement.packet.header, Header::Icmp { .. }) { id } else { 0 };
            self.sights.push((number, sight(&judgement.packet), id));
        }
    }
}

fn tracking(packet: &Packet) -> Tracking {
    let mut tracking = Tracking::first(packet);
    if matches!(packet.header, Header::Icmp { kind: 3, .. }) {
        // an error that is about no connection
        tracking.state = CtState::Invalid;
    }
    tracking
}

/// The answer to a packet that was sent on, as it comes in, and what tracking knows of it.
fn answer(first: &Packet, judgement: &Judgement) -> Option<(usize, Packet, Tracking)> {
    let Ending::Sent(link) = &judgement.ending else { return None };
    let at = LINKS.iter().position(|(name, _)| *name == link.as_str())?;
    let left = &judgement.packet;
    let header = match left.header {
        Header::Ports { source, destination, .. } => {
            Header::Ports { source: destination, destination: source, opens: false }
        }
        Header::Icmp { kind: 8, code } => Header::Icmp { kind: 0, code },
        Header::Icmp { kind: 128, code } => Header::Icmp { kind: 129, code },
        Header::Icmp { .. } => return None,
        Header::Other => Header::Other,
    };
    let mut packet =
        Packet::between(left.destination, left.source, left.protocol, header)?.by(link.clone());
    packet.source_mac = Some(theirs(at));
    let port = |packet: &Packet| match packet.header {
        Header::Ports { source, destination, .. } => (Some(source), Some(destination)),
        _ => (None, None),
    };
    let (is, was) = (port(left), port(first));
    let destination = ((left.destination, is.1) != (first.destination, was.1))
        .then_some((left.destination, is.1));
    let source = ((left.source, is.0) != (first.source, was.0)).then_some((left.source, is.0));
    let mut status = std::collections::BTreeSet::new();
    status.extend(destination.map(|_| CtStatus::Dnat));
    status.extend(source.map(|_| CtStatus::Snat));
    let tracking = Tracking {
        state: CtState::Established,
        direction: Direction::Reply,
        mark: judgement.connection_mark,
        labels: judgement.connection_labels,
        status,
        translated: Translated { destination, source },
        ..Tracking::first(first)
    };
    Some((at, packet, tracking))
}

async fn hear(ends: &Ends, foreseen: &[(usize, Sight, u16)]) -> Vec<(usize, Sight, u16)> {
    let bound = Instant::now() + Duration::from_secs(20);
    let mut heard = Vec::new();
    loop {
        heard.extend(ends.heard().await);
        if heard.len() >= foreseen.len() || Instant::now() > bound {
            return heard;
        }
    }
}

/// Packets of connections that hosts open, and the answers.
async fn from_outside(
    ends: &Ends,
    tables: &Tables,
    ways: &Ways,
    random: &mut Random,
    foreseen: &mut Foreseen,
    first_number: u16,
) -> Vec<(usize, Sight, u16)> {
    let mut answers = Vec::new();
    for number in first_number..first_number + OPENED {
        let (at, packet) = random::packet(random, number);
        let judgement = evaluate(tables, ways, packet.clone(), tracking(&packet));
        foreseen.log.push(format!("{number} {packet:?}"));
        foreseen.add(&judgement, number);
        ends.send(at, &frame(&packet, theirs(at), ours(at), number, false));
        let notrack = no_track(tables, &judgement);
        answers.extend(
            answer(&packet, &judgement).filter(|_| !notrack).map(|answer| (number, answer)),
        );
    }
    let mut heard = hear(ends, &foreseen.sights).await;
    let before = foreseen.sights.len();
    for (number, (at, packet, tracking)) in answers {
        let judgement = evaluate(tables, ways, packet.clone(), tracking);
        foreseen.log.push(format!("answer {number} {packet:?}"));
        foreseen.add(&judgement, number);
        ends.send(at, &frame(&packet, theirs(at), ours(at), number, true));
    }
    heard.extend(hear(ends, &foreseen.sights[before..]).await);
    heard
}

/// True when a rule that the packet matched says that its connection is not tracked.
fn no_track(tables: &Tables, judgement: &Judgement) -> bool {
    judgement.path.iter().any(|hit| {
        let rule = &tables[&hit.table].chains[&hit.chain].rules[hit.place];
        rule.exprs.contains(&nft::Expr::NoTrack)
    })
}

/// Datagrams that the router itself sends.
fn from_here(
    wires: &Wires,
    tables: &Tables,
    ways: &Ways,
    random: &mut Random,
    foreseen: &mut Foreseen,
    number: u16,
) {
    let from = ip(random.pick(&["198.51.100.10", "10.1.1.1", "2001:db8:f::1"]));
    let all: Vec<IpAddr> =
        HOSTS.iter().flat_map(|(_, hosts)| hosts.iter().map(|host| ip(host))).collect();
    let to: Vec<IpAddr> = all.into_iter().filter(|to| to.is_ipv4() == from.is_ipv4()).collect();
    let (to, port) = (random.pick(&to), random.pick(&[53_u16, 80]));
    let header = Header::Ports { source: 20_000 + number, destination: port, opens: false };
    let mut packet = Packet::between(from, to, Protocol::UDP, header).unwrap();
    (packet.mark, packet.user) = (OWN, Some(0));
    let judgement = evaluate(tables, ways, packet.clone(), Tracking::first(&packet));
    foreseen.log.push(format!("own {number} {packet:?}"));
    foreseen.add(&judgement, number);
    wires
        .router
        .ns
        .enter(move || {
            let socket = UdpSocket::bind((from, 20_000 + number)).unwrap();
            let socket = socket2::Socket::from(socket);
            socket.set_mark(OWN).unwrap();
            // a table may drop it, which the sender is told
            let _dropped = socket.send_to(&[7; 8], &std::net::SocketAddr::new(to, port).into());
        })
        .unwrap();
}

fn counted(wires: &Wires) -> Counts {
    let rules = wires.router.counters().rules.into_iter();
    let hit = rules.filter(|(_, count)| count.packets > 0);
    hit.map(|(rule, count)| (rule, count.packets)).collect()
}

fn try_one(wires: &Wires, seed: u64, first_number: u16) {
    let mut random = Random(seed);
    let table = random::table(&mut random);
    let tables: Tables = [(world::ours(), table)].into();
    let faults: Vec<_> = nft::faults(&tables[&world::ours()])
        .into_iter()
        .filter(|fault| !matches!(fault, nft::Fault::Unreached(_)))
        .collect();
    assert_eq!(faults, [], "seed {seed}");
    let script = nft::diff(&nft::ObservedTables::new(), &tables).render();
    // a connection without ports is one whatever its number: of the tables before nothing may be known
    wires.router.ns.command(["conntrack", "-F"]).check().unwrap();
    wires.router.load(&format!("add table inet sluice\ndelete table inet sluice\n{script}"));
    let ways = Wires::ways();
    let mut foreseen = Foreseen::default();
    let mut heard = wires.on(async |ends| {
        let mut heard =
            from_outside(&ends, &tables, &ways, &mut random, &mut foreseen, first_number).await;
        let before = foreseen.sights.len();
        for number in 0..2 {
            from_here(
                wires,
                &tables,
                &ways,
                &mut random,
                &mut foreseen,
                first_number + OPENED + number,
            );
        }
        heard.extend(hear(&ends, &foreseen.sights[before..]).await);
        heard
    });
    let told = || format!("seed {seed}\n{script}\n{}", foreseen.log.join("\n"));
    let mut sights = foreseen.sights.clone();
    let key = |sight: &(usize, Sight, u16)| format!("{sight:?}");
    sights.sort_by_key(key);
    heard.sort_by_key(key);
    assert_eq!(heard, sights, "on the wires (left) and foreseen (right), {}", told());
    let bound = Instant::now() + Duration::from_secs(20);
    let mut counts = counted(wires);
    while counts != foreseen.counts && Instant::now() < bound {
        counts = counted(wires);
    }
    assert_eq!(counts, foreseen.counts, "counted (left) and foreseen (right), {}", told());
}

#[test]
fn the_evaluator_says_what_the_kernel_does() {
    let start: u64 = std::env::var("SLUICE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = match (std::env::var("SLUICE_SEED"), std::env::var("SLUICE_FULL")) {
        (_, Ok(_)) => 12 * TABLES,
        (Ok(_), _) => 1,
        _ => TABLES,
    };
    let all = std::env::var("SLUICE_FULL").is_ok();
    let seeds: Vec<u64> = (start..start + count).collect();
    let began = Instant::now();
    // each router sees each source port once
    for some in seeds.chunks(TABLES.try_into().unwrap()) {
        let wires = Wires::new();
        for (place, seed) in some.iter().enumerate() {
            if !all && place >= LEAST && began.elapsed() > ENOUGH {
                return;
            }
            let number = u16::try_from(place).unwrap() * (OPENED + 2);
            try_one(&wires, *seed, number);
        }
    }
}
