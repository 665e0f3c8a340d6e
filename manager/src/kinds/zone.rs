//! Zones: what their networks share (guide 2.2, 6.3).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::config::{DnsConfig, ForwardZone, UpstreamTls, can_be_asked};
use sluice_api::types::{ApplianceId, Cidr, ClientRange, InterfaceAddress, ObjectId, QueryRate};
use utoipa::ToSchema;

use super::appliance::Appliance;
use super::patch::stated;
use super::screen::Screen;
use super::{Column, Context, Kind, Names, named};
use crate::error::Error;

/// Longest prefix of the control network's IPv6 addresses: the rest holds an IPv4 address.
const MOST_CONTROL_PREFIX: u8 = 96;

/// A zone; fields as in [`ZoneSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Zone {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique among zones.
    pub name: ObjectId,
    /// Resolvers of its routers.
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<IpAddr>,
    /// Default addresses of guest networks.
    pub guest_cidr: Cidr,
    /// Addresses of appliances on the control network.
    pub control_cidr: Cidr,
    /// Next hop towards managers.
    #[schema(value_type = Option<String>)]
    pub control_gateway: Option<Ipv4Addr>,
    /// Next hop towards hosts of VMs that have IPv6, with the prefix of the control network.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub control_gateway_ipv6: Option<InterfaceAddress>,
    /// Networks that managers connect from; empty: any.
    pub managers: Vec<Cidr>,
    /// Names that resolvers of their own know.
    #[serde(default)]
    pub forward_zones: Vec<ForwardZone>,
    /// Whether resolvers are asked in mixed case.
    #[serde(default = "yes")]
    pub mixed_case: bool,
    /// By what `resolvers` prove who they are, if they are asked over TLS.
    #[serde(default)]
    pub resolver_tls: Option<UpstreamTls>,
    /// Whether what resolvers say is proved by DNSSEC.
    #[serde(default)]
    pub validate: bool,
    /// Questions that name servers answer to one guest in a second.
    #[serde(default)]
    pub dns_client_rate: QueryRate,
    /// Most VPCs.
    #[serde(default = "default_max_vpcs")]
    pub max_vpcs: u16,
    /// Whether a public address serves one purpose and one network at a time.
    #[serde(default)]
    pub exclusive_addresses: bool,
    /// Addresses of remote accesses that name none.
    #[serde(default = "default_vpn_range")]
    pub vpn_range: ClientRange,
    /// Letters of a key that is made for a remote access.
    #[serde(default = "default_vpn_psk_length")]
    pub vpn_psk_length: u16,
    /// Most users of remote access.
    #[serde(default = "default_max_vpn_users")]
    pub max_vpn_users: u16,
}

/// A zone to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneSpec {
    /// Unique among zones.
    pub name: ObjectId,
    /// The resolvers that routers forward guests' queries to, in order of preference; 1 to 4, usually two.
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.53", "192.0.2.54"]))]
    pub resolvers: Vec<IpAddr>,
    /// Addresses of a guest network that names none. Default `10.1.1.0/24`.
    #[serde(default = "default_guest_cidr")]
    pub guest_cidr: Cidr,
    /// Addresses of appliances on the control network; the first nine are kept for managers and gateways.
    /// Default `169.254.0.0/20`, which leaves the metadata address 169.254.169.254 alone.
    #[serde(default = "default_control_cidr")]
    pub control_cidr: Cidr,
    /// Next hop from the control network towards managers elsewhere. Default: managers are on the control network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub control_gateway: Option<Ipv4Addr>,
    /// Next hop from the control network towards hosts of VMs that have IPv6, with that network's prefix, of 96 or less: each
    /// console proxy has an address there whose last 32 bits are its control address. Default: such hosts are not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "fd00:8::1/64")]
    pub control_gateway_ipv6: Option<InterfaceAddress>,
    /// Networks that managers connect from; required with `control_gateway`. Default: any.
    #[serde(default)]
    pub managers: Vec<Cidr>,
    /// Names that resolvers of their own are asked for, reverse names of private addresses included:
    /// `{"zone": "corp.example", "upstreams": ["10.8.0.53"]}`; at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_zones: Vec<ForwardZone>,
    /// Ask resolvers in mixed upper and lower case, which a forger must guess too; false where one compares by case.
    /// Default: true.
    #[serde(default = "yes")]
    pub mixed_case: bool,
    /// Ask `resolvers` over TLS, on port 853: `{"server_name": "dns.example", "authorities": "-----BEGIN CERTIFICATE…"}`.
    /// Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver_tls: Option<UpstreamTls>,
    /// Have what resolvers say proved by DNSSEC. Default: false, they are believed.
    #[serde(default)]
    pub validate: bool,
    /// Questions that name servers answer to one guest in a second, 100 to 1000000; what goes beyond gets silence.
    /// Default: 20000, which no honest guest asks.
    #[serde(default)]
    pub dns_client_rate: QueryRate,
    /// Most VPCs in the zone (max.account.vpcs; everything is of one account). Default: 20.
    #[serde(default = "default_max_vpcs")]
    pub max_vpcs: u16,
    /// Whether a public address serves one purpose and one network or tier at a time, as the guide has it (11.19): source NAT,
    /// port forwards or load balancers. Default: it serves all of these, for every network behind its router.
    #[serde(default)]
    pub exclusive_addresses: bool,
    /// Addresses of a remote access that names none; the first is the server's (remote.access.vpn.client.ip.range).
    /// Default: 10.1.2.1-10.1.2.8.
    #[serde(default = "default_vpn_range")]
    pub vpn_range: ClientRange,
    /// Letters of the pre-shared key that is made for a remote access which is given none, 8 to 256
    /// (remote.access.vpn.psk.length). Default: 24.
    #[serde(default = "default_vpn_psk_length")]
    pub vpn_psk_length: u16,
    /// Most users of remote access in the zone (remote.access.vpn.user.limit; everything is of one account). Default: 8.
    #[serde(default = "default_max_vpn_users")]
    pub max_vpn_users: u16,
}

fn yes() -> bool {
    true
}

/// Changes to a zone; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonePatch {
    /// New resolvers; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub resolvers: Option<Vec<IpAddr>>,
    /// New networks that managers connect from; they replace all. One that leaves the manager out is undone by the
    /// appliances themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managers: Option<Vec<Cidr>>,
    /// New next hop towards managers elsewhere; null: there are none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub control_gateway: Option<Option<Ipv4Addr>>,
    /// New next hop towards hosts of VMs that have IPv6, with its prefix; null: there are none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "fd00:8::1/64")]
    pub control_gateway_ipv6: Option<Option<InterfaceAddress>>,
    /// New addresses of guest networks that name none; those that there are keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_cidr: Option<Cidr>,
    /// New names that resolvers of their own know; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_zones: Option<Vec<ForwardZone>>,
    /// Whether resolvers are asked in mixed case from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed_case: Option<bool>,
    /// Ask resolvers over TLS from now on; null: without.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UpstreamTls>)]
    pub resolver_tls: Option<Option<UpstreamTls>>,
    /// Whether what resolvers say is proved by DNSSEC from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<bool>,
    /// Questions that name servers answer to one guest in a second from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_client_rate: Option<QueryRate>,
    /// New most of VPCs; those that are there stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_vpcs: Option<u16>,
    /// Whether a public address serves one purpose and one network at a time, for rules made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_addresses: Option<bool>,
    /// New addresses of remote accesses that name none; those that there are keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpn_range: Option<ClientRange>,
    /// New length of keys that are made for remote accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpn_psk_length: Option<u16>,
    /// New most of users of remote access; those that are there stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_vpn_users: Option<u16>,
}

fn default_max_vpcs() -> u16 {
    20
}

fn default_vpn_psk_length() -> u16 {
    24
}

fn default_max_vpn_users() -> u16 {
    8
}

#[expect(clippy::expect_used, reason = "a constant, read by a test")]
fn default_vpn_range() -> ClientRange {
    "10.1.2.1-10.1.2.8".parse().expect("the constant is a range")
}

fn default_guest_cidr() -> Cidr {
    constant("10.1.1.0/24")
}

fn default_control_cidr() -> Cidr {
    constant("169.254.0.0/20")
}

#[expect(clippy::expect_used, reason = "constants of this file, read by a test")]
fn constant(text: &str) -> Cidr {
    text.parse().expect("the constant is a network")
}

impl Kind for Zone {
    const NAMES: Names = Names {
        word: "zone",
        plural: "zones",
        prefix: "z",
        about: "Zones: resolvers, default and control addresses",
    };
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("RESOLVERS", "/resolvers"),
        ("GUEST CIDR", "/guest_cidr"),
        ("CONTROL CIDR", "/control_cidr"),
    ];

    type Spec = ZoneSpec;
    type Patch = ZonePatch;

    named!();

    async fn create(_: &mut Context<'_>, id: ObjectId, spec: ZoneSpec) -> Result<Self, Error> {
        let zone = Self {
            id,
            name: spec.name,
            resolvers: spec.resolvers,
            guest_cidr: spec.guest_cidr,
            control_cidr: spec.control_cidr,
            control_gateway: spec.control_gateway,
            control_gateway_ipv6: spec.control_gateway_ipv6,
            managers: spec.managers,
            forward_zones: spec.forward_zones,
            mixed_case: spec.mixed_case,
            resolver_tls: spec.resolver_tls,
            validate: spec.validate,
            dns_client_rate: spec.dns_client_rate,
            max_vpcs: spec.max_vpcs,
            exclusive_addresses: spec.exclusive_addresses,
            vpn_range: spec.vpn_range,
            vpn_psk_length: spec.vpn_psk_length,
            max_vpn_users: spec.max_vpn_users,
        };
        zone.check()?;
        Ok(zone)
    }

    async fn update(&mut self, context: &mut Context<'_>, patch: ZonePatch) -> Result<(), Error> {
        self.resolvers = patch.resolvers.unwrap_or_else(|| self.resolvers.clone());
        self.managers = patch.managers.unwrap_or_else(|| self.managers.clone());
        self.control_gateway = patch.control_gateway.unwrap_or(self.control_gateway);
        if patch.control_gateway_ipv6 == Some(None) {
            self.reaches_nobody_by_ipv6(context).await?;
        }
        self.control_gateway_ipv6 = patch.control_gateway_ipv6.unwrap_or(self.control_gateway_ipv6);
        self.guest_cidr = patch.guest_cidr.unwrap_or(self.guest_cidr);
        self.forward_zones = patch.forward_zones.unwrap_or_else(|| self.forward_zones.clone());
        self.mixed_case = patch.mixed_case.unwrap_or(self.mixed_case);
        self.resolver_tls = patch.resolver_tls.unwrap_or_else(|| self.resolver_tls.take());
        self.validate = patch.validate.unwrap_or(self.validate);
        self.dns_client_rate = patch.dns_client_rate.unwrap_or(self.dns_client_rate);
        self.max_vpcs = patch.max_vpcs.unwrap_or(self.max_vpcs);
        self.exclusive_addresses = patch.exclusive_addresses.unwrap_or(self.exclusive_addresses);
        self.vpn_range = patch.vpn_range.unwrap_or(self.vpn_range);
        self.vpn_psk_length = patch.vpn_psk_length.unwrap_or(self.vpn_psk_length);
        self.max_vpn_users = patch.max_vpn_users.unwrap_or(self.max_vpn_users);
        self.check()
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let all = context.all::<Appliance>(&[("zone", self.id.as_str())]).await?;
        Ok(all.into_iter().map(|appliance| appliance.id).collect())
    }
}

impl Zone {
    /// What the name service of its routers does with the rest of the world's names.
    pub(crate) fn dns(&self) -> DnsConfig {
        DnsConfig {
            upstreams: self.resolvers.clone(),
            forward_zones: self.forward_zones.clone(),
            mixed_case: self.mixed_case,
            tls: self.resolver_tls.clone(),
            validate: self.validate,
            client_rate: self.dns_client_rate,
        }
    }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> Error {
    Error::Invalid { field, reason: reason.into() }
}

impl Zone {
    fn check(&self) -> Result<(), Error> {
        if self.resolvers.is_empty() {
            return Err(invalid("resolvers", "must be 1 to 4 addresses, not 0"));
        }
        resolvers("resolvers", &self.resolvers)?;
        for zone in &self.forward_zones {
            resolvers("forward_zones", &zone.upstreams)?;
        }
        if !self.guest_cidr.is_ipv4() {
            return Err(invalid("guest_cidr", "must be an IPv4 network"));
        }
        if !self.control_cidr.is_ipv4() || self.control_cidr.prefix() > 27 {
            return Err(invalid("control_cidr", "must be an IPv4 network of /27 or wider"));
        }
        if self.control_cidr.overlaps(&self.guest_cidr) {
            let reason = format!("{} overlaps guest_cidr {}", self.control_cidr, self.guest_cidr);
            return Err(invalid("control_cidr", reason));
        }
        if !(8..=256).contains(&self.vpn_psk_length) {
            let reason = format!("must be 8 to 256 letters, not {}", self.vpn_psk_length);
            return Err(invalid("vpn_psk_length", reason));
        }
        self.ipv6_apart()?;
        let Some(gateway) = self.control_gateway else { return Ok(()) };
        if !self.control_cidr.usable_for_host(IpAddr::V4(gateway)) {
            let reason = format!("{gateway} is not a host address of {}", self.control_cidr);
            return Err(invalid("control_gateway", reason));
        }
        if self.managers.is_empty() {
            let reason = "must say which networks the control gateway leads to";
            return Err(invalid("managers", reason));
        }
        Ok(())
    }

    /// No screen is on a host that is reached by IPv6 alone.
    async fn reaches_nobody_by_ipv6(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let screens = context.all::<Screen>(&[("zone", self.id.as_str())]).await?;
        match screens.iter().find(|screen| screen.address.is_ipv6()) {
            Some(screen) => {
                let reason = format!("screen {} is reached by it", screen.name);
                Err(invalid("control_gateway_ipv6", reason))
            }
            None => Ok(()),
        }
    }

    /// Whether no appliance can have the address of the IPv6 gateway: theirs end in their control addresses.
    fn ipv6_apart(&self) -> Result<(), Error> {
        let Some(gateway) = self.control_gateway_ipv6 else { return Ok(()) };
        let refused = |reason: &str| Err(invalid("control_gateway_ipv6", reason));
        let IpAddr::V6(address) = gateway.ip() else {
            return refused("must be an IPv6 address with its prefix, such as fd00:8::1/64");
        };
        if gateway.prefix() > MOST_CONTROL_PREFIX {
            return refused("must have a prefix of 96 or less");
        }
        let [.., a, b, c, d] = address.octets();
        if self.control_cidr.contains(IpAddr::from([a, b, c, d])) {
            return refused(
                "must not end in an address of control_cidr, as those of appliances do",
            );
        }
        Ok(())
    }
}

/// Resolvers that a router may ask; `field` has them.
pub(super) fn resolvers(field: &'static str, resolvers: &[IpAddr]) -> Result<(), Error> {
    if resolvers.len() > 4 {
        let reason = format!("must be at most 4 addresses, not {}", resolvers.len());
        return Err(invalid(field, reason));
    }
    if resolvers.iter().collect::<BTreeSet<_>>().len() < resolvers.len() {
        return Err(invalid(field, "an address is listed twice"));
    }
    match resolvers.iter().find(|ip| !can_be_asked(**ip)) {
        Some(ip) => Err(invalid(field, format!("{ip} cannot be a resolver of a router"))),
        None => Ok(()),
    }
}
