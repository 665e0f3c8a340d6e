//! What a configuration from elsewhere has that may be somebody else's by now: public addresses, VLANs, guests' addresses and
//! MACs, which all are items of pools.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::ApplianceConfig;
use sluice_api::config::{AnyPart, Attachment, LinkRole};
use sluice_api::types::{ApplianceId, LinkName, ObjectId};
use sqlx::Row as _;

use crate::alloc::{PoolClass, PoolName, mac_number};
use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::{KINDS, dynamic};
use crate::store::allocations::{self, Holder};
use crate::store::{Conn, Scope, from_json, objects};

/// Items of pools, each with the object of the configuration that has it.
pub(super) type Items = BTreeMap<(PoolName, i64), Option<ObjectId>>;

/// What a configuration of `appliance` has.
fn items(appliance: &Appliance, config: &ApplianceConfig) -> Items {
    let mut items = Items::new();
    let zone = PoolName::within(PoolClass::Public, &appliance.zone);
    for link in &config.links {
        if let Attachment::Vlan { trunk, id, .. } = &link.attach
            && let Some(physical) = physical_network(appliance, trunk)
        {
            items.insert((PoolName::within(PoolClass::Vlan, physical), id.get().into()), None);
        }
        for address in link.addresses.iter().filter(|_| link.role == LinkRole::Public) {
            if let IpAddr::V4(address) = address.ip() {
                items.insert((zone.clone(), number(address)), None);
            }
        }
    }
    let AnyPart::Router(router) = &config.role else { return items };
    for network in &router.networks {
        let pool = PoolName::within(PoolClass::Guest, &network.id);
        for guest in &network.guests {
            let by = Some(guest.id.clone());
            for address in guest.secondary_addresses.iter().chain([&guest.address]) {
                items.insert((pool.clone(), number(*address)), by.clone());
            }
            items.insert((PoolName::of_cloud(PoolClass::Mac), mac_number(guest.mac)), by);
        }
    }
    items
}

fn number(address: Ipv4Addr) -> i64 {
    u32::from(address).into()
}

fn physical_network<'a>(appliance: &'a Appliance, trunk: &LinkName) -> Option<&'a ObjectId> {
    let nic = appliance.nics.iter().find(|nic| nic.link == *trunk)?;
    nic.physical_network.as_ref()
}

/// What `document` has and the model does not give to the appliance; refuses when it is somebody else's.
pub(super) async fn refuse_given(
    conn: &mut Conn,
    id: &ApplianceId,
    document: &str,
) -> Result<Items, Error> {
    let found: ApplianceConfig = from_json(document, "configuration")?;
    let appliance: Appliance = dynamic::by_id(conn, &object_id(id)).await?;
    let own = items(&appliance, &compile::configuration(conn, &appliance).await?);
    let mut had = items(&appliance, &found);
    had.retain(|item, by| own.get(item) != Some(by));
    let mut given = Vec::new();
    for ((pool, value), by) in &had {
        let Some(holder) = allocations::holder(conn, pool, *value).await? else { continue };
        let same = by.as_ref().is_some_and(|by| by.as_str() == holder.owner);
        if !same && holder.leaving.as_deref() != Some(id.as_str()) {
            given.push(format!(
                "{} {} is of {}",
                word(pool),
                pool.written(*value),
                told(conn, &holder).await?
            ));
        }
    }
    if given.is_empty() {
        return Ok(had);
    }
    let reason = format!(
        "what {id} has was given to others since: {}; delete or move these, or overwrite {id}",
        given.join(", ")
    );
    Err(Error::Conflict { field: "appliance", reason })
}

fn word(pool: &PoolName) -> &'static str {
    match pool.class() {
        PoolClass::Vlan => "VLAN",
        PoolClass::Mac => "MAC",
        _ => "address",
    }
}

/// Nobody else is given what the appliance has, until it confirms a configuration of the model.
pub(super) async fn hold(conn: &mut Conn, id: &ApplianceId, had: Items) -> Result<(), Error> {
    for ((pool, value), _) in had {
        allocations::hold(conn, &pool, value, id.as_str()).await?;
    }
    Ok(())
}

/// The object that has an item, as people call it.
async fn told(conn: &mut Conn, holder: &Holder) -> Result<String, Error> {
    let row = sqlx::query("SELECT guest FROM nics WHERE id = $1")
        .bind(&holder.owner)
        .fetch_optional(&mut *conn)
        .await?;
    let id = match row {
        Some(row) => row.try_get("guest")?,
        None => holder.owner.clone(),
    };
    let prefix = id.rsplit_once('-').map_or("", |(prefix, _)| prefix);
    let Some(kind) = KINDS.iter().find(|kind| kind.names().prefix == prefix) else {
        return Ok(id);
    };
    let line = objects::get(conn, &kind.table(), Scope::Cloud, &id).await?;
    let name = line.map(|line| line.name).unwrap_or_default();
    Ok(format!("{} {name} ({id})", kind.names().word))
}
