//! Ranges of public addresses (guide 2.8.2).

mod ipv6;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::config::UplinkProbe;
use sluice_api::types::{ApplianceId, Cidr, ObjectId, VlanId};
use utoipa::ToSchema;

use super::patch::stated;
use super::physical_network::PhysicalNetwork;
use super::public_ip::PublicIp;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, dynamic, named};
use crate::alloc::{Pool, PoolClass, PoolName};
use crate::error::Error;
use crate::model::{Allocation, AllocationState};
use crate::store::{Taken, allocations};

/// A range of public addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicRange {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the physical network that carries it.
    pub physical_network: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN of the public traffic; none: untagged.
    pub vlan: Option<VlanId>,
    /// The network of the addresses.
    pub cidr: Cidr,
    /// Next hop towards the Internet.
    #[schema(value_type = String)]
    pub gateway: Ipv4Addr,
    /// First address to give out.
    #[schema(value_type = String)]
    pub start: Ipv4Addr,
    /// Last address to give out.
    #[schema(value_type = String)]
    pub end: Ipv4Addr,
    /// IPv6 prefix of the VLAN; routers with addresses of the range have one of it.
    #[serde(default)]
    pub ipv6_cidr: Option<Cidr>,
    /// Next hop of IPv6 towards the Internet.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// How routers with several uplinks watch this one; none: not at all.
    #[serde(default)]
    pub probe: Option<UplinkProbe>,
}

/// A range of public addresses to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicRangeSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Physical network that carries it, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_network: Option<ObjectId>,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN of the public traffic; may not be one of the guest VLANs. Default: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Next hop towards the Internet, inside the network.
    #[schema(value_type = String, example = "198.51.100.1")]
    pub gateway: Ipv4Addr,
    /// Prefix length of the network, 1 to 31. Give this or `netmask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31)]
    pub prefix: Option<u8>,
    /// Dotted mask of the network. Give this or `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "255.255.255.0")]
    pub netmask: Option<Ipv4Addr>,
    /// First address to give out.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub start: Ipv4Addr,
    /// Last address to give out.
    #[schema(value_type = String, example = "198.51.100.99")]
    pub end: Ipv4Addr,
    /// IPv6 prefix of the VLAN, /32 to /126. Each router with addresses of the range gets one of it, and leads its networks'
    /// IPv6 to the Internet. Default: no IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<Cidr>,
    /// Next hop of IPv6 towards the Internet, inside the prefix or link-local, such as `fe80::1`; required with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2001:db8:ffff::1")]
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// How routers that have another uplink besides watch this one, by ICMP echo requests: `{"targets": ["192.0.2.1"],
    /// "interval_seconds": 5, "down_after": 3, "up_after": 3}`; `{}` asks the gateway every 5 s. Default: not at all, since a
    /// gateway that answers no ping would be taken for one that is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<UplinkProbe>,
}

/// Changes to a range of public addresses; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicRangePatch {
    /// New next hop towards the Internet, inside the network; routers with addresses of the range get it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<Ipv4Addr>,
    /// New first address to give out; no address that is taken may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub start: Option<Ipv4Addr>,
    /// New last address to give out; no address that is taken may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub end: Option<Ipv4Addr>,
    /// New IPv6 prefix; routers with addresses of the range keep their places in it. Null, with that of `ipv6_gateway`: no IPv6.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Cidr>)]
    pub ipv6_cidr: Option<Option<Cidr>>,
    /// New next hop of IPv6, inside the prefix or link-local.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv6_gateway: Option<Option<Ipv6Addr>>,
    /// How uplinks of the range are watched from now on; null: as is usual.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UplinkProbe>)]
    pub probe: Option<Option<UplinkProbe>>,
}

impl Kind for PublicRange {
    const NAMES: Names = Names {
        word: "public range",
        plural: "public ranges",
        prefix: "pr",
        about: "Ranges of public addresses",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("physical_network", "physical network")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("VLAN", "/vlan"),
        ("CIDR", "/cidr"),
        ("GATEWAY", "/gateway"),
        ("START", "/start"),
        ("END", "/end"),
    ];

    type Spec = PublicRangeSpec;
    type Patch = PublicRangePatch;

    named!();

    fn canonical(mut spec: PublicRangeSpec) -> Result<PublicRangeSpec, Error> {
        spec.prefix = stated_prefix(&spec)?;
        spec.netmask = None;
        Ok(spec)
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: PublicRangeSpec,
    ) -> Result<Self, Error> {
        let zone = context.find::<Zone>(None, &spec.zone).await?;
        let physical =
            PhysicalNetwork::of_zone(context, &zone, spec.physical_network.as_ref()).await?;
        let range = Self {
            id,
            zone: zone.id.clone(),
            physical_network: physical.id.clone(),
            cidr: cidr(&spec)?,
            name: spec.name,
            vlan: spec.vlan,
            gateway: spec.gateway,
            start: spec.start,
            end: spec.end,
            ipv6_cidr: spec.ipv6_cidr,
            ipv6_gateway: spec.ipv6_gateway,
            probe: spec.probe,
        };
        range.inside()?;
        range.ipv6_inside()?;
        range.probe_fits()?;
        if let Some(vlan) = range.vlan {
            physical.keep_apart(vlan, "vlan")?;
            physical.not_private(context, vlan).await?;
        }
        range.apart(context, &zone).await?;
        Ok(range)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: PublicRangePatch,
    ) -> Result<(), Error> {
        let taken = self.taken(context).await?;
        self.gateway = patch.gateway.unwrap_or(self.gateway);
        self.start = patch.start.unwrap_or(self.start);
        self.end = patch.end.unwrap_or(self.end);
        let ipv6 = (self.ipv6_cidr, self.ipv6_gateway);
        self.ipv6_cidr = patch.ipv6_cidr.unwrap_or(self.ipv6_cidr);
        self.ipv6_gateway = patch.ipv6_gateway.unwrap_or(self.ipv6_gateway);
        self.probe = patch.probe.unwrap_or_else(|| self.probe.take());
        self.inside()?;
        self.ipv6_inside()?;
        self.probe_fits()?;
        let zone: Zone = context.get(&self.zone).await?;
        self.apart(context, &zone).await?;
        self.keeps(&taken)?;
        if ipv6 != (self.ipv6_cidr, self.ipv6_gateway) {
            self.ipv6_changed(context).await?;
        }
        Ok(())
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let addresses = context.all::<PublicIp>(&[("public_range", self.id.as_str())]).await?;
        Ok(addresses.into_iter().filter_map(|address| address.router).collect())
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let taken = self.taken(context).await?;
        match taken.first().filter(|item| item.state == AllocationState::Releasing) {
            Some(item) => {
                let by = format!("address {} until its router has let it go", item.value);
                Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by })
            }
            None => Ok(()),
        }
    }

    async fn waits(&self, context: &mut Context<'_>) -> Result<Option<String>, Error> {
        let holders = self.holders(context).await?.unwrap_or_default();
        Ok(waiting(Self::NAMES.word, &self.name(), holders))
    }

    fn as_spec(&self) -> Result<Map<String, Value>, Error> {
        let mut fields = dynamic::common_fields(self)?;
        fields.insert("prefix".to_owned(), self.cidr.prefix().into());
        Ok(fields)
    }
}

/// What is put off, and until when; none when nobody holds anything.
pub(super) fn waiting(word: &str, name: &str, holders: Vec<ApplianceId>) -> Option<String> {
    let holders: BTreeSet<_> = holders.iter().map(ToString::to_string).collect();
    let all = holders.into_iter().collect::<Vec<_>>().join(", ");
    (!all.is_empty()).then(|| {
        format!("{word} {name} waits until {all} confirmed to have let go of it; then run again")
    })
}

fn invalid(field: &'static str, reason: &str) -> Error {
    Error::Invalid { field, reason: reason.to_owned() }
}

/// The length that the prefix or the netmask states; none when neither is given.
fn stated_prefix(spec: &PublicRangeSpec) -> Result<Option<u8>, Error> {
    match (spec.prefix, spec.netmask) {
        (Some(_), Some(_)) => Err(invalid("netmask", "give prefix or netmask, not both")),
        (prefix, None) => Ok(prefix),
        (None, Some(mask)) => match prefix_of(mask) {
            Some(prefix) => Ok(Some(prefix)),
            None => Err(invalid("netmask", "the ones must be in front")),
        },
    }
}

fn cidr(spec: &PublicRangeSpec) -> Result<Cidr, Error> {
    let prefix = spec.prefix.ok_or_else(|| invalid("prefix", "prefix or netmask must be given"))?;
    if !(1..=31).contains(&prefix) {
        return Err(invalid("prefix", "must be 1 to 31"));
    }
    let mask = u32::MAX << (32 - u32::from(prefix));
    let network = Ipv4Addr::from(u32::from(spec.gateway) & mask);
    let text = format!("{network}/{prefix}");
    text.parse().map_err(|_| invalid("gateway", "is in no usable network"))
}

fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

impl PublicRange {
    /// Its addresses; a gateway among them is not given out.
    fn pool(&self) -> Pool {
        Pool::addresses(self.start, self.end).without(i64::from(u32::from(self.gateway)))
    }

    fn pool_name(&self) -> PoolName {
        PoolName::within(PoolClass::Public, &self.zone)
    }

    async fn taken(&self, context: &mut Context<'_>) -> Result<Vec<Allocation>, Error> {
        let (first, last) = (i64::from(u32::from(self.start)), i64::from(u32::from(self.end)));
        allocations::between(context.conn, &self.pool_name(), first, last).await
    }

    /// Refuses bounds that leave out an address that somebody has.
    fn keeps(&self, taken: &[Allocation]) -> Result<(), Error> {
        let has = |item: &&Allocation| item.value.parse().is_ok_and(|address| self.has(address));
        let Some(lost) = taken.iter().find(|item| !has(item)) else { return Ok(()) };
        let first = lost.value.parse::<Ipv4Addr>().is_ok_and(|address| address < self.start);
        let field = if first { "start" } else { "end" };
        let by = if lost.state == AllocationState::Releasing {
            "until its router has let it go".to_owned()
        } else {
            format!("which {} has; release it first", lost.owner)
        };
        Err(Error::Conflict { field, reason: format!("would leave out {}, {by}", lost.value) })
    }

    /// The appliances that have yet to let go of its addresses; none when one is in use.
    pub(super) async fn holders(
        &self,
        context: &mut Context<'_>,
    ) -> Result<Option<Vec<ApplianceId>>, Error> {
        let taken = self.taken(context).await?;
        if taken.iter().any(|item| item.state != AllocationState::Releasing) {
            return Ok(None);
        }
        Ok(Some(taken.into_iter().filter_map(|item| item.appliance).collect()))
    }

    /// Takes a free address; none when all are taken.
    pub(super) async fn take_any(
        &self,
        context: &mut Context<'_>,
        taken: Taken<'_>,
    ) -> Result<Option<Ipv4Addr>, Error> {
        let (name, pool) = (self.pool_name(), self.pool());
        let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
        found.map(super::public_ip::ipv4).transpose()
    }

    /// True when it has `address` to give.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.pool().contains(i64::from(u32::from(address)))
    }

    /// Takes `address`; false when it is taken.
    pub(super) async fn take(
        &self,
        context: &mut Context<'_>,
        address: Ipv4Addr,
        taken: Taken<'_>,
    ) -> Result<bool, Error> {
        let value = i64::from(u32::from(address));
        allocations::take(context.conn, &self.pool_name(), value, taken).await
    }

    fn probe_fits(&self) -> Result<(), Error> {
        let mut faults = self.probe.iter().flat_map(UplinkProbe::faults);
        match faults.next() {
            Some((field, _, reason)) => Err(invalid("probe", &format!("{field}: {reason}"))),
            None => match self.probe.as_ref().and_then(UplinkProbe::ipv6) {
                Some((_, target)) if self.ipv6_cidr.is_none() => {
                    let reason = format!(
                        "targets: {target} is asked by IPv6, which the range does not have"
                    );
                    Err(invalid("probe", &reason))
                }
                _ => Ok(()),
            },
        }
    }

    fn inside(&self) -> Result<(), Error> {
        for (field, address) in
            [("gateway", self.gateway), ("start", self.start), ("end", self.end)]
        {
            if !self.cidr.usable_for_host(IpAddr::V4(address)) {
                let reason = format!("{address} is not a host address of {}", self.cidr);
                return Err(Error::Invalid { field, reason });
            }
        }
        if self.start > self.end {
            let reason = format!("{} is before start {}", self.end, self.start);
            return Err(Error::Invalid { field: "end", reason });
        }
        Ok(())
    }

    /// Refuses addresses that something else in the zone has, on whatever VLAN.
    async fn apart(&self, context: &mut Context<'_>, zone: &Zone) -> Result<(), Error> {
        if self.cidr.overlaps(&zone.control_cidr) {
            let reason = format!("{} overlaps control_cidr {}", self.cidr, zone.control_cidr);
            return Err(Error::Invalid { field: "gateway", reason });
        }
        if let Some(cidr) = self.ipv6_cidr {
            Self::ipv6_apart(context, &zone.id, &self.id, cidr).await?;
        }
        let others = context.all::<Self>(&[("zone", zone.id.as_str())]).await?;
        for other in others.into_iter().filter(|other| other.id != self.id) {
            if self.start <= other.end && other.start <= self.end {
                let reason = format!(
                    "addresses {} to {} overlap those of public range {}",
                    self.start, self.end, other.name
                );
                return Err(Error::Conflict { field: "start", reason });
            }
        }
        Ok(())
    }
}
