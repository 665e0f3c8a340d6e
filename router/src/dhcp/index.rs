//! The slice in the form that answers are made from: networks by link, guests by MAC, options already encoded.
//!
//! Built once per configuration, in time proportional to the guests; a look-up costs the same for one guest and for 10,000.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use dhcproto::v4::DhcpOption;
use sluice_api::types::{Cidr, LinkName, MacAddr};

use super::options::Encoded;
use super::pools::Pools;
use super::slice::{DhcpSlice, NetworkSlice, Reservation};
use super::told::{HOST_NAME, Told};

/// One guest, ready to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    /// Option 12.
    pub(crate) hostname: Option<Encoded>,
    default_nic: bool,
    own: Option<Box<Told>>,
}

/// One network, ready to answer from.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) cidr: Cidr,
    pub(crate) server: Ipv4Addr,
    pub(crate) mtu: u16,
    outward: Told,
    aside: Told,
    pub(crate) guests: HashMap<MacAddr, Lease>,
    /// Of several networks on a link: what is lent to clients behind a relay in it.
    pools: Option<Pools>,
}

/// The networks on one link: the ranges of one guest network, of which there is at least one.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    first: Network,
    further: Vec<Network>,
    /// What is lent on the link, of all ranges.
    pools: Option<Pools>,
}

/// All networks by link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(HashMap<LinkName, Segment>);

impl Index {
    pub(crate) fn new(slice: &DhcpSlice) -> Self {
        let mut links: HashMap<&LinkName, Vec<&NetworkSlice>> = HashMap::new();
        for network in &slice.networks {
            links.entry(&network.link).or_default().push(network);
        }
        let segment = |(link, networks): (&LinkName, Vec<&NetworkSlice>)| {
            Some((link.clone(), Segment::new(&networks)?))
        };
        Self(links.into_iter().filter_map(segment).collect())
    }

    pub(crate) fn segment(&self, link: &LinkName) -> Option<&Segment> {
        self.0.get(link)
    }

    /// What may be lent on `link`.
    pub(crate) fn pools(&self, link: &LinkName) -> Option<&Pools> {
        self.segment(link)?.pools.as_ref()
    }

    /// How many addresses may be lent in all.
    pub(crate) fn capacity(&self) -> usize {
        self.0.values().filter_map(|segment| segment.pools.as_ref()).map(Pools::capacity).sum()
    }

    /// True when `mac` has the address on `link` in this index that it has there in `other`.
    pub(crate) fn agrees(&self, other: &Self, link: &LinkName, mac: MacAddr) -> bool {
        let ours = self.address(link, mac);
        ours.is_some() && ours == other.address(link, mac)
    }

    fn address(&self, link: &LinkName, mac: MacAddr) -> Option<Ipv4Addr> {
        self.segment(link)?.guest(mac).map(|(_, guest)| guest.address)
    }
}

impl Segment {
    fn new(slices: &[&NetworkSlice]) -> Option<Self> {
        let (first, further) = slices.split_first()?;
        let mut this = Self {
            first: Network::new(first),
            further: further.iter().map(|slice| Network::new(slice)).collect(),
            pools: Pools::of(slices),
        };
        if !further.is_empty() {
            let networks = std::iter::once(&mut this.first).chain(&mut this.further);
            networks.zip(slices).for_each(|(network, slice)| network.pools = Pools::of(&[slice]));
        }
        Some(this)
    }

    /// The first of its networks, which speaks where none is meant.
    pub(crate) fn first(&self) -> &Network {
        &self.first
    }

    fn networks(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// The guest with this MAC, and the network that its address is of.
    pub(crate) fn guest(&self, mac: MacAddr) -> Option<(&Network, &Lease)> {
        self.networks().find_map(|network| Some((network, network.guests.get(&mac)?)))
    }

    /// The network in which a host can have `address`.
    pub(crate) fn of_host(&self, address: Ipv4Addr) -> Option<&Network> {
        self.networks().find(|network| network.has_host(address))
    }

    /// What may be lent to a client whose messages come by `relay`, if by any: it is on that one's network (RFC 2131 4.3.1).
    pub(crate) fn pools(&self, relay: Option<Ipv4Addr>) -> Option<&Pools> {
        // one that no network has is refused for that reason, and its client not as a stranger
        let network = relay.filter(|_| !self.further.is_empty()).and_then(|it| self.of_host(it));
        network.map_or(self.pools.as_ref(), |network| network.pools.as_ref())
    }
}

impl Network {
    fn new(slice: &NetworkSlice) -> Self {
        let guest = |guest| Lease::new(slice, guest);
        Self {
            cidr: slice.cidr,
            server: slice.gateway,
            mtu: slice.mtu.get(),
            outward: Told::of_network(slice, true),
            aside: Told::of_network(slice, false),
            guests: slice.guests.iter().map(|it| (it.mac, guest(it))).collect(),
            pools: None,
        }
    }

    /// What `guest` is told besides its address.
    pub(crate) fn told<'a>(&'a self, guest: &'a Lease) -> &'a Told {
        match &guest.own {
            Some(own) => own,
            None if guest.default_nic => &self.outward,
            None => &self.aside,
        }
    }

    /// True when `address` is one that a host of this network can have.
    pub(crate) fn has_host(&self, address: Ipv4Addr) -> bool {
        self.cidr.usable_for_host(address.into())
    }
}

impl Lease {
    /// That of a client to which `address` is lent: it has a name of its own.
    pub(crate) fn lent(address: Ipv4Addr) -> Self {
        Self { address, hostname: None, default_nic: true, own: None }
    }

    fn new(slice: &NetworkSlice, guest: &Reservation) -> Self {
        let hostname = DhcpOption::Hostname(guest.hostname.as_str().to_owned());
        let mut configured = slice.options.iter().chain(&guest.dhcp.options);
        let other = configured.any(|option| option.code.get() == HOST_NAME);
        Self {
            address: guest.address,
            hostname: Encoded::new(&hostname).filter(|_| !other),
            default_nic: guest.default_nic,
            own: Told::of_guest(slice, guest),
        }
    }
}
