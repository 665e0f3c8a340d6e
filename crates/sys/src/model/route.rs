//! One route of ours.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, LinkName};

use crate::owned::MAIN_TABLE;

/// A unicast route with protocol 201.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteEntry {
    /// Where to.
    pub destination: Cidr,
    /// The link it leaves by.
    pub link: LinkName,
    /// Next hop; none when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// Smaller wins. For IPv6 never 0, because the kernel turns that into 1024.
    pub metric: u32,
    /// Source address that the router's own packets prefer.
    pub source: Option<IpAddr>,
    /// Routing table; 254 is the main one.
    pub table: u32,
}

/// What the kernel makes of metric 0 for IPv6 (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

impl RouteEntry {
    /// A route in the main table; metric 0 becomes what the kernel makes of it.
    pub fn new(destination: Cidr, link: LinkName, via: Option<IpAddr>, metric: u32) -> Self {
        let metric = if metric == 0 && !destination.is_ipv4() { IPV6_METRIC } else { metric };
        Self { destination, link, via, metric, source: None, table: MAIN_TABLE }
    }

    /// True when the kernel keeps at most one of the two: same table, destination and metric.
    pub fn same_slot(&self, other: &Self) -> bool {
        (self.table, self.destination, self.metric)
            == (other.table, other.destination, other.metric)
    }
}

impl fmt::Display for RouteEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.link)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
