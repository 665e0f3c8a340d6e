//! Helpers of connection tracking, for the connections that a rule names which asks for one, and for no others.
//!
//! Guarantees: a helper is given to a connection with its first packet and before any translation, since the kernel is ready
//! to translate what a connection carries only when it knows the helper by then. So connections are looked at as they come in:
//! what a list says of a tier's guests is said here of their public addresses and ports as well. What another rule drops
//! gets nothing by its helper. Connections that are open when a rule gets a helper stay without.

use std::collections::{BTreeMap, BTreeSet};

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{
    self, Acl, AclAction, AclDirection, AclRule, ForwardProtocol, GuestNetwork, PortForward,
    Traffic, Vpc,
};
use sluice_api::types::{Cidr, InterfaceAddress, LinkName, Port, PortRange};
use sluice_sys::nft::{Expr, Helper, HelperKind, Ident, L4, LinkSelector, Rule, RuleId, Verdict};

use super::traffic;
use super::words::new;
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let mut given = Given::default();
    match &config.role.vpc {
        Some(vpc) => given.lists(config, vpc),
        None => {
            given.firewall(config);
            given.egress(config);
        }
    }
    if given.rules.is_empty() {
        return;
    }
    let helpers = given.kinds.iter().map(|(name, kind)| (name.clone(), Helper { kind: *kind }));
    policy.table.helpers.extend(helpers);
    policy.chain(chain(), given.rules);
    let asked = vec![new(), Expr::Verdict(Verdict::Jump(chain()))];
    policy.rules(Slot::Helpers, [Rule { id: RuleId::fixed("helpers/new"), exprs: asked }]);
}

fn chain() -> Ident {
    Ident::fixed("helpers")
}

fn kind(helper: config::Helper) -> (Ident, HelperKind) {
    match helper {
        config::Helper::Ftp => (Ident::fixed("helper-ftp"), HelperKind::Ftp),
        config::Helper::Tftp => (Ident::fixed("helper-tftp"), HelperKind::Tftp),
        config::Helper::Pptp => (Ident::fixed("helper-pptp"), HelperKind::Pptp),
    }
}

/// Rules that give helpers, and the helpers.
#[derive(Default)]
struct Given {
    rules: Vec<Rule>,
    kinds: BTreeMap<Ident, HelperKind>,
}

/// One rule that asks for a helper, as far as all kinds of rules are alike.
struct Asking<'a> {
    id: RuleId,
    helper: config::Helper,
    traffic: &'a Traffic,
}

impl Given {
    /// One rule for each pair of a source and a destination of the same version of IP.
    fn to(
        &mut self,
        asking: &Asking<'_>,
        link: Option<&LinkName>,
        sources: &[Cidr],
        destinations: &[Cidr],
        ports: Option<PortRange>,
    ) {
        let Some(ports) = ports else { return };
        let l4 = match asking.traffic {
            Traffic::Udp { .. } => L4::Udp,
            _ => L4::Tcp,
        };
        let (name, kind) = kind(asking.helper);
        for (source, destination) in traffic::pairs(sources, destinations) {
            let link = link.map(|link| Expr::Iif(LinkSelector::One(link.clone())));
            let source = source.map(|cidr| traffic::net(cidr, Expr::Source));
            let destination = destination.map(|cidr| traffic::net(cidr, Expr::Destination));
            let ports = Expr::DestinationPort(l4, traffic::ports(ports));
            let matches = link.into_iter().chain(source).chain(destination).chain([ports]);
            let action = Expr::CtHelper(name.clone());
            self.rules.push(Rule::action(asking.id.clone(), matches, action));
            self.kinds.insert(name.clone(), kind);
        }
    }

    fn firewall(&mut self, config: &RouterDocument) {
        for rule in &config.role.firewall {
            let Some(helper) = rule.helper else { continue };
            let id = RuleId::of("helper-firewall", &rule.id);
            let asking = Asking { id, helper, traffic: &rule.traffic };
            let public = [Cidr::host(rule.public.into())];
            self.to(&asking, None, &rule.sources, &public, helper.ports_of(&rule.traffic));
        }
    }

    fn egress(&mut self, config: &RouterDocument) {
        for rule in &config.role.egress_rules {
            let Some(helper) = rule.helper else { continue };
            let network = config.role.networks.iter().find(|network| network.id == rule.network);
            let id = RuleId::of("helper-egress", &rule.id);
            let asking = Asking { id, helper, traffic: &rule.traffic };
            let ports = helper.ports_of(&rule.traffic);
            let link = network.map(|network| &network.link);
            self.to(&asking, link, &rule.sources, &rule.destinations, ports);
        }
    }

    fn lists(&mut self, config: &RouterDocument, vpc: &Vpc) {
        for acl in &vpc.acls {
            self.list(config, vpc, acl);
        }
    }

    fn list(&mut self, config: &RouterDocument, vpc: &Vpc, acl: &Acl) {
        let allowing = acl.rules.iter().filter(|rule| rule.action == AclAction::Allow);
        for rule in allowing {
            let Some(helper) = rule.helper else { continue };
            let id = super::rule_id("helper-acl", acl.id.as_str(), rule.id.as_str());
            let asking = Asking { id, helper, traffic: &rule.traffic };
            let ports = helper.ports_of(&rule.traffic);
            match rule.direction {
                AclDirection::Egress => {
                    for link in links(config, vpc, acl) {
                        self.to(&asking, Some(link), &[], &rule.networks, ports);
                    }
                }
                AclDirection::Ingress => {
                    let inside = inside(config, vpc, acl);
                    if !inside.is_empty() {
                        self.to(&asking, None, &rule.networks, &inside, ports);
                    }
                    self.translated(config, acl, rule, &asking, ports);
                }
            }
        }
    }

    /// What leads from public addresses to guests of the list's tiers.
    fn translated(
        &mut self,
        config: &RouterDocument,
        acl: &Acl,
        rule: &AclRule,
        asking: &Asking<'_>,
        ports: Option<PortRange>,
    ) {
        let Some(wanted) = ports else { return };
        let tiers: BTreeSet<_> = tiers(config, acl).map(|tier| &tier.id).collect();
        for nat in config.role.static_nat.iter().filter(|nat| tiers.contains(&nat.network)) {
            self.to(asking, None, &rule.networks, &[Cidr::host(nat.public.into())], ports);
        }
        let carried = match asking.traffic {
            Traffic::Udp { .. } => ForwardProtocol::Udp,
            _ => ForwardProtocol::Tcp,
        };
        let forwards = config.role.port_forwards.iter();
        let forwards = forwards.filter(|it| it.protocol == carried && tiers.contains(&it.network));
        for forward in forwards {
            let public = [Cidr::host(forward.public.into())];
            self.to(asking, None, &rule.networks, &public, leading_to(forward, wanted));
        }
    }
}

fn tiers<'a>(config: &'a RouterDocument, acl: &'a Acl) -> impl Iterator<Item = &'a GuestNetwork> {
    config.role.networks.iter().filter(|tier| tier.acl.as_ref() == Some(&acl.id))
}

/// The links whose list it is.
fn links<'a>(config: &'a RouterDocument, vpc: &'a Vpc, acl: &'a Acl) -> Vec<&'a LinkName> {
    let gateways = vpc.private_gateways.iter();
    let gateways = gateways.filter(|gateway| gateway.acl.as_ref() == Some(&acl.id));
    tiers(config, acl).map(|tier| &tier.link).chain(gateways.map(|gateway| &gateway.link)).collect()
}

/// The networks that are reached by way of the list: those of tiers, and those behind private gateways.
fn inside(config: &RouterDocument, vpc: &Vpc, acl: &Acl) -> Vec<Cidr> {
    let own = tiers(config, acl).flat_map(|tier| {
        std::iter::once(tier.cidr).chain(tier.ipv6.as_ref().map(|ipv6| ipv6.cidr))
    });
    let gateways = vpc.private_gateways.iter();
    let gateways = gateways.filter(|gateway| gateway.acl.as_ref() == Some(&acl.id));
    let behind = gateways.flat_map(|gateway| {
        let link = config.links.iter().filter(|link| link.name == gateway.link);
        let connected = link.flat_map(|link| link.addresses.iter().map(InterfaceAddress::network));
        let routes = config.routes.iter().filter(|route| route.link == gateway.link);
        connected.chain(routes.map(|route| route.destination))
    });
    own.chain(behind).collect()
}

/// The public ports of a forward that lead to `wanted` ports of the guest.
fn leading_to(forward: &PortForward, wanted: PortRange) -> Option<PortRange> {
    let start = forward.guest_port.unwrap_or(forward.ports.first()).get();
    let first = wanted.first().get().max(start);
    let end = u32::from(start) + u32::from(forward.ports.len()) - 1;
    let last = u32::from(wanted.last().get()).min(end);
    let public = |guest: u32| {
        let offset = guest.checked_sub(u32::from(start))?;
        Port::try_from(u64::from(forward.ports.first().get()) + u64::from(offset)).ok()
    };
    PortRange::new(public(u32::from(first))?, public(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(ports: &str, guest_port: Option<u16>) -> PortForward {
        serde_json::from_value(serde_json::json!({
            "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "network": "net-1",
            "guest": "10.1.1.23", "ports": ports, "guest_port": guest_port,
        }))
        .unwrap()
    }

    #[test]
    fn public_ports_are_those_that_lead_to_the_wanted_ones() {
        let ports = |forward: &PortForward, wanted: &str| {
            leading_to(forward, wanted.parse().unwrap()).map(|ports| ports.to_string())
        };
        let same = forward("20-30", None);
        assert_eq!(ports(&same, "21"), Some("21".to_owned()));
        assert_eq!(ports(&same, "1-65535"), Some("20-30".to_owned()));
        assert_eq!(ports(&same, "25-80"), Some("25-30".to_owned()));
        assert_eq!(ports(&same, "31"), None);
        let moved = forward("2121-2122", Some(21));
        assert_eq!(ports(&moved, "21"), Some("2121".to_owned()));
        assert_eq!(ports(&moved, "22-30"), Some("2122".to_owned()));
        assert_eq!(ports(&moved, "20"), None);
        assert_eq!(ports(&forward("65535", None), "65535"), Some("65535".to_owned()));
    }
}
