//! Load balancing rules with their members.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::RouterDocument;
use sluice_api::config::balancer::{Balancer, Member, Timeouts, Tls};
use sluice_api::types::{InterfaceAddress, ObjectId};

use super::{ApplianceModel, public};
use crate::error::Error;
use crate::kinds::{balancer, balancer_member, dynamic, rule};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Adds the router's load balancing rules, and the addresses inside networks that they listen on.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    for rule in dynamic::load::<balancer::Balancer>(conn, &own, ALL).await? {
        let members = members(conn, &rule).await?;
        let address = match (&rule.public_ip, &rule.network, rule.address) {
            (Some(ip), _, _) => public::address(model, ip)?,
            (None, Some(network), Some(address)) => {
                listen_inside(model, config, network, address)?;
                address
            }
            _ => {
                let reason = format!("{} is nowhere", rule.id);
                return Err(Error::Corrupt { what: "balancer", reason });
            }
        };
        config.role.balancers.push(rule_of(rule, IpAddr::V4(address), members));
    }
    Ok(())
}

/// Gives the link of `network` the address as well.
fn listen_inside(
    model: &ApplianceModel,
    config: &mut RouterDocument,
    network: &ObjectId,
    address: Ipv4Addr,
) -> Result<(), Error> {
    let corrupt = |reason: String| Error::Corrupt { what: "balancer", reason };
    let missing = || corrupt(format!("network {network} is not at its router"));
    let network = model.network(network).ok_or_else(missing)?;
    let link = config.links.iter_mut().find(|link| link.name == network.link);
    let addresses = &mut link.ok_or_else(missing)?.addresses;
    let address = InterfaceAddress::new(IpAddr::V4(address), network.cidr.prefix())
        .map_err(|error| corrupt(error.to_string()))?;
    if !addresses.contains(&address) {
        addresses.push(address);
    }
    Ok(())
}

async fn members(conn: &mut Conn, rule: &balancer::Balancer) -> Result<Vec<Member>, Error> {
    let of_rule = [("balancer", rule.id.as_str())];
    let mut members = Vec::new();
    for member in dynamic::load::<balancer_member::BalancerMember>(conn, &of_rule, ALL).await? {
        let address = rule::guest_address(conn, &member.guest, &member.network).await?;
        members.push(Member {
            id: member.id,
            address: IpAddr::V4(address),
            port: member.port.or(rule.private_port).unwrap_or(rule.port),
            weight: member.weight,
            backup: member.backup,
            drain: member.drain,
        });
    }
    Ok(members)
}

fn rule_of(rule: balancer::Balancer, address: IpAddr, members: Vec<Member>) -> Balancer {
    let (certificates, minimum, http2) = (rule.certificates, rule.tls_minimum, rule.http2);
    let tls = (!certificates.is_empty()).then_some(Tls { certificates, minimum, http2 });
    Balancer {
        id: rule.id,
        address,
        port: rule.port,
        mode: rule.mode,
        tls,
        algorithm: rule.algorithm,
        sources: rule.sources,
        timeouts: Timeouts {
            connect_seconds: rule.connect_seconds,
            idle_seconds: rule.idle_seconds,
            keep_alive_seconds: rule.keep_alive_seconds,
            request_seconds: rule.request_seconds,
            drain_seconds: rule.drain_seconds,
        },
        max_connections: rule.max_connections,
        proxy_protocol: rule.proxy_protocol.into(),
        stickiness: rule.stickiness.into(),
        health: rule.health.into(),
        forwarded_headers: rule.forwarded_headers,
        members,
    }
}
