//! VPCs: tiers inside the super CIDR, lists that exist, rule numbers used once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Scope, public};
use crate::config::{Acl, AclAction, LinkRole, RouterConfig, Vpc};
use crate::types::{Cidr, ObjectId};

/// Most rules in all lists together.
const MAX_RULES: usize = 65_536;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let Some(vpc) = &router.vpc else {
        without(scope, router);
        return;
    };
    private_addresses(scope, vpc.cidr);
    let total: usize = vpc.acls.iter().map(|acl| acl.rules.len()).sum();
    if total > MAX_RULES {
        scope.error("vpc.acls", "too-many", format!("{total} rules are more than {MAX_RULES}"));
        return;
    }
    let each = vpc.acls.iter().enumerate();
    scope.unique(
        "id",
        "duplicate-id",
        each.clone().map(|(i, acl)| (&acl.id, format!("vpc.acls[{i}].id"))),
    );
    for (index, acl) in each {
        list(scope, index, acl);
    }
    let known: BTreeSet<&ObjectId> = vpc.acls.iter().map(|acl| &acl.id).collect();
    tiers(scope, router, vpc, &known);
    gateways(scope, vpc, &known);
    let rules = [
        ("firewall", router.firewall.is_empty()),
        ("ipv6_firewall", router.ipv6_firewall.is_empty()),
    ];
    for (list, _) in rules.into_iter().filter(|(_, empty)| !empty) {
        let reason = "a VPC's tiers are guarded by access control lists, not by firewall rules";
        scope.error(list, "vpc-only-acl", reason);
    }
}

/// A list that no VPC has would guard nothing.
fn without(scope: &mut Scope<'_>, router: &RouterConfig) {
    for (index, network) in router.networks.iter().enumerate() {
        if let Some(acl) = &network.acl {
            let reason = format!("list {acl} is not there: the router is not a VPC's");
            scope.error(format!("networks[{index}].acl"), "unknown-acl", reason);
        }
    }
}

/// RFC 1918, as the guide wants it (11.19.1); others are for the operator to answer for.
fn private_addresses(scope: &mut Scope<'_>, cidr: Cidr) {
    let IpAddr::V4(address) = cidr.network() else {
        return scope.error("vpc.cidr", "family", "the super CIDR must be an IPv4 network");
    };
    if !address.is_private() {
        let reason = format!("{cidr} is not of the private networks of RFC 1918");
        scope.warning("vpc.cidr", "public-network", reason);
    }
}

fn list(scope: &mut Scope<'_>, index: usize, acl: &Acl) {
    let at = |position: usize, field: &str| format!("vpc.acls[{index}].rules[{position}].{field}");
    let rules = || acl.rules.iter().enumerate();
    scope.unique("rule", "duplicate-id", rules().map(|(i, rule)| (&rule.id, at(i, "id"))));
    scope.unique(
        "rule number",
        "duplicate-number",
        rules().map(|(i, rule)| (rule.number, at(i, "number"))),
    );
    for (position, rule) in rules() {
        let at = format!("vpc.acls[{index}].rules[{position}]");
        public::traffic(scope, &at, &rule.traffic);
        public::helper(scope, &at, rule.helper, &rule.traffic);
        if rule.helper.is_some() && rule.action == AclAction::Deny {
            let reason = "a rule that lets nothing pass needs no helper";
            scope.error(format!("{at}.helper"), "helper-denied", reason);
        }
    }
}

fn known_list(scope: &mut Scope<'_>, path: String, known: &BTreeSet<&ObjectId>, acl: &ObjectId) {
    if !known.contains(acl) {
        scope.error(path, "unknown-acl", format!("there is no list {acl}"));
    }
}

fn tiers(scope: &mut Scope<'_>, router: &RouterConfig, vpc: &Vpc, known: &BTreeSet<&ObjectId>) {
    for (index, tier) in router.networks.iter().enumerate() {
        let inside = vpc.cidr.contains(tier.cidr.network()) && vpc.cidr.contains(tier.cidr.last());
        if !inside {
            let reason = format!("{} is not inside {} of VPC {}", tier.cidr, vpc.cidr, vpc.id);
            scope.error(format!("networks[{index}].cidr"), "outside-vpc", reason);
        }
        if let Some(acl) = &tier.acl {
            known_list(scope, format!("networks[{index}].acl"), known, acl);
        }
    }
}

fn gateways(scope: &mut Scope<'_>, vpc: &Vpc, known: &BTreeSet<&ObjectId>) {
    let each = || vpc.private_gateways.iter().enumerate();
    let at = |index: usize, field: &str| format!("vpc.private_gateways[{index}].{field}");
    scope.unique("id", "duplicate-id", each().map(|(i, gateway)| (&gateway.id, at(i, "id"))));
    scope.unique("link", "duplicate-id", each().map(|(i, gateway)| (&gateway.link, at(i, "link"))));
    for (index, gateway) in each() {
        if let Some(acl) = &gateway.acl {
            known_list(scope, at(index, "acl"), known, acl);
        }
        let Some(link) = scope.link(&gateway.link, &at(index, "link")) else { continue };
        if link.role != LinkRole::Private {
            let reason = format!("link {} is not a private link", link.name);
            scope.error(at(index, "link"), "link-role", reason);
        }
        let Some(address) = gateway.source_nat else { continue };
        if !link.addresses.iter().any(|own| own.ip() == IpAddr::V4(address)) {
            let reason = format!("{address} is not an address of link {}", link.name);
            scope.error(at(index, "source_nat"), "not-own-address", reason);
        }
    }
}
