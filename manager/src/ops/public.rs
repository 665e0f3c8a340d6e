//! Public ranges.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::types::{Cidr, ObjectId};

use super::Context;
use super::physical::keep_apart;
use super::resolve::{
    find_physical_network, find_public_range, find_zone, name_taken, refuse_id_form,
};
use crate::alloc::Pool;
use crate::error::Error;
use crate::model::{PhysicalNetwork, PublicRange, PublicRangeSpec, Zone};
use crate::store::{allocations, networks, zones};

/// The store's name of the pool of a range's addresses.
pub(super) fn pool_name(range: &ObjectId) -> String {
    format!("public:{range}")
}

/// The addresses of a range; a gateway among them is not given out.
pub(super) fn pool(range: &PublicRange) -> Pool {
    Pool::addresses(range.start, range.end).without(i64::from(u32::from(range.gateway)))
}

pub(super) async fn create(
    context: &mut Context<'_>,
    spec: &PublicRangeSpec,
) -> Result<PublicRange, Error> {
    refuse_id_form("pr", spec.name.as_str())?;
    let zone = find_zone(context.conn, &spec.zone).await?;
    let physical = physical_of(context, &zone, spec.physical_network.as_ref()).await?;
    let id = zones::object_id(&zones::next_id(context.conn, "pr").await?)?;
    let range = PublicRange {
        id,
        zone: zone.id.clone(),
        physical_network: physical.id.clone(),
        name: spec.name.clone(),
        vlan: spec.vlan,
        cidr: cidr(spec)?,
        gateway: spec.gateway,
        start: spec.start,
        end: spec.end,
    };
    inside(&range)?;
    if let Some(vlan) = range.vlan {
        keep_apart(&physical, vlan, "vlan")?;
    }
    apart(context, &zone, &range).await?;
    if zones::insert_public_range(context.conn, &range).await? {
        Ok(range)
    } else {
        Err(name_taken("public range", &range.name))
    }
}

/// The named physical network of the zone, or its only one.
pub(super) async fn physical_of(
    context: &mut Context<'_>,
    zone: &Zone,
    name: Option<&ObjectId>,
) -> Result<PhysicalNetwork, Error> {
    if let Some(name) = name {
        return find_physical_network(context.conn, Some(&zone.id), name).await;
    }
    let mut all = zones::physical_networks(context.conn).await?;
    all.retain(|network| network.zone == zone.id);
    let count = all.len();
    all.pop().filter(|_| count == 1).ok_or_else(|| Error::Invalid {
        field: "physical_network",
        reason: format!("must be given: zone {} has {count} physical networks", zone.name),
    })
}

fn invalid(field: &'static str, reason: &str) -> Error {
    Error::Invalid { field, reason: reason.to_owned() }
}

/// The length that the prefix or the netmask states; none when neither is given.
pub(super) fn stated_prefix(spec: &PublicRangeSpec) -> Result<Option<u8>, Error> {
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
    let prefix =
        stated_prefix(spec)?.ok_or_else(|| invalid("prefix", "prefix or netmask must be given"))?;
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

fn inside(range: &PublicRange) -> Result<(), Error> {
    for (field, address) in [("gateway", range.gateway), ("start", range.start), ("end", range.end)]
    {
        if !range.cidr.usable_for_host(IpAddr::V4(address)) {
            let reason = format!("{address} is not a host address of {}", range.cidr);
            return Err(Error::Invalid { field, reason });
        }
    }
    if range.start > range.end {
        let reason = format!("{} is before start {}", range.end, range.start);
        return Err(Error::Invalid { field: "end", reason });
    }
    Ok(())
}

/// Refuses addresses that something else in the zone has.
async fn apart(context: &mut Context<'_>, zone: &Zone, range: &PublicRange) -> Result<(), Error> {
    if range.cidr.overlaps(&zone.control_cidr) {
        let reason = format!("{} overlaps control_cidr {}", range.cidr, zone.control_cidr);
        return Err(Error::Invalid { field: "gateway", reason });
    }
    for other in zones::public_ranges(context.conn).await? {
        let shared = range.start <= other.end && other.start <= range.end;
        if other.zone == range.zone && other.vlan == range.vlan && shared {
            let reason = format!(
                "addresses {} to {} overlap those of public range {}",
                range.start, range.end, other.name
            );
            return Err(Error::Conflict { field: "start", reason });
        }
    }
    Ok(())
}

pub(super) async fn delete(
    context: &mut Context<'_>,
    name: &ObjectId,
) -> Result<PublicRange, Error> {
    let range = find_public_range(context.conn, None, name).await?;
    if let Some(by) = user(context, &range).await? {
        return Err(Error::InUse { kind: "public range", name: range.name.to_string(), by });
    }
    let statement = "DELETE FROM public_ranges WHERE id = $1";
    zones::delete(context.conn, statement, range.id.as_str()).await?;
    Ok(range)
}

async fn user(context: &mut Context<'_>, range: &PublicRange) -> Result<Option<String>, Error> {
    let guests = networks::networks(context.conn, None).await?;
    if let Some(guest) = guests.iter().find(|guest| guest.public_range == range.id) {
        return Ok(Some(format!("network {}", guest.name)));
    }
    let taken = allocations::values(context.conn, &pool_name(&range.id)).await?;
    let address = taken.first().and_then(|value| u32::try_from(*value).ok()).map(Ipv4Addr::from);
    Ok(address.map(|address| format!("address {address} until its router has let it go")))
}
