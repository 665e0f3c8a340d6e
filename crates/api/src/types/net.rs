//! IP networks and addresses on interfaces, v4 and v6 alike.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::text::text_value;
use ipnetwork::{IpNetwork, Ipv4Network};

/// A network such as `10.1.1.0/24` or `2001:db8::/64`; host bits must be zero (RFC 4632 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNetwork);

text_value!(Cidr, "network", "^[0-9a-fA-F.:]+/[0-9]{1,3}$", "10.1.1.0/24");

/// An address with the prefix length of its network, as an interface holds it: `10.1.1.1/24`.
///
/// Unspecified, multicast, loopback and (for prefixes shorter than /31) network and broadcast addresses are refused, and
/// so are IPv6 link-local and site-local ones (RFC 4291 2.5.6, 2.5.7): the kernel gives each link its own link-local
/// address, and what has a scope of its own is left out when the kernel is looked at. IPv4's 169.254.0.0/16 is allowed,
/// since appliances have their control address in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress(IpNetwork);

text_value!(InterfaceAddress, "interface address", "^[0-9a-fA-F.:]+/[0-9]{1,3}$", "10.1.1.1/24");

const FORM: &str = "must be an address, a slash and a prefix length";

fn parse(text: &str) -> Result<IpNetwork, &'static str> {
    // ipnetwork accepts a bare address and a dotted mask; one written form is enough
    let (_, prefix) = text.split_once('/').ok_or(FORM)?;
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FORM);
    }
    text.parse().map_err(|_| FORM)
}

/// False for fe80::/10 and fec0::/10, together fe80::/9.
fn is_global_or_ipv4(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => {
            let [first, second, ..] = address.octets();
            first != 0xfe || second & 0x80 == 0
        }
    }
}

impl Cidr {
    fn check(text: &str) -> Result<IpNetwork, &'static str> {
        let network = parse(text)?;
        if network.ip() == network.network() { Ok(network) } else { Err("has host bits set") }
    }

    /// The network that contains `address`.
    pub fn of(address: InterfaceAddress) -> Self {
        // the prefix of a valid network is valid for its network address too
        Self(IpNetwork::new(address.0.network(), address.0.prefix()).unwrap_or(address.0))
    }

    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNetwork::from(address))
    }

    /// The network of all addresses of `address`'s family: where a default route goes.
    pub fn everything(address: IpAddr) -> Self {
        let zero = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        // prefix 0 is valid in both families
        Self(IpNetwork::new(zero, 0).unwrap_or_else(|_| IpNetwork::from(zero)))
    }

    /// First address: the network's own.
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// Last address: for IPv4 the broadcast address.
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Number of leading one bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// True for an IPv4 network.
    pub fn is_ipv4(&self) -> bool {
        self.0.is_ipv4()
    }

    /// The network as IPv4, if it is one.
    pub fn as_ipv4(&self) -> Option<Ipv4Network> {
        match self.0 {
            IpNetwork::V4(network) => Some(network),
            IpNetwork::V6(_) => None,
        }
    }

    /// True when `address` lies in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// True when the two networks share an address; networks of different families never do.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    /// True when a host may have `address`: inside, and neither network nor broadcast (RFC 3021 excepts /31 and /32).
    pub fn usable_for_host(&self, address: IpAddr) -> bool {
        let edge = address == self.network() || (self.is_ipv4() && address == self.last());
        let narrow = self.is_ipv4() && self.prefix() >= 31 || self.prefix() >= 127;
        self.contains(address) && (narrow || !edge)
    }

    /// The dotted mask of an IPv4 network.
    pub fn ipv4_mask(&self) -> Option<Ipv4Addr> {
        self.as_ipv4().map(|network| network.mask())
    }
}

impl InterfaceAddress {
    fn check(text: &str) -> Result<IpNetwork, &'static str> {
        let network = parse(text)?;
        let address = network.ip();
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err("is not an address that an interface can have");
        }
        if !is_global_or_ipv4(address) {
            return Err(
                "is link-local or site-local; a link needs a global or unique local IPv6 address",
            );
        }
        if !Cidr(network).usable_for_host(address) {
            return Err("is the network's own or its broadcast address");
        }
        Ok(network)
    }

    /// The address and the prefix length of its network, checked.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, super::InvalidValue> {
        format!("{address}/{prefix}").parse()
    }

    /// The address without its prefix length.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    /// Number of leading one bits of the network.
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// The network it is in.
    pub fn network(&self) -> Cidr {
        Cidr::of(*self)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.ip(), self.0.prefix())
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.ip(), self.0.prefix())
    }
}
