//! Guest networks: their services, their way to the outside, and source NAT.
//!
//! Guarantees: guests reach the outside only where their network's egress policy allows it, and never another guest
//! network. What differs from network to network is elements of sets and maps, so adding a network changes elements only.

use std::net::IpAddr;

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{EgressPolicy, GuestNetwork, LinkRole};
use sluice_api::types::{InterfaceAddress, LinkName, Port};
use sluice_sys::nft::{
    Element, Entry, Expr, IcmpType, Ident, IpVersion, Key, LinkSelector, Rule, RuleId, Set, SetType,
};

use super::skeleton::Slot;
use super::words::{accept, icmp, new, tcp_to, udp_to};
use crate::metadata::SERVICE_ADDRESS;

const DHCP_SERVER: Port = Port::fixed(67);
const DNS: Port = Port::fixed(53);
const METADATA: Port = Port::fixed(80);
const PASSWORD: Port = Port::fixed(8080);
const LINKS: [SetType; 2] = [SetType::Link, SetType::Link];

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("networks");
    // the metadata service, on each guest link: a guest may take the address for one on its own segment
    let metadata = InterfaceAddress::new(SERVICE_ADDRESS.into(), 32).ok();
    let links = config.role.networks.iter().map(|network| &network.link);
    fragment.addresses.extend(links.filter_map(|link| Some((link.clone(), metadata?))));
    for guest in config.role.networks.iter().flat_map(|network| &network.guests) {
        let addresses = std::iter::once(&guest.address).chain(&guest.secondary_addresses);
        fragment.owners.extend(addresses.map(|address| ((*address).into(), guest.mac)));
    }
    let guests = || Expr::Iif(LinkSelector::Set(guest_links()));
    fragment.rules(
        Slot::InputGuests,
        [
            accept("input/dhcp", [guests(), udp_to(DHCP_SERVER)]),
            accept("input/dns-udp", [guests(), udp_to(DNS)]),
            accept("input/dns-tcp", [guests(), tcp_to(DNS)]),
            accept("input/metadata", [guests(), tcp_to(METADATA)]),
            accept("input/password", [guests(), tcp_to(PASSWORD)]),
            accept("input/ping", [guests(), icmp([IcmpType::ECHO_REQUEST])]),
            accept("input/ping-v6", [guests(), icmp([IcmpType::ECHO_REQUEST_V6])]),
        ],
    );
    let pair = Expr::In(vec![Key::Iif, Key::Oif], egress_links());
    let own = Expr::In(vec![Key::Iif, Key::SourceV4, Key::Oif], egress_guests());
    fragment.rules(
        Slot::ForwardEgress,
        [accept("forward/egress", [pair, new()]), accept("forward/egress-own", [own, new()])],
    );
    let by_links = Expr::SnatMap(IpVersion::V4, vec![Key::Iif, Key::Oif], snat_map());
    let source = Rule::action(RuleId::fixed("nat/source"), [], by_links);
    fragment.rules(Slot::SourceNetworks, [source]);
    let links = config.role.networks.iter().map(|network| [network.link.clone().into()].into());
    fragment.set(guest_links(), Set::of([SetType::Link]).with(links));
    fragment.set(
        egress_guests(),
        Set::of([SetType::Link, SetType::Ipv4, SetType::Link]).filled(own_ways(config)),
    );
    fragment.set(egress_links(), Set::of(LINKS).filled(egress(config).chain(neighbours(config))));
    fragment.set(snat_map(), Set::map(LINKS, [SetType::Ipv4]).filled(sources(config)));
    fragment
}

pub(super) fn guest_links() -> Ident {
    Ident::fixed("guest-links")
}

fn egress_guests() -> Ident {
    Ident::fixed("egress-guests")
}

fn egress_links() -> Ident {
    Ident::fixed("egress-links")
}

fn snat_map() -> Ident {
    Ident::fixed("snat-by-link")
}

/// Guests with a public address of their own leave by the link that has it, which may be another than their network's; where
/// the network's guests are not to be seen outside, they alone leave.
fn own_ways(config: &RouterDocument) -> impl Iterator<Item = (Element, Entry)> {
    config.role.static_nat.iter().filter_map(|rule| {
        let network = config.role.networks.iter().find(|network| network.id == rule.network)?;
        let public = config.role.public_addresses.iter().find(|it| it.address == rule.public)?;
        let usual = network.source_nat.as_ref().map(|nat| &nat.link);
        let leaves = usual.map_or(!is_hidden(network), |link| *link == public.link);
        if network.egress == EgressPolicy::Deny || leaves {
            return None;
        }
        let key = Element::from([
            network.link.clone().into(),
            rule.guest.into(),
            public.link.clone().into(),
        ]);
        let id = RuleId::of("egress-policy", &network.id);
        Some((key, Entry { value: Element::default(), id: Some(id) }))
    })
}

fn egress(config: &RouterDocument) -> impl Iterator<Item = (Element, Entry)> {
    let allowed =
        |network: &&GuestNetwork| network.egress == EgressPolicy::Allow && !is_hidden(network);
    config.role.networks.iter().filter(allowed).flat_map(|network| {
        let id = RuleId::of("egress-policy", &network.id);
        outside(config, network).into_iter().map(move |(inside, outside)| {
            let key = Element::from([inside.clone().into(), outside.clone().into()]);
            (key, Entry { value: Element::default(), id: Some(id.clone()) })
        })
    })
}

/// Without source NAT nobody leaves with an address that is not one of the Internet (RFC 1918).
pub(super) fn is_hidden(network: &GuestNetwork) -> bool {
    let private = |address| matches!(address, IpAddr::V4(address) if address.is_private());
    network.source_nat.is_none() && private(network.cidr.network())
}

/// Guests of one network reach each other also when their addresses are of different ranges: then their way is by the router.
fn neighbours(config: &RouterDocument) -> impl Iterator<Item = (Element, Entry)> {
    let several = config.role.networks.iter().filter(|network| !network.ranges.is_empty());
    several.map(|network| {
        let key = Element::from([network.link.clone().into(), network.link.clone().into()]);
        let id = Some(RuleId::of("network-ranges", &network.id));
        (key, Entry { value: Element::default(), id })
    })
}

/// The public links that a network's guests may leave by: that of its source NAT, or all when it has none.
fn outside<'a>(
    config: &'a RouterDocument,
    network: &'a GuestNetwork,
) -> Vec<(&'a LinkName, &'a LinkName)> {
    let public = config.links.iter().filter(|link| link.role == LinkRole::Public);
    public
        .map(|link| &link.name)
        .filter(|name| network.source_nat.as_ref().is_none_or(|nat| nat.link == **name))
        .map(|name| (&network.link, name))
        .collect()
}

fn sources(config: &RouterDocument) -> impl Iterator<Item = (Element, Entry)> {
    config.role.networks.iter().flat_map(|network| {
        let public = network.source_nat.iter().map(|nat| {
            let key = Element::from([network.link.clone().into(), nat.link.clone().into()]);
            (key, Entry::of([nat.address.into()], RuleId::of("source-nat", &network.id)))
        });
        public.chain(private_sources(config, network))
    })
}

/// Behind a private gateway with source NAT everybody of the VPC has the gateway's address (guide 11.19.5).
fn private_sources(
    config: &RouterDocument,
    network: &GuestNetwork,
) -> impl Iterator<Item = (Element, Entry)> {
    let gateways = config.role.vpc.iter().flat_map(|vpc| &vpc.private_gateways);
    gateways.filter_map(|gateway| {
        let key = Element::from([network.link.clone().into(), gateway.link.clone().into()]);
        let id = RuleId::of("private-gateway", &gateway.id);
        Some((key, Entry::of([gateway.source_nat?.into()], id)))
    })
}
