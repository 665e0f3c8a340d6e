//! The IPv6 prefix of a public range: routers have addresses of it, as places in the prefix.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use sluice_api::types::{Cidr, InterfaceAddress, ObjectId};

use super::{PublicRange, invalid};
use crate::alloc::{Interval, Pool, PoolClass, PoolName};
use crate::error::Error;
use crate::kinds::appliance::replug;
use crate::kinds::network::Network;
use crate::kinds::{Context, Kind as _};
use crate::store::objects::Cell;
use crate::store::{Taken, allocations};

/// Most places of a prefix that are given out.
const MOST: i64 = 65_535;

impl PublicRange {
    /// Takes a free place in the IPv6 prefix.
    pub(in crate::kinds) async fn take_ipv6(
        &self,
        context: &mut Context<'_>,
        taken: Taken<'_>,
    ) -> Result<u32, Error> {
        let (name, pool) = (self.ipv6_pool_name(), self.ipv6_pool());
        let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
        let offset = found.and_then(|value| u32::try_from(value).ok());
        let exhausted = || format!("the IPv6 addresses of public range {}", self.name);
        offset.ok_or_else(|| Error::Exhausted { pool: exhausted() })
    }

    /// The address at this place of the IPv6 prefix, and the next hop.
    pub(crate) fn ipv6_at(&self, offset: u32) -> Option<(InterfaceAddress, Ipv6Addr)> {
        let (cidr, gateway) = self.ipv6_cidr.zip(self.ipv6_gateway)?;
        let IpAddr::V6(network) = cidr.network() else { return None };
        let address = Ipv6Addr::from_bits(network.to_bits() + u128::from(offset));
        Some((InterfaceAddress::new(IpAddr::V6(address), cidr.prefix()).ok()?, gateway))
    }

    fn ipv6_pool_name(&self) -> PoolName {
        PoolName::within(PoolClass::PublicIpv6, &self.id)
    }

    /// Places in the IPv6 prefix. The first address is any router's (RFC 4291 2.6.1), and the gateway's is taken.
    fn ipv6_pool(&self) -> Pool {
        let Some((cidr, gateway)) = self.ipv6_cidr.zip(self.ipv6_gateway) else {
            return Pool::default();
        };
        let (IpAddr::V6(first), IpAddr::V6(last)) = (cidr.network(), cidr.last()) else {
            return Pool::default();
        };
        // one with a link-local address has none of the prefix
        let gateway = Some(gateway).filter(|gateway| cidr.contains(IpAddr::V6(*gateway)));
        let most = last.to_bits() - first.to_bits();
        let last = i64::try_from(most).map_or(MOST, |most| most.min(MOST));
        let pool = Pool::new(Interval::new(1, last));
        let place = gateway.map(|gateway| i64::try_from(gateway.to_bits() - first.to_bits()));
        match place {
            Some(Ok(place)) => pool.without(place),
            _ => pool,
        }
    }

    /// Prefix and next hop come together and fit each other.
    pub(super) fn ipv6_inside(&self) -> Result<(), Error> {
        let (cidr, gateway) = match (self.ipv6_cidr, self.ipv6_gateway) {
            (None, None) => return Ok(()),
            (Some(cidr), Some(gateway)) => (cidr, gateway),
            (Some(_), None) => return Err(invalid("ipv6_gateway", "is given with ipv6_cidr")),
            (None, Some(_)) => return Err(invalid("ipv6_cidr", "is given with ipv6_gateway")),
        };
        if cidr.is_ipv4() || !(32..=126).contains(&cidr.prefix()) {
            return Err(invalid("ipv6_cidr", "must be an IPv6 network, /32 to /126"));
        }
        let inside = cidr.contains(IpAddr::V6(gateway)) && cidr.network() != IpAddr::V6(gateway);
        if !inside && !gateway.is_unicast_link_local() {
            let reason =
                format!("{gateway} is neither a host address of {cidr} nor a link-local one");
            return Err(Error::Invalid { field: "ipv6_gateway", reason });
        }
        Ok(())
    }

    /// Routers get an address of a new prefix, or the same places in another one.
    pub(super) async fn ipv6_changed(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let pool = self.ipv6_pool();
        let taken = allocations::values(context.conn, &self.ipv6_pool_name()).await?;
        if let Some(lost) = taken.iter().find(|place| !pool.contains(**place)) {
            let reason = format!("a router has address {lost} of the prefix");
            return Err(Error::Conflict { field: "ipv6_cidr", reason });
        }
        context.save(self).await?;
        let routers: BTreeSet<_> = self.touches(context).await?.into_iter().collect();
        for router in routers {
            replug(context, &router).await?;
        }
        Ok(())
    }

    /// Refuses a prefix that has addresses of something else in the zone.
    pub(in crate::kinds) async fn ipv6_apart(
        context: &mut Context<'_>,
        zone: &ObjectId,
        own: &ObjectId,
        cidr: Cidr,
    ) -> Result<(), Error> {
        let taken = |what: &str, name: &ObjectId| Error::Conflict {
            field: "ipv6_cidr",
            reason: format!("{cidr} overlaps that of {what} {name}"),
        };
        let overlaps = |other: Option<Cidr>| other.is_some_and(|other| other.overlaps(&cidr));
        let all = [("zone", zone.as_str())];
        for other in context.all::<Self>(&all).await? {
            if other.id != *own && overlaps(other.ipv6_cidr) {
                return Err(taken("public range", &other.name));
            }
        }
        // networks have prefixes of 64 bits: there may be thousands, of which one can have that of another
        let same = [zone.to_string(), cidr.to_string()].map(|text| Cell::Text(Some(text)));
        let networks = match cidr.prefix() {
            64 => {
                let [zone, cidr] = same;
                context.matching::<Network>(&[("zone", zone), ("ipv6_cidr", cidr)]).await?
            }
            _ => context.all(&all).await?,
        };
        for network in networks {
            if network.id != *own && overlaps(network.ipv6_cidr) {
                return Err(taken("network", &network.name));
            }
        }
        Ok(())
    }
}
