//! What judging needs besides the rules: which addresses are this machine's, and which way packets go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, InterfaceAddress, LinkName};

use crate::{AddressKind, IpVersion};

/// The routing of a machine, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// Addresses by link, in the order in which the link got them.
    pub addresses: BTreeMap<LinkName, Vec<InterfaceAddress>>,
    /// Routes; those to the links' own networks need not be among them.
    pub routes: BTreeSet<Way>,
    /// Rules that choose a routing table, by priority; the main table is asked last.
    pub rules: BTreeMap<u32, Vec<Choice>>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Way {
    /// Routing table; the main one is 254.
    pub table: u32,
    /// Where to.
    pub destination: Cidr,
    /// Smaller wins.
    pub metric: u32,
    /// The link it leaves by.
    pub link: LinkName,
}

/// A rule that sends packets to a routing table. What is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Choice {
    /// The packet's mark under a mask: `(value, mask)`.
    pub mark: Option<(u32, u32)>,
    /// The link it came in by.
    pub iif: Option<LinkName>,
    /// Where it is from.
    pub source: Option<Cidr>,
    /// Where it goes.
    pub destination: Option<Cidr>,
    /// The table to ask.
    pub table: u32,
}

/// The main routing table (RT_TABLE_MAIN).
const MAIN: u32 = 254;

/// What is asked for a way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) iif: Option<&'a LinkName>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: IpAddr,
    pub(super) mark: u32,
}

impl Choice {
    fn fits(&self, question: Question<'_>) -> bool {
        let mark = self.mark.is_none_or(|(value, mask)| question.mark & mask == value);
        let iif = self.iif.is_none() || self.iif.as_ref() == question.iif;
        let within = |net: Option<&Cidr>, address: Option<IpAddr>| {
            net.is_none_or(|net| address.is_some_and(|address| net.contains(address)))
        };
        mark && iif
            && within(self.source.as_ref(), question.source)
            && within(self.destination.as_ref(), Some(question.destination))
    }
}

impl Ways {
    /// What kind of address it is, as `fib` says.
    pub fn kind(&self, address: IpAddr) -> AddressKind {
        let broadcast = |of: &InterfaceAddress| {
            let network = of.network();
            address.is_ipv4() && network.prefix() < 31 && network.last() == address
        };
        let all = || self.addresses.values().flatten();
        if address.is_loopback() || all().any(|of| of.ip() == address) {
            AddressKind::Local
        } else if address.is_multicast() {
            AddressKind::Multicast
        } else if matches!(address, IpAddr::V4(address) if address.is_broadcast())
            || all().any(broadcast)
        {
            AddressKind::Broadcast
        } else {
            AddressKind::Unicast
        }
    }

    /// The link by which a packet leaves; `None` when there is no way.
    pub(super) fn way(&self, question: Question<'_>) -> Option<&LinkName> {
        let fitting = self.rules.values().flatten().filter(|choice| choice.fits(question));
        let tables = fitting.map(|choice| choice.table).chain([MAIN]);
        tables.into_iter().find_map(|table| self.in_table(table, question.destination))
    }

    /// The narrowest route of a table, then the one of the smallest metric.
    fn in_table(&self, table: u32, destination: IpAddr) -> Option<&LinkName> {
        let routes = self.routes.iter().filter(|way| way.table == table);
        let routes = routes.map(|way| (way.destination, way.metric, &way.link));
        let own = self.addresses.iter().filter(|_| table == MAIN);
        let own = own.flat_map(|(link, all)| all.iter().map(move |of| (of.network(), 0, link)));
        own.chain(routes)
            .filter(|(net, ..)| net.contains(destination))
            .max_by_key(|(net, metric, _)| (net.prefix(), std::cmp::Reverse(*metric)))
            .map(|(_, _, link)| link)
    }

    /// True when answers to `source` would leave by the link.
    pub(super) fn returns(&self, source: IpAddr, by: &LinkName) -> bool {
        let question = Question { iif: None, source: None, destination: source, mark: 0 };
        self.way(question) == Some(by)
    }

    /// The address that this machine takes on a link, where it takes it from the link.
    pub(super) fn address_on(&self, link: &LinkName, version: IpVersion) -> Option<IpAddr> {
        let all = self.addresses.get(link)?;
        all.iter().map(InterfaceAddress::ip).find(|ip| IpVersion::of(*ip) == version)
    }
}
