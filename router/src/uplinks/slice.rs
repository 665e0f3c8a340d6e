//! What the process is told: each uplink that it watches, and how.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::{Uplink, UplinkProbe};
use sluice_api::types::LinkName;

/// Everything that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinksSlice {
    /// The uplinks, in the order of the configuration.
    pub uplinks: Vec<Watched>,
}

/// One uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// Its link.
    pub link: LinkName,
    /// The router's address that probes leave with, the first of the link.
    pub source: Ipv4Addr,
    /// The same of IPv6, where the link has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ipv6: Option<Ipv6Addr>,
    /// Who is asked: one or more.
    pub targets: Vec<IpAddr>,
    /// Seconds between two probes.
    pub interval_seconds: u16,
    /// Failures in a row that make it down.
    pub down_after: u8,
    /// Answers in a row that make it up.
    pub up_after: u8,
}

/// The process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterDocument) -> UplinksSlice {
    let uplinks = config.role.uplinks.iter();
    let watched = uplinks.filter_map(|up| watched(config, up, up.probe.as_ref()?));
    UplinksSlice { uplinks: watched.collect() }
}

fn watched(config: &RouterDocument, up: &Uplink, probe: &UplinkProbe) -> Option<Watched> {
    let link = config.links.iter().find(|link| link.name == up.link)?;
    let source = link.addresses.iter().find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })?;
    let source_ipv6 = link.addresses.iter().find_map(|address| match address.ip() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    });
    let targets = match probe.targets.as_slice() {
        [] => vec![up.gateway.into()],
        some => some.to_vec(),
    };
    Some(Watched {
        link: up.link.clone(),
        source,
        source_ipv6,
        targets,
        interval_seconds: probe.interval_seconds,
        down_after: probe.down_after,
        up_after: probe.up_after,
    })
}
