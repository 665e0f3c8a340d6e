//! Load balancing rules with their members.

use std::net::IpAddr;

use sluice_api::config::RouterDocument;
use sluice_api::config::balancer::{Balancer, Member, Timeouts, Tls, TlsVersion};

use super::{ApplianceModel, public};
use crate::error::Error;
use crate::kinds::{balancer, balancer_member, dynamic, rule};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Adds the router's load balancing rules.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    for rule in dynamic::load::<balancer::Balancer>(conn, &own, ALL).await? {
        let members = members(conn, &rule).await?;
        let address = IpAddr::V4(public::address(model, &rule.public_ip)?);
        config.role.balancers.push(rule_of(rule, address, members));
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
    let tls = rule.certificate.map(|certificate| Tls {
        certificates: vec![certificate],
        minimum: TlsVersion::default(),
        http2: true,
    });
    Balancer {
        id: rule.id,
        address,
        port: rule.port,
        mode: rule.mode,
        tls,
        algorithm: rule.algorithm,
        sources: rule.sources,
        timeouts: Timeouts::default(),
        max_connections: rule.max_connections,
        proxy_protocol: rule.proxy_protocol,
        stickiness: rule.stickiness,
        health: rule.health,
        forwarded_headers: true,
        members,
    }
}
