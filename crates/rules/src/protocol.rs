//! IP versions, protocols and ICMP types: their numbers, and the names by which nft knows some of them.

use std::fmt::{self, Debug, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The two versions of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `ip` or `ip6`.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// `icmp` or `icmpv6`.
    pub(crate) const fn icmp(self) -> &'static str {
        match self {
            Self::V4 => "icmp",
            Self::V6 => "icmpv6",
        }
    }
}

/// Transport protocols whose ports we match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum L4 {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
}

impl L4 {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// An IP protocol by its number (IANA, "Assigned Internet Protocol Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Protocol(u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// GRE (RFC 2784).
    pub const GRE: Self = Self(47);
    /// IPsec's encrypted payload (RFC 4303).
    pub const ESP: Self = Self(50);
    /// IPsec's authentication header (RFC 4302).
    pub const AH: Self = Self(51);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);

    /// The protocol of that number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// True for TCP and UDP.
    pub const fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17)
    }
}

impl From<L4> for Protocol {
    fn from(l4: L4) -> Self {
        match l4 {
            L4::Tcp => Self::TCP,
            L4::Udp => Self::UDP,
        }
    }
}

impl Display for Protocol {
    /// The names that every nft knows, with and without `/etc/protocols`; else the number.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

impl Debug for Protocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A type of ICMP or ICMPv6 messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IcmpType {
    /// Of which version of IP.
    pub version: IpVersion,
    /// Its number (IANA, "ICMP Type Numbers" and "ICMPv6 Parameters").
    pub number: u8,
}

impl IcmpType {
    /// ICMP 8.
    pub const ECHO_REQUEST: Self = Self::v4(8);
    /// ICMPv6 128.
    pub const ECHO_REQUEST_V6: Self = Self::v6(128);
    /// ICMPv6 133.
    pub const ROUTER_SOLICITATION: Self = Self::v6(133);
    /// ICMPv6 134.
    pub const ROUTER_ADVERTISEMENT: Self = Self::v6(134);
    /// ICMPv6 135.
    pub const NEIGHBOUR_SOLICITATION: Self = Self::v6(135);
    /// ICMPv6 136.
    pub const NEIGHBOUR_ADVERTISEMENT: Self = Self::v6(136);

    /// A type of ICMP.
    pub const fn v4(number: u8) -> Self {
        Self { version: IpVersion::V4, number }
    }

    /// A type of ICMPv6.
    pub const fn v6(number: u8) -> Self {
        Self { version: IpVersion::V6, number }
    }

    /// nft's name for it, if it has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        let known = icmp_names(self.version).iter();
        known.into_iter().find(|(number, _)| *number == self.number).map(|(_, name)| *name)
    }

    /// The type that nft has `name` for.
    pub(crate) fn named(version: IpVersion, name: &str) -> Option<Self> {
        let known = icmp_names(version).iter().find(|(_, known)| *known == name)?;
        Some(Self { version, number: known.0 })
    }
}

impl Display for IcmpType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.number),
        }
    }
}

impl Debug for IcmpType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.version.icmp())
    }
}

type Names = &'static [(u8, &'static str)];

/// What `nft describe icmp type` and `icmpv6 type` say; of two names for a number the one that is listed.
const fn icmp_names(version: IpVersion) -> Names {
    match version {
        IpVersion::V4 => &[
            (0, "echo-reply"),
            (3, "destination-unreachable"),
            (4, "source-quench"),
            (5, "redirect"),
            (8, "echo-request"),
            (9, "router-advertisement"),
            (10, "router-solicitation"),
            (11, "time-exceeded"),
            (12, "parameter-problem"),
            (13, "timestamp-request"),
            (14, "timestamp-reply"),
            (15, "info-request"),
            (16, "info-reply"),
            (17, "address-mask-request"),
            (18, "address-mask-reply"),
        ],
        IpVersion::V6 => &[
            (1, "destination-unreachable"),
            (2, "packet-too-big"),
            (3, "time-exceeded"),
            (4, "parameter-problem"),
            (128, "echo-request"),
            (129, "echo-reply"),
            (130, "mld-listener-query"),
            (131, "mld-listener-report"),
            (132, "mld-listener-done"),
            (133, "nd-router-solicit"),
            (134, "nd-router-advert"),
            (135, "nd-neighbor-solicit"),
            (136, "nd-neighbor-advert"),
            (137, "nd-redirect"),
            (138, "router-renumbering"),
            (141, "ind-neighbor-solicit"),
            (142, "ind-neighbor-advert"),
            (143, "mld2-listener-report"),
        ],
    }
}

/// Names that nft before 1.1 lists for ICMP codes, whatever the type (`nft describe icmp code`).
const fn code_names(version: IpVersion) -> Names {
    match version {
        IpVersion::V4 => &[
            (0, "net-unreachable"),
            (1, "host-unreachable"),
            (2, "prot-unreachable"),
            (3, "port-unreachable"),
            (4, "frag-needed"),
            (9, "net-prohibited"),
            (10, "host-prohibited"),
            (13, "admin-prohibited"),
        ],
        IpVersion::V6 => &[
            (0, "no-route"),
            (1, "admin-prohibited"),
            (3, "addr-unreachable"),
            (4, "port-unreachable"),
            (5, "policy-fail"),
            (6, "reject-route"),
        ],
    }
}

/// The ICMP code that nft has `name` for.
pub(crate) fn code_named(version: IpVersion, name: &str) -> Option<u8> {
    code_names(version).iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// The protocol that nft lists as `name`; we ask it for numbers, other people's listings have the commonest names.
pub(crate) fn protocol_named(name: &str) -> Option<Protocol> {
    Some(match name {
        "icmp" => Protocol::ICMP,
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "gre" => Protocol::GRE,
        "esp" => Protocol::ESP,
        "ah" => Protocol::AH,
        "ipv6-icmp" | "icmpv6" => Protocol::ICMPV6,
        _ => return None,
    })
}
