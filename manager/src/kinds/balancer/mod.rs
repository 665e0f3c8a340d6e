//! Load balancing rules (guide 11.9, 11.15, 11.19.10); their members are objects of their own.
//!
//! Guarantees: what is left out of a change stays as it was; a certificate that cannot be used is refused before any
//! router hears of it. Not here: what needs a whole configuration to judge, which is the contract's check.

mod certificates;
mod inside;
mod parts;
mod state;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_api::config::balancer::{Algorithm, Mode, TlsVersion};
use sluice_api::report::balancing;
use sluice_api::types::{
    ApplianceId, BlobDigest, Cidr, ConnectSeconds, ConnectionLimit, DrainSeconds, IdleSeconds,
    KeepAliveSeconds, ObjectId, Port, RequestSeconds, Secret,
};
use utoipa::ToSchema;

use super::network::Network;
use super::patch::stated;
use super::public_ip::{PublicIp, Purpose};
use super::vpc::Vpc;
use super::{Column, Context, Key, Kind, Names, State, named, of_router, rule};
use crate::error::Error;

pub use parts::{HealthPatch, HealthPolicy, ProxyHeader, StickinessPolicy};

use parts::{connect, drain, keep_alive, one_or_many, or_default, request, tls_minimum, yes};

/// A load balancing rule; fields as in [`BalancerSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancer)]
pub struct Balancer {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the appliance that has the address.
    pub router: ApplianceId,
    /// Id of the public address; none: it is inside a network.
    pub public_ip: Option<ObjectId>,
    /// Id of the network that an inside address is in.
    #[serde(default)]
    pub network: Option<ObjectId>,
    /// The inside address.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub address: Option<Ipv4Addr>,
    /// The port that clients connect to.
    pub port: Port,
    /// Port of members that name none.
    pub private_port: Option<Port>,
    /// What is balanced.
    pub mode: Mode,
    /// How a new client's member is chosen.
    pub algorithm: Algorithm,
    /// Clients that are let in; empty: all.
    pub sources: Vec<Cidr>,
    /// Connections of clients at once.
    pub max_connections: ConnectionLimit,
    /// Seconds until a member accepts.
    #[serde(default = "connect")]
    pub connect_seconds: ConnectSeconds,
    /// Seconds without a byte; none: what is usual in its mode.
    #[serde(default)]
    pub idle_seconds: Option<IdleSeconds>,
    /// Seconds until the next HTTP request.
    #[serde(default = "keep_alive")]
    pub keep_alive_seconds: KeepAliveSeconds,
    /// Seconds for a whole HTTP request head, and for the TLS handshake.
    #[serde(default = "request")]
    pub request_seconds: RequestSeconds,
    /// Seconds that connections have left once the rule is deleted.
    #[serde(default = "drain")]
    pub drain_seconds: DrainSeconds,
    /// The header that tells members who the client is.
    #[serde(default, deserialize_with = "or_default")]
    pub proxy_protocol: ProxyHeader,
    /// What binds a client to a member.
    #[serde(default, deserialize_with = "or_default")]
    pub stickiness: StickinessPolicy,
    /// How members are checked.
    pub health: HealthPolicy,
    /// Digests of the certificate chains and keys with which TLS ends here; none: bytes pass as they are.
    #[serde(default, alias = "certificate", deserialize_with = "one_or_many")]
    pub certificates: Vec<BlobDigest>,
    /// The oldest version of TLS that is spoken.
    #[serde(default = "tls_minimum")]
    pub tls_minimum: TlsVersion,
    /// Is HTTP/2 offered?
    #[serde(default = "yes")]
    pub http2: bool,
    /// Do members get X-Forwarded-For, -Proto and -Port?
    #[serde(default = "yes")]
    pub forwarded_headers: bool,
}

/// A load balancing rule to be: on a public address, or on one inside a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id. This or network must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<ObjectId>,
    /// Network or tier whose guests alone, or whom its list names, reach it, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// Address inside that network; several rules may share one. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.1.200")]
    pub address: Option<Ipv4Addr>,
    /// The port that clients connect to, which no other balancer or forward of the address has.
    pub port: Port,
    /// Port of members that name none. Default: the rule's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_port: Option<Port>,
    /// What is balanced. Default: tcp.
    #[serde(default)]
    pub mode: Mode,
    /// How a new client's member is chosen. Default: round-robin.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Clients that are let in, IPv4 networks; they narrow what the firewall or the list lets in. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Connections of clients at once. Default 4096.
    #[serde(default)]
    pub max_connections: ConnectionLimit,
    /// Seconds until a member accepts, 1 to 300. Default 5.
    #[serde(default = "connect")]
    pub connect_seconds: ConnectSeconds,
    /// Seconds without a byte in either direction, 1 to 2592000. Default 7440 for tcp, 50 for http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<IdleSeconds>,
    /// Seconds until the next HTTP request, 0 to 86400; 0: a connection carries one. Default 50.
    #[serde(default = "keep_alive")]
    pub keep_alive_seconds: KeepAliveSeconds,
    /// Seconds for a whole HTTP request head, and for the TLS handshake, 1 to 300. Default 10.
    #[serde(default = "request")]
    pub request_seconds: RequestSeconds,
    /// Seconds that connections have left once the rule is deleted, 0 to 86400. Default 30.
    #[serde(default = "drain")]
    pub drain_seconds: DrainSeconds,
    /// The header that tells members who the client is. Default: none.
    #[serde(default)]
    pub proxy_protocol: ProxyHeader,
    /// What binds a client to a member. Default: none.
    #[serde(default)]
    pub stickiness: StickinessPolicy,
    /// How members are checked. Default: a TCP connection every two seconds, in udp rules a datagram.
    #[serde(default)]
    pub health: HealthPolicy,
    /// Certificate chains, each with its private key, in PEM: TLS ends here. The name that a client asks for chooses; the
    /// first is for those that ask for none. Default: bytes pass as they are.
    #[serde(default)] // none stated is something to state: TLS no longer ends here
    pub certificates: Vec<Secret>,
    /// The oldest version of TLS that is spoken. Default 1.2.
    #[serde(default = "tls_minimum")]
    pub tls_minimum: TlsVersion,
    /// Is HTTP/2 offered to clients under TLS? Default true.
    #[serde(default = "yes")]
    pub http2: bool,
    /// Do members get X-Forwarded-For, -Proto and -Port, in http mode? Default true.
    #[serde(default = "yes")]
    pub forwarded_headers: bool,
}

/// Changes to a load balancing rule; what is left out stays. All are made in place: nobody is refused, and connections
/// that are open keep the mode that they began with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerPatch {
    /// New port of members that name none; null: the rule's own.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Port>)]
    pub private_port: Option<Option<Port>>,
    /// New mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// New way of choosing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// New clients that are let in; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Cidr>>,
    /// New bound of connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<ConnectionLimit>,
    /// New time until a member accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<ConnectSeconds>,
    /// New time without a byte; open connections follow it. Null: what is usual in its mode.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<IdleSeconds>)]
    pub idle_seconds: Option<Option<IdleSeconds>>,
    /// New time until the next HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_seconds: Option<KeepAliveSeconds>,
    /// New time for a request head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_seconds: Option<RequestSeconds>,
    /// New time of a deleted rule's connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<DrainSeconds>,
    /// New header that tells members who the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyHeader>,
    /// New stickiness, or `none`; former bindings are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<StickinessPolicy>,
    /// New checks; what is left out of them stays as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthPatch>,
    /// New certificate chains and private keys in PEM; they replace all, and serve from the next handshake on. None: TLS
    /// no longer ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<Secret>>,
    /// New oldest version of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_minimum: Option<TlsVersion>,
    /// Whether HTTP/2 is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<bool>,
    /// Whether members get X-Forwarded-For, -Proto and -Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_headers: Option<bool>,
}

impl Kind for Balancer {
    const NAMES: Names = Names {
        word: "balancer",
        plural: "balancers",
        prefix: "lb",
        about: "Load balancing rules",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
        Key::to("network", "network"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("INSIDE", "/address"),
        ("PORT", "/port"),
        ("MODE", "/mode"),
        ("ALGORITHM", "/algorithm"),
    ];
    const STATE: Option<State> = Some(State {
        service: balancing::SERVICE,
        about: "Members, their health and what they carry, now",
        columns: state::COLUMNS,
    });

    type Spec = BalancerSpec;
    type Patch = BalancerPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: BalancerSpec,
    ) -> Result<Self, Error> {
        let place = Place::of(context, &id, &spec).await?;
        let certificates = certificates::keep(context, &spec.certificates).await?;
        let balancer = Self {
            id,
            name: spec.name,
            zone: place.zone,
            router: place.router,
            public_ip: place.public_ip,
            network: place.network,
            address: place.address,
            port: spec.port,
            private_port: spec.private_port,
            mode: spec.mode,
            algorithm: spec.algorithm,
            sources: spec.sources,
            max_connections: spec.max_connections,
            connect_seconds: spec.connect_seconds,
            idle_seconds: spec.idle_seconds,
            keep_alive_seconds: spec.keep_alive_seconds,
            request_seconds: spec.request_seconds,
            drain_seconds: spec.drain_seconds,
            proxy_protocol: spec.proxy_protocol,
            stickiness: spec.stickiness,
            health: spec.health,
            certificates,
            tls_minimum: spec.tls_minimum,
            http2: spec.http2,
            forwarded_headers: spec.forwarded_headers,
        };
        balancer.sound()?;
        Ok(balancer)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: BalancerPatch,
    ) -> Result<(), Error> {
        if let Some(certificates) = &patch.certificates {
            self.certificates = certificates::keep(context, certificates).await?;
        }
        self.balance_as(&patch);
        self.take_time_as(&patch);
        self.speak_as(patch);
        self.sound()
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.public_ip {
            Some(ip) => PublicIp::unclaim(context, ip).await,
            None => inside::release(context, self).await,
        }
    }

    async fn state(&self, context: &mut Context<'_>, report: &Value) -> Result<Vec<Value>, Error> {
        state::rows(self, context, report).await
    }
}

impl Balancer {
    /// Whether it can do what it says.
    fn sound(&self) -> Result<(), Error> {
        if self.mode == Mode::Udp && self.algorithm == Algorithm::LeastConnections {
            let reason =
                "the kernel that balances UDP counts no connections: round-robin or source";
            return Err(Error::Invalid { field: "algorithm", reason: reason.to_owned() });
        }
        self.health.sound().map_err(|reason| Error::Invalid { field: "health", reason })
    }
}

/// Where a rule listens.
struct Place {
    zone: ObjectId,
    router: ApplianceId,
    public_ip: Option<ObjectId>,
    network: Option<ObjectId>,
    address: Option<Ipv4Addr>,
}

impl Place {
    async fn of(
        context: &mut Context<'_>,
        id: &ObjectId,
        spec: &BalancerSpec,
    ) -> Result<Self, Error> {
        match (&spec.public_ip, &spec.network) {
            (Some(name), None) if spec.address.is_none() => {
                let (mut ip, router) = rule::address(context, name).await?;
                ip.claim(context, Purpose::Forwards, None).await?;
                let (public_ip, network, address) = (Some(ip.id), None, None);
                Ok(Self { zone: ip.zone, router, public_ip, network, address })
            }
            (None, Some(name)) => {
                let network: Network = context.find(None, name).await?;
                let address = inside::take(context, &network, id, spec.address).await?;
                let router = network.router.clone().ok_or_else(|| {
                    rule::invalid("network", format!("{} has no router", network.name))
                })?;
                let (zone, network) = (network.zone, Some(network.id));
                Ok(Self { zone, router, public_ip: None, network, address: Some(address) })
            }
            (Some(_), None) => Err(rule::invalid("address", "is for a rule inside a network")),
            _ => Err(rule::invalid("public_ip", "public_ip or network must be given, not both")),
        }
    }
}

impl Balancer {
    /// Members of it may be in `network`: a public address that belongs to a network, and an inside one of an isolated
    /// network, lead to that one alone; a VPC has no more tiers with members than it allows.
    pub(super) async fn may_lead_to(
        &self,
        context: &mut Context<'_>,
        network: &Network,
    ) -> Result<(), Error> {
        if let Some(ip) = &self.public_ip {
            context.get::<PublicIp>(ip).await?.is_for(context, network).await?;
        }
        if let (Some(own), None) = (&self.network, &network.vpc)
            && *own != network.id
        {
            let reason = format!("{} is inside another network than {}", self.name, network.name);
            return Err(Error::Conflict { field: "balancer", reason });
        }
        match &network.vpc {
            Some(vpc) => context.get::<Vpc>(vpc).await?.may_balance(context, network).await,
            None => Ok(()),
        }
    }

    fn balance_as(&mut self, patch: &BalancerPatch) {
        self.private_port = patch.private_port.unwrap_or(self.private_port);
        self.mode = patch.mode.unwrap_or(self.mode);
        self.algorithm = patch.algorithm.unwrap_or(self.algorithm);
        self.max_connections = patch.max_connections.unwrap_or(self.max_connections);
        self.proxy_protocol = patch.proxy_protocol.unwrap_or(self.proxy_protocol);
        self.forwarded_headers = patch.forwarded_headers.unwrap_or(self.forwarded_headers);
        self.tls_minimum = patch.tls_minimum.unwrap_or(self.tls_minimum);
        self.http2 = patch.http2.unwrap_or(self.http2);
    }

    fn take_time_as(&mut self, patch: &BalancerPatch) {
        self.connect_seconds = patch.connect_seconds.unwrap_or(self.connect_seconds);
        self.idle_seconds = patch.idle_seconds.unwrap_or(self.idle_seconds);
        self.keep_alive_seconds = patch.keep_alive_seconds.unwrap_or(self.keep_alive_seconds);
        self.request_seconds = patch.request_seconds.unwrap_or(self.request_seconds);
        self.drain_seconds = patch.drain_seconds.unwrap_or(self.drain_seconds);
    }

    fn speak_as(&mut self, patch: BalancerPatch) {
        if let Some(sources) = patch.sources {
            self.sources = sources;
        }
        if let Some(stickiness) = patch.stickiness {
            self.stickiness = stickiness;
        }
        if let Some(health) = patch.health {
            self.health.change(health);
        }
    }
}
