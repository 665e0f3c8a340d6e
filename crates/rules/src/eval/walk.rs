//! A packet's way through the hooks: before routing, routing, to this machine or through it, after routing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::types::LinkName;

use super::packet::Header;
use super::run::{By, Hit, Passed, Place, Run, Seen, Translates, Translation};
use super::world::Question;
use super::{End, Packet, Tracking, Ways};
use crate::{
    AddressKind, ChainKind, CtState, CtStatus, Direction, HookPoint, Ident, RejectWith, Table,
    TableId,
};

/// When connection tracking sees a packet (NF_IP_PRI_CONNTRACK).
const TRACKING: i32 = -200;
/// When destinations are translated, whatever priority the chains have among themselves (NF_IP_PRI_NAT_DST).
const DESTINATIONS: i32 = -100;
/// When sources are translated (NF_IP_PRI_NAT_SRC).
const SOURCES: i32 = 100;

/// What becomes of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The rules that it matched, in order.
    pub path: Vec<Hit>,
    /// Its end.
    pub ending: Ending,
    /// Where its connection's destination is translated to.
    pub destination: Option<Translation>,
    /// Where its connection's source is translated to.
    pub source: Option<Translation>,
    /// The packet as it left or arrived.
    pub packet: Packet,
    /// Mark of its connection.
    pub connection_mark: u32,
    /// Labels of its connection.
    pub connection_labels: u128,
    /// The helper that its connection gets.
    pub helper: Option<Ident>,
    /// Its connection is offloaded to a flowtable.
    pub offloaded: bool,
}

/// The end of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It is for this machine.
    Here,
    /// It left by this link.
    Sent(LinkName),
    /// It was lost.
    Dropped(By),
    /// It was refused, and its sender told so.
    Refused(RejectWith, Hit),
    /// There was no way to its destination.
    NoWay,
}

impl Ending {
    /// True when the packet reached somebody.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Here | Self::Sent(_))
    }
}

/// What becomes of `packet`.
pub fn evaluate(
    tables: &BTreeMap<TableId, Table>,
    ways: &Ways,
    packet: Packet,
    tracking: Tracking,
) -> Judgement {
    let mut run = Run {
        tables,
        ways,
        packet,
        oif: None,
        seen: Seen::NotYet(tracking),
        translates: Translates::Nothing,
        destination_settled: false,
        source_settled: false,
        destination: None,
        source: None,
        helper: None,
        offloaded: false,
        path: Vec::new(),
    };
    let ending = run.walk();
    let connection_mark = run.tracking().map_or(0, |tracking| tracking.mark);
    let connection_labels = run.tracking().map_or(0, |tracking| tracking.labels);
    Judgement {
        path: run.path,
        ending,
        destination: run.destination,
        source: run.source,
        packet: run.packet,
        connection_mark,
        connection_labels,
        helper: run.helper,
        offloaded: run.offloaded,
    }
}

/// What happens at a hook, in order.
enum Act<'a> {
    Track,
    Chain(Place<'a>),
    Translate(Vec<Place<'a>>),
}

/// Goes on when the packet passed, else ends here.
macro_rules! pass {
    ($passed:expr) => {
        match $passed {
            Passed::On => {}
            Passed::Dropped(by) => return Ending::Dropped(by),
            Passed::Rejected(with, hit) => return Ending::Refused(with, hit),
        }
    };
}

impl<'a> Run<'a> {
    fn walk(&mut self) -> Ending {
        if self.packet.iif.is_none() {
            return self.outward();
        }
        pass!(self.hook(HookPoint::Prerouting));
        self.inward()
    }

    /// A packet that came in, once its destination is known.
    fn inward(&mut self) -> Ending {
        if self.is_here() {
            pass!(self.hook(HookPoint::Input));
            return Ending::Here;
        }
        self.oif = self.way();
        if self.oif.is_none() {
            return Ending::NoWay;
        }
        pass!(self.hook(HookPoint::Forward));
        self.last()
    }

    /// A packet that this machine sends.
    fn outward(&mut self) -> Ending {
        self.oif = self.way();
        if self.oif.is_none() {
            return Ending::NoWay;
        }
        pass!(self.hook(HookPoint::Output));
        // what changed its destination or mark is routed again
        self.oif = self.way();
        if self.oif.is_none() {
            return Ending::NoWay;
        }
        if !self.is_here() {
            return self.last();
        }
        pass!(self.hook(HookPoint::Postrouting));
        self.packet.iif = Some(LinkName::loopback());
        // loopback lets go of the socket that sent it
        self.packet.user = None;
        self.oif = None;
        // it comes back in tracked as it went out
        pass!(self.hook(HookPoint::Prerouting));
        pass!(self.hook(HookPoint::Input));
        Ending::Here
    }

    fn last(&mut self) -> Ending {
        pass!(self.hook(HookPoint::Postrouting));
        match self.oif.clone() {
            Some(link) => Ending::Sent(link),
            None => Ending::NoWay,
        }
    }

    fn is_here(&self) -> bool {
        let kind = self.ways.kind(self.packet.destination);
        let local = kind == AddressKind::Local;
        // what is for many is taken in where it comes in
        local || (self.packet.iif.is_some() && kind != AddressKind::Unicast)
    }

    fn way(&self) -> Option<LinkName> {
        let packet = &self.packet;
        if self.ways.kind(packet.destination) == AddressKind::Local {
            return Some(LinkName::loopback());
        }
        let question = Question {
            iif: packet.iif.as_ref(),
            source: Some(packet.source),
            destination: packet.destination,
            mark: packet.mark,
        };
        self.ways.way(question).cloned()
    }

    /// The chains of a hook, with tracking and translation at their places; of the same priority tables go by their ids.
    fn acts(&self, point: HookPoint) -> Vec<Act<'a>> {
        let mut acts: Vec<(i32, u8, Act<'a>)> = Vec::new();
        let mut translating: Vec<(i32, Place<'a>)> = Vec::new();
        for (id, table) in self.tables {
            for (name, chain) in &table.chains {
                let Some(hook) = chain.hook.filter(|hook| hook.point == point) else { continue };
                let place = Place { id, table, name, chain };
                if hook.kind == ChainKind::Nat {
                    translating.push((hook.priority, place));
                } else {
                    acts.push((hook.priority, 1, Act::Chain(place)));
                }
            }
        }
        if matches!(point, HookPoint::Prerouting | HookPoint::Output) {
            acts.push((TRACKING, 0, Act::Track));
        }
        translating.sort_by_key(|(priority, _)| *priority);
        let translating = translating.into_iter().map(|(_, place)| place).collect();
        let at = match point {
            HookPoint::Prerouting | HookPoint::Output => Some(DESTINATIONS),
            HookPoint::Input | HookPoint::Postrouting => Some(SOURCES),
            HookPoint::Forward => None,
        };
        acts.extend(at.map(|at| (at, 2, Act::Translate(translating))));
        acts.sort_by_key(|(priority, order, _)| (*priority, *order));
        acts.into_iter().map(|(_, _, act)| act).collect()
    }

    fn hook(&mut self, point: HookPoint) -> Passed {
        for act in self.acts(point) {
            let passed = match act {
                Act::Track => {
                    self.track();
                    Passed::On
                }
                Act::Chain(place) => self.base(place),
                Act::Translate(chains) => self.translations(point, &chains),
            };
            if passed != Passed::On {
                return passed;
            }
        }
        Passed::On
    }

    fn track(&mut self) {
        if let Seen::NotYet(tracking) = &self.seen {
            self.seen = match tracking.state {
                CtState::Invalid => Seen::Invalid,
                CtState::Untracked => Seen::Never,
                _ => Seen::Tracked(tracking.clone()),
            };
        }
    }

    /// The first packet of a connection decides its translations; the others follow them.
    fn translations(&mut self, point: HookPoint, chains: &[Place<'a>]) -> Passed {
        let Some(tracking) = self.tracking().cloned() else { return Passed::On };
        let destinations = matches!(point, HookPoint::Prerouting | HookPoint::Output);
        if tracking.state != CtState::New {
            self.follow(&tracking, destinations);
            return Passed::On;
        }
        let settled =
            if destinations { &mut self.destination_settled } else { &mut self.source_settled };
        // what is settled once is not asked for again, such as when a packet comes back by loopback
        if std::mem::replace(settled, true) {
            return Passed::On;
        }
        self.translates = if destinations { Translates::Destination } else { Translates::Source };
        let mut passed = Passed::On;
        for place in chains {
            passed = self.base(*place);
            let done = if destinations { &self.destination } else { &self.source };
            if passed != Passed::On || done.is_some() {
                break;
            }
        }
        self.translates = Translates::Nothing;
        self.rewrite(destinations);
        passed
    }

    /// Gives the packet the end that was decided on, and its connection the status.
    fn rewrite(&mut self, destinations: bool) {
        let done = if destinations { &self.destination } else { &self.source };
        let Some(to) = done.as_ref().map(|translation| translation.to) else { return };
        let before = (self.packet.source, self.packet.destination, self.packet.header);
        self.readdress(to, destinations);
        // a translation to what is there already is none
        let changed = before != (self.packet.source, self.packet.destination, self.packet.header);
        let status = if destinations { CtStatus::Dnat } else { CtStatus::Snat };
        if let Some(tracking) = self.tracking_mut().filter(|_| changed) {
            tracking.status.insert(status);
        }
    }

    fn readdress(&mut self, (address, port): End, destinations: bool) {
        let packet = &mut self.packet;
        if destinations {
            packet.destination = address;
        } else {
            packet.source = address;
        }
        if let (Header::Ports { source, destination, .. }, Some(port)) = (&mut packet.header, port)
        {
            *(if destinations { destination } else { source }) = port;
        }
    }

    /// A packet of a connection whose translations are known, in its way.
    fn follow(&mut self, tracking: &Tracking, destinations: bool) {
        let (source, destination) = tracking.original;
        let translated = tracking.translated;
        let to = match (tracking.direction, destinations) {
            (Direction::Original, true) => translated.destination,
            (Direction::Original, false) => translated.source,
            // an answer goes back to who asked, from whom it was asked
            (Direction::Reply, true) => translated.source.map(|_| source),
            (Direction::Reply, false) => translated.destination.map(|_| destination),
        };
        if let Some(to) = to {
            self.readdress(to, destinations);
        }
    }
}
