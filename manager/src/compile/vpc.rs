//! VPCs: access control lists, private gateways and the routes by them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sluice_api::config::{Acl, AclRule, PrivateGateway, Route, RouterDocument, Vpc};
use sluice_api::types::ObjectId;

use super::ApplianceModel;
use crate::error::Error;
use crate::kinds::{acl_list, acl_rule, dynamic, private_gateway, static_route, vpc};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Makes the router that of its VPC, if it has one.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    let Some(vpc) = dynamic::load::<vpc::Vpc>(conn, &own, ALL).await?.pop() else { return Ok(()) };
    let mut acls = Vec::new();
    for list in dynamic::load::<acl_list::AclList>(conn, &own, ALL).await? {
        let of_list = [("acl_list", list.id.as_str())];
        let rules = dynamic::load::<acl_rule::AclRule>(conn, &of_list, ALL).await?;
        let rules = rules.into_iter().map(acl_rule_of).collect::<Result<_, _>>()?;
        acls.push(Acl { id: list.id, rules });
    }
    let gateways = dynamic::load::<private_gateway::PrivateGateway>(conn, &own, ALL).await?;
    let by_id: BTreeMap<&ObjectId, _> = gateways.iter().map(|one| (&one.id, one)).collect();
    for route in dynamic::load::<static_route::StaticRoute>(conn, &own, ALL).await? {
        let gateway = by_id.get(&route.private_gateway).ok_or_else(|| Error::Corrupt {
            what: "static route",
            reason: format!("{} has no gateway", route.id),
        })?;
        config.routes.push(Route {
            destination: route.cidr,
            link: gateway.link.clone(),
            via: Some(IpAddr::V4(route.next_hop.unwrap_or(gateway.gateway))),
            metric: 0,
            table: None,
        });
    }
    let private_gateways = gateways.into_iter().map(gateway_of).collect();
    config.role.vpc = Some(Vpc { id: vpc.id, cidr: vpc.cidr, acls, private_gateways });
    Ok(())
}

fn acl_rule_of(rule: acl_rule::AclRule) -> Result<AclRule, Error> {
    let traffic = rule.traffic()?;
    let acl_rule::AclRule { id, number, direction, action, networks, helper, until, .. } = rule;
    Ok(AclRule { id, number, direction, action, networks, traffic, helper, until })
}

fn gateway_of(gateway: private_gateway::PrivateGateway) -> PrivateGateway {
    let source_nat = match gateway.address.ip() {
        IpAddr::V4(address) if gateway.source_nat => Some(address),
        _ => None,
    };
    PrivateGateway { id: gateway.id, link: gateway.link, acl: gateway.acl, source_nat }
}
