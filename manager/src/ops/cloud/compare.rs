//! Pure comparison of a description with what there is.

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
        steps.extend(guest(existing, spec)?);
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

fn list<T: Display>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
}

fn zone_of<'a>(existing: &'a Existing, name: &ObjectId) -> Option<&'a Zone> {
    existing.zones.iter().find(|zone| &zone.name == name || &zone.id == name)
}

fn zone(existing: &Existing, spec: &ZoneSpec) -> Result<Option<Step>, Error> {
    let what = format!("zone {}", spec.name);
    let Some(old) = existing.zones.iter().find(|zone| zone.name == spec.name) else {
        let text = format!("{what} (resolvers {})", list(&spec.resolvers));
        return Ok(Some((line('+', text), Change::CreateZone(spec.clone()))));
    };
    unchanged("guest_cidr", &what, &old.guest_cidr, Some(&spec.guest_cidr))?;
    unchanged("control_cidr", &what, &old.control_cidr, Some(&spec.control_cidr))?;
    if old.control_gateway != spec.control_gateway {
        let old = old.control_gateway.map_or_else(|| "none".to_owned(), |ip| ip.to_string());
        return Err(fixed("control_gateway", &what, &old));
    }
    unchanged("managers", &what, &list(&old.managers), Some(&list(&spec.managers)))?;
    if old.resolvers == spec.resolvers {
        return Ok(None);
    }
    let text = format!("{what} (resolvers: {} -> {})", list(&old.resolvers), list(&spec.resolvers));
    let patch = ZonePatch { resolvers: Some(spec.resolvers.clone()) };
    Ok(Some((line('~', text), Change::UpdateZone(old.id.clone(), patch))))
}

fn physical(existing: &Existing, spec: &PhysicalNetworkSpec) -> Result<Option<Step>, Error> {
    let what = format!("physical network {}", spec.name);
    let zone = zone_of(existing, &spec.zone);
    let fits = |zone: &Zone| {
        existing.physical.iter().find(|old| old.zone == zone.id && old.name == spec.name)
    };
    let Some(old) = zone.and_then(fits) else {
        let text = format!("{what} (VLANs {})", list(&spec.vlans));
        return Ok(Some((line('+', text), Change::CreatePhysicalNetwork(spec.clone()))));
    };
    unchanged("mtu", &what, &old.mtu, Some(&spec.mtu))?;
    let mut vlans = spec.vlans.clone();
    vlans.sort_unstable();
    if old.vlans == vlans {
        return Ok(None);
    }
    let text = format!("{what} (VLANs: {} -> {})", list(&old.vlans), list(&vlans));
    let patch = PhysicalNetworkPatch { vlans: Some(vlans) };
    Ok(Some((line('~', text), Change::UpdatePhysicalNetwork(old.id.clone(), patch))))
}

fn range(existing: &Existing, spec: &PublicRangeSpec) -> Result<Option<Step>, Error> {
    let what = format!("public range {}", spec.name);
    let zone = zone_of(existing, &spec.zone);
    let fits = |zone: &Zone| {
        existing.ranges.iter().find(|old| old.zone == zone.id && old.name == spec.name)
    };
    let Some(old) = zone.and_then(fits) else {
        let text = format!("{what} ({} to {})", spec.start, spec.end);
        return Ok(Some((line('+', text), Change::CreatePublicRange(spec.clone()))));
    };
    unchanged("gateway", &what, &old.gateway, Some(&spec.gateway))?;
    unchanged("start", &what, &old.start, Some(&spec.start))?;
    unchanged("end", &what, &old.end, Some(&spec.end))?;
    unchanged("prefix", &what, &old.cidr.prefix(), spec.prefix.as_ref())?;
    if old.vlan != spec.vlan {
        let old = old.vlan.map_or_else(|| "none".to_owned(), |vlan| vlan.to_string());
        return Err(fixed("vlan", &what, &old));
    }
    Ok(None)
}

fn network_of<'a>(
    existing: &'a Existing,
    zone: Option<&ObjectId>,
    name: &ObjectId,
) -> Option<&'a Network> {
    let zone = zone.and_then(|zone| zone_of(existing, zone)).map(|zone| &zone.id);
    existing.networks.iter().find(|old| {
        (&old.name == name || &old.id == name) && zone.is_none_or(|zone| zone == &old.zone)
    })
}

fn network(existing: &Existing, spec: &NetworkSpec) -> Result<Option<Step>, Error> {
    let what = format!("network {}", spec.name);
    let known = zone_of(existing, &spec.zone).is_some();
    let old = network_of(existing, Some(&spec.zone), &spec.name).filter(|_| known);
    let Some(old) = old else {
        let cidr = spec.cidr.map_or_else(|| "the zone's addresses".to_owned(), |c| c.to_string());
        let text = format!("{what} ({cidr}, domain {}) with its router", spec.domain);
        return Ok(Some((line('+', text), Change::CreateNetwork(spec.clone()))));
    };
    unchanged("cidr", &what, &old.cidr, spec.cidr.as_ref())?;
    unchanged("gateway", &what, &old.gateway, spec.gateway.as_ref())?;
    unchanged("vlan", &what, &old.vlan, spec.vlan.as_ref())?;
    unchanged("source_nat", &what, &old.source_nat, spec.source_nat.as_ref())?;
    if spec.mtu.is_some() && spec.mtu != old.mtu {
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

fn guest(existing: &Existing, spec: &GuestSpec) -> Result<Option<Step>, Error> {
    let what = format!("guest {} in {}", spec.name, spec.network);
    let network = network_of(existing, spec.zone.as_ref(), &spec.network);
    let old = network.and_then(|network| in_network(existing, network, &spec.name));
    let Some(old) = old else {
        let address = spec.address.map_or_else(String::new, |ip| format!(" ({ip})"));
        let text = format!("{what}{address}");
        return Ok(Some((line('+', text), Change::CreateGuest(spec.clone()))));
    };
    let nic = old.nics.iter().find(|nic| network.is_some_and(|net| nic.network == net.id));
    if let Some(nic) = nic {
        unchanged("address", &what, &nic.address, spec.address.as_ref())?;
        unchanged("mac", &what, &nic.mac, spec.mac.as_ref())?;
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
    let wanted: std::collections::BTreeSet<_> = cloud
        .guests
        .iter()
        .filter_map(|spec| {
            let network = network_of(existing, spec.zone.as_ref(), &spec.network)?;
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
