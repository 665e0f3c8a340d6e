//! The slice in the form that answers are made from: guests by MAC, options already encoded.
//!
//! Built once per configuration, in time proportional to the guests; a look-up costs the same for one guest and for 10,000.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::DhcpOption;
use sluice_api::config::ClasslessRoute;
use sluice_api::types::{Cidr, LeaseSeconds, LinkName, MacAddr};

use super::options::{CLASSLESS_ROUTES_MS, Encoded};
use super::slice::{DhcpSlice, NetworkSlice, Reservation};

/// One guest, ready to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    /// Option 12.
    pub(crate) hostname: Option<Encoded>,
    /// It is the VM's way to the rest of the world.
    pub(crate) default_nic: bool,
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
    /// The same for NICs by which their VM does not reach the rest of the world: a second default route, resolver or domain
    /// would be one too many.
    pub(crate) options_aside: Vec<Encoded>,
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
            options: network_options(slice, true),
            options_aside: network_options(slice, false),
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
        let hostname = DhcpOption::Hostname(guest.hostname.as_str().to_owned());
        let (address, default_nic) = (guest.address, guest.default_nic);
        Self { address, hostname: Encoded::new(&hostname), default_nic }
    }
}

/// Lease time, T1 at a half and T2 at seven eighths of it (RFC 2131 4.4.5); "for ever" is for ever in all three.
fn timing(lease: LeaseSeconds) -> Vec<Encoded> {
    let whole = lease.get();
    let (renew, rebind) = match whole {
        u32::MAX => (whole, whole),
        _ => (whole / 2, whole - whole / 8),
    };
    let options = [
        DhcpOption::AddressLeaseTime(whole),
        DhcpOption::Renewal(renew),
        DhcpOption::Rebinding(rebind),
    ];
    options.iter().filter_map(Encoded::new).collect()
}

/// `outward` for NICs that are their VM's way to the rest of the world.
fn network_options(slice: &NetworkSlice, outward: bool) -> Vec<Encoded> {
    let gateway = outward.then_some(slice.gateway);
    let routes = Encoded::new(&classless_routes(gateway, &slice.routes));
    // its content is the same under the other number
    let routes_ms =
        routes.as_ref().map(|routes| Encoded::raw(CLASSLESS_ROUTES_MS, &routes.value()));
    let broadcast = match slice.cidr.last() {
        IpAddr::V4(last) => Some(DhcpOption::BroadcastAddr(last)),
        IpAddr::V6(_) => None,
    };
    let mask = DhcpOption::SubnetMask(slice.cidr.ipv4_mask().unwrap_or(Ipv4Addr::BROADCAST));
    let world = || {
        [
            DhcpOption::Router(vec![slice.gateway]),
            DhcpOption::DomainNameServer(slice.resolvers.clone()),
        ]
    };
    let domain = || DhcpOption::DomainName(slice.domain.as_str().to_owned());
    let encoded = |options: &[DhcpOption]| -> Vec<_> {
        options.iter().filter_map(Encoded::new).collect()
    };
    [
        encoded(&[mask]),
        if outward { encoded(&world()) } else { Vec::new() },
        Vec::from_iter(routes),
        encoded(&[DhcpOption::InterfaceMtu(slice.mtu.get())]),
        if outward { encoded(&[domain()]) } else { Vec::new() },
        encoded(broadcast.as_slice()),
        Vec::from_iter(routes_ms),
    ]
    .concat()
}

/// RFC 3442. The default route goes first, because a client that takes this option must ignore option 3.
fn classless_routes(gateway: Option<Ipv4Addr>, routes: &[ClasslessRoute]) -> DhcpOption {
    let default = gateway.and_then(|gateway| Some(("0.0.0.0/0".parse().ok()?, gateway)));
    let each = routes.iter().filter_map(|route| {
        let network = route.destination.as_ipv4()?;
        Some((network.to_string().parse().ok()?, route.via))
    });
    DhcpOption::ClasslessStaticRoute(default.into_iter().chain(each).collect())
}
