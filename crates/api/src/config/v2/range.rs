//! Several ranges of addresses of one guest network: what is said of all of it, and what of each.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DhcpConfig, GuestNetwork, NetworkDns};
use crate::types::Cidr;

/// A further range of a network's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkRange {
    /// Its IPv4 addresses, such as `10.1.9.0/24`; must be a network of an address of the link.
    pub cidr: Cidr,
    /// The router's own address in it, which its guests use as gateway.
    #[schema(value_type = String, example = "10.1.9.1")]
    pub gateway: Ipv4Addr,
}

impl GuestNetwork {
    /// All its ranges with the router's address in each: `cidr` first.
    pub fn spans(&self) -> impl Iterator<Item = (Cidr, Ipv4Addr)> {
        let further = self.ranges.iter().map(|range| (range.cidr, range.gateway));
        std::iter::once((self.cidr, self.gateway)).chain(further)
    }

    /// Whether a host in it can have `address`.
    pub fn has_host(&self, address: Ipv4Addr) -> bool {
        self.spans().any(|(cidr, _)| cidr.usable_for_host(IpAddr::V4(address)))
    }

    /// Whether `address` is the router's own in one of its ranges.
    pub fn is_gateway(&self, address: Ipv4Addr) -> bool {
        self.spans().any(|(_, gateway)| gateway == address)
    }

    /// Its ranges as text, for findings.
    pub fn spans_text(&self) -> String {
        self.spans().map(|(cidr, _)| cidr.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The network as one for each range, as its services see it: each with the guests, pools and routes that lie in it. What
    /// there can be one of only, its IPv6 and the operator's records, is with the first.
    pub fn by_range(&self) -> Vec<Cow<'_, Self>> {
        if self.ranges.is_empty() {
            return vec![Cow::Borrowed(self)];
        }
        self.spans().map(|(cidr, gateway)| Cow::Owned(self.within(cidr, gateway))).collect()
    }

    fn within(&self, cidr: Cidr, gateway: Ipv4Addr) -> Self {
        let holds = |address: Ipv4Addr| cidr.contains(IpAddr::V4(address));
        let is_first = cidr == self.cidr;
        let (dhcp, dns) = (&self.dhcp, &self.dns);
        Self {
            id: self.id.clone(),
            link: self.link.clone(),
            cidr,
            ranges: Vec::new(),
            gateway,
            ipv6: self.ipv6.clone().filter(|_| is_first),
            domain: self.domain.clone(),
            egress: self.egress,
            source_nat: self.source_nat.clone(),
            acl: self.acl.clone(),
            dhcp: DhcpConfig {
                pools: dhcp.pools.iter().filter(|pool| holds(pool.first())).copied().collect(),
                routes: dhcp.routes.iter().filter(|route| holds(route.via)).cloned().collect(),
                resolvers: dhcp.resolvers.clone(),
                options: dhcp.options.clone(),
                boot: dhcp.boot.clone(),
                ..*dhcp
            },
            dns: NetworkDns {
                records: if is_first { dns.records.clone() } else { Vec::new() },
                upstreams: dns.upstreams.clone(),
                tls: dns.tls.clone(),
                clients: dns.clients.clone(),
            },
            guests: self.guests.iter().filter(|guest| holds(guest.address)).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_has_what_lies_in_it() {
        let network: GuestNetwork = serde_json::from_value(serde_json::json!({
            "id": "net-1", "link": "guest0", "cidr": "10.1.1.0/24", "gateway": "10.1.1.1",
            "ranges": [{ "cidr": "10.1.9.0/24", "gateway": "10.1.9.1" }],
            "domain": "cs1.cloud.internal", "egress": "allow",
            "dhcp": {
                "pools": ["10.1.1.100-10.1.1.110", "10.1.9.100-10.1.9.110"],
                "routes": [{ "destination": "10.8.0.0/16", "via": "10.1.9.254" }],
            },
            "guests": [
                { "id": "a", "mac": "02:00:0a:01:01:17", "address": "10.1.1.23", "hostname": "a" },
                { "id": "b", "mac": "02:00:0a:01:09:17", "address": "10.1.9.23", "hostname": "b" },
            ],
        }))
        .unwrap();
        let ranges = network.by_range();
        let seen: Vec<_> = ranges
            .iter()
            .map(|one| {
                let guests: Vec<_> = one.guests.iter().map(|guest| guest.id.as_str()).collect();
                (one.gateway.to_string(), guests, one.dhcp.pools.len(), one.dhcp.routes.len())
            })
            .collect();
        let expected =
            [("10.1.1.1".to_owned(), vec!["a"], 1, 0), ("10.1.9.1".to_owned(), vec!["b"], 1, 1)];
        assert_eq!(seen, expected);
        assert!(network.has_host([10, 1, 9, 7].into()) && !network.has_host([10, 1, 8, 7].into()));
    }
}
