//! Remote access with its users, and site-to-site connections.

use sluice_api::config::RouterDocument;
use sluice_api::config::vpn::{Authentication, RemoteAccess, VpnConnection, VpnUser};
use sluice_api::types::{Cidr, ObjectId};

use super::{ApplianceModel, NetworkModel, public};
use crate::error::Error;
use crate::kinds::customer_gateway::CustomerGateway;
use crate::kinds::{dynamic, remote_access, vpn_connection, vpn_user};
use crate::store::objects::ALL;
use crate::store::{Conn, Scope};

/// Adds the router's tunnels.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut RouterDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    for access in dynamic::load::<remote_access::RemoteAccess>(conn, &own, ALL).await? {
        let networks = networks(model, &access.public_ip);
        let networks = networks.into_iter().map(|network| network.id.clone()).collect();
        let users = users(conn, &access).await?;
        config.role.vpn.allow_obsolete |= access.allow_obsolete;
        let access = access_of(model, access, networks, users)?;
        // a VPC without tiers has nothing to come into yet
        config.role.vpn.remote_access.extend(Some(access).filter(|it| !it.networks.is_empty()));
    }
    for connection in dynamic::load::<vpn_connection::VpnConnection>(conn, &own, ALL).await? {
        let gateway: CustomerGateway = dynamic::by_id(conn, &connection.customer_gateway).await?;
        config.role.vpn.allow_obsolete |= gateway.allow_obsolete;
        let local_networks = if connection.local_networks.is_empty() {
            local(model, config, &connection.public_ip)
        } else {
            connection.local_networks
        };
        config.role.vpn.connections.push(VpnConnection {
            id: connection.id,
            address: public::address(model, &connection.public_ip)?,
            local_id: None,
            local_networks,
            passive: connection.passive,
            resets: connection.resets,
            gateway: gateway.as_end(),
        });
    }
    Ok(())
}

/// The networks that a public address belongs to: its own, or all of the router.
fn networks<'a>(model: &'a ApplianceModel, ip: &ObjectId) -> Vec<&'a NetworkModel> {
    let own = model.ip(ip).and_then(|ip| ip.network.as_ref());
    let all = model.sorted_networks().into_iter();
    all.filter(|network| own.is_none_or(|own| *own == network.id)).collect()
}

fn local(model: &ApplianceModel, config: &RouterDocument, ip: &ObjectId) -> Vec<Cidr> {
    match &config.role.vpc {
        Some(vpc) => vec![vpc.cidr],
        None => {
            let spans = networks(model, ip).into_iter().flat_map(NetworkModel::spans);
            spans.map(|(cidr, _)| cidr).collect()
        }
    }
}

/// Its own users, and those of all that its owner has in its zone.
async fn users(
    conn: &mut Conn,
    access: &remote_access::RemoteAccess,
) -> Result<Vec<VpnUser>, Error> {
    let of_zone = [("zone", access.zone.as_str())];
    let owner = dynamic::owner_of::<remote_access::RemoteAccess>(conn, &access.id).await?;
    let scope = Scope::Of(&owner);
    let mut users = dynamic::load_in::<vpn_user::VpnUser>(conn, scope, &of_zone, ALL).await?;
    users.retain(|user| user.remote_access.as_ref().is_none_or(|own| *own == access.id));
    let user = |user: vpn_user::VpnUser| {
        let name = user.name.as_str().parse();
        let name = name.map_err(|error| Error::Corrupt {
            what: "name of a user",
            reason: format!("{error}"),
        })?;
        Ok(VpnUser { name, password: user.password, disconnects: user.disconnects })
    };
    users.into_iter().map(user).collect()
}

fn access_of(
    model: &ApplianceModel,
    access: remote_access::RemoteAccess,
    networks: Vec<ObjectId>,
    users: Vec<VpnUser>,
) -> Result<RemoteAccess, Error> {
    Ok(RemoteAccess {
        address: public::address(model, &access.public_ip)?,
        id: access.id,
        networks,
        psk: access.psk,
        range: access.range,
        users,
        internet: access.internet,
        dns: Vec::new(),
        authentication: Authentication::ALL.to_vec(),
    })
}
