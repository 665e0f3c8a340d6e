//! Which tracked connections new rules would judge or translate otherwise: those must end, and no others.
//!
//! A connection that the new rules would let pass and translate as it is stays, whatever else changed. One that they
//! would not stays all the same if the old rules say the same of it: then it does not live by these rules (an ICMP error,
//! what a helper opened, a limit that was not reached) and they did not take back what allowed it. What a helper opened
//! ends with the connection that opened it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::types::LinkName;

use super::packet::{End, Header, Packet, Tracking, Translated};
use super::walk::{Judgement, evaluate};
use super::world::{Question, Ways};
use crate::{AddressKind, Protocol, Table, TableId};

/// Rules and routing of one configuration.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The tables.
    pub tables: &'a BTreeMap<TableId, Table>,
    /// The routing.
    pub ways: &'a Ways,
}

/// Source and destination of one way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Its ports, or what identifies an ICMP exchange.
    pub parts: Parts,
}

/// What tells connections between the same two addresses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Parts {
    /// Source and destination port.
    Ports(u16, u16),
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier (RFC 792 echo).
        id: u16,
    },
    /// Of another protocol: nothing.
    None,
}

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its first packet as it came in.
    pub original: Tuple,
    /// The answers as they come in.
    pub reply: Tuple,
    /// Its mark.
    pub mark: u32,
    /// The connection whose helper opened it.
    pub master: Option<Tuple>,
    /// The kernel's number for it, which no later connection between the same ends has.
    pub id: Option<u32>,
}

impl Tuple {
    fn ports(&self) -> (Option<u16>, Option<u16>) {
        match self.parts {
            Parts::Ports(source, destination) => (Some(source), Some(destination)),
            Parts::Icmp { .. } | Parts::None => (None, None),
        }
    }

    fn header(&self) -> Header {
        match self.parts {
            Parts::Ports(source, destination) => {
                Header::Ports { source, destination, opens: self.protocol == Protocol::TCP }
            }
            Parts::Icmp { kind, code, .. } => Header::Icmp { kind, code },
            Parts::None => Header::Other,
        }
    }
}

impl Flow {
    /// How its ends were translated.
    pub fn translated(&self) -> Translated {
        let (asked, answered) = (&self.original, &self.reply);
        let (source_port, destination_port) = asked.ports();
        let (answer_source, answer_destination) = answered.ports();
        let destination = (answered.source, answer_source);
        let source = (answered.destination, answer_destination);
        Translated {
            destination: (destination != (asked.destination, destination_port))
                .then_some(destination),
            source: (source != (asked.source, source_port)).then_some(source),
        }
    }

    /// Its first packet, as it came in by the routing of `ways`.
    fn first(&self, ways: &Ways) -> Option<(Packet, Tracking)> {
        let tuple = &self.original;
        let packet =
            Packet::between(tuple.source, tuple.destination, tuple.protocol, tuple.header())?;
        let packet = match self.came_in_by(ways) {
            Some(link) => packet.by(link),
            None => packet,
        };
        let tracking = Tracking { translated: self.translated(), ..Tracking::first(&packet) };
        Some((packet, tracking))
    }

    /// The link that leads to its source, which is the one that answers leave by; `None` for what this machine opened.
    fn came_in_by(&self, ways: &Ways) -> Option<LinkName> {
        let source = self.original.source;
        if ways.kind(source) == AddressKind::Local {
            return None;
        }
        let from = Some(self.original.destination);
        let question = Question { iif: None, source: from, destination: source, mark: self.mark };
        // a source that nothing leads to any more came in by somewhere: by no link that a rule names
        ways.way(question).cloned().or_else(|| "none".parse().ok())
    }

    /// Whoever is party to it, by the addresses before and after translation.
    fn ends(&self) -> [IpAddr; 4] {
        let (asked, answered) = (&self.original, &self.reply);
        [asked.source, asked.destination, answered.source, answered.destination]
    }

    /// What these rules say of its first packet.
    fn judged(&self, world: World<'_>) -> Option<Judgement> {
        let (packet, tracking) = self.first(world.ways)?;
        Some(evaluate(world.tables, world.ways, packet, tracking))
    }

    /// True when the new rules would let it pass as it is.
    fn lives_by(&self, judgement: &Judgement) -> bool {
        let translated = self.translated();
        judgement.ending.passes()
            && same(
                judgement.destination.as_ref().map(|to| to.to),
                translated.destination,
                (self.original.destination, self.original.ports().1),
            )
            && same(
                judgement.source.as_ref().map(|to| to.to),
                translated.source,
                (self.original.source, self.original.ports().0),
            )
    }
}

/// True when an end that was translated so, or not, is as the rules say. A port that the rules do not name may be any:
/// the kernel takes another where two connections would be the same.
fn same(wanted: Option<End>, is: Option<End>, original: End) -> bool {
    let is = is.unwrap_or(original);
    match wanted {
        None => is.0 == original.0,
        Some((address, None)) => is.0 == address,
        Some((address, port)) => is.0 == address && (is.1 == port || is.1.is_none()),
    }
}

/// What a judgement says of a connection, without how it came to it.
fn said(judgement: &Judgement) -> (bool, Option<End>, Option<End>) {
    let end = |translation: &Option<super::run::Translation>| {
        translation.as_ref().map(|translation| translation.to)
    };
    (judgement.ending.passes(), end(&judgement.destination), end(&judgement.source))
}

/// The places in `flows` of those that end with the change from `old` to `new`.
///
/// `released` are inside addresses that belong to somebody else now, or to nobody: what they were party to ends.
pub fn ends(
    old: World<'_>,
    new: World<'_>,
    released: &BTreeSet<IpAddr>,
    flows: &[Flow],
) -> BTreeSet<usize> {
    let mut review = Review::by(new, flows);
    review.since(old, released);
    review.places()
}

/// Which connections end by the rules in force, after any number of changes. Those that these rules let pass as they are
/// are judged once, however many changes there were.
#[derive(Debug)]
pub struct Review<'a> {
    new: World<'a>,
    flows: &'a [Flow],
    /// Those that the rules in force would not let pass as they are, with what these say of them; `None`: not asked yet.
    doubtful: Option<Vec<(usize, Judgement)>>,
    ending: BTreeSet<usize>,
}

impl<'a> Review<'a> {
    /// None so far: no change is known.
    pub fn by(new: World<'a>, flows: &'a [Flow]) -> Self {
        Self { new, flows, doubtful: None, ending: BTreeSet::new() }
    }

    /// Adds those that end with the change from `old`. `released` are inside addresses that were somebody's in `old` and
    /// belong to somebody else now, or to nobody: what they were party to ends.
    pub fn since(&mut self, old: World<'_>, released: &BTreeSet<IpAddr>) {
        if !released.is_empty() {
            let all = self.flows.iter().enumerate();
            let parties =
                all.filter(|(_, flow)| flow.ends().iter().any(|end| released.contains(end)));
            self.ending.extend(parties.map(|(at, _)| at));
        }
        let (new, flows) = (self.new, self.flows);
        let doubtful = self.doubtful.get_or_insert_with(|| doubtful(new, flows));
        for (at, now) in doubtful {
            let Some(flow) = flows.get(*at).filter(|_| !self.ending.contains(at)) else { continue };
            let ends = flow
                .judged(old)
                .is_some_and(|before| flow.lives_by(&before) || said(&before) != said(now));
            if ends {
                self.ending.insert(*at);
            }
        }
    }

    /// Their places among the connections, with those that a helper opened for them.
    pub fn places(mut self) -> BTreeSet<usize> {
        // what a helper opened goes with what opened it, and so on
        loop {
            let gone = self.ending.iter().filter_map(|at| self.flows.get(*at));
            let gone: BTreeSet<Tuple> = gone.map(|flow| flow.original).collect();
            let before = self.ending.len();
            let all = self.flows.iter().enumerate();
            let orphans =
                all.filter(|(_, flow)| flow.master.is_some_and(|master| gone.contains(&master)));
            self.ending.extend(orphans.map(|(at, _)| at));
            if self.ending.len() == before {
                return self.ending;
            }
        }
    }
}

/// Those of `flows` that the rules would not let pass as they are.
fn doubtful(new: World<'_>, flows: &[Flow]) -> Vec<(usize, Judgement)> {
    let judged = flows.iter().enumerate().filter_map(|(at, flow)| {
        let now = flow.judged(new)?;
        (!flow.lives_by(&now)).then_some((at, now))
    });
    judged.collect()
}
