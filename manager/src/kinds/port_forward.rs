//! Port forwards: public ports that lead to a guest (guide 11.14).

use serde::{Deserialize, Serialize};
use sluice_api::config::ForwardProtocol;
use sluice_api::types::{ApplianceId, Cidr, ObjectId, Port, PortRange, UtcTime};
use utoipa::ToSchema;

use super::patch::end;
use super::public_ip::{PublicIp, Purpose};
use super::rule;
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::Until;
use crate::store::objects::Cell;

/// A port forward; fields as in [`PortForwardSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = GuestPortForward)]
pub struct PortForward {
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
    /// Which transport protocol.
    pub protocol: ForwardProtocol,
    /// Public ports.
    pub ports: PortRange,
    /// Id of the guest.
    pub guest: ObjectId,
    /// Id of the guest's network.
    pub network: ObjectId,
    /// The guest's port for the first of the public ones; none: the same.
    pub guest_port: Option<Port>,
    /// Who may use it; empty: anyone that the firewall lets in.
    pub sources: Vec<Cidr>,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// A port forward to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortForwardSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id.
    pub public_ip: ObjectId,
    /// Which transport protocol.
    pub protocol: ForwardProtocol,
    /// Public ports, such as `80` or `8000-8099`, none of which another forward or balancer of the address has.
    pub ports: PortRange,
    /// Guest, by name or id.
    pub guest: ObjectId,
    /// Network of the guest, by name or id; needed when guests of that name are in several. Default: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// The guest's port for the first of `ports`; the others follow in order. Default: the same ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_port: Option<Port>,
    /// Who may use it, IPv4 networks, besides what the firewall lets in. Default: anyone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to a port forward; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortForwardPatch {
    /// New guest, by name or id, behind the same router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<ObjectId>,
    /// Network of the new guest, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// New port of the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_port: Option<Port>,
    /// New sources; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Cidr>>,
    /// New end, in UTC; `never`, or null, takes it away.
    #[serde(default, deserialize_with = "end", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl Kind for PortForward {
    const NAMES: Names = Names {
        word: "port forward",
        plural: "port forwards",
        prefix: "pf",
        about: "Public ports that lead to guests",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
        Key::to("guest", "guest"),
        Key::to("network", "network"),
    ];
    const DERIVED: &'static [(&'static str, fn(&Self) -> Cell)] = &[
        ("protocol", |it| protocol(it.protocol)),
        ("first_port", |it| Cell::Number(Some(it.ports.first().get().into()))),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("PROTOCOL", "/protocol"),
        ("PORTS", "/ports"),
        ("GUEST", "/guest"),
        ("GUEST PORT", "/guest_port"),
        ("SOURCES", "/sources"),
        ("UNTIL", "/until"),
    ];

    type Spec = PortForwardSpec;
    type Patch = PortForwardPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: PortForwardSpec,
    ) -> Result<Self, Error> {
        let (mut ip, router) = rule::address(context, &spec.public_ip).await?;
        let target = rule::target(context, &router, &spec.guest, spec.network.as_ref()).await?;
        ip.claim(context, Purpose::Forwards, Some(&target.network)).await?;
        let forward = Self {
            id,
            name: spec.name,
            zone: ip.zone,
            router,
            public_ip: ip.id,
            protocol: spec.protocol,
            ports: spec.ports,
            guest: target.guest.id,
            network: target.network.id,
            guest_port: spec.guest_port,
            sources: spec.sources,
            until: rule::ahead(spec.until)?,
        };
        forward.fits()?;
        forward.alone(context).await?;
        Ok(forward)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: PortForwardPatch,
    ) -> Result<(), Error> {
        if patch.guest.is_some() || patch.network.is_some() {
            let name = patch.guest.as_ref().unwrap_or(&self.guest);
            let target = rule::target(context, &self.router, name, patch.network.as_ref()).await?;
            PublicIp::leads_to(context, &self.public_ip, &self.id, &target.network).await?;
            (self.guest, self.network) = (target.guest.id, target.network.id);
        }
        self.until = patch.until.map_or(self.until, Until::end);
        self.guest_port = patch.guest_port.or(self.guest_port);
        self.sources = patch.sources.unwrap_or_else(|| self.sources.clone());
        self.fits()
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        PublicIp::unclaim(context, &self.public_ip).await
    }
}

impl PortForward {
    fn fits(&self) -> Result<(), Error> {
        let first = self.guest_port.unwrap_or(self.ports.first());
        let last = u32::from(first.get()) + u32::from(self.ports.len()) - 1;
        if last > u32::from(u16::MAX) {
            let reason = format!("{} ports from there on go beyond 65535", self.ports.len());
            return Err(rule::invalid("guest_port", reason));
        }
        Ok(())
    }

    /// No other forward of the address has one of its ports. Those that are there have none in common, so it is enough to ask the
    /// last that begins before this one ends.
    async fn alone(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let address = Cell::Text(Some(self.public_ip.to_string()));
        let equal = [("public_ip", address), ("protocol", protocol(self.protocol))];
        let last = i64::from(self.ports.last().get());
        match context.nearest::<Self>(&equal, ("first_port", last)).await? {
            Some(other) if other.ports.overlaps(self.ports) => {
                let reason = format!("{} is taken by port forward {}", other.ports, other.name);
                Err(Error::Conflict { field: "ports", reason })
            }
            _ => Ok(()),
        }
    }
}

fn protocol(protocol: ForwardProtocol) -> Cell {
    let word = match protocol {
        ForwardProtocol::Tcp => "tcp",
        ForwardProtocol::Udp => "udp",
    };
    Cell::Text(Some(word.to_owned()))
}
