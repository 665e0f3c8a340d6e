//! NICs of guests: an address, further ones, and a MAC, taken from the pools of network and cloud.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::config::GuestDhcp;
use sluice_api::types::{HostName, MacAddr, ObjectId};
use utoipa::ToSchema;

use super::Guest;
use crate::alloc::{Pool, PoolClass, PoolName, mac_number};
use crate::error::Error;
use crate::kinds::Context;
use crate::kinds::appliance::take_mac;
use crate::kinds::network::Network;
use crate::kinds::public_ip::ipv4;
use crate::store::allocations;

/// A guest's NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nic {
    /// Also its id in the router's configuration.
    pub id: ObjectId,
    /// Id of its network.
    pub network: ObjectId,
    /// Its address on the wire.
    pub mac: MacAddr,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// Further addresses, which the guest sets up itself.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// What DHCP tells it otherwise than its network's other guests.
    #[serde(default)]
    pub dhcp: GuestDhcp,
}

impl Nic {
    /// A NIC in `network` with the addresses that are asked for, or free ones.
    pub(in crate::kinds) async fn take(
        context: &mut Context<'_>,
        network: &Network,
        id: ObjectId,
        address: Option<Ipv4Addr>,
        mac: Option<MacAddr>,
    ) -> Result<Self, Error> {
        let address = take_address(context, network, &id, address, "address").await?;
        let taken = context.taken(id.as_str(), "guest NIC", network.router.as_ref());
        let mac = take_mac(context, mac, taken).await?;
        Ok(Self {
            id,
            network: network.id.clone(),
            mac,
            address,
            secondary_addresses: Vec::new(),
            dhcp: GuestDhcp::default(),
        })
    }

    /// Gives it these further addresses in place of those that it has.
    pub(in crate::kinds) async fn set_secondary(
        &mut self,
        context: &mut Context<'_>,
        new: Vec<Ipv4Addr>,
    ) -> Result<(), Error> {
        let invalid = |reason| Err(Error::Invalid { field: "secondary_addresses", reason });
        if new.len() > MOST_SECONDARY {
            return invalid(format!("{} are more than {MOST_SECONDARY}", new.len()));
        }
        let network: Network = context.get(&self.network).await?;
        let before = std::mem::replace(&mut self.secondary_addresses, new);
        for (at, address) in self.secondary_addresses.iter().enumerate() {
            if *address == self.address
                || self.secondary_addresses.iter().take(at).any(|it| it == address)
            {
                return invalid(format!("{address} is the NIC's already"));
            }
            if !before.contains(address) {
                let field = "secondary_addresses";
                take_address(context, &network, &self.id, Some(*address), field).await?;
            }
        }
        for gone in before.iter().filter(|it| !self.secondary_addresses.contains(it)) {
            let pool = PoolName::within(PoolClass::Guest, &self.network);
            let value = i64::from(u32::from(*gone));
            allocations::release_item(context.conn, &pool, value, self.id.as_str()).await?;
        }
        Ok(())
    }
}

/// Most further addresses of a NIC, as in a configuration.
const MOST_SECONDARY: usize = 64;

pub(super) async fn release_address(context: &mut Context<'_>, nic: &Nic) -> Result<(), Error> {
    let pool = PoolName::within(PoolClass::Guest, &nic.network);
    let value = i64::from(u32::from(nic.address));
    allocations::release_item(context.conn, &pool, value, nic.id.as_str()).await
}

pub(super) async fn release_mac(context: &mut Context<'_>, nic: &Nic) -> Result<(), Error> {
    let pool = PoolName::of_cloud(PoolClass::Mac);
    allocations::release_item(context.conn, &pool, mac_number(nic.mac), nic.id.as_str()).await
}

pub(super) async fn set_nic(
    context: &mut Context<'_>,
    nic: &Nic,
    column: &'static str,
    value: &str,
) -> Result<(), Error> {
    let statement = match column {
        "mac" => "UPDATE nics SET mac = $2 WHERE id = $1",
        _ => "UPDATE nics SET address = $2 WHERE id = $1",
    };
    sqlx::query(statement).bind(nic.id.as_str()).bind(value).execute(&mut *context.conn).await?;
    Ok(())
}

pub(in crate::kinds) async fn insert_nic(
    context: &mut Context<'_>,
    guest: &Guest,
    nic: &Nic,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO nics (id, guest, network, position, hostname, mac, address)
         VALUES ($1, $2, $3,
            (SELECT COALESCE(MAX(position) + 1, 0) FROM nics WHERE guest = $2), $4, $5, $6)",
    )
    .bind(nic.id.as_str())
    .bind(guest.id.as_str())
    .bind(nic.network.as_str())
    .bind(guest.name.as_str())
    .bind(nic.mac.to_string())
    .bind(nic.address.to_string())
    .execute(&mut *context.conn)
    .await?;
    Ok(())
}

/// `name` is nobody's in `network` yet; `field` is what is to be changed otherwise.
pub(in crate::kinds) async fn free_name(
    context: &mut Context<'_>,
    network: &Network,
    name: &HostName,
    field: &'static str,
) -> Result<(), Error> {
    let found = sqlx::query("SELECT guest FROM nics WHERE network = $1 AND hostname = $2")
        .bind(network.id.as_str())
        .bind(name.as_str())
        .fetch_optional(&mut *context.conn)
        .await?;
    if found.is_none() {
        return Ok(());
    }
    let reason = format!("there is a guest {name} in network {} already", network.name);
    Err(Error::Conflict { field, reason })
}

pub(super) async fn take_address(
    context: &mut Context<'_>,
    network: &Network,
    nic: &ObjectId,
    asked: Option<Ipv4Addr>,
    field: &'static str,
) -> Result<Ipv4Addr, Error> {
    let name = PoolName::within(PoolClass::Guest, &network.id);
    let taken = context.taken(nic.as_str(), "guest address", network.router.as_ref());
    let Some(address) = asked else {
        for (cidr, gateway) in network.spans() {
            let mut pool = Pool::hosts(cidr).without(i64::from(u32::from(gateway)));
            for lent in &network.pools {
                // what may be lent to others by now is given to a guest only if somebody says so
                pool = pool.without_addresses(lent.first(), lent.last());
            }
            if let Some(found) = allocations::take_any(context.conn, &name, &pool, taken).await? {
                return ipv4(found);
            }
        }
        return Err(Error::Exhausted {
            pool: format!("the addresses of network {}", network.name),
        });
    };
    usable(network, address, field)?;
    if allocations::take(context.conn, &name, i64::from(u32::from(address)), taken).await? {
        return Ok(address);
    }
    Err(Error::Conflict { field, reason: format!("{address} is taken") })
}

fn usable(network: &Network, address: Ipv4Addr, field: &'static str) -> Result<(), Error> {
    let invalid = |reason| Err(Error::Invalid { field, reason });
    let mut spans = network.spans();
    let Some((_, gateway)) = spans.find(|(cidr, _)| cidr.usable_for_host(IpAddr::V4(address)))
    else {
        let all: Vec<_> = network.spans().map(|(cidr, _)| cidr.to_string()).collect();
        return invalid(format!("{address} is not a host address of {}", all.join(", ")));
    };
    if address == gateway {
        return invalid(format!("{address} is the gateway of network {}", network.name));
    }
    Ok(())
}
