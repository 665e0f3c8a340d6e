//! Where a network is: its ranges of addresses, apart from those around, and its link of a router; and what it says there.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::{DhcpConfig, DnsRecord, NetworkDns, NetworkRange};
use sluice_api::types::{Cidr, ObjectId};
use sqlx::Row as _;

use super::Network;
use super::parts::{gateway, ipv6_prefix};
use crate::alloc::{PoolClass, PoolName};
use crate::error::Error;
use crate::kinds::appliance::free_link;
use crate::kinds::egress_rule::EgressRule;
use crate::kinds::ipv6_firewall_rule::Ipv6FirewallRule;
use crate::kinds::public_ip::ipv4;
use crate::kinds::public_range::PublicRange;
use crate::kinds::zone::Zone;
use crate::kinds::{Context, Kind as _};
use crate::store::allocations;

/// Most further ranges, as in a configuration.
const MOST_RANGES: usize = 15;

impl Network {
    /// What DHCP says in it.
    pub(crate) fn dhcp(&self) -> DhcpConfig {
        DhcpConfig {
            lease_seconds: self.lease_seconds,
            resolvers: self.resolvers.clone(),
            mtu: None,
            routes: self.routes.clone(),
            options: self.dhcp_options.clone(),
            boot: self.boot.clone(),
            pools: self.pools.clone(),
        }
    }

    /// What of the name service is its own.
    pub(crate) fn dns(&self, records: Vec<DnsRecord>) -> NetworkDns {
        let (upstreams, clients) = (self.upstreams.clone(), self.dns_clients.clone());
        NetworkDns { upstreams, tls: self.upstream_tls.clone(), clients, records }
    }

    /// All its ranges with the router's address in each: `cidr` first.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Cidr, Ipv4Addr)> {
        let further = self.ranges.iter().map(|range| (range.cidr, range.gateway));
        std::iter::once((self.cidr, self.gateway)).chain(further)
    }

    /// Its further ranges are few, apart from each other, and have room for a router.
    pub(super) fn distinct(&self) -> Result<(), Error> {
        let invalid = |reason| Err(Error::Invalid { field: "ranges", reason });
        if self.ranges.len() > MOST_RANGES {
            return invalid(format!("{} are more than {MOST_RANGES}", self.ranges.len()));
        }
        if self.vpc.is_some() && !self.ranges.is_empty() {
            return invalid("a tier of a VPC has one range".to_owned());
        }
        for (place, range) in self.ranges.iter().enumerate() {
            if let Err(Error::Invalid { reason, .. }) = gateway(range.cidr, Some(range.gateway)) {
                return invalid(format!("{}: {reason}", range.cidr));
            }
            let mut before = self.spans().take(place + 1);
            if let Some((other, _)) = before.find(|(other, _)| other.overlaps(&range.cidr)) {
                return invalid(format!("{} overlaps {other}", range.cidr));
            }
        }
        Ok(())
    }

    /// Its router must be able to tell the guests' addresses from those around.
    pub(super) fn apart(&self, what: &str, other: Cidr) -> Result<(), Error> {
        let Some((cidr, _)) = self.spans().find(|(cidr, _)| cidr.overlaps(&other)) else {
            return Ok(());
        };
        let field = if cidr == self.cidr { "cidr" } else { "ranges" };
        Err(Error::Invalid { field, reason: format!("{cidr} overlaps {what} {other}") })
    }

    /// The same for all networks of its router but itself, which it is told of.
    async fn apart_from_others(&self, context: &mut Context<'_>) -> Result<Vec<Self>, Error> {
        let Some(router) = &self.router else { return Ok(Vec::new()) };
        let mut others = context.all::<Self>(&[("router", router.as_str())]).await?;
        others.retain(|other| other.id != self.id);
        for other in &others {
            let what = format!("network {} of the same router,", other.name);
            other.spans().try_for_each(|(cidr, _)| self.apart(&what, cidr))?;
        }
        Ok(others)
    }

    /// Gives it these further ranges in place of those that it has; one in which an address is taken stays.
    pub(super) async fn set_ranges(
        &mut self,
        context: &mut Context<'_>,
        new: Vec<NetworkRange>,
    ) -> Result<(), Error> {
        self.ranges = new;
        self.distinct()?;
        let zone: Zone = context.get(&self.zone).await?;
        self.apart("control_cidr", zone.control_cidr)?;
        if let Some(range) = &self.public_range {
            let range: PublicRange = context.get(range).await?;
            self.apart("the network of its public range", range.cidr)?;
        }
        self.apart_from_others(context).await?;
        let pool = PoolName::within(PoolClass::Guest, &self.id);
        for taken in allocations::values(context.conn, &pool).await? {
            let address = ipv4(taken)?;
            let usable = |cidr: Cidr| cidr.usable_for_host(IpAddr::V4(address));
            if !self.spans().any(|(cidr, gateway)| usable(cidr) && gateway != address) {
                let reason = format!("a guest has {address}, which would be in none");
                return Err(Error::Conflict { field: "ranges", reason });
            }
        }
        Ok(())
    }

    /// Gives it this IPv6 prefix in place of the one that it has, or none: firewall rules that name guests of the old one would
    /// do nothing any more.
    pub(super) async fn set_ipv6(
        &mut self,
        context: &mut Context<'_>,
        new: Option<Cidr>,
    ) -> Result<(), Error> {
        let new = new.map(ipv6_prefix).transpose()?;
        if new == self.ipv6_cidr {
            return Ok(());
        }
        if let Some(cidr) = new {
            PublicRange::ipv6_apart(context, &self.zone, &self.id, cidr).await?;
        }
        let outside = |cidr: &Cidr| new.is_none_or(|new| !new.contains(cidr.network()));
        let conflict = |what: &str, name: &ObjectId, cidr: &Cidr| {
            let reason = format!(
                "{what} {name} names {cidr} of the old prefix; take that away or delete the rule first"
            );
            Err(Error::Conflict { field: "ipv6_cidr", reason })
        };
        let own = [("network", self.id.as_str())];
        for rule in context.all::<Ipv6FirewallRule>(&own).await? {
            if let Some(cidr) = rule.destinations.iter().find(|cidr| outside(cidr)) {
                return conflict("ipv6 firewall rule", &rule.name, cidr);
            }
            if new.is_none() {
                let reason = format!("ipv6 firewall rule {} is of it; delete it first", rule.name);
                return Err(Error::Conflict { field: "ipv6_cidr", reason });
            }
        }
        for rule in context.all::<EgressRule>(&own).await? {
            let mut sources = rule.sources.iter().filter(|cidr| !cidr.is_ipv4());
            if let Some(cidr) = sources.find(|cidr| outside(cidr)) {
                return conflict("egress rule", &rule.name, cidr);
            }
        }
        self.ipv6_cidr = new;
        Ok(())
    }

    /// Gives it a link of its router.
    pub(super) async fn attach(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.router.is_none() {
            return Ok(());
        }
        let others = self.apart_from_others(context).await?;
        let used = others.iter().filter_map(|other| other.link.as_ref());
        self.link = Some(free_link("guest", used)?);
        Ok(())
    }

    pub(super) async fn detach(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let (router, link) = (self.router.take(), self.link.take());
        context.save(self).await?;
        // the answer tells what it was
        (self.router, self.link) = (router, link);
        Ok(())
    }

    pub(super) async fn refuse_guests(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let row = sqlx::query(
            "SELECT min(hostname) AS name, count(*) AS count FROM nics WHERE network = $1",
        )
        .bind(self.id.as_str())
        .fetch_one(&mut *context.conn)
        .await?;
        let Some(name) = row.try_get::<Option<String>, _>("name")? else { return Ok(()) };
        let by = format!("guest {name} and {} more", row.try_get::<i64, _>("count")? - 1);
        Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by })
    }
}
