//! How many neighbours the kernel remembers: by how many guests are configured.
//!
//! Guarantees: every configured guest has room besides whatever else is on the links, so no guest's entry is thrown out for
//! another's; a guest more or less seldom changes a setting, since they go by powers of two. Not set where the kernel does
//! not let them be set, which is in any network namespace but its first.

use std::collections::{BTreeMap, BTreeSet};

use sluice_sys::model::{Desired, SysctlKey};

use super::Engine;
use crate::appliance::Appliance;

/// Entries for what is not configured: gateways, other routers, addresses that are tried and not there. An appliance
/// without guests has no more.
const OTHERS: usize = 1024;

/// The kernel's limits, and how many times the first they are: below it nothing is collected; beyond the second what is
/// over it has seconds to go; the third is never passed (arp(7)).
const LIMITS: [(&str, usize); 3] = [("gc_thresh1", 1), ("gc_thresh2", 2), ("gc_thresh3", 4)];

/// The two tables, and how many entries a guest has in each: with IPv6 a link-local one besides.
const TABLES: [(&str, usize); 2] = [("net.ipv4", 1), ("net.ipv6", 2)];

/// The limits for so many guests.
fn limits(guests: usize) -> BTreeMap<SysctlKey, String> {
    let of_table = |(table, each): (&'static str, usize)| {
        let least = OTHERS.saturating_add(guests.saturating_mul(each)).next_power_of_two();
        LIMITS.map(|(limit, times)| (key(table, limit), (least * times).to_string()))
    };
    TABLES.into_iter().flat_map(of_table).collect()
}

#[allow(clippy::panic)] // words of the tables above
fn key(table: &str, limit: &str) -> SysctlKey {
    let name = format!("{table}.neigh.default.{limit}");
    SysctlKey::try_from(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Adds to `desired` the limits that can be `set`, by the guests that are in it.
fn add(desired: &mut Desired, set: &BTreeSet<SysctlKey>) {
    // an address is an entry, so a guest with several counts as several
    let wanted = limits(desired.owners.len());
    desired.sysctls.extend(wanted.into_iter().filter(|(key, _)| set.contains(key)));
}

impl<A: Appliance> Engine<A> {
    /// Asks the kernel which of the limits it lets us set.
    pub(super) async fn ask_for_sizes(&mut self) {
        let keys = limits(0).into_keys().collect();
        match self.kernel.pulse(&keys).await {
            Ok(pulse) => self.sizes = pulse.sysctls.into_keys().collect(),
            Err(error) => tracing::warn!(%error, "neighbour tables keep their sizes"),
        }
    }

    /// With tables of neighbours that have room for the guests.
    pub(super) fn sized(&self, mut desired: Desired) -> Desired {
        add(&mut desired, &self.sizes);
        desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(guests: usize, table: &str) -> usize {
        limits(guests)[&key(table, "gc_thresh1")].parse().unwrap()
    }

    #[test]
    fn every_guest_has_room_and_few_changes_change_a_limit() {
        assert_eq!(first(0, "net.ipv4"), 1024);
        for guests in [0, 1, 1000, 1024, 1025, 10_000, 65_534] {
            assert!(first(guests, "net.ipv4") >= guests + OTHERS, "{guests}");
            assert!(first(guests, "net.ipv6") >= 2 * guests + OTHERS, "{guests}");
        }
        assert_eq!(limits(1), limits(500));
        let all = limits(2000);
        let [one, two, three] =
            LIMITS.map(|(limit, _)| all[&key("net.ipv4", limit)].parse::<usize>().unwrap());
        assert_eq!((one, two, three), (4096, 8192, 16_384));
    }

    #[test]
    fn what_the_kernel_does_not_let_us_set_is_not_wanted() {
        let mut desired = Desired::default();
        add(&mut desired, &BTreeSet::new());
        assert_eq!(desired, Desired::default());
        add(&mut desired, &limits(0).into_keys().collect());
        assert_eq!(desired.sysctls, limits(0));
    }
}
