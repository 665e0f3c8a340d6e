//! Zones.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_api::types::ObjectId;

use super::Context;
use super::resolve::{find_zone, name_taken, refuse_id_form};
use crate::error::Error;
use crate::model::{Zone, ZonePatch, ZoneSpec};
use crate::store::{appliances, networks, zones};

pub(super) async fn create(context: &mut Context<'_>, spec: &ZoneSpec) -> Result<Zone, Error> {
    refuse_id_form("z", spec.name.as_str())?;
    check(spec)?;
    let id = zones::object_id(&zones::next_id(context.conn, "z").await?)?;
    let zone = Zone {
        id,
        name: spec.name.clone(),
        resolvers: spec.resolvers.clone(),
        guest_cidr: spec.guest_cidr,
        control_cidr: spec.control_cidr,
        control_gateway: spec.control_gateway,
        managers: spec.managers.clone(),
    };
    if zones::insert_zone(context.conn, &zone).await? {
        Ok(zone)
    } else {
        Err(name_taken("zone", &zone.name))
    }
}

fn check(spec: &ZoneSpec) -> Result<(), Error> {
    let invalid = |field, reason: String| Err(Error::Invalid { field, reason });
    resolvers(&spec.resolvers)?;
    if !spec.guest_cidr.is_ipv4() {
        return invalid("guest_cidr", "must be an IPv4 network".to_owned());
    }
    if !spec.control_cidr.is_ipv4() || spec.control_cidr.prefix() > 27 {
        return invalid("control_cidr", "must be an IPv4 network of /27 or wider".to_owned());
    }
    if spec.control_cidr.overlaps(&spec.guest_cidr) {
        let reason = format!("{} overlaps guest_cidr {}", spec.control_cidr, spec.guest_cidr);
        return invalid("control_cidr", reason);
    }
    let Some(gateway) = spec.control_gateway else { return Ok(()) };
    if !spec.control_cidr.usable_for_host(IpAddr::V4(gateway)) {
        let reason = format!("{gateway} is not a host address of {}", spec.control_cidr);
        return invalid("control_gateway", reason);
    }
    if spec.managers.is_empty() {
        return invalid("managers", "must say which networks the control gateway leads to".into());
    }
    Ok(())
}

fn resolvers(resolvers: &[IpAddr]) -> Result<(), Error> {
    let invalid = |reason: String| Err(Error::Invalid { field: "resolvers", reason });
    if resolvers.is_empty() || resolvers.len() > 4 {
        return invalid(format!("must be 1 to 4 addresses, not {}", resolvers.len()));
    }
    if resolvers.iter().collect::<BTreeSet<_>>().len() < resolvers.len() {
        return invalid("an address is listed twice".to_owned());
    }
    match resolvers.iter().find(|ip| ip.is_unspecified() || ip.is_multicast() || ip.is_loopback()) {
        Some(ip) => invalid(format!("{ip} cannot be a resolver of a router")),
        None => Ok(()),
    }
}

pub(super) async fn update(
    context: &mut Context<'_>,
    name: &ObjectId,
    patch: &ZonePatch,
) -> Result<Zone, Error> {
    let mut zone = find_zone(context.conn, name).await?;
    if let Some(new) = &patch.resolvers {
        resolvers(new)?;
        zone.resolvers.clone_from(new);
    }
    zones::update_zone(context.conn, &zone).await?;
    for row in appliances::appliances(context.conn, None).await? {
        if row.appliance.zone == zone.id {
            context.touch(&row.appliance.id);
        }
    }
    Ok(zone)
}

pub(super) async fn delete(context: &mut Context<'_>, name: &ObjectId) -> Result<Zone, Error> {
    let zone = find_zone(context.conn, name).await?;
    if let Some(by) = user(context, &zone).await? {
        return Err(Error::InUse { kind: "zone", name: zone.name.to_string(), by });
    }
    zones::delete(context.conn, "DELETE FROM zones WHERE id = $1", zone.id.as_str()).await?;
    Ok(zone)
}

/// Something that is in the zone, nearest to the guests first.
async fn user(context: &mut Context<'_>, zone: &Zone) -> Result<Option<String>, Error> {
    let network = networks::networks(context.conn, None).await?;
    if let Some(network) = network.iter().find(|network| network.zone == zone.id) {
        return Ok(Some(format!("network {}", network.name)));
    }
    let appliance = appliances::appliances(context.conn, None).await?;
    if let Some(row) = appliance.iter().find(|row| row.appliance.zone == zone.id) {
        return Ok(Some(format!("appliance {}", row.appliance.id)));
    }
    let range = zones::public_ranges(context.conn).await?;
    if let Some(range) = range.iter().find(|range| range.zone == zone.id) {
        return Ok(Some(format!("public range {}", range.name)));
    }
    let physical = zones::physical_networks(context.conn).await?;
    let physical = physical.iter().find(|network| network.zone == zone.id);
    Ok(physical.map(|network| format!("physical network {}", network.name)))
}
