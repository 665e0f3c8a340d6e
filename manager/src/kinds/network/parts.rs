//! What a network to be is made of: its gateway, its router, the VPC that it is a tier of.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::boot::Role;
use sluice_api::config::EgressPolicy;
use sluice_api::types::{ApplianceId, Cidr, Mtu, ObjectId};

use super::{NARROWEST_PREFIX, NO_ROUTER, NetworkSpec, WIDEST_PREFIX};
use crate::error::Error;
use crate::kinds::Context;
use crate::kinds::acl_list::AclList;
use crate::kinds::appliance::{Appliance, ApplianceSpec};
use crate::kinds::physical_network::PhysicalNetwork;
use crate::kinds::vpc::Vpc;
use crate::kinds::zone::Zone;

/// A field that tiers or isolated networks do not have.
pub(super) fn misplaced(
    is_tier: bool,
    egress: Option<EgressPolicy>,
    acl: Option<&ObjectId>,
) -> Option<(&'static str, &'static str)> {
    match (is_tier, egress, acl) {
        (true, Some(_), _) => Some(("egress", "is said by the tier's access control list")),
        (false, _, Some(_)) => Some(("acl", "only a tier of a VPC has an access control list")),
        _ => None,
    }
}

/// The VPC of a tier to be, and the id of its list.
pub(super) async fn tier(
    context: &mut Context<'_>,
    zone: &Zone,
    spec: &NetworkSpec,
    cidr: Cidr,
) -> Result<Option<(Vpc, ObjectId)>, Error> {
    let Some(name) = &spec.vpc else { return Ok(None) };
    let vpc: Vpc = context.find(Some(&zone.id), name).await?;
    vpc.room(context, cidr).await?;
    let list = match &spec.acl {
        Some(name) => context.find::<AclList>(Some(&vpc.id), name).await?,
        None => AclList::default_of(context, &vpc).await?,
    };
    Ok(Some((vpc, list.id)))
}

pub(super) fn gateway(cidr: Cidr, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
    let (IpAddr::V4(base), prefix) = (cidr.network(), cidr.prefix()) else {
        return Err(Error::Invalid { field: "cidr", reason: "must be an IPv4 network".into() });
    };
    if !(WIDEST_PREFIX..=NARROWEST_PREFIX).contains(&prefix) {
        let reason = format!("must be /{WIDEST_PREFIX} to /{NARROWEST_PREFIX}, not /{prefix}");
        return Err(Error::Invalid { field: "cidr", reason });
    }
    let gateway = asked.unwrap_or_else(|| Ipv4Addr::from(u32::from(base).saturating_add(1)));
    if !cidr.usable_for_host(IpAddr::V4(gateway)) {
        let reason = format!("{gateway} is not a host address of {cidr}");
        return Err(Error::Invalid { field: "gateway", reason });
    }
    Ok(gateway)
}

/// Guests make addresses of prefixes of 64 bits alone (RFC 4862).
pub(super) fn ipv6_prefix(cidr: Cidr) -> Result<Cidr, Error> {
    if cidr.is_ipv4() || cidr.prefix() != 64 {
        let reason = format!("{cidr} is not an IPv6 network of 64 bits");
        return Err(Error::Invalid { field: "ipv6_cidr", reason });
    }
    Ok(cidr)
}

pub(super) fn fitting_mtu(mtu: Option<Mtu>, physical: &PhysicalNetwork) -> Result<(), Error> {
    match mtu {
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

/// A source-NAT address is asked for where there is one.
pub(super) fn source_nat(spec: &NetworkSpec, has_router: bool) -> Result<(), Error> {
    let reason = match (has_router, spec.no_source_nat) {
        (false, _) => "a network without a router has no public address",
        (true, true) => "it is to have no source-NAT address",
        (true, false) => return Ok(()),
    };
    if spec.source_nat.is_none() && spec.public_range.is_none() {
        return Ok(());
    }
    Err(Error::Invalid { field: "source_nat", reason: reason.to_owned() })
}

/// The router that was asked for, or one of its own.
pub(super) async fn router(
    context: &mut Context<'_>,
    zone: &Zone,
    asked: Option<&ObjectId>,
) -> Result<Option<ApplianceId>, Error> {
    let Some(name) = asked else {
        let spec =
            ApplianceSpec { with_network: true, ..ApplianceSpec::of_zone(&zone.id, Role::Router) };
        return Ok(Some(context.make::<Appliance>(spec).await?.id));
    };
    if name.as_str() == NO_ROUTER {
        return Ok(None);
    }
    let found = context.find::<Appliance>(Some(&zone.id), name).await?;
    if found.role == Role::Router {
        return Ok(Some(found.id));
    }
    let reason = format!("{} is no router", found.name);
    Err(Error::Invalid { field: "router", reason })
}
