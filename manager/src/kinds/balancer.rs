//! Load balancing rules (guide 11.9, 11.15, 11.19.10); their members are objects of their own.

use serde::{Deserialize, Serialize};
use sluice_api::config::balancer::{Algorithm, Health, Mode, ProxyProtocol, Stickiness};
use sluice_api::types::{ApplianceId, BlobDigest, Cidr, ConnectionLimit, ObjectId, Port, Secret};
use utoipa::ToSchema;

use super::public_ip::{PublicIp, Purpose};
use super::{Column, Context, Key, Kind, Names, named, of_router, rule};
use crate::error::Error;

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
    /// Id of the public address.
    pub public_ip: ObjectId,
    /// Public port.
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
    /// The header that tells members who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What binds a client to a member.
    pub stickiness: Option<Stickiness>,
    /// How members are checked.
    pub health: Health,
    /// Digest of the certificate chain and key with which TLS ends here; none: bytes pass as they are.
    pub certificate: Option<BlobDigest>,
}

/// A load balancing rule to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id.
    pub public_ip: ObjectId,
    /// Public port, that no other balancer or forward of the address has.
    pub port: Port,
    /// Port of members that name none. Default: the public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_port: Option<Port>,
    /// What is balanced. Default: tcp.
    #[serde(default)]
    pub mode: Mode,
    /// How a new client's member is chosen. Default: round-robin.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Clients that are let in, IPv4 networks. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Connections of clients at once. Default 4096.
    #[serde(default)]
    pub max_connections: ConnectionLimit,
    /// The header that tells members who the client is. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What binds a client to a member. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
    /// How members are checked. Default: a TCP connection every two seconds.
    #[serde(default)]
    pub health: Health,
    /// Certificate chain and private key in PEM: TLS ends here. Default: bytes pass as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Secret>,
}

/// Changes to a load balancing rule; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerPatch {
    /// New port of members that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_port: Option<Port>,
    /// New way of choosing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// New clients that are let in; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Cidr>>,
    /// New bound of connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<ConnectionLimit>,
    /// New stickiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
    /// New checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// New certificate chain and private key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Secret>,
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
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("PORT", "/port"),
        ("MODE", "/mode"),
        ("ALGORITHM", "/algorithm"),
    ];

    type Spec = BalancerSpec;
    type Patch = BalancerPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: BalancerSpec,
    ) -> Result<Self, Error> {
        let (mut ip, router) = rule::address(context, &spec.public_ip).await?;
        ip.claim(context, Purpose::Forwards, None).await?;
        let certificate = match &spec.certificate {
            Some(pem) => Some(context.keep(pem.reveal().as_bytes()).await?),
            None => None,
        };
        Ok(Self {
            id,
            name: spec.name,
            zone: ip.zone,
            router,
            public_ip: ip.id,
            port: spec.port,
            private_port: spec.private_port,
            mode: spec.mode,
            algorithm: spec.algorithm,
            sources: spec.sources,
            max_connections: spec.max_connections,
            proxy_protocol: spec.proxy_protocol,
            stickiness: spec.stickiness,
            health: spec.health,
            certificate,
        })
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: BalancerPatch,
    ) -> Result<(), Error> {
        self.private_port = patch.private_port.or(self.private_port);
        self.algorithm = patch.algorithm.unwrap_or(self.algorithm);
        self.sources = patch.sources.unwrap_or_else(|| self.sources.clone());
        self.max_connections = patch.max_connections.unwrap_or(self.max_connections);
        self.stickiness = patch.stickiness.or_else(|| self.stickiness.clone());
        self.health = patch.health.unwrap_or_else(|| self.health.clone());
        if let Some(pem) = &patch.certificate {
            self.certificate = Some(context.keep(pem.reveal().as_bytes()).await?);
        }
        Ok(())
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        PublicIp::unclaim(context, &self.public_ip).await
    }
}
