//! What DHCP hands out besides addresses: options and where to boot from, of a network or of one guest.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ClasslessRoute;
use crate::types::{BootFile, DomainName, HexBytes, OptionCode, OptionText};

/// One DHCP option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpOption {
    /// Its number, such as 42 for NTP servers (IANA's registry of DHCP options).
    pub code: OptionCode,
    /// Its content, in the form that the number has; `hex` fits every number.
    pub value: DhcpValue,
}

/// The content of a DHCP option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpValue {
    /// IPv4 addresses, such as of 3, 6, 42 and 150.
    #[schema(value_type = Vec<String>)]
    Addresses(Vec<Ipv4Addr>),
    /// Domain names, as of 119 (RFC 3397).
    Names(Vec<DomainName>),
    /// Text, such as of 12, 15, 66, 67, 114 and 252.
    Text(OptionText),
    /// A number in the width that the option has: 2 bytes of 26, 4 of 51, 58, 59 and 108.
    Number(u32),
    /// Routes, as of 121 and 249 (RFC 3442).
    Routes(Vec<ClasslessRoute>),
    /// Bytes, such as of 43.
    Hex(HexBytes),
}

/// Where a client that boots from the network goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpBoot {
    /// The server: `siaddr`, and option 66 unless that has a text of its own.
    #[schema(value_type = String, example = "10.1.1.5")]
    pub next_server: Ipv4Addr,
    /// The file there: the header's field and option 67. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<BootFile>,
}

/// What DHCP tells one guest otherwise than its network's guests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestDhcp {
    /// Options in place of the network's of the same number; at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DhcpOption>,
    /// Where it boots from. Default: as the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<DhcpBoot>,
}

impl GuestDhcp {
    /// It is told the same as the others.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl OptionCode {
    /// Bytes of a number that this option holds.
    pub fn number_width(self) -> usize {
        match self.get() {
            19 | 20 | 23 | 27 | 29 | 30 | 31 | 34 | 36 | 37 | 39 | 46 | 116 => 1,
            13 | 22 | 26 => 2,
            _ => 4,
        }
    }
}

impl DhcpValue {
    /// Bytes on the wire, about: what names share is not taken into account.
    pub fn length(&self, code: OptionCode) -> usize {
        match self {
            Self::Addresses(addresses) => addresses.len() * 4,
            Self::Names(names) => names.iter().map(|name| name.as_str().len() + 2).sum(),
            Self::Text(text) => text.as_str().len(),
            Self::Number(_) => code.number_width(),
            Self::Routes(routes) => routes.iter().map(ClasslessRoute::length).sum(),
            Self::Hex(bytes) => bytes.bytes().len(),
        }
    }
}

impl ClasslessRoute {
    /// Bytes on the wire (RFC 3442).
    pub fn length(&self) -> usize {
        1 + usize::from(self.destination.prefix()).div_ceil(8) + 4
    }
}
