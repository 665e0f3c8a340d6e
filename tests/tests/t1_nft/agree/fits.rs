//! Which expressions fit into one rule: nft refuses one that can match nothing because two protocols are asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_sys::nft::{AddressSpan, Expr, IcmpType, IpVersion, Key, L4, MarkValue, Net, Protocol};

/// What the expressions of a rule ask for so far.
#[derive(Default)]
pub(crate) struct Asked {
    version: Option<IpVersion>,
    carried: Option<BTreeSet<Protocol>>,
}

impl Asked {
    /// Takes them all, if they fit to what was taken and to each other.
    pub(crate) fn take(&mut self, exprs: &[Expr]) -> bool {
        let versions = exprs.iter().filter_map(version).chain(self.version);
        let versions: BTreeSet<bool> = versions.map(|is| is == IpVersion::V4).collect();
        let carried: BTreeSet<BTreeSet<Protocol>> =
            exprs.iter().filter_map(carried).chain(self.carried.clone()).collect();
        if versions.len() > 1 || carried.len() > 1 {
            return false;
        }
        let v4 = versions.first();
        self.version = v4.map(|v4| if *v4 { IpVersion::V4 } else { IpVersion::V6 });
        self.carried = carried.into_iter().next();
        true
    }
}

fn version(expr: &Expr) -> Option<IpVersion> {
    match expr {
        Expr::Version(version) | Expr::SnatMap(version, ..) | Expr::DnatMap(version, ..) => {
            Some(*version)
        }
        Expr::Source(net)
        | Expr::Destination(net)
        | Expr::OriginalSource(net)
        | Expr::OriginalDestination(net) => Some(of_net(net)),
        Expr::Icmp(types) => types.first().map(|of| of.version),
        Expr::IcmpCode(IcmpType { version, .. }, _) => Some(*version),
        Expr::In(keys, _)
        | Expr::NotIn(keys, _)
        | Expr::Vmap(keys, _)
        | Expr::CounterMap(keys, _)
        | Expr::SetMark(_, MarkValue::Map(keys, _)) => keys.iter().find_map(of_key),
        Expr::Snat(to) | Expr::Dnat(to, _) => Some(of(*to)),
        Expr::Balance(..) => Some(IpVersion::V4),
        _ => None,
    }
}

fn of(address: IpAddr) -> IpVersion {
    if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 }
}

fn of_net(net: &Net) -> IpVersion {
    match net {
        Net::Cidr(net) | Net::Outside(net) => AddressSpan::of(net).version(),
        Net::Host(host) => of(*host),
        Net::Span(span) => span.version(),
        Net::Set(version, _) | Net::NotSet(version, _) => *version,
    }
}

fn of_key(key: &Key) -> Option<IpVersion> {
    match key {
        Key::SourceV4 | Key::DestinationV4 | Key::OriginalDestinationV4 => Some(IpVersion::V4),
        Key::SourceV6 | Key::DestinationV6 | Key::OriginalDestinationV6 => Some(IpVersion::V6),
        _ => None,
    }
}

fn carried(expr: &Expr) -> Option<BTreeSet<Protocol>> {
    let one = |l4: &L4| BTreeSet::from([Protocol::from(*l4)]);
    let icmp = |of: &IcmpType| match of.version {
        IpVersion::V4 => BTreeSet::from([Protocol::ICMP]),
        IpVersion::V6 => BTreeSet::from([Protocol::ICMPV6]),
    };
    match expr {
        Expr::L4(any) => Some(any.iter().map(|l4| Protocol::from(*l4)).collect()),
        Expr::Protocol(any) => Some(any.clone()),
        Expr::DestinationPort(l4, _)
        | Expr::SourcePort(l4, _)
        | Expr::OriginalDestinationPort(l4, _) => Some(one(l4)),
        Expr::Icmp(types) => types.first().map(icmp),
        Expr::IcmpCode(of, _) => Some(icmp(of)),
        _ => None,
    }
}
