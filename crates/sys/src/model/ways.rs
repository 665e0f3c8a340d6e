//! A change of state as live connections see it: which of them end.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::types::Cidr;
use sluice_rules::eval::{Choice, Flow, Review, Way, Ways, World};

use super::{Desired, PolicyEntry, RouteEntry};

impl Desired {
    /// Addresses and routes, as the evaluator asks for them; of several addresses of a link it takes the first in order.
    pub fn ways(&self) -> Ways {
        let mut ways = Ways::default();
        for (link, address) in &self.addresses {
            ways.addresses.entry(link.clone()).or_default().push(*address);
        }
        ways.routes.extend(self.routes.iter().map(way));
        for rule in &self.policy_rules {
            ways.rules.entry(rule.priority).or_default().push(choice(rule));
        }
        ways
    }

    /// The places in `flows` of the connections that end now that this state is in force, after those of `before` were, one
    /// after the other: those that these rules would judge or translate otherwise than any of them, and those of addresses
    /// that are somebody else's now.
    pub fn ends_since(
        &self,
        before: impl IntoIterator<Item = Self>,
        flows: &[Flow],
    ) -> BTreeSet<usize> {
        let ways = self.ways();
        let mut review = Review::by(World { tables: &self.tables, ways: &ways }, flows);
        for old in before {
            if !old.judges_like(self) {
                let ways = old.ways();
                review.since(World { tables: &old.tables, ways: &ways }, &old.released(self));
            }
        }
        review.places()
    }

    /// True when nothing differs that connections are judged by.
    fn judges_like(&self, other: &Self) -> bool {
        self.tables == other.tables
            && self.addresses == other.addresses
            && self.routes == other.routes
            && self.policy_rules == other.policy_rules
            && self.owners == other.owners
    }

    /// Inside addresses whose owner is gone or another.
    fn released(&self, new: &Self) -> BTreeSet<IpAddr> {
        let gone =
            self.owners.iter().filter(|(address, owner)| new.owners.get(*address) != Some(*owner));
        gone.map(|(address, _)| *address).collect()
    }
}

/// A rule is of one version of IP, which here its destination says.
fn choice(rule: &PolicyEntry) -> Choice {
    let any = if rule.ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Choice {
        mark: rule.mark.map(|mark| (mark.into(), u32::from(u16::MAX))),
        iif: rule.link.clone(),
        source: rule.source,
        destination: Some(rule.destination.unwrap_or_else(|| Cidr::everything(any))),
        table: rule.table,
    }
}

fn way(route: &RouteEntry) -> Way {
    Way {
        table: route.table,
        destination: route.destination,
        metric: route.metric,
        link: route.link.clone(),
    }
}
