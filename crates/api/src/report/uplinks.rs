//! What a router's watch over its uplinks says of itself.
//!
//! Read tolerantly, as all of an appliance's reports.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::types::LinkName;

/// Name of the service whose report this is.
pub const SERVICE: &str = "uplinks";

/// The uplinks that are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Each of them, by link.
    pub uplinks: Vec<UplinkReport>,
}

/// One uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkReport {
    /// Its link.
    pub link: LinkName,
    /// Whether it is up; none until a probe was answered, or enough were not.
    pub up: Option<bool>,
    /// Who is asked.
    pub targets: Vec<IpAddr>,
    /// Probes that were answered, since the service started.
    #[serde(default)]
    pub answered: u64,
    /// Probes that failed.
    #[serde(default)]
    pub failed: u64,
    /// How often it went down or came up again.
    #[serde(default)]
    pub changes: u64,
}
