//! Pure comparison of a description with what there is.

use std::collections::BTreeSet;
use std::fmt::Display;

use sluice_api::types::{HostName, ObjectId};

use super::{Change, CloudChange, Existing, Step};
use crate::error::Error;
use crate::model::{
    CloudSpec, Guest, GuestSpec, Network, NetworkPatch, NetworkSpec, PhysicalNetworkPatch,
    PhysicalNetworkSpec, PublicRangeSpec, Zone, ZonePatch, ZoneSpec,
};

/// The steps from `existing` to `cloud`: deletions from the guests outwards, then the rest from the zones inwards.
pub(in crate::ops) fn differences(
    existing: &Existing,
    cloud: &CloudSpec,
    keep: bool,
) -> Result<Vec<Step>, Error> {
    let mut steps = if keep { Vec::new() } else { deletions(existing, cloud) };
    for spec in &cloud.zones {
        steps.extend(zone(existing, spec)?);
    }
    for spec in &cloud.physical_networks {
        steps.extend(physical(existing, spec)?);
    }
    for spec in &cloud.public_ranges {
        steps.extend(range(existing, spec)?);
    }
    for spec in &cloud.networks {
        steps.extend(network(existing, spec)?);
    }
    for spec in &cloud.guests {
        steps.extend(guest(existing, cloud, spec)?);
    }
    Ok(steps)
}

fn line(sign: char, text: String) -> CloudChange {
    CloudChange { sign, text }
}

fn fixed(field: &'static str, what: &dyn Display, old: &dyn Display) -> Error {
    let reason = format!(
        "of {what} is {old} and cannot be changed in place; delete {what} and create it again"
    );
    Error::Invalid { field, reason }
}

/// Refuses a stated value that differs from the one in force; a value left out is whatever it is.
fn unchanged<T: PartialEq + Display>(
    field: &'static str,
    what: &dyn Display,
    old: &T,
    new: Option<&T>,
) -> Result<(), Error> {
    match new {
        Some(new) if new != old => Err(fixed(field, what, old)),
        _ => Ok(()),
    }
}

/// A changed field as `name: old -> new`.
fn note<T: PartialEq + Display>(
    notes: &mut Vec<String>,
    field: &str,
    old: &T,
    new: &T,
) -> Option<()> {
    (old != new).then(|| notes.push(format!("{field}: {old} -> {new}")))
}

/// Refuses a stated reference to another object than the one in force.
fn same(
    field: &'static str,
    what: &dyn Display,
    (id, name): (&ObjectId, Option<&ObjectId>),
    new: Option<&ObjectId>,
) -> Result<(), Error> {
    match new {
        Some(new) if new != id && Some(new) != name => Err(fixed(field, what, name.unwrap_or(id))),
        _ => Ok(()),
    }
}

fn physical_name<'a>(existing: &'a Existing, id: &ObjectId) -> Option<&'a ObjectId> {
    existing.physical.iter().find(|old| &old.id == id).map(|old| &old.name)
}

fn range_name<'a>(existing: &'a Existing, id: &ObjectId) -> Option<&'a ObjectId> {
    existing.ranges.iter().find(|old| &old.id == id).map(|old| &old.name)
}

fn list<T: Display>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
}

fn zone_of<'a>(existing: &'a Existing, name: &ObjectId) -> Option<&'a Zone> {
    existing.zones.iter().find(|zone| &zone.name == name || &zone.id == name)
}

fn zone(existing: &Existing, spec: &ZoneSpec) -> Result<Option<Step>, Error> {
    // taken apart whole, here and below, so that a new field cannot be forgotten
    let ZoneSpec { name, resolvers, guest_cidr, control_cidr, control_gateway, managers } = spec;
    let what = format!("zone {name}");
    let Some(old) = existing.zones.iter().find(|zone| &zone.name == name) else {
        let text = format!("{what} (resolvers {})", list(resolvers));
        return Ok(Some((line('+', text), Change::CreateZone(spec.clone()))));
    };
    unchanged("guest_cidr", &what, &old.guest_cidr, Some(guest_cidr))?;
    unchanged("control_cidr", &what, &old.control_cidr, Some(control_cidr))?;
    if &old.control_gateway != control_gateway {
        let old = old.control_gateway.map_or_else(|| "none".to_owned(), |ip| ip.to_string());
        return Err(fixed("control_gateway", &what, &old));
    }
    unchanged("managers", &what, &list(&old.managers), Some(&list(managers)))?;
    if &old.resolvers == resolvers {
        return Ok(None);
    }
    let text = format!("{what} (resolvers: {} -> {})", list(&old.resolvers), list(resolvers));
    let patch = ZonePatch { resolvers: Some(resolvers.clone()) };
    Ok(Some((line('~', text), Change::UpdateZone(old.id.clone(), patch))))
}

fn physical(existing: &Existing, spec: &PhysicalNetworkSpec) -> Result<Option<Step>, Error> {
    let PhysicalNetworkSpec { zone, name, vlans, mtu } = spec;
    let what = format!("physical network {name}");
    let fits =
        |zone: &Zone| existing.physical.iter().find(|old| old.zone == zone.id && &old.name == name);
    let Some(old) = zone_of(existing, zone).and_then(fits) else {
        let text = format!("{what} (VLANs {})", list(vlans));
        return Ok(Some((line('+', text), Change::CreatePhysicalNetwork(spec.clone()))));
    };
    unchanged("mtu", &what, &old.mtu, Some(mtu))?;
    let mut vlans = vlans.clone();
    vlans.sort_unstable();
    if old.vlans == vlans {
        return Ok(None);
    }
    let text = format!("{what} (VLANs: {} -> {})", list(&old.vlans), list(&vlans));
    let patch = PhysicalNetworkPatch { vlans: Some(vlans) };
    Ok(Some((line('~', text), Change::UpdatePhysicalNetwork(old.id.clone(), patch))))
}

fn range(existing: &Existing, spec: &PublicRangeSpec) -> Result<Option<Step>, Error> {
    let PublicRangeSpec {
        zone,
        physical_network,
        name,
        vlan,
        gateway,
        prefix: _,  // both are in
        netmask: _, // `stated_prefix`
        start,
        end,
    } = spec;
    let what = format!("public range {name}");
    let fits =
        |zone: &Zone| existing.ranges.iter().find(|old| old.zone == zone.id && &old.name == name);
    let Some(old) = zone_of(existing, zone).and_then(fits) else {
        let text = format!("{what} ({start} to {end})");
        return Ok(Some((line('+', text), Change::CreatePublicRange(spec.clone()))));
    };
    let carrier = (&old.physical_network, physical_name(existing, &old.physical_network));
    same("physical_network", &what, carrier, physical_network.as_ref())?;
    unchanged("gateway", &what, &old.gateway, Some(gateway))?;
    unchanged("start", &what, &old.start, Some(start))?;
    unchanged("end", &what, &old.end, Some(end))?;
    let prefix = super::super::public::stated_prefix(spec)?;
    unchanged("prefix", &what, &old.cidr.prefix(), prefix.as_ref())?;
    if &old.vlan != vlan {
        let old = old.vlan.map_or_else(|| "none".to_owned(), |vlan| vlan.to_string());
        return Err(fixed("vlan", &what, &old));
    }
    Ok(None)
}

/// The network called `name` in `zone`; there is none in a zone that does not exist yet.
fn network_of<'a>(existing: &'a Existing, zone: &ObjectId, name: &ObjectId) -> Option<&'a Network> {
    let zone = zone_of(existing, zone)?;
    existing
        .networks
        .iter()
        .find(|old| (&old.name == name || &old.id == name) && old.zone == zone.id)
}

/// The network that a guest is meant for: its zone's, or with no zone stated the only one of that name.
fn network_for<'a>(
    existing: &'a Existing,
    cloud: &CloudSpec,
    spec: &GuestSpec,
) -> Result<Option<&'a Network>, Error> {
    if let Some(zone) = &spec.zone {
        return Ok(network_of(existing, zone, &spec.network));
    }
    let name = &spec.network;
    let fits = |old: &&Network| &old.name == name || &old.id == name;
    let there = existing.networks.iter().filter(fits);
    let there: Vec<_> = there.map(|old| (zone_name(existing, &old.zone), old)).collect();
    let stated = cloud.networks.iter().filter(|spec| &spec.name == name);
    let zones: BTreeSet<&ObjectId> = stated
        .map(|spec| zone_of(existing, &spec.zone).map_or(&spec.zone, |zone| &zone.name))
        .chain(there.iter().map(|(zone, _)| *zone))
        .collect();
    if zones.len() > 1 {
        let zones: Vec<_> = zones.iter().map(|zone| format!("in zone {zone}")).collect();
        let (name, candidates) = (name.to_string(), zones.join(", "));
        return Err(Error::Ambiguous { kind: "network", name, candidates });
    }
    Ok(there.first().map(|(_, old)| *old))
}

fn zone_name<'a>(existing: &'a Existing, id: &'a ObjectId) -> &'a ObjectId {
    existing.zones.iter().find(|zone| &zone.id == id).map_or(id, |zone| &zone.name)
}

fn network(existing: &Existing, spec: &NetworkSpec) -> Result<Option<Step>, Error> {
    let NetworkSpec {
        zone,
        physical_network,
        name,
        domain,
        cidr,
        gateway,
        egress: _, // can change
        vlan,
        public_range,
        source_nat,
        lease_seconds: _, // can change
        mtu,
    } = spec;
    let what = format!("network {name}");
    let Some(old) = network_of(existing, zone, name) else {
        let cidr = cidr.map_or_else(|| "the zone's addresses".to_owned(), |c| c.to_string());
        let text = format!("{what} ({cidr}, domain {domain}) with its router");
        return Ok(Some((line('+', text), Change::CreateNetwork(spec.clone()))));
    };
    let carrier = (&old.physical_network, physical_name(existing, &old.physical_network));
    same("physical_network", &what, carrier, physical_network.as_ref())?;
    let range = (&old.public_range, range_name(existing, &old.public_range));
    same("public_range", &what, range, public_range.as_ref())?;
    unchanged("cidr", &what, &old.cidr, cidr.as_ref())?;
    unchanged("gateway", &what, &old.gateway, gateway.as_ref())?;
    unchanged("vlan", &what, &old.vlan, vlan.as_ref())?;
    unchanged("source_nat", &what, &old.source_nat, source_nat.as_ref())?;
    if mtu.is_some() && mtu != &old.mtu {
        let old =
            old.mtu.map_or_else(|| "the physical network's".to_owned(), |old| old.to_string());
        return Err(fixed("mtu", &what, &old));
    }
    Ok(network_change(old, spec, &what))
}

fn network_change(old: &Network, spec: &NetworkSpec, what: &str) -> Option<Step> {
    let mut notes = Vec::new();
    let egress = |policy| format!("{policy:?}").to_ascii_lowercase();
    let domain = note(&mut notes, "domain", &old.domain, &spec.domain);
    let policy = note(&mut notes, "egress", &egress(old.egress), &egress(spec.egress));
    let lease = note(&mut notes, "lease_seconds", &old.lease_seconds, &spec.lease_seconds);
    let patch = NetworkPatch {
        domain: domain.map(|()| spec.domain.clone()),
        egress: policy.map(|()| spec.egress),
        lease_seconds: lease.map(|()| spec.lease_seconds),
    };
    let text = format!("{what} ({})", notes.join(", "));
    (!notes.is_empty()).then(|| (line('~', text), Change::UpdateNetwork(old.id.clone(), patch)))
}

fn in_network<'a>(
    existing: &'a Existing,
    network: &'a Network,
    name: &'a HostName,
) -> Option<&'a Guest> {
    existing
        .guests
        .iter()
        .find(|old| &old.name == name && old.nics.iter().any(|nic| nic.network == network.id))
}

fn guest(existing: &Existing, cloud: &CloudSpec, spec: &GuestSpec) -> Result<Option<Step>, Error> {
    let GuestSpec { zone: _, network, name, address, mac } = spec; // the zone is in `network_for`
    let what = format!("guest {name} in {network}");
    let network = network_for(existing, cloud, spec)?;
    let old = network.and_then(|network| in_network(existing, network, name));
    let Some(old) = old else {
        let address = address.map_or_else(String::new, |ip| format!(" ({ip})"));
        let text = format!("{what}{address}");
        return Ok(Some((line('+', text), Change::CreateGuest(spec.clone()))));
    };
    let nic = old.nics.iter().find(|nic| network.is_some_and(|net| nic.network == net.id));
    if let Some(nic) = nic {
        unchanged("address", &what, &nic.address, address.as_ref())?;
        unchanged("mac", &what, &nic.mac, mac.as_ref())?;
    }
    Ok(None)
}

/// What zones of the description have and the description does not.
fn deletions(existing: &Existing, cloud: &CloudSpec) -> Vec<Step> {
    let mut steps = Vec::new();
    let zones = existing.zones.iter().filter(|old| cloud.zones.iter().any(|z| z.name == old.name));
    for zone in zones {
        let of = |name: &ObjectId| name == &zone.name || name == &zone.id;
        guests_gone(&mut steps, existing, cloud, zone);
        for old in existing.networks.iter().filter(|old| old.zone == zone.id) {
            if !cloud.networks.iter().any(|spec| of(&spec.zone) && spec.name == old.name) {
                let text = format!("network {} with its router's duties", old.name);
                steps.push((line('-', text), Change::DeleteNetwork(old.id.clone())));
            }
        }
        for old in existing.ranges.iter().filter(|old| old.zone == zone.id) {
            if !cloud.public_ranges.iter().any(|spec| of(&spec.zone) && spec.name == old.name) {
                let text = format!("public range {}", old.name);
                steps.push((line('-', text), Change::DeletePublicRange(old.id.clone())));
            }
        }
        for old in existing.physical.iter().filter(|old| old.zone == zone.id) {
            if !cloud.physical_networks.iter().any(|spec| of(&spec.zone) && spec.name == old.name) {
                let text = format!("physical network {}", old.name);
                steps.push((line('-', text), Change::DeletePhysicalNetwork(old.id.clone())));
            }
        }
    }
    steps
}

fn guests_gone(steps: &mut Vec<Step>, existing: &Existing, cloud: &CloudSpec, zone: &Zone) {
    let wanted: BTreeSet<_> = cloud
        .guests
        .iter()
        .filter_map(|spec| {
            // an ambiguous one is refused where the guests themselves are compared
            let network = network_for(existing, cloud, spec).ok().flatten()?;
            Some((&network.id, &spec.name))
        })
        .collect();
    for old in existing.guests.iter().filter(|old| old.zone == zone.id) {
        if !old.nics.iter().any(|nic| wanted.contains(&(&nic.network, &old.name))) {
            let text = format!("guest {}", old.name);
            steps.push((line('-', text), Change::DeleteGuest(old.id.clone())));
        }
    }
}

#[cfg(test)]
mod tests;
