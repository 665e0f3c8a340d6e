//! Uplinks of appliances: one for each public VLAN that one of their addresses is on, and its IPv6 address.
//!
//! Guarantees: an uplink keeps its link's name and its IPv6 address for as long as it is needed. The address is kept as its
//! place in the prefix, so a range that moves to another prefix moves all its routers.

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::types::{LinkName, ObjectId, VlanId};
use utoipa::ToSchema;

use super::Context;
use super::appliance::Appliance;
use super::nic::free_link;
use super::public_ip::PublicIp;
use super::public_range::PublicRange;
use crate::alloc::{PoolClass, PoolName};
use crate::error::Error;
use crate::store::allocations;

/// A way out: a public VLAN of a physical network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uplink {
    /// Name of its link in the appliance.
    pub link: LinkName,
    /// Id of the physical network.
    pub physical_network: ObjectId,
    /// Its VLAN; none: untagged.
    pub vlan: Option<VlanId>,
    /// Its IPv6 address; none: no range that it has addresses of has IPv6.
    #[serde(default)]
    pub ipv6: Option<UplinkIpv6>,
}

/// An uplink's IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UplinkIpv6 {
    /// Id of the public range that it is from.
    pub public_range: ObjectId,
    /// Its place in the range's IPv6 prefix.
    pub offset: u32,
}

impl Uplink {
    /// The range's addresses are on this uplink.
    pub(crate) fn carries(&self, range: &PublicRange) -> bool {
        self.physical_network == range.physical_network && self.vlan == range.vlan
    }
}

/// Gives `appliance` the uplinks that its public addresses need.
pub(super) async fn plug(
    context: &mut Context<'_>,
    appliance: &mut Appliance,
) -> Result<(), Error> {
    let ranges = ranges(context, appliance).await?;
    let (kept, gone): (Vec<Uplink>, Vec<Uplink>) =
        appliance.uplinks.drain(..).partition(|up| ranges.iter().any(|range| up.carries(range)));
    appliance.uplinks = kept;
    for held in gone.into_iter().filter_map(|up| up.ipv6) {
        release(context, appliance, &held).await?;
    }
    for range in &ranges {
        if appliance.uplinks.iter().any(|up| up.carries(range)) {
            continue;
        }
        let link = free_link("pub", appliance.uplinks.iter().map(|up| &up.link))?;
        let (physical_network, vlan) = (range.physical_network.clone(), range.vlan);
        appliance.uplinks.push(Uplink { link, physical_network, vlan, ipv6: None });
    }
    for place in 0..appliance.uplinks.len() {
        address(context, appliance, place, &ranges).await?;
    }
    Ok(())
}

/// The ranges of its addresses, each once, in the order in which the addresses came.
async fn ranges(
    context: &mut Context<'_>,
    appliance: &Appliance,
) -> Result<Vec<PublicRange>, Error> {
    let mut ranges: Vec<PublicRange> = Vec::new();
    for ip in context.all::<PublicIp>(&[("router", appliance.id.as_str())]).await? {
        if ranges.iter().all(|range| range.id != ip.public_range) {
            ranges.push(context.get(&ip.public_range).await?);
        }
    }
    Ok(ranges)
}

/// Gives the uplink at `place` an address of a range with IPv6, unless it has one. Only routers forward IPv6.
async fn address(
    context: &mut Context<'_>,
    appliance: &mut Appliance,
    place: usize,
    ranges: &[PublicRange],
) -> Result<(), Error> {
    let Some(up) = appliance.uplinks.get(place).cloned() else { return Ok(()) };
    let mut able = ranges.iter().filter(|range| {
        appliance.role == Role::Router && range.ipv6_cidr.is_some() && up.carries(range)
    });
    let range = match &up.ipv6 {
        Some(held) if able.clone().any(|range| range.id == held.public_range) => return Ok(()),
        Some(held) => {
            release(context, appliance, held).await?;
            able.next()
        }
        None => able.next(),
    };
    let ipv6 = match range {
        Some(range) => {
            let taken = context.taken(appliance.id.as_str(), "uplink", Some(&appliance.id));
            let offset = range.take_ipv6(context, taken).await?;
            Some(UplinkIpv6 { public_range: range.id.clone(), offset })
        }
        None => None,
    };
    if let Some(up) = appliance.uplinks.get_mut(place) {
        up.ipv6 = ipv6;
    }
    Ok(())
}

async fn release(
    context: &mut Context<'_>,
    appliance: &Appliance,
    held: &UplinkIpv6,
) -> Result<(), Error> {
    let pool = PoolName::within(PoolClass::PublicIpv6, &held.public_range);
    let owner = appliance.id.as_str();
    allocations::release_item(context.conn, &pool, i64::from(held.offset), owner).await
}
