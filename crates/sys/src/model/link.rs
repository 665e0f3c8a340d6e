//! Interfaces as the kernel shows them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InvalidValue, LinkName, MacAddr, VlanId};

/// Any interface name that the kernel can have: 1 to 15 bytes without a slash or white space, not `.` or `..`
/// (`dev_valid_name`). Wider than [`LinkName`], which is what we give.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name as one that we could have given, if it has that form.
    pub fn as_link(&self) -> Option<LinkName> {
        self.0.parse().ok()
    }
}

impl std::str::FromStr for IfName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=15).contains(&text.len()) && !matches!(text, "." | "..");
        let plain =
            !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0');
        if fits && plain {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new("interface name", text, "must be 1 to 15 bytes, no slash or space"))
    }
}

impl TryFrom<String> for IfName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

impl From<&LinkName> for IfName {
    fn from(name: &LinkName) -> Self {
        Self(name.to_string())
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An interface that exists. `lo` is never listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObservedLink {
    /// The kernel's number for it.
    pub index: u32,
    /// Its present address; none for interfaces without one.
    pub mac: Option<MacAddr>,
    /// The address burnt in, where the driver tells; NICs are matched by it first.
    pub permanent_mac: Option<MacAddr>,
    /// What it is.
    pub kind: LinkKind,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier (operational state up or unknown).
    pub carrier: bool,
    /// In our link group ([`crate::owned::LINK_GROUP`]): named or made by us.
    pub ours: bool,
    /// Further names.
    pub altnames: BTreeSet<String>,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// A NIC, physical or virtual, or one end of a veth pair.
    Nic,
    /// An 802.1Q interface on another one.
    Vlan {
        /// Index of the interface beneath.
        parent: u32,
        /// Its tag.
        id: VlanId,
    },
    /// Anything else: bridge, tunnel, TAP; never ours.
    Other,
}
