//! Protocols, ports and networks of a rule as matches.

use std::collections::BTreeSet;

use sluice_api::config::{ForwardProtocol, Traffic};
use sluice_api::types::{Cidr, PortRange};
use sluice_sys::nft::{Expr, IcmpType, IpVersion, L4, Net, Ports, Protocol};

/// Where a rule reads ports: of the packet, or of the connection as it came in, before any translation.
#[derive(Clone, Copy)]
pub(super) enum View {
    /// As the packet is now.
    Inside,
    /// As the connection's first packet was.
    Outside,
}

/// The ways in which `traffic` can match, each a rule of its own: ICMP is two protocols.
pub(super) fn matches(traffic: &Traffic, view: View) -> Vec<Vec<Expr>> {
    match *traffic {
        Traffic::All {} => vec![Vec::new()],
        Traffic::Tcp { ports: range } => vec![vec![transport(L4::Tcp, range, view)]],
        Traffic::Udp { ports: range } => vec![vec![transport(L4::Udp, range, view)]],
        Traffic::Icmp { kind, code } => {
            [IpVersion::V4, IpVersion::V6].map(|version| vec![icmp(version, kind, code)]).into()
        }
        Traffic::Protocol { number } => {
            vec![vec![Expr::Protocol(BTreeSet::from([Protocol::new(number)]))]]
        }
    }
}

fn transport(l4: L4, range: Option<PortRange>, view: View) -> Expr {
    match (range, view) {
        (None, _) => Expr::L4(BTreeSet::from([l4])),
        (Some(range), View::Inside) => Expr::DestinationPort(l4, ports(range)),
        (Some(range), View::Outside) => Expr::OriginalDestinationPort(l4, ports(range)),
    }
}

fn icmp(version: IpVersion, kind: Option<u8>, code: Option<u8>) -> Expr {
    let protocol = match version {
        IpVersion::V4 => Protocol::ICMP,
        IpVersion::V6 => Protocol::ICMPV6,
    };
    let Some(number) = kind else { return Expr::Protocol(BTreeSet::from([protocol])) };
    let kind = IcmpType { version, number };
    match code {
        Some(code) => Expr::IcmpCode(kind, code),
        None => Expr::Icmp(BTreeSet::from([kind])),
    }
}

pub(super) fn ports(range: PortRange) -> Ports {
    if range.len() == 1 {
        return Ports::One(range.first());
    }
    Ports::Range(range.first(), range.last())
}

pub(in crate::compile) fn l4(protocol: ForwardProtocol) -> L4 {
    match protocol {
        ForwardProtocol::Tcp => L4::Tcp,
        ForwardProtocol::Udp => L4::Udp,
    }
}

/// One match per network, or none that matches everything: a rule's list of networks stands at the rule's own place.
pub(super) fn networks(list: &[Cidr], of: impl Fn(Net) -> Expr) -> Vec<Option<Expr>> {
    if list.is_empty() {
        return vec![None];
    }
    let sorted: BTreeSet<&Cidr> = list.iter().collect();
    sorted.into_iter().map(|cidr| Some(net(cidr, &of))).collect()
}

/// Pairs of which both ends can be of one packet; no networks are anywhere.
pub(super) fn pairs<'a>(
    sources: &'a [Cidr],
    destinations: &'a [Cidr],
) -> impl Iterator<Item = (Option<&'a Cidr>, Option<&'a Cidr>)> {
    let each = |list: &'a [Cidr]| -> Vec<Option<&'a Cidr>> {
        let sorted: BTreeSet<&Cidr> = list.iter().collect();
        if sorted.is_empty() { vec![None] } else { sorted.into_iter().map(Some).collect() }
    };
    let destinations = each(destinations);
    each(sources).into_iter().flat_map(move |source| {
        let fits = move |destination: Option<&Cidr>| match (source, destination) {
            (Some(source), Some(destination)) => source.is_ipv4() == destination.is_ipv4(),
            _ => true,
        };
        let destinations = destinations.clone().into_iter().filter(move |one| fits(*one));
        destinations.map(move |destination| (source, destination))
    })
}

/// Every address of a version is said by the version alone.
pub(super) fn net(cidr: &Cidr, of: impl Fn(Net) -> Expr) -> Expr {
    match cidr.prefix() {
        0 => Expr::Version(IpVersion::of(cidr.network())),
        _ => of(Net::Cidr(*cidr)),
    }
}

/// These matches, unless no packet can be of them all: ICMP is of one version of IP, and says so by itself.
pub(super) fn of_one_packet(mut matches: Vec<Expr>) -> Option<Vec<Expr>> {
    let Some(icmp) = matches.iter().find_map(icmp_version) else { return Some(matches) };
    if matches.iter().filter_map(version).any(|version| version != icmp) {
        return None;
    }
    matches.retain(|expr| !matches!(expr, Expr::Version(_)));
    Some(matches)
}

fn icmp_version(expr: &Expr) -> Option<IpVersion> {
    match expr {
        Expr::Protocol(protocols) if protocols.len() == 1 => match *protocols.first()? {
            Protocol::ICMP => Some(IpVersion::V4),
            Protocol::ICMPV6 => Some(IpVersion::V6),
            _ => None,
        },
        Expr::Icmp(kinds) => Some(kinds.first()?.version),
        Expr::IcmpCode(kind, _) => Some(kind.version),
        _ => None,
    }
}

fn version(expr: &Expr) -> Option<IpVersion> {
    match expr {
        Expr::Version(version) => Some(*version),
        Expr::Source(Net::Cidr(cidr)) | Expr::Destination(Net::Cidr(cidr)) => {
            Some(IpVersion::of(cidr.network()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_is_of_one_version_of_ip_and_says_so_by_itself() {
        let icmp = |kind| matches(&Traffic::Icmp { kind, code: None }, View::Inside);
        let from = |cidr: &str| net(&cidr.parse().unwrap(), Expr::Source);
        for kind in [None, Some(8)] {
            let [four, six] = icmp(kind).try_into().unwrap();
            let with = |net: &str, way: &Vec<Expr>| [vec![from(net)], way.clone()].concat();
            assert_eq!(of_one_packet(with("0.0.0.0/0", &four)), Some(four.clone()));
            assert_eq!(of_one_packet(with("::/0", &six)), Some(six.clone()));
            assert_eq!(of_one_packet(with("0.0.0.0/0", &six)), None);
            assert_eq!(of_one_packet(with("2001:db8::/32", &four)), None);
            let whole = with("192.0.2.0/24", &four);
            assert_eq!(of_one_packet(whole.clone()), Some(whole));
        }
        let everything = vec![from("0.0.0.0/0")];
        assert_eq!(of_one_packet(everything.clone()), Some(everything));
    }

    #[test]
    fn ends_of_two_versions_of_ip_are_no_pair() {
        let of = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect::<Vec<Cidr>>();
        let (sources, destinations) = (of(&["192.0.2.0/24", "2001:db8::/32"]), of(&["10.0.0.0/8"]));
        assert_eq!(pairs(&sources, &destinations).count(), 1);
        assert_eq!(pairs(&[], &destinations).count(), 1);
        assert_eq!(pairs(&sources, &[]).count(), 2);
        assert_eq!(pairs(&[], &[]).count(), 1);
    }
}
