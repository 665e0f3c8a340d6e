//! Addresses inside networks that rules listen on: out of the guests' addresses, one for any number of rules.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::types::ObjectId;

use super::Balancer;
use crate::alloc::{Pool, PoolClass, PoolName};
use crate::error::Error;
use crate::kinds::network::Network;
use crate::kinds::public_ip::ipv4;
use crate::kinds::{Context, rule};
use crate::store::allocations;

/// The address `asked`, or a free one, for the rule `id`.
pub(super) async fn take(
    context: &mut Context<'_>,
    network: &Network,
    id: &ObjectId,
    asked: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, Error> {
    let pool = PoolName::within(PoolClass::Guest, &network.id);
    let taken = context.taken(id.as_str(), "balanced address", network.router.as_ref());
    let Some(address) = asked else {
        let all = Pool::hosts(network.cidr).without(i64::from(u32::from(network.gateway)));
        let found = allocations::take_any(context.conn, &pool, &all, taken).await?;
        return ipv4(found.ok_or_else(|| Error::Exhausted {
            pool: format!("the addresses of network {}", network.name),
        })?);
    };
    if address == network.gateway || !network.cidr.usable_for_host(IpAddr::V4(address)) {
        let reason = format!("{address} is the gateway, or no host address of {}", network.cidr);
        return Err(rule::invalid("address", reason));
    }
    if !others(context, &network.id, address, id).await?.is_empty() {
        return Ok(address);
    }
    if allocations::take(context.conn, &pool, i64::from(u32::from(address)), taken).await? {
        return Ok(address);
    }
    Err(Error::Conflict { field: "address", reason: format!("{address} is taken") })
}

/// Lets the address go when `rule` is the last that has it.
pub(super) async fn release(context: &mut Context<'_>, rule: &Balancer) -> Result<(), Error> {
    let (Some(network), Some(address)) = (&rule.network, rule.address) else { return Ok(()) };
    let others = others(context, network, address, &rule.id).await?;
    match others.first() {
        Some(heir) => allocations::pass_on(context.conn, rule.id.as_str(), heir.id.as_str()).await,
        None => allocations::release(context.conn, rule.id.as_str()).await,
    }
}

/// Other rules with the same address.
async fn others(
    context: &mut Context<'_>,
    network: &ObjectId,
    address: Ipv4Addr,
    id: &ObjectId,
) -> Result<Vec<Balancer>, Error> {
    let mut rules = context.all::<Balancer>(&[("network", network.as_str())]).await?;
    rules.retain(|rule| rule.address == Some(address) && rule.id != *id);
    Ok(rules)
}
