//! Guests: an address and a MAC each, and a line in their router's configuration.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::types::{HostName, MacAddr, ObjectId};

use super::Context;
use super::resolve::{find_guest, find_network, find_zone, name_taken, refuse_id_form};
use crate::alloc::{Pool, mac_number, random_mac};
use crate::error::Error;
use crate::model::{Guest, GuestPatch, GuestSpec, Network, Nic};
use crate::store::Taken;
use crate::store::{allocations, guests, networks, zones};

/// The store's name of the pool of all MAC addresses.
pub(super) const MACS: &str = "mac";
/// How often a random MAC is drawn; with 46 bits the second is needed once in a million clouds.
const DRAWS: usize = 8;

pub(super) async fn create(context: &mut Context<'_>, spec: &GuestSpec) -> Result<Guest, Error> {
    refuse_id_form("g", spec.name.as_str())?;
    let zone = match &spec.zone {
        Some(name) => Some(find_zone(context.conn, name).await?.id),
        None => None,
    };
    let network = find_network(context.conn, zone.as_ref(), &spec.network).await?;
    free_name(context, &network, &spec.name).await?;
    let id = zones::object_id(&zones::next_id(context.conn, "g").await?)?;
    let nic_id = zones::object_id(&zones::next_id(context.conn, "nic").await?)?;
    let address = take_address(context, &network, &nic_id, spec.address).await?;
    let owner = nic_id.as_str();
    let taken = Taken {
        owner,
        purpose: "guest NIC",
        appliance: Some(network.router.as_str()),
        request: context.request,
    };
    let mac = take_mac(context, spec.mac, taken).await?;
    let nic = Nic { id: nic_id.clone(), network: network.id.clone(), mac, address };
    let guest =
        Guest { id, zone: network.zone.clone(), name: spec.name.clone(), nics: vec![nic.clone()] };
    if !guests::insert(context.conn, &guest, &nic).await? {
        return Err(name_taken("guest", &guest.name));
    }
    context.touch(&network.router);
    Ok(guest)
}

async fn free_name(
    context: &mut Context<'_>,
    network: &Network,
    name: &HostName,
) -> Result<(), Error> {
    if guests::name_taken(context.conn, network, name).await? {
        return Err(name_taken("guest", format!("{name} in network {}", network.name)));
    }
    Ok(())
}

fn pool_name(network: &Network) -> String {
    format!("guest:{}", network.id)
}

async fn take_address(
    context: &mut Context<'_>,
    network: &Network,
    nic: &ObjectId,
    asked: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, Error> {
    let pool = Pool::hosts(network.cidr).without(i64::from(u32::from(network.gateway)));
    let name = pool_name(network);
    let taken = Taken {
        owner: nic.as_str(),
        purpose: "guest address",
        appliance: Some(network.router.as_str()),
        request: context.request,
    };
    let Some(address) = asked else {
        let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
        return ipv4(found.ok_or_else(|| Error::Exhausted {
            pool: format!("the addresses of network {}", network.name),
        })?);
    };
    usable(network, address)?;
    if allocations::take(context.conn, &name, i64::from(u32::from(address)), taken).await? {
        Ok(address)
    } else {
        Err(Error::Conflict { field: "address", reason: format!("{address} is taken") })
    }
}

fn usable(network: &Network, address: Ipv4Addr) -> Result<(), Error> {
    let invalid = |reason| Err(Error::Invalid { field: "address", reason });
    if !network.cidr.usable_for_host(IpAddr::V4(address)) {
        return invalid(format!("{address} is not a host address of {}", network.cidr));
    }
    if address == network.gateway {
        return invalid(format!("{address} is the gateway of network {}", network.name));
    }
    Ok(())
}

/// Takes the MAC that was asked for, or a random one.
pub(super) async fn take_mac(
    context: &mut Context<'_>,
    asked: Option<MacAddr>,
    taken: Taken<'_>,
) -> Result<MacAddr, Error> {
    if let Some(mac) = asked {
        if allocations::take(context.conn, MACS, mac_number(mac), taken).await? {
            return Ok(mac);
        }
        return Err(Error::Conflict { field: "mac", reason: format!("{mac} is taken") });
    }
    for _ in 0..DRAWS {
        let mac = random_mac();
        if allocations::take(context.conn, MACS, mac_number(mac), taken).await? {
            return Ok(mac);
        }
    }
    Err(Error::Exhausted { pool: "the MAC addresses".to_owned() })
}

/// An allocated number as an address.
pub(super) fn ipv4(value: i64) -> Result<Ipv4Addr, Error> {
    let corrupt = || Error::Corrupt { what: "address", reason: format!("{value} is none") };
    u32::try_from(value).map(Ipv4Addr::from).map_err(|_| corrupt())
}

pub(super) async fn update(
    context: &mut Context<'_>,
    name: &ObjectId,
    patch: &GuestPatch,
) -> Result<Guest, Error> {
    let mut guest = find_guest(context.conn, name).await?;
    let Some(new) = patch.name.as_ref().filter(|new| **new != guest.name) else {
        return Ok(guest);
    };
    refuse_id_form("g", new.as_str())?;
    for network in networks_of(context, &guest).await? {
        free_name(context, &network, new).await?;
        context.touch(&network.router);
    }
    guest.name = new.clone();
    guests::rename(context.conn, &guest).await?;
    Ok(guest)
}

/// Deletes a guest; its addresses are free once its router confirmed a configuration without it.
pub(super) async fn delete(context: &mut Context<'_>, name: &ObjectId) -> Result<Guest, Error> {
    let guest = find_guest(context.conn, name).await?;
    for network in networks_of(context, &guest).await? {
        context.touch(&network.router);
    }
    for nic in &guest.nics {
        allocations::release(context.conn, nic.id.as_str()).await?;
    }
    guests::delete(context.conn, &guest.id).await?;
    Ok(guest)
}

async fn networks_of(context: &mut Context<'_>, guest: &Guest) -> Result<Vec<Network>, Error> {
    let mut found = Vec::with_capacity(guest.nics.len());
    for nic in &guest.nics {
        found.extend(networks::networks(context.conn, Some(nic.network.as_str())).await?);
    }
    Ok(found)
}
