//! Physical networks and their VLAN ranges.

use sluice_api::types::{ObjectId, VlanId};

use super::Context;
use super::resolve::{find_physical_network, find_zone, name_taken, refuse_id_form};
use crate::alloc::{Interval, Pool};
use crate::error::Error;
use crate::model::{PhysicalNetwork, PhysicalNetworkPatch, PhysicalNetworkSpec, VlanRange};
use crate::store::{allocations, networks, zones};

/// The store's name of the pool of a physical network's VLANs.
pub(super) fn pool_name(network: &ObjectId) -> String {
    format!("vlan:{network}")
}

/// The VLANs of a physical network.
pub(super) fn pool(network: &PhysicalNetwork) -> Pool {
    Pool::new(network.vlans.iter().filter_map(|range| {
        Interval::new(i64::from(range.first().get()), i64::from(range.last().get()))
    }))
}

pub(super) async fn create(
    context: &mut Context<'_>,
    spec: &PhysicalNetworkSpec,
) -> Result<PhysicalNetwork, Error> {
    refuse_id_form("pn", spec.name.as_str())?;
    let zone = find_zone(context.conn, &spec.zone).await?;
    let id = zones::object_id(&zones::next_id(context.conn, "pn").await?)?;
    let network = PhysicalNetwork {
        id,
        zone: zone.id,
        name: spec.name.clone(),
        vlans: apart(&spec.vlans)?,
        mtu: spec.mtu,
    };
    if zones::insert_physical_network(context.conn, &network).await? {
        Ok(network)
    } else {
        Err(name_taken("physical network", &network.name))
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

pub(super) async fn update(
    context: &mut Context<'_>,
    name: &ObjectId,
    patch: &PhysicalNetworkPatch,
) -> Result<PhysicalNetwork, Error> {
    let mut network = find_physical_network(context.conn, None, name).await?;
    let Some(vlans) = &patch.vlans else { return Ok(network) };
    network.vlans = apart(vlans)?;
    let pool = pool(&network);
    for vlan in allocations::values(context.conn, &pool_name(&network.id)).await? {
        if !pool.contains(vlan) {
            let reason = format!("VLAN {vlan} is in use and would drop out");
            return Err(Error::Conflict { field: "vlans", reason });
        }
    }
    for range in zones::public_ranges(context.conn).await? {
        if let Some(vlan) = range.vlan.filter(|_| range.physical_network == network.id) {
            keep_apart(&network, vlan, "vlans")?;
        }
    }
    zones::write_vlans(context.conn, &network).await?;
    Ok(network)
}

/// Refuses a public VLAN that is also a guest VLAN.
pub(super) fn keep_apart(
    network: &PhysicalNetwork,
    vlan: VlanId,
    field: &'static str,
) -> Result<(), Error> {
    match network.vlans.iter().find(|range| range.contains(vlan)) {
        Some(range) => {
            let reason = format!(
                "VLAN {vlan} of public traffic is in guest VLANs {range} of physical network {}",
                network.name
            );
            Err(Error::Invalid { field, reason })
        }
        None => Ok(()),
    }
}

pub(super) async fn delete(
    context: &mut Context<'_>,
    name: &ObjectId,
) -> Result<PhysicalNetwork, Error> {
    let network = find_physical_network(context.conn, None, name).await?;
    if let Some(by) = user(context, &network).await? {
        return Err(Error::InUse { kind: "physical network", name: network.name.to_string(), by });
    }
    let statement = "DELETE FROM physical_networks WHERE id = $1";
    zones::delete(context.conn, statement, network.id.as_str()).await?;
    Ok(network)
}

async fn user(
    context: &mut Context<'_>,
    network: &PhysicalNetwork,
) -> Result<Option<String>, Error> {
    let guests = networks::networks(context.conn, None).await?;
    if let Some(guest) = guests.iter().find(|guest| guest.physical_network == network.id) {
        return Ok(Some(format!("network {}", guest.name)));
    }
    let ranges = zones::public_ranges(context.conn).await?;
    if let Some(range) = ranges.iter().find(|range| range.physical_network == network.id) {
        return Ok(Some(format!("public range {}", range.name)));
    }
    let vlans = allocations::values(context.conn, &pool_name(&network.id)).await?;
    Ok(vlans.first().map(|vlan| format!("VLAN {vlan} until its router has let it go")))
}
