//! The part of the router configuration that the DNS service needs, and nothing else.
//!
//! Guarantees: derived from the configuration alone, so equal configurations give equal slices; complete, so a service
//! that starts from nothing needs nothing besides. It holds no secret.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use sluice_api::config::{DnsRecord, ForwardZone, GuestNetwork, Link, RouterDocument, UpstreamTls};
use sluice_api::types::{Cidr, DomainName, HostName, LinkName};

/// Port of DNS (RFC 1035 4.2).
pub const PORT: u16 = 53;

/// Port of DNS over TLS (RFC 7858 3.1).
pub(super) const TLS_PORT: u16 = 853;

/// What the DNS service is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSlice {
    /// The router's own name, resolvable in every guest domain.
    pub router: HostName,
    /// The guest networks served.
    pub networks: Vec<DnsNetwork>,
    /// Resolvers for every other name, in order of preference.
    pub upstreams: Vec<SocketAddr>,
    /// They are asked over TLS on these terms. Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// What resolvers say is proved by DNSSEC, but for `forward` names that have resolvers of their own. Default: no.
    #[serde(default, skip_serializing_if = "is_no")]
    pub validate: bool,
    /// Names that other resolvers know. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<DnsForward>,
    /// Guests see the names of all networks' domains, as those of a VPC's tiers, which are one owner's. Default: of their own.
    #[serde(default, skip_serializing_if = "is_no")]
    pub shared: bool,
    /// Bounds and times. Default: see each.
    #[serde(default)]
    pub settings: Settings,
}

/// One guest network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsNetwork {
    /// Queries must arrive on this link. None: on any, for a desk without links.
    #[serde(default)]
    pub link: Option<LinkName>,
    /// The router's addresses in the network, the gateway first.
    pub listen: Vec<Listen>,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// The network whose reverse names are answered here.
    pub cidr: Cidr,
    /// The guests. Default: none.
    #[serde(default)]
    pub hosts: Vec<DnsHost>,
    /// Records of the operator's own. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
    /// Resolvers of its own. Default: those of all networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<SocketAddr>,
    /// Those of its own are asked over TLS on these terms. Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Further sources that are answered: networks behind guests, or of the VPN. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Cidr>,
    /// Answer at the gateway's address whatever link a query comes by: clients of remote access have links of their own.
    /// Who is answered does not change. Default: no.
    #[serde(default, skip_serializing_if = "is_no")]
    pub any_link: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_no(value: &bool) -> bool {
    !value
}

/// Names that are asked of resolvers of their own, those that are else never forwarded included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsForward {
    /// The name; everything below it goes with it.
    pub zone: DomainName,
    /// Who knows it, in order of preference. Default: the resolvers of the asking network.
    #[serde(default)]
    pub upstreams: Vec<SocketAddr>,
    /// Those of its own are asked over TLS on these terms. Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// Resolvers that stand for each other, and how they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// In order of preference.
    pub resolvers: Vec<SocketAddr>,
    /// Over TLS, and on which terms.
    pub tls: Option<UpstreamTls>,
}

impl Group {
    fn of(resolvers: &[SocketAddr], tls: Option<&UpstreamTls>) -> Self {
        Self { resolvers: resolvers.to_vec(), tls: tls.cloned() }
    }

    /// Whether `other` is the same resolvers in whatever order, asked alike.
    pub(super) fn same_set(&self, other: &Self) -> bool {
        self.tls == other.tls
            && self.resolvers.len() == other.resolvers.len()
            && self.resolvers.iter().all(|resolver| other.resolvers.contains(resolver))
    }
}

impl DnsSlice {
    /// The resolvers of all.
    pub(super) fn group(&self) -> Group {
        Group::of(&self.upstreams, self.tls.as_ref())
    }
}

impl DnsNetwork {
    /// Those of its own.
    pub(super) fn group(&self) -> Group {
        Group::of(&self.upstreams, self.tls.as_ref())
    }
}

impl DnsForward {
    /// Those of its own.
    pub(super) fn group(&self) -> Group {
        Group::of(&self.upstreams, self.tls.as_ref())
    }
}

/// An address to answer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The router's own address.
    pub address: IpAddr,
    /// Sources that get an answer there; every other one gets silence.
    pub clients: Cidr,
}

/// One guest's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsHost {
    /// First label of its name.
    pub name: HostName,
    /// Its address.
    pub address: std::net::Ipv4Addr,
}

/// Bounds and times of the service; where the configuration has no field for one, a router runs on the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Port to answer on, UDP and TCP. Default 53.
    pub port: u16,
    /// Threads that answer UDP. Default 0: one per processor, at most 4.
    pub workers: u8,
    /// Seconds that clients may keep a guest's record. Default 30: a guest that moved is found again soon.
    pub local_ttl: u32,
    /// Seconds that clients may keep "no such guest" (RFC 2308). Default 5: a guest just made is found at once.
    pub local_negative_ttl: u32,
    /// Most memory for cached answers, in bytes. Default 8 MiB.
    pub cache_bytes: usize,
    /// Answers are kept at least so many seconds. Default 0: as their TTL says.
    pub min_ttl: u32,
    /// Answers are kept at most so many seconds. Default 86400 (RFC 8767 4 advises days at most).
    pub max_ttl: u32,
    /// "No such name" is kept at most so many seconds. Default 3600 (RFC 2308 5 advises 1 to 3 hours).
    pub max_negative_ttl: u32,
    /// Most clients waiting for them. Default 8192.
    pub max_waiting: usize,
    /// Mix upper and lower case in forwarded names, which a forger must guess too (draft-vixie-dnsext-dns0x20). Default true.
    pub mixed_case: bool,
    /// Questions of one client that are answered in a second; 0 is any number. Default 20000.
    pub client_rate: u32,
    /// Keys that DNSSEC's proofs begin with, as DNSKEY records in the form of zone files. Default: those of the root.
    pub trust_anchors: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: PORT,
            workers: 0,
            local_ttl: 30,
            local_negative_ttl: 5,
            cache_bytes: 8 * 1024 * 1024,
            min_ttl: 0,
            max_ttl: 86_400,
            max_negative_ttl: 3600,
            max_waiting: 8192,
            mixed_case: true,
            client_rate: 20_000,
            trust_anchors: String::new(),
        }
    }
}

/// The DNS part of `config`.
pub fn slice(config: &RouterDocument) -> DnsSlice {
    let dns = &config.role.dns;
    DnsSlice {
        router: config.role.hostname.clone(),
        networks: config.role.networks.iter().flat_map(|it| of_network(config, it)).collect(),
        upstreams: sockets(&dns.upstreams, dns.tls.as_ref()),
        tls: dns.tls.clone(),
        validate: dns.validate,
        forward: dns.forward_zones.iter().map(of_zone).collect(),
        shared: config.role.vpc.is_some(),
        settings: Settings {
            mixed_case: dns.mixed_case,
            client_rate: dns.client_rate.get(),
            ..Settings::default()
        },
    }
}

fn sockets(resolvers: &[IpAddr], tls: Option<&UpstreamTls>) -> Vec<SocketAddr> {
    let port = if tls.is_some() { TLS_PORT } else { PORT };
    resolvers.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
}

fn of_zone(zone: &ForwardZone) -> DnsForward {
    let upstreams = sockets(&zone.upstreams, zone.tls.as_ref());
    DnsForward { zone: zone.zone.clone(), upstreams, tls: zone.tls.clone() }
}

/// One for each of its ranges; the link's IPv6 addresses are with the first.
fn of_network(config: &RouterDocument, network: &GuestNetwork) -> Vec<DnsNetwork> {
    let link = config.links.iter().find(|link| link.name == network.link);
    let mut v6: Vec<_> = link.into_iter().flat_map(v6_addresses).collect();
    let ranges = network.by_range();
    ranges.iter().map(|range| of_range(config, range, std::mem::take(&mut v6))).collect()
}

fn of_range(config: &RouterDocument, network: &GuestNetwork, v6: Vec<Listen>) -> DnsNetwork {
    let gateway = Listen { address: network.gateway_ip(), clients: network.cidr };
    let listen = std::iter::once(gateway).chain(v6).collect();
    let host = |guest: &sluice_api::config::Guest| DnsHost {
        name: guest.hostname.clone(),
        address: guest.address,
    };
    let accesses = config.role.vpn.remote_access.iter();
    let accesses = accesses.filter(|access| access.networks.contains(&network.id));
    let roaming: Vec<Cidr> = accesses.flat_map(|access| access.range.networks()).collect();
    DnsNetwork {
        any_link: !roaming.is_empty(),
        link: Some(network.link.clone()),
        listen,
        domain: network.domain.clone(),
        cidr: network.cidr,
        hosts: network.guests.iter().map(host).collect(),
        records: network.dns.records.clone(),
        upstreams: sockets(&network.dns.upstreams, network.dns.tls.as_ref()),
        tls: network.dns.tls.clone(),
        clients: network.dns.clients.iter().copied().chain(roaming).collect(),
    }
}

/// Further v4 addresses of a guest link are not the network's gateway; its v6 ones are the only ones v6 guests know.
fn v6_addresses(link: &Link) -> impl Iterator<Item = Listen> {
    link.addresses
        .iter()
        .filter(|address| !address.network().is_ipv4())
        .map(|address| Listen { address: address.ip(), clients: address.network() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> RouterDocument {
        serde_json::from_str(include_str!("../../../examples/router.json")).unwrap()
    }

    #[test]
    fn the_slice_has_every_network_with_its_gateways_and_guests() {
        let slice = slice(&example());
        assert_eq!(slice.router.as_str(), "r-1");
        let first = &slice.networks[0];
        assert_eq!(first.domain.as_str(), "cs1.cloud.internal");
        assert_eq!(first.listen.len(), 1);
        assert_eq!(first.listen[0].address.to_string(), "10.1.1.1");
        assert_eq!(first.hosts[1].name.as_str(), "vm2");
        assert_eq!(slice.networks[1].listen[1].address.to_string(), "2001:db8:2::1");
        assert_eq!(slice.networks[1].listen[1].clients.to_string(), "2001:db8:2::/64");
        assert_eq!(slice.upstreams[0].to_string(), "192.0.2.53:53");
    }

    #[test]
    fn the_slice_survives_the_way_to_the_service() {
        let slice = slice(&example());
        let text = serde_json::to_string(&slice).unwrap();
        assert_eq!(serde_json::from_str::<DnsSlice>(&text).unwrap(), slice);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = r#"{"router":"r","networks":[],"upstreams":[],"settings":{"prot":53}}"#;
        assert!(serde_json::from_str::<DnsSlice>(text).unwrap_err().to_string().contains("prot"));
    }
}
