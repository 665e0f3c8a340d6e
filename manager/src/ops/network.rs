//! Guest networks: their VLAN, their public address and their router come and go with them.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::types::{Cidr, ObjectId, VlanId};

use super::resolve::{
    find_network, find_public_range, find_zone, name_taken, not_found, refuse_id_form,
};
use super::{Context, appliance, physical, public};
use crate::error::Error;
use crate::model::{
    Network, NetworkPatch, NetworkSpec, PhysicalNetwork, PublicRange, Zone,
    spec::WIDEST_GUEST_PREFIX,
};
use crate::store::Taken;
use crate::store::{allocations, appliances, guests, networks, zones};

/// Longest prefix of a guest network: a /29 has room for the router and five guests.
const NARROWEST_PREFIX: u8 = 29;

pub(super) async fn create(
    context: &mut Context<'_>,
    spec: &NetworkSpec,
) -> Result<Network, Error> {
    refuse_id_form("n", spec.name.as_str())?;
    let zone = find_zone(context.conn, &spec.zone).await?;
    let physical = public::physical_of(context, &zone, spec.physical_network.as_ref()).await?;
    let cidr = spec.cidr.unwrap_or(zone.guest_cidr);
    let gateway = gateway(cidr, spec.gateway)?;
    mtu(spec, &physical)?;
    let id = zones::object_id(&zones::next_id(context.conn, "n").await?)?;
    let router = appliance::next_router(context).await?;
    let owner = Owner { network: &id, router: router.as_str() };
    let vlan = take_vlan(context, &physical, spec.vlan, owner).await?;
    let (range, source_nat) = take_public(context, &zone, spec, owner).await?;
    apart(cidr, &zone, &range)?;
    let network = Network {
        id: id.clone(),
        zone: zone.id.clone(),
        physical_network: physical.id,
        public_range: range.id.clone(),
        name: spec.name.clone(),
        domain: spec.domain.clone(),
        cidr,
        gateway,
        egress: spec.egress,
        vlan,
        source_nat,
        lease_seconds: spec.lease_seconds,
        mtu: spec.mtu,
        router,
    };
    if !networks::insert(context.conn, &network).await? {
        return Err(name_taken("network", &network.name));
    }
    appliance::create_router(context, &zone, &network, &range).await?;
    Ok(network)
}

/// For whom a network's items are taken.
#[derive(Clone, Copy)]
struct Owner<'a> {
    network: &'a ObjectId,
    router: &'a str,
}

fn taken<'a>(context: &Context<'a>, owner: Owner<'a>, purpose: &'a str) -> Taken<'a> {
    Taken {
        owner: owner.network.as_str(),
        purpose,
        appliance: Some(owner.router),
        request: context.request,
    }
}

fn gateway(cidr: Cidr, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
    let (IpAddr::V4(base), prefix) = (cidr.network(), cidr.prefix()) else {
        return Err(Error::Invalid { field: "cidr", reason: "must be an IPv4 network".into() });
    };
    if !(WIDEST_GUEST_PREFIX..=NARROWEST_PREFIX).contains(&prefix) {
        let reason =
            format!("must be /{WIDEST_GUEST_PREFIX} to /{NARROWEST_PREFIX}, not /{prefix}");
        return Err(Error::Invalid { field: "cidr", reason });
    }
    let gateway = asked.unwrap_or_else(|| Ipv4Addr::from(u32::from(base).saturating_add(1)));
    if !cidr.usable_for_host(IpAddr::V4(gateway)) {
        let reason = format!("{gateway} is not a host address of {cidr}");
        return Err(Error::Invalid { field: "gateway", reason });
    }
    Ok(gateway)
}

fn mtu(spec: &NetworkSpec, physical: &PhysicalNetwork) -> Result<(), Error> {
    match spec.mtu {
        Some(mtu) if mtu > physical.mtu => {
            let reason = format!(
                "{mtu} is larger than {} of physical network {}",
                physical.mtu, physical.name
            );
            Err(Error::Invalid { field: "mtu", reason })
        }
        _ => Ok(()),
    }
}

/// Its own router must be able to tell the guests' addresses from the public and the control ones.
fn apart(cidr: Cidr, zone: &Zone, range: &PublicRange) -> Result<(), Error> {
    let others =
        [("control_cidr", zone.control_cidr), ("the network of its public range", range.cidr)];
    match others.iter().find(|(_, other)| cidr.overlaps(other)) {
        Some((what, other)) => {
            let reason = format!("{cidr} overlaps {what} {other}");
            Err(Error::Invalid { field: "cidr", reason })
        }
        None => Ok(()),
    }
}

async fn take_vlan(
    context: &mut Context<'_>,
    physical: &PhysicalNetwork,
    asked: Option<VlanId>,
    owner: Owner<'_>,
) -> Result<VlanId, Error> {
    let (pool, name) = (physical::pool(physical), physical::pool_name(&physical.id));
    let taken = taken(context, owner, "guest VLAN");
    let Some(vlan) = asked else {
        let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
        let vlan = found.ok_or_else(|| Error::Exhausted {
            pool: format!("the guest VLANs of physical network {}", physical.name),
        })?;
        return vlan_id(vlan);
    };
    if !pool.contains(i64::from(vlan.get())) {
        let reason = format!("{vlan} is no guest VLAN of physical network {}", physical.name);
        return Err(Error::Invalid { field: "vlan", reason });
    }
    if !allocations::take(context.conn, &name, i64::from(vlan.get()), taken).await? {
        return Err(Error::Conflict { field: "vlan", reason: format!("VLAN {vlan} is taken") });
    }
    Ok(vlan)
}

fn vlan_id(value: i64) -> Result<VlanId, Error> {
    let corrupt = |reason: String| Error::Corrupt { what: "VLAN", reason };
    let value = u64::try_from(value).map_err(|_| corrupt(format!("{value} is negative")))?;
    VlanId::try_from(value).map_err(|error| corrupt(error.to_string()))
}

async fn take_public(
    context: &mut Context<'_>,
    zone: &Zone,
    spec: &NetworkSpec,
    owner: Owner<'_>,
) -> Result<(PublicRange, Ipv4Addr), Error> {
    let ranges = candidates(context, zone, spec).await?;
    let taken = taken(context, owner, "source NAT");
    if let Some(address) = spec.source_nat {
        return take_requested(context, ranges, address, taken).await;
    }
    for range in ranges {
        let (pool, name) = (public::pool(&range), public::pool_name(&range.id));
        if let Some(value) = allocations::take_any(context.conn, &name, &pool, taken).await? {
            return Ok((range, super::guest::ipv4(value)?));
        }
    }
    Err(Error::Exhausted { pool: format!("the public addresses of zone {}", zone.name) })
}

async fn candidates(
    context: &mut Context<'_>,
    zone: &Zone,
    spec: &NetworkSpec,
) -> Result<Vec<PublicRange>, Error> {
    if let Some(name) = &spec.public_range {
        return Ok(vec![find_public_range(context.conn, Some(&zone.id), name).await?]);
    }
    let mut ranges = zones::public_ranges(context.conn).await?;
    ranges.retain(|range| range.zone == zone.id);
    Ok(ranges)
}

async fn take_requested(
    context: &mut Context<'_>,
    ranges: Vec<PublicRange>,
    address: Ipv4Addr,
    taken: Taken<'_>,
) -> Result<(PublicRange, Ipv4Addr), Error> {
    let value = i64::from(u32::from(address));
    let range = ranges.into_iter().find(|range| public::pool(range).contains(value));
    let Some(range) = range else {
        let reason = format!("{address} is in no public range that this network may use");
        return Err(Error::Invalid { field: "source_nat", reason });
    };
    if allocations::take(context.conn, &public::pool_name(&range.id), value, taken).await? {
        Ok((range, address))
    } else {
        Err(Error::Conflict { field: "source_nat", reason: format!("{address} is taken") })
    }
}

pub(super) async fn update(
    context: &mut Context<'_>,
    name: &ObjectId,
    patch: &NetworkPatch,
) -> Result<Network, Error> {
    let mut network = find_network(context.conn, None, name).await?;
    if let Some(domain) = &patch.domain {
        network.domain = domain.clone();
    }
    network.egress = patch.egress.unwrap_or(network.egress);
    network.lease_seconds = patch.lease_seconds.unwrap_or(network.lease_seconds);
    networks::update(context.conn, &network).await?;
    context.touch(&network.router);
    Ok(network)
}

/// Deletes a network. What it had is released, and free once its router confirmed a configuration without it; a router
/// that never got a boot document goes with it.
pub(super) async fn delete(context: &mut Context<'_>, name: &ObjectId) -> Result<Network, Error> {
    let network = find_network(context.conn, None, name).await?;
    let inside = guests::nics(context.conn, &network.id).await?;
    if let Some((guest, _)) = inside.first() {
        let by = format!("guest {guest} and {} more", inside.len() - 1);
        return Err(Error::InUse { kind: "network", name: network.name.to_string(), by });
    }
    let id = network.router.as_str();
    let row = appliances::appliances(context.conn, Some(id)).await?.pop();
    let row = row.ok_or_else(|| not_found("appliance", name))?;
    appliances::detach(context.conn, id).await?;
    allocations::release(context.conn, network.id.as_str()).await?;
    networks::delete(context.conn, network.id.as_str()).await?;
    if row.sent.is_none() && row.certificate_until.is_none() {
        appliance::forget(context, id).await?;
    } else {
        context.touch(&network.router);
    }
    Ok(network)
}
