//! Site-to-site connections: tunnels between networks of ours and those behind a customer's gateway (guide 11.19.6).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, Cidr, HostAddress, ObjectId};
use utoipa::ToSchema;

use super::customer_gateway::CustomerGateway;
use super::fields::Fields;
use super::public_ip::PublicIp;
use super::vpc::Vpc;
use super::{Action, Column, Context, Key, Kind, Names, State, named, of_router, rule};
use crate::error::Error;
use crate::store::reports::Reports;

/// The service of a router that keeps connections.
pub(crate) const SERVICE: &str = "ike";

/// A site-to-site connection; fields as in [`VpnConnectionSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SiteConnection)]
pub struct VpnConnection {
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
    /// Id of the customer gateway.
    pub customer_gateway: ObjectId,
    /// Networks of ours; empty: the VPC's, or that of the address, or all of the router.
    pub local_networks: Vec<Cidr>,
    /// Does the peer begin?
    pub passive: bool,
    /// How often it was reset.
    pub resets: u32,
}

/// A site-to-site connection to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnConnectionSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address of ours, by name or id, without static NAT.
    pub public_ip: ObjectId,
    /// Customer gateway, by name or id, that has no connection yet.
    pub customer_gateway: ObjectId,
    /// Networks of ours that the peer reaches. Default: the VPC's, else that of the address, else all of the router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_networks: Vec<Cidr>,
    /// Does the peer begin? Default false: we begin at once.
    #[serde(default)]
    pub passive: bool,
}

/// Changes to a site-to-site connection; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnConnectionPatch {
    /// New networks of ours; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_networks: Option<Vec<Cidr>>,
    /// Whether the peer begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<bool>,
}

impl Kind for VpnConnection {
    const NAMES: Names = Names {
        word: "vpn connection",
        plural: "vpn connections",
        prefix: "vc",
        about: "Site-to-site connections",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
        Key::to("customer_gateway", "customer gateway"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("CUSTOMER GATEWAY", "/customer_gateway"),
        ("PASSIVE", "/passive"),
    ];
    const ACTIONS: &'static [Action] =
        &[Action { name: "reset", about: "End and begin anew", body: Fields::default }];

    const STATE: Option<State> = Some(State {
        service: SERVICE,
        about: "Phase, trouble and traffic of the tunnels, now",
        columns: &[
            ("NAME", "/name"),
            ("PHASE", "/phase"),
            ("TROUBLE", "/trouble"),
            ("PEER", "/peer"),
            ("IKE", "/ike"),
            ("PFS", "/pfs"),
            ("TUNNELS", "/tunnels"),
            ("BYTES IN", "/bytes_in"),
            ("BYTES OUT", "/bytes_out"),
        ],
    });

    type Spec = VpnConnectionSpec;
    type Patch = VpnConnectionPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: VpnConnectionSpec,
    ) -> Result<Self, Error> {
        let (ip, router) = rule::address(context, &spec.public_ip).await?;
        let gateway: CustomerGateway = context.find(Some(&ip.zone), &spec.customer_gateway).await?;
        let others = context.all::<Self>(&[("customer_gateway", gateway.id.as_str())]).await?;
        if let Some(other) = others.first() {
            let reason = format!("{} has connection {} already", gateway.name, other.name);
            return Err(Error::Conflict { field: "customer_gateway", reason });
        }
        if let Some(Clash::Address(reason) | Clash::Network(reason)) =
            clash(context, &gateway, &router).await?
        {
            return Err(rule::invalid("customer_gateway", format!("{}: {reason}", gateway.name)));
        }
        Ok(Self {
            id,
            name: spec.name,
            zone: ip.zone,
            router,
            public_ip: ip.id,
            customer_gateway: gateway.id,
            local_networks: spec.local_networks,
            passive: spec.passive,
            resets: 0,
        })
    }

    async fn update(
        &mut self,
        _: &mut Context<'_>,
        patch: VpnConnectionPatch,
    ) -> Result<(), Error> {
        self.local_networks = patch.local_networks.unwrap_or_else(|| self.local_networks.clone());
        self.passive = patch.passive.unwrap_or(self.passive);
        Ok(())
    }

    async fn act(
        &mut self,
        _: &mut Context<'_>,
        _action: &'static str,
        _body: Value,
    ) -> Result<Value, Error> {
        self.resets = self.resets.wrapping_add(1);
        Ok(json!(self))
    }

    async fn state(&self, _: &mut Context<'_>, report: &Value) -> Result<Vec<Value>, Error> {
        let said = self.said(report);
        let tunnels = said["tunnels"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum = |field: &str| tunnels.iter().filter_map(|one| one[field].as_u64()).sum::<u64>();
        let phase = said["phase"].as_str().unwrap_or("not in force yet");
        Ok(vec![json!({
            "name": self.name, "id": self.id, "phase": phase, "trouble": said["trouble"],
            "reason": said["reason"], "peer": said["peer"], "ike": said["ike"], "pfs": said["pfs"],
            "tunnels": tunnels.len(), "bytes_in": sum("bytes-in"), "bytes_out": sum("bytes-out"),
        })])
    }
}

/// Do tunnels stand in this phase?
fn stands(phase: &str) -> bool {
    matches!(phase, "connected" | "partly")
}

/// Connections whose tunnels do not stand, by a router's report of them.
pub(crate) fn down(report: &Value) -> Vec<ObjectId> {
    let all = report["connections"].as_object().into_iter().flatten();
    all.filter(|(_, said)| said["phase"].as_str().is_some_and(|phase| !stands(phase)))
        .filter_map(|(name, _)| name.strip_prefix("s2s-")?.parse().ok())
        .collect()
}

impl VpnConnection {
    /// What a router's report says of it; null: nothing.
    fn said<'r>(&self, report: &'r Value) -> &'r Value {
        report.pointer(&format!("/connections/s2s-{}", self.id)).unwrap_or(&Value::Null)
    }

    /// Did its router say last that tunnels of it stand?
    pub(super) fn stands(&self, reports: &Reports) -> bool {
        let report = reports.of(self.router.as_str(), SERVICE);
        let phase = report.map(|report| &self.said(report)["phase"]);
        phase.and_then(Value::as_str).is_some_and(stands)
    }
}

/// Where a gateway and its connection meet what is at the router already.
pub(super) enum Clash {
    /// The gateway's address.
    Address(String),
    /// One of its networks.
    Network(String),
}

/// What of a gateway does not fit to `router`, where its connection ends: an address of the router itself, networks of its VPC,
/// networks behind another peer.
pub(super) async fn clash(
    context: &mut Context<'_>,
    gateway: &CustomerGateway,
    router: &ApplianceId,
) -> Result<Option<Clash>, Error> {
    let at = [("router", router.as_str())];
    let own = context.all::<PublicIp>(&at).await?;
    let peer = gateway.address.map(HostAddress::ip);
    if let Some(own) = own.iter().find(|own| peer == Some(own.address.into())) {
        let reason = format!("{} is the router's own (public ip {})", own.address, own.name);
        return Ok(Some(Clash::Address(reason)));
    }
    let vpcs = context.all::<Vpc>(&at).await?;
    let mut taken: Vec<(String, Cidr)> =
        vpcs.into_iter().map(|vpc| (format!("VPC {}", vpc.name), vpc.cidr)).collect();
    for other in context.all::<VpnConnection>(&at).await? {
        if other.customer_gateway == gateway.id {
            continue;
        }
        let behind: CustomerGateway = context.get(&other.customer_gateway).await?;
        let owner = format!("connection {} ({})", other.id, other.name);
        taken.extend(behind.networks.into_iter().map(|network| (owner.clone(), network)));
    }
    let clash = gateway.networks.iter().find_map(|network| {
        let (owner, other) = taken.iter().find(|(_, other)| other.overlaps(network))?;
        Some(Clash::Network(format!("{network} overlaps {other} of {owner}")))
    });
    Ok(clash)
}
