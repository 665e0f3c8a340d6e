//! Further NICs of guests: a guest is made with its first, and may have one in each of several networks (guide 11.3).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::config::GuestDhcp;
use sluice_api::types::{ApplianceId, MacAddr, ObjectId};
use utoipa::ToSchema;

use super::balancer_member::BalancerMember;
use super::guest::{self, Guest, Nic};
use super::network::Network;
use super::port_forward::PortForward;
use super::static_nat::StaticNat;
use super::{Column, Context, Key, Kind, Names, dynamic};
use crate::error::Error;
use crate::store::allocations;

/// A further NIC; fields as in [`GuestNicSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestNic {
    /// Also its id in its router's configuration.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the guest.
    pub guest: ObjectId,
    /// Id of its network.
    pub network: ObjectId,
    /// Its address on the wire.
    pub mac: MacAddr,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// Further addresses.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// What DHCP tells it otherwise than its network's other guests.
    #[serde(default)]
    pub dhcp: GuestDhcp,
    /// The guest reaches the rest of the world by it.
    #[serde(default)]
    pub default: bool,
}

/// A further NIC to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestNicSpec {
    /// Guest, by name or id.
    pub guest: ObjectId,
    /// Network that it has no NIC in yet, by name or id.
    pub network: ObjectId,
    /// Its address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.2.23")]
    pub address: Option<Ipv4Addr>,
    /// Its address on the wire. Default: a free, locally administered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Further addresses, which the guest sets up itself. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// What DHCP tells it otherwise than its network's other guests: `{"options": […], "boot": {…}}`. Default: nothing.
    #[serde(default, skip_serializing_if = "GuestDhcp::is_empty")]
    pub dhcp: GuestDhcp,
    /// The guest is to reach the rest of the world by it: it alone is given a default route, resolvers, a domain and the
    /// password. Default: by its first NIC.
    #[serde(default)]
    pub default: bool,
}

/// Changes to a further NIC; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestNicPatch {
    /// New further addresses; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub secondary_addresses: Option<Vec<Ipv4Addr>>,
    /// What DHCP tells it otherwise from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<GuestDhcp>,
    /// Whether the guest reaches the rest of the world by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}

impl Kind for GuestNic {
    const NAMES: Names = Names {
        word: "guest nic",
        plural: "guest nics",
        // the first NIC of a guest has such an id too
        prefix: "nic",
        about: "NICs of guests besides their first",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("guest", "guest"), Key::to("network", "network")];
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("GUEST", "/guest"),
        ("NETWORK", "/network"),
        ("ADDRESS", "/address"),
        ("SECONDARY", "/secondary_addresses"),
        ("MAC", "/mac"),
        ("DEFAULT", "/default"),
    ];

    type Spec = GuestNicSpec;
    type Patch = GuestNicPatch;

    fn id(&self) -> ObjectId {
        self.id.clone()
    }

    fn name(&self) -> String {
        self.id.to_string()
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: GuestNicSpec,
    ) -> Result<Self, Error> {
        let guest: Guest = context.find(None, &spec.guest).await?;
        let network: Network = context.find(Some(&guest.zone), &spec.network).await?;
        guest::free_name(context, &network, &guest.name, "network").await?;
        let nic = Nic::take(context, &network, id, spec.address, spec.mac).await?;
        let mut this = Self {
            id: nic.id,
            zone: guest.zone,
            guest: guest.id,
            network: network.id,
            mac: nic.mac,
            address: nic.address,
            secondary_addresses: Vec::new(),
            dhcp: spec.dhcp,
            default: spec.default,
        };
        this.set_secondary(context, spec.secondary_addresses).await?;
        Ok(this)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let mut guest: Guest = context.get(&self.guest).await?;
        guest::insert_nic(context, &guest, &self.nic()).await?;
        guest.nics.push(self.nic());
        self.prefer(context, &mut guest).await?;
        context.save(&guest).await
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: GuestNicPatch,
    ) -> Result<(), Error> {
        if let Some(addresses) = patch.secondary_addresses {
            self.set_secondary(context, addresses).await?;
        }
        self.dhcp = patch.dhcp.unwrap_or_else(|| self.dhcp.clone());
        self.default = patch.default.unwrap_or(self.default);
        let mut guest: Guest = context.get(&self.guest).await?;
        let own = self.nic();
        guest.nics.iter_mut().filter(|nic| nic.id == own.id).for_each(|nic| *nic = own.clone());
        self.prefer(context, &mut guest).await?;
        context.save(&guest).await
    }

    /// Its addresses are free once its router confirmed a configuration without it.
    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        self.refuse_rules(context).await?;
        allocations::release(context.conn, self.id.as_str()).await?;
        sqlx::query("DELETE FROM nics WHERE id = $1")
            .bind(self.id.as_str())
            .execute(&mut *context.conn)
            .await?;
        let mut guest: Guest = context.get(&self.guest).await?;
        guest.nics.retain(|nic| nic.id != self.id);
        guest.default_nic.take_if(|nic| *nic == self.id);
        context.save(&guest).await
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        context.get::<Guest>(&self.guest).await?.touches(context).await
    }

    /// The one of that guest in that network.
    async fn locate(
        context: &mut Context<'_>,
        spec: &Map<String, Value>,
    ) -> Result<Option<Self>, Error> {
        let mut ids = Vec::new();
        for field in ["guest", "network"] {
            match dynamic::reference(context, Self::KEYS, field, spec).await {
                Err(Error::NotFound { .. }) | Ok(None) => return Ok(None),
                found => ids.extend(found?.map(|id| (field, id))),
            }
        }
        let filter: Vec<_> = ids.iter().map(|(field, id)| (*field, id.as_str())).collect();
        Ok(context.all::<Self>(&filter).await?.pop())
    }
}

impl GuestNic {
    fn nic(&self) -> Nic {
        Nic {
            id: self.id.clone(),
            network: self.network.clone(),
            mac: self.mac,
            address: self.address,
            secondary_addresses: self.secondary_addresses.clone(),
            dhcp: self.dhcp.clone(),
        }
    }

    async fn set_secondary(
        &mut self,
        context: &mut Context<'_>,
        new: Vec<Ipv4Addr>,
    ) -> Result<(), Error> {
        let mut nic = self.nic();
        nic.set_secondary(context, new).await?;
        self.secondary_addresses = nic.secondary_addresses;
        Ok(())
    }

    /// Makes it `guest`'s way out, or no longer: only one NIC is.
    async fn prefer(&self, context: &mut Context<'_>, guest: &mut Guest) -> Result<(), Error> {
        if !self.default {
            guest.default_nic.take_if(|nic| *nic == self.id);
            return Ok(());
        }
        guest.default_nic = Some(self.id.clone());
        for mut other in context.all::<Self>(&[("guest", self.guest.as_str())]).await? {
            if other.id != self.id && other.default {
                other.default = false;
                context.save(&other).await?;
            }
        }
        Ok(())
    }

    async fn refuse_rules(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let filter = [("guest", self.guest.as_str()), ("network", self.network.as_str())];
        let forward = context.all::<PortForward>(&filter).await?.pop();
        let nat = context.all::<StaticNat>(&filter).await?.pop();
        let member = context.all::<BalancerMember>(&filter).await?.pop();
        let by = forward
            .map(|rule| format!("port forward {}", rule.name))
            .or_else(|| nat.map(|rule| format!("static NAT {}", rule.name)))
            .or_else(|| member.map(|member| format!("balancer member {}", member.name)));
        match by {
            Some(by) => Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by }),
            None => Ok(()),
        }
    }
}
