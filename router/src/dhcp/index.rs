//! The slice in the form that answers are made from: guests by MAC, options already encoded.
//!
//! Built once per configuration, in time proportional to the guests; a look-up costs the same for one guest and for 10,000.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::ClasslessRoute;
use sluice_api::types::{Cidr, HostName, LeaseSeconds, LinkName, MacAddr};

use super::options;
use super::slice::{DhcpSlice, NetworkSlice, Reservation};

/// One option, or several of the same code (RFC 3396), as bytes on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) code: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Encoded {
    /// Encodes `value`, split in parts of 255 bytes where it is longer (RFC 3396 5).
    pub(crate) fn new(code: u8, value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(value.len() + 2);
        for part in value.chunks(usize::from(u8::MAX)) {
            bytes.push(code);
            bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(part);
        }
        Self { code, bytes }
    }

    fn addresses(code: u8, addresses: &[Ipv4Addr]) -> Self {
        Self::new(code, &addresses.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>())
    }
}

/// One guest, ready to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    pub(crate) hostname: HostName,
}

/// One network, ready to answer from.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) cidr: Cidr,
    pub(crate) server: Ipv4Addr,
    pub(crate) lease: LeaseSeconds,
    pub(crate) mtu: u16,
    /// Options 51, 58 and 59: only for whom has a lease.
    pub(crate) timing: Vec<Encoded>,
    /// The others but for the host name, most needed first: what comes last is left out of a reply that is too full.
    pub(crate) options: Vec<Encoded>,
    pub(crate) guests: HashMap<MacAddr, Lease>,
}

/// All networks by link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(HashMap<LinkName, Network>);

impl Index {
    pub(crate) fn new(slice: &DhcpSlice) -> Self {
        Self(slice.networks.iter().map(|net| (net.link.clone(), Network::new(net))).collect())
    }

    pub(crate) fn network(&self, link: &LinkName) -> Option<&Network> {
        self.0.get(link)
    }

    /// True when `mac` has the address in this index that it has in `other`.
    pub(crate) fn agrees(&self, other: &Self, mac: MacAddr) -> bool {
        let ours = self.address(mac);
        ours.is_some() && ours == other.address(mac)
    }

    fn address(&self, mac: MacAddr) -> Option<Ipv4Addr> {
        self.0.values().find_map(|network| network.guests.get(&mac)).map(|guest| guest.address)
    }
}

impl Network {
    fn new(slice: &NetworkSlice) -> Self {
        Self {
            cidr: slice.cidr,
            server: slice.gateway,
            lease: slice.lease_seconds,
            mtu: slice.mtu.get(),
            timing: timing(slice.lease_seconds),
            options: network_options(slice),
            guests: slice.guests.iter().map(|guest| (guest.mac, Lease::new(guest))).collect(),
        }
    }

    /// True when `address` is one that a host of this network can have.
    pub(crate) fn has_host(&self, address: Ipv4Addr) -> bool {
        self.cidr.usable_for_host(address.into())
    }
}

impl Lease {
    fn new(guest: &Reservation) -> Self {
        Self { address: guest.address, hostname: guest.hostname.clone() }
    }
}

/// Lease time, T1 at a half and T2 at seven eighths of it (RFC 2131 4.4.5); "for ever" is for ever in all three.
fn timing(lease: LeaseSeconds) -> Vec<Encoded> {
    let whole = lease.get();
    let (renew, rebind) = match whole {
        u32::MAX => (whole, whole),
        _ => (whole / 2, whole - whole / 8),
    };
    [
        (options::LEASE_TIME, whole),
        (options::RENEWAL_TIME, renew),
        (options::REBINDING_TIME, rebind),
    ]
    .map(|(code, seconds)| Encoded::new(code, &seconds.to_be_bytes()))
    .into()
}

fn network_options(slice: &NetworkSlice) -> Vec<Encoded> {
    let routes = classless_routes(slice.gateway, &slice.routes);
    let mut options = vec![
        Encoded::addresses(options::SUBNET_MASK, slice.cidr.ipv4_mask().as_slice()),
        Encoded::addresses(options::ROUTER, &[slice.gateway]),
        Encoded::addresses(options::RESOLVERS, &slice.resolvers),
        Encoded::new(options::CLASSLESS_ROUTES, &routes),
        Encoded::new(options::MTU, &slice.mtu.get().to_be_bytes()),
        Encoded::new(options::DOMAIN, slice.domain.as_str().as_bytes()),
    ];
    if let IpAddr::V4(last) = slice.cidr.last() {
        options.push(Encoded::addresses(options::BROADCAST, &[last]));
    }
    options.push(Encoded::new(options::CLASSLESS_ROUTES_MS, &routes));
    options.retain(|option| !option.bytes.is_empty());
    options
}

/// RFC 3442: prefix length, the significant bytes of the network, next hop. The default route goes first, because a client
/// that takes this option must ignore option 3.
fn classless_routes(gateway: Ipv4Addr, routes: &[ClasslessRoute]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(gateway.octets());
    for route in routes {
        if let Some(network) = route.destination.as_ipv4() {
            let prefix = network.prefix();
            bytes.push(prefix);
            bytes.extend(network.network().octets().iter().take(usize::from(prefix).div_ceil(8)));
            bytes.extend(route.via.octets());
        }
    }
    bytes
}
