//! What we own in the kernel, as plain sorted data: wanted, observed, and the steps between.
//!
//! Guarantees: comparing two of these values is comparing kernels, as far as we own them. Foreign objects never appear.

mod ownership;
mod policy;
mod step;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::config::Attachment;
use sluice_api::types::{Cidr, InterfaceAddress, LinkName, MacAddr, Mtu, VlanId};

use crate::nft;

pub use ownership::{
    EARLY_TABLE, LINK_GROUP, MAIN_TABLE, ROUTE_PROTOCOL, RULE_PRIORITIES, TABLE_NAME, UPLINK_MARKS,
    UPLINK_TABLES, USAGE_TABLE,
};
pub use policy::PolicyEntry;
pub use step::Step;

/// The state that an appliance wants its kernel to be in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Interfaces by the name they are to have.
    pub links: BTreeMap<LinkName, DesiredLink>,
    /// Addresses by link.
    pub addresses: BTreeSet<(LinkName, InterfaceAddress)>,
    /// Routes with our protocol number.
    pub routes: BTreeSet<RouteEntry>,
    /// Policy rules of our priorities.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policy_rules: BTreeSet<PolicyEntry>,
    /// Kernel settings: dotted key, value.
    pub sysctls: BTreeMap<SysctlKey, String>,
    /// nft tables, whole.
    #[serde(with = "crate::pairs")]
    pub tables: BTreeMap<nft::TableId, nft::Table>,
    /// Whose an inside address is. No object of the kernel; what an address was party to ends when it is somebody else's.
    #[serde(default)]
    pub owners: BTreeMap<IpAddr, MacAddr>,
}

/// A link as wanted. It is always up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredLink {
    /// Which NIC or VLAN it is.
    pub attach: Attachment,
    /// Largest packet in bytes.
    pub mtu: Mtu,
}

/// The state that the kernel is in, as far as it is ours or could become ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// All interfaces but loopback, by the name they have now; foreign names are kept as text.
    pub links: BTreeMap<String, ObservedLink>,
    /// Global addresses of all those interfaces.
    pub addresses: BTreeSet<(String, InterfaceAddress)>,
    /// Routes with our protocol number only.
    pub routes: BTreeSet<RouteEntry>,
    /// Policy rules of our priorities only.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policy_rules: BTreeSet<PolicyEntry>,
    /// The settings that were asked for and exist.
    pub sysctls: BTreeMap<SysctlKey, String>,
    /// Our nft tables.
    #[serde(with = "crate::pairs")]
    pub tables: nft::ObservedTables,
    /// Generation number of the kernel's whole ruleset.
    pub nft_generation: u32,
}

/// A link as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedLink {
    /// The kernel's number for it.
    pub index: u32,
    /// Its address; `None` for links without Ethernet addresses.
    pub mac: Option<MacAddr>,
    /// The address burnt in, by which NICs are matched; falls back to `mac`.
    pub permanent_mac: Option<MacAddr>,
    /// The trunk's present name and the tag, for a VLAN.
    pub vlan: Option<(String, VlanId)>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Frames can pass: operational state up, or unknown where the driver tells nothing.
    #[serde(default)]
    pub carrier: bool,
    /// Named or made by us: in link group [`LINK_GROUP`].
    #[serde(default)]
    pub ours: bool,
    /// Further names of it.
    #[serde(default)]
    pub altnames: BTreeSet<String>,
}

/// What can be had for next to nothing, to see whether a whole observation is worth it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Generation number of the kernel's whole ruleset.
    pub nft_generation: u32,
    /// The settings that were asked for and exist.
    pub sysctls: BTreeMap<SysctlKey, String>,
}

/// What an observation covers besides links, addresses and routes, which are always looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Packet tables; others are never read.
    pub tables: BTreeSet<nft::TableId>,
    /// Kernel settings.
    pub sysctls: BTreeSet<SysctlKey>,
    /// Nothing that is remembered is taken for what is: an audit of what is followed from change to change.
    #[serde(default)]
    pub anew: bool,
}

impl Desired {
    /// What to observe so that the kernel can be compared with this: its settings and tables, and further `tables`
    /// which may be there and would have to go.
    pub fn keys(&self, tables: impl IntoIterator<Item = nft::TableId>) -> Keys {
        let tables = self.tables.keys().cloned().chain(tables).collect();
        Keys { tables, sysctls: self.sysctls.keys().cloned().collect(), anew: false }
    }
}

impl Observed {
    /// The NIC with this address: by the permanent address where drivers tell it, else by the present one.
    /// VLANs, which share their trunk's address, never match.
    pub fn nic(&self, mac: MacAddr) -> Option<(&str, &ObservedLink)> {
        let nics = || self.links.iter().filter(|(_, link)| link.vlan.is_none());
        nics()
            .find(|(_, link)| link.permanent_mac == Some(mac))
            .or_else(|| nics().find(|(_, link)| link.mac == Some(mac)))
            .map(|(name, link)| (name.as_str(), link))
    }
}

/// One route of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteEntry {
    /// Routing table; the main one is 254.
    pub table: u32,
    /// Where to.
    pub destination: Cidr,
    /// Smaller wins.
    pub metric: u32,
    /// The link it leaves by.
    pub link: LinkName,
    /// Next hop.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

/// Key of a kernel setting, such as `net.ipv4.ip_forward`: dotted parts of letters, digits, `_` and `-`.
///
/// A link name may be a part; a slash or an empty part cannot occur, so a key never leaves `/proc/sys`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SysctlKey(String);

impl TryFrom<String> for SysctlKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if text.split('.').all(part) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not a sysctl key"))
        }
    }
}

impl From<SysctlKey> for String {
    fn from(key: SysctlKey) -> Self {
        key.0
    }
}

impl SysctlKey {
    /// A key that the code itself names: dotted words, `link` in place of each `{}`.
    pub fn of_link(prefix: &str, link: &LinkName, name: &str) -> Self {
        Self(format!("{prefix}.{link}.{name}"))
    }

    /// A key that the code itself spells.
    ///
    /// # Panics
    /// When it is not a valid key, which the first test to run it shows.
    #[allow(clippy::panic)]
    pub fn fixed(text: &'static str) -> Self {
        Self::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The path below `/proc/sys`.
    pub fn path(&self) -> String {
        self.0.replace('.', "/")
    }

    /// The dotted form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SysctlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
