//! Name service towards the guests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{
    CertificateText, Cidr, DomainName, OptionText, QueryRate, RecordName, RecordSeconds, ServerName,
};

/// Settings of the DNS server; the guest zones themselves follow from the networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// The zone's resolvers in order of preference, asked on port 53; at most 4. None: only guest names are answered,
    /// everything else is refused.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.53", "192.0.2.54"]))]
    pub upstreams: Vec<IpAddr>,
    /// Names that resolvers of their own are asked for, those of private addresses included; at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_zones: Vec<ForwardZone>,
    /// Mix upper and lower case in what is asked, which a forger must guess too (draft-vixie-dnsext-dns0x20). To be
    /// switched off where a resolver compares by case. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub mixed_case: bool,
    /// Questions that are answered to one client in a second, of which there may be as many at once; what goes beyond
    /// gets silence. Default 20000, which no honest client asks.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub client_rate: QueryRate,
    /// Ask `upstreams` over TLS, on port 853 (RFC 7858), and nobody who cannot show who it is. Default: in the clear, on
    /// port 53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Have what `upstreams` and the networks' own resolvers say proved by DNSSEC (RFC 4035), from the root's keys on; what
    /// does not hold is SERVFAIL. Default: false, resolvers are believed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validate: bool,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            forward_zones: Vec::new(),
            mixed_case: true,
            client_rate: QueryRate::default(),
            tls: None,
            validate: false,
        }
    }
}

/// Whether a router can ask a resolver at `address`: not on itself, and not several at once.
pub fn can_be_asked(address: IpAddr) -> bool {
    let everybody = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let itself = address.to_canonical().is_loopback() || address.to_canonical().is_unspecified();
    !(itself || everybody || address.is_multicast())
}

/// By what resolvers prove who they are: nobody else is believed, and nothing is asked in the clear (RFC 8310 5, strict).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The name in their certificates. Default: each shows one for its own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<ServerName>,
    /// Who may have issued them: certificates in PEM, one after the other.
    pub authorities: CertificateText,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_yes(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_usual(rate: &QueryRate) -> bool {
    *rate == QueryRate::default()
}

/// A name and everything below it, asked of resolvers of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardZone {
    /// The name, such as `corp.example` or `10.in-addr.arpa`.
    pub zone: DomainName,
    /// Who knows it, in order of preference; at most 4. Default: the resolvers of the network that asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
    /// Ask these over TLS, as `dns.tls` does. Default: in the clear; resolvers of the network that asks, as it asks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// What of the name service is one network's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkDns {
    /// Resolvers for its guests, in order of preference; at most 4. Default: `dns.upstreams`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
    /// Ask its own `upstreams` over TLS, as `dns.tls` does. Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Further sources that are answered at its gateway: subnets routed behind guests; at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Cidr>,
    /// Records of the operator's own, seen by the guests of every network with this network's domain; at most 4096.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
}

/// A record of the operator's own, answered here whatever resolvers say of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecord {
    /// Its name in full, in a guest domain or elsewhere: `db.cs1.cloud.internal`, `intranet.example`. A guest's name may
    /// get further addresses and other types. `*.apps.example` is for every name below `apps.example` that nothing else is
    /// known of (RFC 4592).
    pub name: RecordName,
    /// Seconds that clients may keep it. Default 300.
    #[serde(default)]
    pub ttl: RecordSeconds,
    /// What it says.
    pub data: RecordData,
}

/// What a record says (RFC 1035 3.3, RFC 3596, RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecordData {
    /// An IPv4 address.
    #[schema(value_type = String)]
    A(Ipv4Addr),
    /// An IPv6 address.
    #[schema(value_type = String)]
    Aaaa(Ipv6Addr),
    /// The name is another one's alias, which must be a guest's or a record's of this router, and have no other record.
    Cname(DomainName),
    /// A mail exchanger.
    Mx {
        /// Lower ones are preferred.
        preference: u16,
        /// Its name.
        exchange: DomainName,
    },
    /// Text of at most 255 bytes.
    Txt(OptionText),
    /// Where a service is.
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// Share among those of one priority.
        weight: u16,
        /// Its port.
        port: u16,
        /// Its name.
        target: DomainName,
    },
    /// A name that the name stands for, such as of a reverse name.
    Ptr(DomainName),
}

impl NetworkDns {
    /// Nothing is the network's own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
