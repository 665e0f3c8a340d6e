//! The slice in the form that answers are made from: guests by MAC, options already encoded.
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
    /// `None`: only the guests are answered.
    pub(crate) pools: Option<Pools>,
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

    /// What may be lent on `link`.
    pub(crate) fn pools(&self, link: &LinkName) -> Option<&Pools> {
        self.network(link)?.pools.as_ref()
    }

    /// How many addresses may be lent in all.
    pub(crate) fn capacity(&self) -> usize {
        self.0.values().filter_map(|network| network.pools.as_ref()).map(Pools::capacity).sum()
    }

    /// True when `mac` has the address on `link` in this index that it has there in `other`.
    pub(crate) fn agrees(&self, other: &Self, link: &LinkName, mac: MacAddr) -> bool {
        let ours = self.address(link, mac);
        ours.is_some() && ours == other.address(link, mac)
    }

    fn address(&self, link: &LinkName, mac: MacAddr) -> Option<Ipv4Addr> {
        self.network(link)?.guests.get(&mac).map(|guest| guest.address)
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
            pools: Pools::new(slice),
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
