//! Physical networks of a zone and their guest VLANs (guide 2.7).

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, Mtu, ObjectId, VlanId};
use utoipa::ToSchema;

use super::appliance::Appliance;
use super::private_gateway::PrivateGateway;
use super::public_range::PublicRange;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named};
use crate::alloc::{Interval, Pool, PoolClass, PoolName};
use crate::error::Error;
use crate::model::{AllocationState, VlanRange};
use crate::store::{Taken, allocations};

/// A physical network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhysicalNetwork {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN ids for guest networks, sorted.
    pub vlans: Vec<VlanRange>,
    /// Largest packet of its trunk NICs in bytes.
    pub mtu: Mtu,
}

/// A physical network to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetworkSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN ids for guest networks, such as 100-199; ranges may not overlap. Default: none.
    #[serde(default)]
    pub vlans: Vec<VlanRange>,
    /// Largest packet of its trunk NICs in bytes. Default 1500.
    #[serde(default = "default_mtu")]
    pub mtu: Mtu,
}

/// Changes to a physical network; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetworkPatch {
    /// New VLAN ranges; they replace all, and a VLAN in use may not drop out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vec<VlanRange>>,
}

fn default_mtu() -> Mtu {
    Mtu::ETHERNET
}

impl Kind for PhysicalNetwork {
    const NAMES: Names = Names {
        word: "physical network",
        plural: "physical networks",
        prefix: "pn",
        about: "Physical networks and their guest VLANs",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("VLANS", "/vlans"),
        ("MTU", "/mtu"),
    ];

    type Spec = PhysicalNetworkSpec;
    type Patch = PhysicalNetworkPatch;

    named!();

    fn canonical(mut spec: Self::Spec) -> Result<Self::Spec, Error> {
        spec.vlans = apart(&spec.vlans)?;
        Ok(spec)
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: PhysicalNetworkSpec,
    ) -> Result<Self, Error> {
        let zone = context.find::<Zone>(None, &spec.zone).await?;
        Ok(Self { id, zone: zone.id, name: spec.name, vlans: spec.vlans, mtu: spec.mtu })
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: PhysicalNetworkPatch,
    ) -> Result<(), Error> {
        let Some(vlans) = &patch.vlans else { return Ok(()) };
        self.vlans = apart(vlans)?;
        let pool = self.pool();
        for vlan in allocations::values(context.conn, &self.pool_name()).await? {
            if !pool.contains(vlan) {
                let reason = format!("VLAN {vlan} is in use and would drop out");
                return Err(Error::Conflict { field: "vlans", reason });
            }
        }
        for range in self.ranges(context).await? {
            if let Some(vlan) = range.vlan {
                self.keep_apart(vlan, "vlans")?;
            }
        }
        for gateway in self.gateways(context).await? {
            self.keep_apart(gateway.vlan, "vlans")?;
        }
        Ok(())
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let taken = allocations::values(context.conn, &self.pool_name()).await?;
        match taken.first() {
            Some(vlan) => {
                let by = format!("VLAN {vlan}, in use or until its router has let it go");
                Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by })
            }
            None => Ok(()),
        }
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let all = context.all::<Appliance>(&[("zone", self.zone.as_str())]).await?;
        let plugged = |appliance: &Appliance| {
            appliance.nics.iter().any(|nic| nic.physical_network.as_ref() == Some(&self.id))
        };
        Ok(all.into_iter().filter(plugged).map(|appliance| appliance.id).collect())
    }

    async fn waits(&self, context: &mut Context<'_>) -> Result<Option<String>, Error> {
        let taken = allocations::list(context.conn, Some(&self.pool_name())).await?;
        if taken.iter().any(|item| item.state != AllocationState::Releasing) {
            return Ok(None);
        }
        let mut waits: Vec<_> = taken.into_iter().filter_map(|item| item.appliance).collect();
        for range in self.ranges(context).await? {
            waits.extend(range.holders(context).await?.unwrap_or_default());
        }
        Ok(super::public_range::waiting("physical network", &self.name(), waits))
    }
}

/// The ranges in order; two that share an id are refused, for one of them would be a mistake.
fn apart(ranges: &[VlanRange]) -> Result<Vec<VlanRange>, Error> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [first, second] = pair
            && first.overlaps(second)
        {
            let reason = format!("ranges {first} and {second} overlap");
            return Err(Error::Invalid { field: "vlans", reason });
        }
    }
    Ok(sorted)
}

impl PhysicalNetwork {
    fn pool_name(&self) -> PoolName {
        PoolName::within(PoolClass::Vlan, &self.id)
    }

    /// Its VLANs.
    fn pool(&self) -> Pool {
        Pool::new(self.vlans.iter().filter_map(|range| {
            Interval::new(i64::from(range.first().get()), i64::from(range.last().get()))
        }))
    }

    async fn ranges(&self, context: &mut Context<'_>) -> Result<Vec<PublicRange>, Error> {
        context.all(&[("physical_network", self.id.as_str())]).await
    }

    async fn gateways(&self, context: &mut Context<'_>) -> Result<Vec<PrivateGateway>, Error> {
        context.all(&[("physical_network", self.id.as_str())]).await
    }

    /// Refuses a VLAN for public traffic that a private gateway has: its network would be one with the Internet's.
    pub(super) async fn not_private(
        &self,
        context: &mut Context<'_>,
        vlan: VlanId,
    ) -> Result<(), Error> {
        let mut gateways = self.gateways(context).await?.into_iter();
        match gateways.find(|gateway| gateway.vlan == vlan) {
            Some(gateway) => {
                let reason = format!("VLAN {vlan} is that of private gateway {}", gateway.name);
                Err(Error::Conflict { field: "vlan", reason })
            }
            None => Ok(()),
        }
    }

    /// Refuses a VLAN for a private gateway that a public range has.
    pub(super) async fn not_public(
        &self,
        context: &mut Context<'_>,
        vlan: VlanId,
    ) -> Result<(), Error> {
        let mut ranges = self.ranges(context).await?.into_iter();
        match ranges.find(|range| range.vlan == Some(vlan)) {
            Some(range) => {
                let reason = format!("VLAN {vlan} is that of public range {}", range.name);
                Err(Error::Conflict { field: "vlan", reason })
            }
            None => Ok(()),
        }
    }

    /// The named physical network of the zone, or its only one.
    pub async fn of_zone(
        context: &mut Context<'_>,
        zone: &Zone,
        name: Option<&ObjectId>,
    ) -> Result<Self, Error> {
        if let Some(name) = name {
            return context.find(Some(&zone.id), name).await;
        }
        let mut all = context.all::<Self>(&[("zone", zone.id.as_str())]).await?;
        let count = all.len();
        all.pop().filter(|_| count == 1).ok_or_else(|| Error::Invalid {
            field: "physical_network",
            reason: format!("must be given: zone {} has {count} physical networks", zone.name),
        })
    }

    /// Refuses a VLAN of a public range or a private gateway that is also a guest VLAN.
    pub(super) fn keep_apart(&self, vlan: VlanId, field: &'static str) -> Result<(), Error> {
        match self.vlans.iter().find(|range| range.contains(vlan)) {
            Some(range) => {
                let reason = format!(
                    "VLAN {vlan} is in guest VLANs {range} of physical network {}",
                    self.name
                );
                Err(Error::Invalid { field, reason })
            }
            None => Ok(()),
        }
    }

    /// Takes the guest VLAN that was asked for, or a free one.
    pub async fn take_vlan(
        &self,
        context: &mut Context<'_>,
        asked: Option<VlanId>,
        taken: Taken<'_>,
    ) -> Result<VlanId, Error> {
        let (pool, name) = (self.pool(), self.pool_name());
        let Some(vlan) = asked else {
            let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
            let vlan = found.ok_or_else(|| Error::Exhausted {
                pool: format!("the guest VLANs of physical network {}", self.name),
            })?;
            return vlan_id(vlan);
        };
        if !pool.contains(i64::from(vlan.get())) {
            let reason = format!("{vlan} is no guest VLAN of physical network {}", self.name);
            return Err(Error::Invalid { field: "vlan", reason });
        }
        if !allocations::take(context.conn, &name, i64::from(vlan.get()), taken).await? {
            return Err(Error::Conflict { field: "vlan", reason: format!("VLAN {vlan} is taken") });
        }
        Ok(vlan)
    }
}

fn vlan_id(value: i64) -> Result<VlanId, Error> {
    let corrupt = |reason: String| Error::Corrupt { what: "VLAN", reason };
    let value = u64::try_from(value).map_err(|_| corrupt(format!("{value} is negative")))?;
    VlanId::try_from(value).map_err(|error| corrupt(error.to_string()))
}
