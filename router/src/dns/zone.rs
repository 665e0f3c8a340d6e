//! The names of one domain, compiled for answering: what exists, what it is, which zone it is in.
//!
//! Guarantees: a lookup allocates nothing and its cost does not depend on the number of guests; records are encoded when
//! the zone is built, not when it is asked. Names that would be longer than DNS allows are left out, as no client could
//! ask for them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::RecordData;
use sluice_api::types::{Cidr, DomainName};

use super::name::Name;
use super::wire::{CLASS_IN, rtype};

/// Name on the wire, lower case.
pub(super) type Wire = Box<[u8]>;

/// One existing name.
#[derive(Debug)]
pub(super) enum Node {
    /// A guest or a reverse name.
    One(Record),
    /// A guest with NICs in several networks of the domain, or with records of the operator's own.
    Several(Vec<Record>),
    /// Another name of what the second part is called, in wire form.
    Alias(Record, Wire),
    /// The router: its addresses in the asking network.
    Router,
    /// A zone itself.
    Apex(usize),
    /// Nothing but names below it (RFC 4592 2.2.2).
    Empty,
}

/// A record that answers a question about its owner, encoded.
#[derive(Debug)]
pub(super) struct Record {
    pub rtype: u16,
    /// The owner as a pointer to the question (RFC 1035 4.1.4), and the rest.
    pub bytes: Box<[u8]>,
}

impl Record {
    /// The A or AAAA record of `address`.
    pub(super) fn of_address(address: IpAddr, ttl: u32) -> Self {
        match address {
            IpAddr::V4(v4) => Self::new(rtype::A, ttl, &v4.octets()),
            IpAddr::V6(v6) => Self::new(rtype::AAAA, ttl, &v6.octets()),
        }
    }

    /// The same as an answer about another name than that of the question, which is written before it.
    pub(super) fn without_owner(&self) -> &[u8] {
        self.bytes.get(2..).unwrap_or_default()
    }

    /// The record that `data` describes; `None` for a name that is too long for the wire.
    pub(super) fn of_data(data: &RecordData, ttl: u32) -> Option<Self> {
        let name = |name: &DomainName| Name::parse(name.as_str());
        let numbers = |numbers: &[u16]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
        };
        Some(match data {
            RecordData::A(address) => Self::of_address(IpAddr::V4(*address), ttl),
            RecordData::Aaaa(address) => Self::of_address(IpAddr::V6(*address), ttl),
            RecordData::Cname(target) => Self::new(rtype::CNAME, ttl, name(target)?.as_bytes()),
            RecordData::Ptr(target) => Self::new(rtype::PTR, ttl, name(target)?.as_bytes()),
            RecordData::Mx { preference, exchange } => {
                let data =
                    [numbers(&[*preference]).as_slice(), name(exchange)?.as_bytes()].concat();
                Self::new(rtype::MX, ttl, &data)
            }
            RecordData::Srv { priority, weight, port, target } => {
                let numbers = numbers(&[*priority, *weight, *port]);
                Self::new(rtype::SRV, ttl, &[numbers.as_slice(), name(target)?.as_bytes()].concat())
            }
            RecordData::Txt(text) => {
                let text = text.as_str().as_bytes();
                let length = u8::try_from(text.len()).ok()?;
                Self::new(rtype::TXT, ttl, &[&[length], text].concat())
            }
        })
    }

    /// The address, if it is an IPv4 one.
    pub(super) fn ipv4(&self) -> Option<Ipv4Addr> {
        let octets = self.bytes.last_chunk::<4>().filter(|_| self.rtype == rtype::A)?;
        Some(Ipv4Addr::from(*octets))
    }

    fn new(rtype: u16, ttl: u32, data: &[u8]) -> Self {
        let question = [0xc0, 12];
        Self {
            rtype,
            bytes: [&question, head(rtype, ttl, data.len()).as_slice(), data].concat().into(),
        }
    }
}

/// One zone.
#[derive(Debug)]
pub(super) struct Zone {
    /// Its SOA record, complete.
    pub soa: Box<[u8]>,
    /// Its NS record, complete; none for a zone that exists only to be empty.
    pub ns: Option<Box<[u8]>>,
    /// Only reverse names of these networks are in it; empty means every name below it.
    pub within: Vec<Cidr>,
}

impl Zone {
    /// Whether `name`, which lies at or below the zone's own, is ours to answer.
    pub(super) fn covers(&self, name: &Name) -> bool {
        let Some(first) = self.within.first() else { return true };
        let Some(address) = name.reverse_address() else { return false };
        first.contains(address) || self.within.iter().any(|cidr| cidr.contains(address))
    }
}

/// What a zone's SOA record says besides fixed times.
pub(super) struct Authority<'a> {
    /// The router's name in the domain.
    pub primary: &'a Name,
    /// Changes with every configuration.
    pub serial: u32,
    /// Seconds that a positive answer lives.
    pub ttl: u32,
    /// Seconds that a negative answer lives.
    pub negative_ttl: u32,
}

impl Authority<'_> {
    /// The zone `apex` with its records.
    pub(super) fn zone(&self, apex: &Name, within: Vec<Cidr>) -> Zone {
        let name = self.primary.as_bytes();
        let ns = record(apex.as_bytes(), rtype::NS, self.ttl, &[name]);
        Zone { soa: self.soa(apex.as_bytes(), &mailbox(self.primary)), ns: Some(ns), within }
    }

    /// A zone without names (RFC 6303 3).
    pub(super) fn empty_zone(&self, apex: &Name) -> Zone {
        let nobody = b"\x06nobody\x07invalid\x00";
        Zone { soa: self.soa(apex.as_bytes(), nobody), ns: None, within: Vec::new() }
    }

    /// Refresh, retry and expire are for secondaries, of which there are none (RFC 1035 3.3.13).
    fn soa(&self, apex: &[u8], mailbox: &[u8]) -> Box<[u8]> {
        let numbers = [self.serial, 3600, 600, 86_400, self.negative_ttl].map(u32::to_be_bytes);
        let primary = self.primary.as_bytes();
        record(apex, rtype::SOA, self.negative_ttl, &[primary, mailbox, numbers.as_flattened()])
    }
}

/// `hostmaster` in the domain of `primary` (RFC 2142 7), or the domain itself where that would be too long.
fn mailbox(primary: &Name) -> Vec<u8> {
    let domain = primary.suffix(1);
    let name = [b"\x0ahostmaster".as_slice(), domain].concat();
    if name.len() <= 255 { name } else { domain.to_vec() }
}

/// One record with its owner in full.
fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[&[u8]]) -> Box<[u8]> {
    [owner, &head(rtype, ttl, data.iter().map(|part| part.len()).sum()), &data.concat()]
        .concat()
        .into()
}

/// What follows a record's owner and precedes its data.
fn head(rtype: u16, ttl: u32, length: usize) -> [u8; 10] {
    let length = u16::try_from(length).unwrap_or(0);
    let mut head = [0; 10];
    let (names, rest) = head.split_at_mut(4);
    names.copy_from_slice([rtype.to_be_bytes(), CLASS_IN.to_be_bytes()].as_flattened());
    let (time, size) = rest.split_at_mut(4);
    time.copy_from_slice(&ttl.to_be_bytes());
    size.copy_from_slice(&length.to_be_bytes());
    head
}

/// Names and zones that the guests of one domain may see.
#[derive(Debug, Default)]
pub(super) struct View {
    names: HashMap<Wire, Node>,
    /// What every name below the key is that nothing nearer is known of (RFC 4592).
    wildcards: HashMap<Wire, Node>,
    zones: Vec<Zone>,
    by_name: HashMap<Wire, usize>,
}

impl View {
    /// Room for `names` names without growing.
    pub(super) fn with_capacity(names: usize) -> Self {
        Self { names: HashMap::with_capacity(names), ..Self::default() }
    }

    /// What `name` is, if it exists.
    pub(super) fn node(&self, name: &Name) -> Option<&Node> {
        self.names.get(name.as_bytes())
    }

    /// What `name` is by a wildcard: that below the nearest name above it that exists (RFC 4592 3.3.1), and no other.
    pub(super) fn wildcard(&self, name: &Name) -> Option<&Node> {
        if self.wildcards.is_empty() {
            return None;
        }
        let mut above = name.suffixes().skip(1);
        let nearest = above
            .find(|above| self.wildcards.contains_key(*above) || self.names.contains_key(*above))?;
        self.wildcards.get(nearest)
    }

    /// The zone with number `index`.
    pub(super) fn zone(&self, index: usize) -> Option<&Zone> {
        self.zones.get(index)
    }

    /// The innermost zone that `name` is in.
    pub(super) fn zone_of(&self, name: &Name) -> Option<&Zone> {
        name.suffixes()
            .filter_map(|suffix| self.zones.get(*self.by_name.get(suffix)?))
            .find(|zone| zone.covers(name))
    }

    /// Adds a zone; a second one of the same name widens the first.
    pub(super) fn add_zone(&mut self, apex: &Name, zone: Zone) {
        let index = *self.by_name.entry(apex.as_bytes().into()).or_insert(self.zones.len());
        match self.zones.get_mut(index) {
            None => {
                if zone.within.is_empty() {
                    self.names.insert(apex.as_bytes().into(), Node::Apex(index));
                }
                self.zones.push(zone);
            }
            Some(existing) => existing.within.extend(zone.within),
        }
    }

    /// Adds a name that nothing else has; otherwise what is there stays.
    pub(super) fn add(&mut self, name: &Name, node: Node) {
        let (nodes, key) = self.place(name);
        let kept = nodes.entry(key).or_insert(Node::Empty);
        if matches!(kept, Node::Empty) {
            *kept = node;
        }
    }

    /// Where what `name` is stands, and by which key.
    fn place(&mut self, name: &Name) -> (&mut HashMap<Wire, Node>, Wire) {
        match name.below_wildcard() {
            Some(above) => (&mut self.wildcards, above.into()),
            None => (&mut self.names, name.as_bytes().into()),
        }
    }

    /// How many labels of `name` stand before the innermost zone that it is in.
    pub(super) fn depth(&self, name: &Name) -> Option<usize> {
        let zone = |suffix: &[u8]| self.zones.get(*self.by_name.get(suffix)?);
        name.suffixes().position(|suffix| zone(suffix).is_some_and(|zone| zone.covers(name)))
    }

    /// Makes `name` another name of `target`, unless it is something else already.
    pub(super) fn add_alias(&mut self, name: &Name, record: Record, target: &Name) {
        self.add(name, Node::Alias(record, target.as_bytes().into()));
    }

    /// Has the names between `name` and its zone, or a wildcard around it, exist, since there is something below them (RFC
    /// 8020 2).
    pub(super) fn add_names_between(&mut self, name: &Name) {
        let around = |suffix: &[u8]| self.wildcards.contains_key(suffix);
        let own = usize::from(name.below_wildcard().is_some()) + 1;
        let wild = name.suffixes().skip(own).position(around).map(|place| place + own);
        let Some(depth) = self.depth(name).or(wild) else { return };
        for skip in 1..depth {
            let between = name.suffix(skip);
            if !self.names.contains_key(between) {
                self.names.insert(between.into(), Node::Empty);
            }
        }
    }

    /// Adds a record of `name`, such as an address of a guest, which has one in each of its networks.
    pub(super) fn add_record(&mut self, name: &Name, record: Record) {
        let (nodes, key) = self.place(name);
        let node = match nodes.remove(&key) {
            None | Some(Node::Empty) => Node::One(record),
            Some(Node::One(other)) => Node::Several(vec![other, record]),
            Some(Node::Several(mut others)) => {
                others.push(record);
                Node::Several(others)
            }
            Some(kept) => kept,
        };
        nodes.insert(key, node);
    }

    /// Gives `name` to `node`, whatever had it.
    pub(super) fn put(&mut self, name: &Name, node: Node) {
        self.names.insert(name.as_bytes().into(), node);
    }

    /// Adds the reverse name of `address` and the empty names between it and a zone of `zone_labels` labels.
    pub(super) fn add_pointer(
        &mut self,
        address: Ipv4Addr,
        zone_labels: usize,
        target: &Name,
        ttl: u32,
    ) {
        let Some(name) = Name::reverse(address, 4) else { return };
        for skip in 1..name.labels().saturating_sub(zone_labels) {
            let between = name.suffix(skip);
            if !self.names.contains_key(between) {
                self.names.insert(between.into(), Node::Empty);
            }
        }
        self.add(&name, Node::One(Record::new(rtype::PTR, ttl, target.as_bytes())));
    }

    /// Names that are in no zone of the view: the operator's own.
    pub(super) fn strays(&self) -> impl Iterator<Item = &Wire> {
        let apex = |wire: &&Wire| {
            Name::read(wire, 0).is_some_and(|(name, _)| self.zone_of(&name).is_none())
        };
        self.names.keys().filter(apex)
    }

    /// What the wildcards stand below.
    pub(super) fn wildcards(&self) -> impl Iterator<Item = &Wire> {
        self.wildcards.keys()
    }

    /// The zones' names.
    pub(super) fn apexes(&self) -> impl Iterator<Item = &Wire> {
        self.by_name.keys()
    }
}

/// Names of the reverse zones of `cidr` and how many labels they have: one per whole byte of the prefix (RFC 1035 3.5).
///
/// A prefix of more than 24 bits has the zone of its /24, of which only the network's own part is answered.
pub(super) fn reverse_zones(cidr: &Cidr) -> (Vec<Name>, usize) {
    let Some(network) = cidr.as_ipv4() else { return (Vec::new(), 0) };
    let octets = usize::from(network.prefix().div_ceil(8).clamp(1, 3));
    let step = 1_u64 << (8 * (4 - octets));
    let first = u64::from(network.network().to_bits()) / step * step;
    let last = u64::from(network.broadcast().to_bits());
    let starts = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let names = starts
        .filter_map(|start| Name::reverse(Ipv4Addr::from(u32::try_from(start).ok()?), octets));
    (names.collect(), octets + 2)
}

/// Whether `cidr` fills its reverse zones.
pub(super) fn fills_zones(cidr: &Cidr) -> bool {
    cidr.prefix() <= 24
}
