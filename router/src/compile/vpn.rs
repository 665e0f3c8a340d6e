//! Tunnels: what of them comes in, what passes through them, and that nothing that belongs into one goes without it.
//!
//! Guarantees: IKE and ESP come in from the peers alone, or from anywhere at an address with remote access; L2TP only out of
//! IPsec; packets to and from a network behind a peer pass inside a tunnel or not at all, connections that stand included;
//! they keep their addresses. In a VPC they are judged by the tiers' access control lists like all others. A client of remote
//! access reaches the networks it is meant for, the router's name service, and the Internet where that is allowed; the rest
//! is refused at once, and counted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::LinkRole;
use sluice_api::config::vpn::{RemoteAccess, TunnelInternet, VpnConfig};
use sluice_api::types::{ClientRange, LinkName, Port};
use sluice_sys::nft::{
    Element, Expr, IcmpType, Ident, IpVersion, Ipsec, IpsecWay, Key, L4, LinkSelector, Net, Ports,
    Protocol, RejectWith, Rule, RuleId, Set, SetType, Span,
};

use super::skeleton::Slot;
use super::words::{accept, discard, icmp, intervals, new, span_v4, tcp_to, udp_to};

/// IKE, and IKE with ESP inside UDP (RFC 7296 2, RFC 3948).
const IKE: u16 = 500;
const IKE_NAT: u16 = 4500;
const L2TP: Port = Port::fixed(1701);
const DNS: Port = Port::fixed(53);
/// Clients ask for the networks behind the tunnel (`vpn::lns::inform`).
const DHCP: Port = Port::fixed(67);
/// How the kernel names links of PPP.
const CLIENTS: &str = "ppp";

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("vpn");
    let vpn = &config.role.vpn;
    if !vpn.connections.is_empty() || !vpn.remote_access.is_empty() {
        daemons(&mut fragment, vpn);
        kept_sources(&mut fragment, vpn);
    }
    if !vpn.connections.is_empty() {
        sites(&mut fragment, config);
    }
    if let (false, Ok(links)) = (vpn.remote_access.is_empty(), CLIENTS.parse()) {
        clients(&mut fragment, config, &links);
    }
    fragment
}

fn ipsec(way: IpsecWay) -> Expr {
    Expr::Ipsec(way, Ipsec::Some)
}

fn in_clear(way: IpsecWay) -> Expr {
    Expr::Ipsec(way, Ipsec::None)
}

fn refuse(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::action(RuleId::fixed(id), matches, Expr::Reject(RejectWith::AdminProhibited))
}

/// What comes to the IKE daemon and to the L2TP server.
fn daemons(fragment: &mut Fragment<Slot>, vpn: &VpnConfig) {
    let (peers, open) = (Ident::fixed("ike-peers"), Ident::fixed("ike-open"));
    let known = || Expr::In(vec![Key::SourceV4, Key::DestinationV4], peers.clone());
    let anyone = || Expr::In(vec![Key::DestinationV4], open.clone());
    let ports = [Span::from(IKE), Span::from(IKE_NAT)];
    let ike = || Expr::DestinationPort(L4::Udp, Ports::Several(ports.into()));
    let esp = || Expr::Protocol(BTreeSet::from([Protocol::ESP]));
    fragment.rules(
        Slot::InputPublic,
        [
            accept("input/ike-peer", [known(), ike()]),
            accept("input/esp-peer", [known(), esp()]),
            accept("input/ike", [anyone(), ike()]),
            accept("input/esp", [anyone(), esp()]),
        ],
    );
    let pair = |connection: &sluice_api::config::vpn::VpnConnection| {
        let IpAddr::V4(peer) = connection.gateway.address?.ip() else { return None };
        Some(Element::from([peer.into(), connection.address.into()]))
    };
    let pairs = vpn.connections.iter().filter_map(pair);
    let unknown = vpn.connections.iter().filter(|c| c.gateway.address.is_none());
    let unknown = unknown.map(|connection| connection.address);
    let addresses = unknown.chain(vpn.remote_access.iter().map(|access| access.address));
    fragment.set(peers, Set::of([SetType::Ipv4, SetType::Ipv4]).with(pairs));
    fragment.set(open, Set::of([SetType::Ipv4]).with(addresses.map(|a| [a.into()].into())));
}

/// What goes into a tunnel keeps its source: the policies that choose the tunnel go by it. So does the tunnel's own packet
/// around it, which for the kernel came in by the guest's link as well, and for which source NAT is not meant.
fn kept_sources(fragment: &mut Fragment<Slot>, vpn: &VpnConfig) {
    let ends = Ident::fixed("vpn-ends");
    let own = Expr::In(vec![Key::SourceV4], ends.clone());
    fragment.rules(
        Slot::SourceKept,
        [accept("vpn/keep-source", [ipsec(IpsecWay::Out)]), accept("vpn/keep-end", [own])],
    );
    let addresses = vpn.connections.iter().map(|connection| connection.address);
    let addresses = addresses.chain(vpn.remote_access.iter().map(|access| access.address));
    fragment.set(ends, Set::of([SetType::Ipv4]).with(addresses.map(|a| [a.into()].into())));
}

/// Networks behind peers.
fn sites(fragment: &mut Fragment<Slot>, config: &RouterDocument) {
    let (ours, theirs) = (Ident::fixed("vpn-local"), Ident::fixed("vpn-remote"));
    let set = |name: &Ident| Net::Set(IpVersion::V4, name.clone());
    let (from, to) = (|name| Expr::Source(set(name)), |name| Expr::Destination(set(name)));
    // before connections that stand are let through: a tunnel that went down must not let them out in clear
    fragment.rules(
        Slot::ForwardFirst,
        [
            refuse("vpn/no-tunnel", [to(&theirs), in_clear(IpsecWay::Out)]),
            discard("vpn/not-by-tunnel", [from(&theirs), in_clear(IpsecWay::In)]),
        ],
    );
    let inward = [new(), from(&theirs), to(&ours), ipsec(IpsecWay::In)];
    let outward = [new(), from(&ours), to(&theirs), ipsec(IpsecWay::Out)];
    let outward = accept("vpn/to-peer", outward);
    if config.role.vpc.is_some() {
        // what comes in was judged by the tier's list, as was what goes out
        fragment.rules(Slot::ForwardEgress, [outward]);
    } else {
        fragment.rules(Slot::ForwardTunnels, [accept("vpn/from-peer", inward), outward]);
    }
    let ping = [from(&theirs), ipsec(IpsecWay::In), icmp([IcmpType::ECHO_REQUEST])];
    fragment.rules(Slot::InputPublic, [accept("input/vpn-ping", ping)]);
    let connections = &config.role.vpn.connections;
    let local = connections.iter().flat_map(|connection| &connection.local_networks);
    let remote = connections.iter().flat_map(|connection| &connection.gateway.networks);
    fragment.set(ours, intervals(SetType::Ipv4, local.filter_map(span_v4)));
    fragment.set(theirs, intervals(SetType::Ipv4, remote.filter_map(span_v4)));
}

/// Clients of remote access, each on a link of its own.
fn clients(fragment: &mut Fragment<Slot>, config: &RouterDocument, links: &LinkName) {
    let accesses = &config.role.vpn.remote_access;
    let from_client = || Expr::Iif(LinkSelector::Beginning(links.clone()));
    let to_client = || Expr::Oif(LinkSelector::Beginning(links.clone()));
    let l2tp = Ident::fixed("l2tp-addresses");
    let called = Expr::In(vec![Key::DestinationV4], l2tp.clone());
    fragment.set(
        l2tp,
        Set::of([SetType::Ipv4]).with(accesses.iter().map(|a| [a.address.into()].into())),
    );
    fragment.rules(
        Slot::InputPublic,
        [
            accept("input/l2tp", [called, udp_to(L2TP), ipsec(IpsecWay::In)]),
            accept("input/vpn-dns-udp", [from_client(), udp_to(DNS)]),
            accept("input/vpn-dns-tcp", [from_client(), tcp_to(DNS)]),
            accept("input/vpn-dhcp", [from_client(), udp_to(DHCP)]),
            accept("input/vpn-client-ping", [from_client(), icmp([IcmpType::ECHO_REQUEST])]),
        ],
    );
    // what came out of IPsec for the L2TP server keeps the mark of its association, by which the server tells clients apart
    let marked = [udp_to(L2TP), ipsec(IpsecWay::In)];
    fragment.rules(Slot::MarkRestored, [accept("vpn/keep-mark", marked)]);
    // what goes back to them bears it too, and without it finds no way into IPsec: it is not the mark of an uplink
    let into_ipsec = accept("vpn/keep-sent-mark", [ipsec(IpsecWay::Out)]);
    fragment.rules(Slot::MarkSent, [into_ipsec]);
    let spoofed = [from_client(), Expr::NoReturnPath];
    fragment.rules(Slot::ForwardFirst, [discard("vpn/spoofed", spoofed)]);
    reach(fragment, config, &from_client, &to_client);
    internet(fragment, config, &from_client);
}

/// Which guest networks clients reach, and the other way round.
fn reach(
    fragment: &mut Fragment<Slot>,
    config: &RouterDocument,
    from_client: &dyn Fn() -> Expr,
    to_client: &dyn Fn() -> Expr,
) {
    let name = Ident::fixed("vpn-client-links");
    let keys = || vec![Key::SourceV4, Key::Oif];
    if config.role.vpc.is_some() {
        // the tier's list judges what is let on here
        let elsewhere = [from_client(), new(), Expr::NotIn(keys(), name.clone())];
        fragment.rules(Slot::ForwardTunnels, [refuse("vpn/client-elsewhere", elsewhere)]);
    } else {
        let meant = [from_client(), new(), Expr::In(keys(), name.clone())];
        let rules = [
            accept("vpn/client-to-guests", meant),
            refuse("vpn/client-elsewhere", [from_client(), new()]),
        ];
        fragment.rules(Slot::ForwardTunnels, rules);
    }
    let back = Expr::In(vec![Key::DestinationV4, Key::Iif], name.clone());
    let back = accept("vpn/guest-to-client", [to_client(), new(), back]);
    fragment.rules(Slot::ForwardEgress, [back]);
    let elements = config.role.vpn.remote_access.iter().flat_map(|access| pairs(config, access));
    fragment.set(name, Set::of([SetType::Ipv4, SetType::Link]).with(elements));
}

/// Each client's address with each link that it reaches: single elements, since ranges are not for names of links.
fn pairs<'a>(
    config: &'a RouterDocument,
    access: &'a RemoteAccess,
) -> impl Iterator<Item = Element> + 'a {
    let networks = config.role.networks.iter();
    let networks = networks.filter(|network| access.networks.contains(&network.id));
    networks.flat_map(|network| {
        let clients = access.range.clients();
        clients.map(|client| Element::from([client.into(), network.link.clone().into()]))
    })
}

fn client_span(range: ClientRange) -> Span<Ipv4Addr> {
    Span::new(range.server(), range.last())
}

/// Clients that may leave by the tunnel's address to the outside.
fn internet(
    fragment: &mut Fragment<Slot>,
    config: &RouterDocument,
    from_client: &dyn Fn() -> Expr,
) {
    let (allowed, outside, sources) = (
        Ident::fixed("vpn-internet"),
        Ident::fixed("vpn-outside-links"),
        Ident::fixed("vpn-client-nat"),
    );
    let outward = || Expr::Oif(LinkSelector::Set(outside.clone()));
    let clients = Expr::Source(Net::Set(IpVersion::V4, allowed.clone()));
    // before what refuses clients everything else
    let passes = accept("vpn/client-to-internet", [from_client(), new(), clients, outward()]);
    let slot = fragment.rules.entry(Slot::ForwardTunnels).or_default();
    slot.insert(0, passes);
    let by_client = Expr::SnatMap(IpVersion::V4, vec![Key::SourceV4], sources.clone());
    let rule = Rule::action(RuleId::fixed("vpn/client-source"), [outward()], by_client);
    fragment.rules(Slot::SourceNetworks, [rule]);
    let accesses = config.role.vpn.remote_access.iter();
    let accesses = accesses.filter(|access| access.internet == TunnelInternet::Allow);
    let spans = accesses.clone().map(|access| client_span(access.range));
    fragment.set(allowed, intervals(SetType::Ipv4, spans));
    let addresses = accesses.map(|access| {
        let key = Element::from([client_span(access.range).into()]);
        (key, Element::from([access.address.into()]))
    });
    let map = Set::map([SetType::Ipv4], [SetType::Ipv4]).interval();
    fragment.set(sources, map.mapping(addresses));
    let public = config.links.iter().filter(|link| link.role == LinkRole::Public);
    let public = public.map(|link| [link.name.clone().into()].into());
    fragment.set(outside, Set::of([SetType::Link]).with(public));
}
