//! Ways out of a router that has several.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::LinkName;

/// A public link with the next hop that answers to it. Connections that came in by it are answered by it; guests whose
/// source NAT or static NAT address is of it leave by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// A public link, listed once.
    pub link: LinkName,
    /// Next hop towards the Internet, in a network of the link.
    #[schema(value_type = String, example = "203.0.113.1")]
    pub gateway: Ipv4Addr,
    /// Next hop of IPv6, in a network of the link (capability `ipv6-uplinks`) or with a link-local address, where the link has
    /// an IPv6 address (capability `link-local-gateways`). Default: IPv6 does not leave by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2001:db8:ffff::1")]
    pub gateway_ipv6: Option<Ipv6Addr>,
    /// How it is watched (capability `uplink-probes`). While it is down, guests' new connections, of IPv6 too, leave by the first
    /// other one that is not, and so does what the default route is for. Default: not at all, and it counts as up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<UplinkProbe>,
    /// The address of the link with which guests leave by it whose own uplink is down; static NAT may not have it. Default:
    /// they do not leave by it over IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "203.0.113.10")]
    pub source_nat: Option<Ipv4Addr>,
}

/// How an uplink is watched: ICMP echo requests that leave by it, with an address of it, whatever the routes say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UplinkProbe {
    /// Who is asked, at most 8 addresses; one that answers is enough. One of IPv6 wants a link with an address and a gateway of
    /// it (capability `uplink-probes-ipv6`). Default: the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub targets: Vec<IpAddr>,
    /// Seconds between two probes, 1 to 3600. Default 5. One that is not answered within it, or within 2 s, has failed.
    #[serde(default = "default_interval")]
    pub interval_seconds: u16,
    /// Probes in a row that fail before it is down, 1 to 100. Default 3.
    #[serde(default = "default_count")]
    pub down_after: u8,
    /// Probes in a row that are answered before it is up again, 1 to 100. Default 3.
    #[serde(default = "default_count")]
    pub up_after: u8,
}

fn default_interval() -> u16 {
    5
}

fn default_count() -> u8 {
    3
}

/// Most targets of a probe.
const MOST_TARGETS: usize = 8;

impl UplinkProbe {
    /// The first target that is asked by IPv6, and its place.
    pub fn ipv6(&self) -> Option<(usize, IpAddr)> {
        self.targets.iter().copied().enumerate().find(|(_, target)| target.is_ipv6())
    }

    /// What is wrong with it by itself: field, code and reason. Whoever takes it says so before a configuration has it.
    pub fn faults(&self) -> Vec<(String, &'static str, String)> {
        let mut faults = Vec::new();
        let numbers = [
            ("interval_seconds", self.interval_seconds, 3600),
            ("down_after", self.down_after.into(), 100),
            ("up_after", self.up_after.into(), 100),
        ];
        for (field, value, most) in numbers {
            if value == 0 || value > most {
                let reason = format!("{value} is not 1 to {most}");
                faults.push((field.to_owned(), "invalid-value", reason));
            }
        }
        if self.targets.len() > MOST_TARGETS {
            let reason = format!("{} targets are more than {MOST_TARGETS}", self.targets.len());
            faults.push(("targets".to_owned(), "too-many", reason));
        }
        for (place, target) in self.targets.iter().enumerate() {
            let broadcast = *target == IpAddr::V4(Ipv4Addr::BROADCAST);
            if target.is_unspecified() || target.is_multicast() || broadcast {
                let reason = format!("{target} is nobody who could answer");
                faults.push((format!("targets[{place}]"), "invalid-value", reason));
            }
        }
        faults
    }
}
