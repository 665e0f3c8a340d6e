//! Appliances: made with their network, reached by control address or endpoint, gone when their machine is.

use std::net::IpAddr;

use sluice_api::boot::{BootControl, BootDocument, Role};
use sluice_api::config::ConfigVersion;
use sluice_api::types::{ApplianceId, InterfaceAddress, ObjectId};
use sqlx::SqliteConnection;

use super::resolve::not_found;
use super::{Context, guest};
use crate::alloc::Pool;
use crate::ca::Authority;
use crate::error::Error;
use crate::model::{Appliance, ApplianceNic, EndpointSpec, Network, NicPurpose, PublicRange, Zone};
use crate::store::Taken;
use crate::store::{allocations, appliances, zones};

/// Control addresses that appliances never get: managers, gateways and the lab's own services sit there.
const KEPT_CONTROL_ADDRESSES: i64 = 9;

/// The id of a router to be.
pub(super) async fn next_router(context: &mut Context<'_>) -> Result<ApplianceId, Error> {
    let id = zones::object_id(&zones::next_id(context.conn, "r").await?)?;
    super::resolve::appliance_id(&id)
}

/// The router of a new network: control address, NICs, and a configuration at the end of the transaction.
pub(super) async fn create_router(
    context: &mut Context<'_>,
    zone: &Zone,
    network: &Network,
    range: &PublicRange,
) -> Result<(), Error> {
    let id = network.router.clone();
    let mut nics = Vec::new();
    for (purpose, physical_network) in plugs(network, range) {
        let taken = Taken {
            owner: id.as_str(),
            purpose: "appliance NIC",
            appliance: Some(id.as_str()),
            request: context.request,
        };
        let mac = guest::take_mac(context, None, taken).await?;
        nics.push(ApplianceNic { purpose, physical_network, mac });
    }
    let appliance = Appliance {
        control: take_control(context, zone, &id).await?,
        id,
        role: Role::Router,
        zone: zone.id.clone(),
        network: Some(network.id.clone()),
        endpoint: None,
        nics,
    };
    appliances::insert(context.conn, &appliance).await?;
    context.touch(&appliance.id);
    Ok(())
}

/// Where a router has to be plugged in: control, the public network when untagged, and a trunk per physical network.
fn plugs(network: &Network, range: &PublicRange) -> Vec<(NicPurpose, Option<ObjectId>)> {
    let mut plugs = vec![(NicPurpose::Control, None)];
    if range.vlan.is_none() {
        plugs.push((NicPurpose::Public, Some(range.physical_network.clone())));
    }
    plugs.push((NicPurpose::Trunk, Some(network.physical_network.clone())));
    if range.vlan.is_some() && range.physical_network != network.physical_network {
        plugs.push((NicPurpose::Trunk, Some(range.physical_network.clone())));
    }
    plugs
}

async fn take_control(
    context: &mut Context<'_>,
    zone: &Zone,
    id: &ApplianceId,
) -> Result<InterfaceAddress, Error> {
    let mut pool = Pool::hosts(zone.control_cidr).without_first(KEPT_CONTROL_ADDRESSES);
    if let Some(gateway) = zone.control_gateway {
        pool = pool.without(i64::from(u32::from(gateway)));
    }
    let taken = Taken {
        owner: id.as_str(),
        purpose: "control address",
        appliance: Some(id.as_str()),
        request: context.request,
    };
    let name = format!("control:{}", zone.id);
    let value = allocations::take_any(context.conn, &name, &pool, taken).await?;
    let value = value.ok_or_else(|| Error::Exhausted {
        pool: format!("the control addresses of zone {}", zone.name),
    })?;
    InterfaceAddress::new(IpAddr::V4(guest::ipv4(value)?), zone.control_cidr.prefix())
        .map_err(|error| Error::Corrupt { what: "control address", reason: error.to_string() })
}

async fn find(conn: &mut SqliteConnection, name: &ObjectId) -> Result<Appliance, Error> {
    let row = appliances::appliances(conn, Some(name.as_str())).await?.pop();
    row.map(|row| row.appliance).ok_or_else(|| not_found("appliance", name))
}

pub(super) async fn endpoint(
    context: &mut Context<'_>,
    name: &ObjectId,
    spec: &EndpointSpec,
) -> Result<Appliance, Error> {
    let mut appliance = find(context.conn, name).await?;
    if spec.address.is_some_and(|address| address.port() == 0) {
        return Err(Error::Invalid { field: "address", reason: "port 0 is not a port".into() });
    }
    appliance.endpoint = spec.address;
    appliances::set_endpoint(context.conn, &appliance).await?;
    context.touch(&appliance.id);
    Ok(appliance)
}

/// Deletes an appliance whose machine was destroyed, and with it all that it might still have been using.
pub(super) async fn delete(context: &mut Context<'_>, name: &ObjectId) -> Result<Appliance, Error> {
    let appliance = find(context.conn, name).await?;
    if let Some(network) = &appliance.network {
        let by = format!("network {network}; to rebuild the machine, take a new boot document");
        return Err(Error::InUse { kind: "appliance", name: name.to_string(), by });
    }
    forget(context, appliance.id.as_str()).await?;
    context.touch(&appliance.id);
    Ok(appliance)
}

/// Removes an appliance that no machine runs, and frees all that it had.
pub(super) async fn forget(context: &mut Context<'_>, id: &str) -> Result<(), Error> {
    allocations::free_all(context.conn, id).await?;
    appliances::delete(context.conn, id).await
}

/// A boot document with a fresh certificate. Earlier certificates stay good until they end.
pub async fn boot_document(
    conn: &mut SqliteConnection,
    authority: &Authority,
    name: &ObjectId,
) -> Result<BootDocument, Error> {
    let appliance = find(conn, name).await?;
    let zone = zones::zones(conn).await?.into_iter().find(|zone| zone.id == appliance.zone);
    let zone = zone.ok_or_else(|| not_found("zone", &appliance.zone))?;
    let mac = appliance.nics.iter().find(|nic| nic.purpose == NicPurpose::Control);
    let mac = mac.ok_or(Error::Corrupt { what: "NICs", reason: "no control NIC".into() })?.mac;
    let issued = authority.appliance(&appliance.id)?;
    appliances::set_certificate(conn, appliance.id.as_str(), issued.until).await?;
    let control = BootControl {
        mac,
        address: appliance.control,
        gateway: zone.control_gateway.map(IpAddr::V4),
        mtu: None,
    };
    Ok(BootDocument {
        version: ConfigVersion,
        role: appliance.role,
        appliance: appliance.id,
        control,
        identity: issued.identity,
    })
}
