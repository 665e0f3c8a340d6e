//! Rules that are sound and yet do nothing: the same said twice, rules that an earlier or a wider one leaves nothing to do,
//! forwards that nobody may use. Warnings, each with both rules' ids.
//!
//! Guarantees: what is remarked upon can be deleted without any packet being judged otherwise. Does not find: what several
//! rules cover together; in lists of more than [`THOROUGH`] rules, what another than a duplicate or one of the
//! first [`WIDE`] rules without networks covers. Says at most [`MOST`] things.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::Scope;
use crate::config::{
    Acl, AclAction, AclDirection, EgressPolicy, EgressRule, ForwardProtocol, Helper, RouterConfig,
    Traffic,
};
use crate::types::{Cidr, ObjectId, PortRange};

/// Lists up to this length are compared pair by pair.
const THOROUGH: usize = 1000;
/// In longer ones each rule is compared with so many that have no networks.
const WIDE: usize = 64;
/// Most remarks.
const MOST: usize = 100;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let mut remarks = Vec::new();
    firewall(&mut remarks, router);
    ipv6_firewall(&mut remarks, router);
    egress(&mut remarks, router);
    for (index, acl) in router.vpc.iter().flat_map(|vpc| &vpc.acls).enumerate() {
        for direction in [AclDirection::Ingress, AclDirection::Egress] {
            list(&mut remarks, index, acl, direction);
        }
    }
    if router.vpc.is_none() {
        forwards(&mut remarks, router);
    }
    for Remark { path, code, reason } in remarks.into_iter().take(MOST) {
        scope.warning(path, code, reason);
    }
}

struct Remark {
    path: String,
    code: &'static str,
    reason: String,
}

/// A rule as far as it is compared.
struct Said<'a> {
    path: String,
    id: &'a ObjectId,
    sources: &'a [Cidr],
    destinations: &'a [Cidr],
    traffic: &'a Traffic,
    /// What becomes of it; rules of a list without order all do the same.
    allows: bool,
    /// It ends at some time, so it covers nothing for ever.
    ends: bool,
    /// What it gives to connections besides letting them pass.
    helper: Option<Helper>,
}

impl Said<'_> {
    fn covers(&self, other: &Self) -> bool {
        !self.ends
            && (!self.allows || other.helper.is_none() || other.helper == self.helper)
            && covers_traffic(self.traffic, other.traffic)
            && covers_networks(self.sources, other.sources)
            && covers_networks(self.destinations, other.destinations)
    }

    fn is_wide(&self) -> bool {
        self.sources.is_empty() && self.destinations.is_empty()
    }
}

/// No networks are all of them.
fn covers_networks(wide: &[Cidr], narrow: &[Cidr]) -> bool {
    let within = |one: &Cidr| {
        wide.iter().any(|other| other.contains(one.network()) && other.contains(one.last()))
    };
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(within)
}

fn covers_ports(wide: Option<PortRange>, narrow: Option<PortRange>) -> bool {
    let all = |ports: Option<PortRange>| ports.unwrap_or(PortRange::ALL);
    let (wide, narrow) = (all(wide), all(narrow));
    wide.first() <= narrow.first() && narrow.last() <= wide.last()
}

fn covers_traffic(wide: &Traffic, narrow: &Traffic) -> bool {
    match (wide, narrow) {
        (Traffic::All {}, _) => true,
        (Traffic::Tcp { ports }, Traffic::Tcp { ports: other })
        | (Traffic::Udp { ports }, Traffic::Udp { ports: other }) => covers_ports(*ports, *other),
        (Traffic::Protocol { number: 6 }, Traffic::Tcp { .. })
        | (Traffic::Protocol { number: 17 }, Traffic::Udp { .. }) => true,
        (Traffic::Tcp { ports }, Traffic::Protocol { number: 6 })
        | (Traffic::Udp { ports }, Traffic::Protocol { number: 17 }) => covers_ports(*ports, None),
        (Traffic::Icmp { kind, code }, Traffic::Icmp { kind: other, code: other_code }) => {
            kind.is_none() || kind == other && (code.is_none() || code == other_code)
        }
        (Traffic::Protocol { number }, Traffic::Protocol { number: other }) => number == other,
        _ => false,
    }
}

/// Remarks upon each rule that one before it covers.
fn ordered(remarks: &mut Vec<Remark>, rules: &[Said<'_>]) {
    let mut first: HashMap<(bool, &[Cidr], &[Cidr], &Traffic), &Said<'_>> = HashMap::new();
    let mut wide: Vec<&Said<'_>> = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let key = (rule.allows, rule.sources, rule.destinations, rule.traffic);
        let twin = first.get(&key).copied().filter(|twin| twin.covers(rule));
        let wider = || match rules.get(..place) {
            Some(before) if rules.len() <= THOROUGH => before.iter().find(|it| it.covers(rule)),
            _ => wide.iter().copied().find(|it| it.covers(rule)),
        };
        if let Some(other) = twin.or_else(wider) {
            remarks.push(covered(rule, other));
        }
        first.entry(key).or_insert(rule);
        if rule.is_wide() && wide.len() < WIDE {
            wide.push(rule);
        }
        if remarks.len() > MOST {
            return;
        }
    }
}

fn covered(rule: &Said<'_>, by: &Said<'_>) -> Remark {
    let same = rule.sources == by.sources
        && rule.destinations == by.destinations
        && rule.traffic == by.traffic;
    let (code, reason) = match (rule.allows == by.allows, same) {
        (true, true) => ("duplicate-rule", format!("{} says what {} says", rule.id, by.id)),
        (true, false) => (
            "shadowed-rule",
            format!("{} does nothing: {} has everything that it is about", rule.id, by.id),
        ),
        (false, _) => (
            "unreachable-rule",
            format!(
                "{} is never asked: {} comes first, has everything that it is about, and {} it",
                rule.id,
                by.id,
                if by.allows { "allows" } else { "denies" }
            ),
        ),
    };
    Remark { path: rule.path.clone(), code, reason }
}

/// Rules without an order, all of which do the same: those that are wide are taken to come first.
fn unordered(remarks: &mut Vec<Remark>, mut rules: Vec<Said<'_>>) {
    let width = |rule: &Said<'_>| {
        let ports = match *rule.traffic {
            Traffic::All {} => 0,
            Traffic::Tcp { ports } | Traffic::Udp { ports } => {
                1 + u32::from(u16::MAX) - u32::from(ports.unwrap_or(PortRange::ALL).len())
            }
            Traffic::Icmp { kind, code } => {
                1 + u32::from(kind.is_some()) + u32::from(code.is_some())
            }
            Traffic::Protocol { .. } => 1,
        };
        let longest = |nets: &[Cidr]| nets.iter().map(Cidr::prefix).max().map_or(0, |it| it + 1);
        (rule.ends, ports, longest(rule.sources), longest(rule.destinations))
    };
    rules.sort_by_key(width);
    ordered(remarks, &rules);
}

fn firewall(remarks: &mut Vec<Remark>, router: &RouterConfig) {
    let mut by_address: HashMap<Ipv4Addr, Vec<Said<'_>>> = HashMap::new();
    for (index, rule) in router.firewall.iter().enumerate() {
        by_address.entry(rule.public).or_default().push(Said {
            path: format!("firewall[{index}]"),
            id: &rule.id,
            sources: &rule.sources,
            destinations: &[],
            traffic: &rule.traffic,
            allows: true,
            ends: rule.until.is_some(),
            helper: rule.helper,
        });
    }
    let mut lists: Vec<_> = by_address.into_iter().collect();
    lists.sort_by_key(|(address, _)| *address);
    for (_, list) in lists {
        unordered(remarks, list);
    }
}

fn ipv6_firewall(remarks: &mut Vec<Remark>, router: &RouterConfig) {
    for network in &router.networks {
        let own = router.ipv6_firewall.iter().enumerate();
        let own = own.filter(|(_, rule)| rule.network == network.id).map(|(index, rule)| Said {
            path: format!("ipv6_firewall[{index}]"),
            id: &rule.id,
            sources: &rule.sources,
            destinations: &rule.destinations,
            traffic: &rule.traffic,
            allows: true,
            helper: None,
            ends: rule.until.is_some(),
        });
        unordered(remarks, own.collect());
    }
}

fn egress(remarks: &mut Vec<Remark>, router: &RouterConfig) {
    for network in &router.networks {
        let own = router.egress_rules.iter().enumerate();
        // where the policy is `allow`, one with a helper does the opposite of the others
        let helps =
            |rule: &EgressRule| network.egress == EgressPolicy::Allow && rule.helper.is_some();
        let own = own.filter(|(_, rule)| rule.network == network.id && !helps(rule));
        let own = own.map(|(index, rule)| Said {
            path: format!("egress_rules[{index}]"),
            id: &rule.id,
            sources: &rule.sources,
            destinations: &rule.destinations,
            traffic: &rule.traffic,
            allows: true,
            ends: rule.until.is_some(),
            helper: rule.helper,
        });
        unordered(remarks, own.collect());
    }
}

/// The rules of one direction of a list, in the order in which they are asked.
fn list(remarks: &mut Vec<Remark>, list: usize, acl: &Acl, direction: AclDirection) {
    let of = acl.rules.iter().enumerate().filter(|(_, rule)| rule.direction == direction);
    let mut of: Vec<_> = of.collect();
    of.sort_by_key(|(_, rule)| rule.number);
    let said: Vec<Said<'_>> = of
        .into_iter()
        .map(|(index, rule)| Said {
            path: format!("vpc.acls[{list}].rules[{index}]"),
            id: &rule.id,
            sources: &rule.networks,
            destinations: &[],
            traffic: &rule.traffic,
            allows: rule.action == AclAction::Allow,
            ends: rule.until.is_some(),
            helper: rule.helper,
        })
        .collect();
    ordered(remarks, &said);
}

/// Forwards whose address has no firewall rule for any of their ports.
fn forwards(remarks: &mut Vec<Remark>, router: &RouterConfig) {
    let mut opened: HashMap<Ipv4Addr, [Opened; 2]> = HashMap::new();
    for rule in &router.firewall {
        let of_address = opened.entry(rule.public).or_default();
        for (opened, protocol) in of_address.iter_mut().zip(PROTOCOLS) {
            opened.0.extend(lets_in(&rule.traffic, protocol));
        }
    }
    opened.values_mut().flatten().for_each(Opened::settle);
    for (index, forward) in router.port_forwards.iter().enumerate() {
        if remarks.len() > MOST {
            return;
        }
        let known = opened.get(&forward.public).into_iter().flatten().zip(PROTOCOLS);
        let mut own = known.filter(|(_, protocol)| *protocol == forward.protocol);
        if own.any(|(opened, _)| opened.has_any_of(forward.ports)) {
            continue;
        }
        let reason = format!(
            "nobody can use {}: no firewall rule of {} is about its ports",
            forward.id, forward.public
        );
        let path = format!("port_forwards[{index}]");
        remarks.push(Remark { path, code: "unreachable-rule", reason });
    }
}

const PROTOCOLS: [ForwardProtocol; 2] = [ForwardProtocol::Tcp, ForwardProtocol::Udp];

/// The ports that a rule opens to a protocol.
fn lets_in(traffic: &Traffic, protocol: ForwardProtocol) -> Option<PortRange> {
    match (traffic, protocol) {
        (Traffic::All {}, _)
        | (Traffic::Protocol { number: 6 }, ForwardProtocol::Tcp)
        | (Traffic::Protocol { number: 17 }, ForwardProtocol::Udp) => Some(PortRange::ALL),
        (Traffic::Tcp { ports }, ForwardProtocol::Tcp)
        | (Traffic::Udp { ports }, ForwardProtocol::Udp) => Some(ports.unwrap_or(PortRange::ALL)),
        _ => None,
    }
}

/// Ports that rules open, asked in the time of a search however many rules there are.
#[derive(Default)]
struct Opened(Vec<PortRange>);

impl Opened {
    /// Sorted, and without what another has whole: then their last ports rise as their first ones do.
    fn settle(&mut self) {
        self.0.sort_unstable();
        let mut apart: Vec<PortRange> = Vec::with_capacity(self.0.len());
        for ports in self.0.drain(..) {
            match apart.last() {
                Some(before) if before.last() >= ports.last() => {}
                _ => apart.push(ports),
            }
        }
        self.0 = apart;
    }

    fn has_any_of(&self, ports: PortRange) -> bool {
        let beyond = self.0.partition_point(|one| one.last() < ports.first());
        self.0.get(beyond).is_some_and(|one| one.overlaps(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    #[test]
    fn ports_are_open_where_any_rule_opens_one_of_them() {
        let rules =
            ["22", "80-90", "85-95", "81-82", "95", "300-400", "300", "1000-2000", "1500-1600"];
        let mut opened = Opened(rules.map(ports).to_vec());
        opened.settle();
        for first in (1..450).chain(990..2010) {
            for length in [1, 2, 7, 60] {
                let asked = ports(&format!("{first}-{}", first + length - 1));
                let any = rules.iter().any(|rule| ports(rule).overlaps(asked));
                assert_eq!(opened.has_any_of(asked), any, "{asked}");
            }
        }
        assert!(!Opened::default().has_any_of(PortRange::ALL));
    }
}
