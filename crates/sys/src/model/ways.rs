//! A change of state as live connections see it: which of them end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_rules::eval::{Flow, Way, Ways, World, ends};

use super::{Desired, RouteEntry};

impl Desired {
    /// Addresses and routes, as the evaluator asks for them; of several addresses of a link it takes the first in order.
    pub fn ways(&self) -> Ways {
        let mut ways = Ways::default();
        for (link, address) in &self.addresses {
            ways.addresses.entry(link.clone()).or_default().push(*address);
        }
        ways.routes.extend(self.routes.iter().map(way));
        ways
    }

    /// The places in `flows` of the connections that end when this state becomes `new`: those that the new rules would
    /// judge or translate otherwise, and those of addresses that are somebody else's now.
    pub fn ends_with(&self, new: &Self, flows: &[Flow]) -> BTreeSet<usize> {
        if flows.is_empty() {
            return BTreeSet::new();
        }
        let (old_ways, new_ways) = (self.ways(), new.ways());
        let old = World { tables: &self.tables, ways: &old_ways };
        let held = World { tables: &new.tables, ways: &new_ways };
        ends(old, held, &self.released(new), flows)
    }

    /// Inside addresses whose owner is gone or another.
    fn released(&self, new: &Self) -> BTreeSet<IpAddr> {
        let gone =
            self.owners.iter().filter(|(address, owner)| new.owners.get(*address) != Some(*owner));
        gone.map(|(address, _)| *address).collect()
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
