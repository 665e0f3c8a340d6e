//! Public addresses and the rules on them; egress rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::{
    EgressRule, FirewallRule, Ipv6FirewallRule, PortForward, PublicAddress, RouterDocument,
    StaticNat,
};
use sluice_api::types::ObjectId;

use super::ApplianceModel;
use crate::error::Error;
use crate::kinds::{
    dynamic, egress_rule, firewall_rule, ipv6_firewall_rule, port_forward, rule, static_nat,
};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Adds firewall and egress rules, static NAT and port forwards.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    for rule in dynamic::load::<firewall_rule::FirewallRule>(conn, &own, ALL).await? {
        let traffic = rule.traffic()?;
        let public = address(model, &rule.public_ip)?;
        config.role.firewall.push(FirewallRule {
            id: rule.id,
            public,
            sources: rule.sources,
            traffic,
            helper: rule.helper,
            until: rule.until,
        });
    }
    for rule in dynamic::load::<ipv6_firewall_rule::Ipv6FirewallRule>(conn, &own, ALL).await? {
        let traffic = rule.traffic()?;
        config.role.ipv6_firewall.push(Ipv6FirewallRule {
            id: rule.id,
            network: rule.network,
            sources: rule.sources,
            destinations: rule.destinations,
            traffic,
            until: rule.until,
        });
    }
    for rule in dynamic::load::<egress_rule::EgressRule>(conn, &own, ALL).await? {
        let traffic = rule.traffic()?;
        config.role.egress_rules.push(EgressRule {
            id: rule.id,
            network: rule.network,
            sources: rule.sources,
            destinations: rule.destinations,
            traffic,
            helper: rule.helper,
            until: rule.until,
        });
    }
    for rule in dynamic::load::<static_nat::StaticNat>(conn, &own, ALL).await? {
        let guest = rule::guest_address(conn, &rule.guest, &rule.network).await?;
        let public = address(model, &rule.public_ip)?;
        config.role.static_nat.push(StaticNat {
            id: rule.id,
            public,
            network: rule.network,
            guest,
            until: rule.until,
        });
    }
    for forward in dynamic::load::<port_forward::PortForward>(conn, &own, ALL).await? {
        let guest = rule::guest_address(conn, &forward.guest, &forward.network).await?;
        let public = address(model, &forward.public_ip)?;
        config.role.port_forwards.push(port_forward_of(forward, public, guest));
    }
    Ok(())
}

fn port_forward_of(
    forward: port_forward::PortForward,
    public: Ipv4Addr,
    guest: Ipv4Addr,
) -> PortForward {
    PortForward {
        id: forward.id,
        public,
        protocol: forward.protocol,
        ports: forward.ports,
        network: forward.network,
        guest,
        guest_port: forward.guest_port,
        sources: forward.sources,
        until: forward.until,
    }
}

/// The public address with this id.
pub(super) fn address(model: &ApplianceModel, id: &ObjectId) -> Result<Ipv4Addr, Error> {
    let missing = || Error::Corrupt { what: "rule", reason: format!("{id} is not at its router") };
    model.ip(id).map(|ip| ip.address).ok_or_else(missing)
}

/// Addresses that some rule is about; source NAT alone needs no entry.
pub(super) fn addresses(model: &ApplianceModel, config: &mut RouterDocument) {
    let role = &config.role;
    let rules = role.firewall.iter().map(|rule| rule.public);
    let nats = role.static_nat.iter().map(|rule| rule.public);
    let forwards = role.port_forwards.iter().map(|rule| rule.public);
    let balancers = role.balancers.iter().filter_map(|balancer| match balancer.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let by_address: BTreeMap<Ipv4Addr, _> = model.ips.iter().map(|ip| (ip.address, ip)).collect();
    let mut used: Vec<_> = rules.chain(nats).chain(forwards).chain(balancers).collect();
    used.sort_unstable();
    used.dedup();
    let entries = used
        .iter()
        .filter_map(|address| by_address.get(address))
        .map(|ip| PublicAddress { id: ip.id.clone(), address: ip.address, link: ip.link.clone() });
    config.role.public_addresses = entries.collect();
}
