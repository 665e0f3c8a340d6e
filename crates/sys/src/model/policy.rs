//! Policy routing rules of ours.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, LinkName};

/// One rule: packets that fit are looked up in its table. Ours are known by their priority
/// ([`super::RULE_PRIORITIES`]), of which each is used once in a family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// Smaller is asked first.
    pub priority: u32,
    /// For IPv4; else for IPv6.
    pub ipv4: bool,
    /// Source address of the packet; none: any.
    pub source: Option<Cidr>,
    /// Destination address; none: any.
    pub destination: Option<Cidr>,
    /// The link that it came in by, by name, so that one that comes later counts too; none: any.
    pub link: Option<LinkName>,
    /// The low 16 bits of its mark; none: any.
    pub mark: Option<u16>,
    /// The table to look in.
    pub table: u32,
}

impl fmt::Display for PolicyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.priority, if self.ipv4 { "" } else { " (IPv6)" })?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if let Some(destination) = self.destination {
            write!(f, " to {destination}")?;
        }
        if let Some(link) = &self.link {
            write!(f, " by {link}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " mark {mark:#x}")?;
        }
        write!(f, " table {}", self.table)
    }
}
