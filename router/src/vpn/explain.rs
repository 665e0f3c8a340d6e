//! Which tunnel a connection is for, and how its first packet looks while that stands or does not.

use std::net::{IpAddr, Ipv4Addr};

use sluice_agent::Seen;
use sluice_api::RouterDocument;
use sluice_api::config::vpn::{RemoteAccess, VpnConnection};
use sluice_api::report::{TUNNEL, TUNNEL_CLIENTS, Tunnel};
use sluice_api::types::{Cidr, LinkName, ObjectId};
use sluice_sys::model::MAIN_TABLE;
use sluice_sys::nft::eval::{Packet, Way, Ways};

/// Any policy's id: the rules ask whether there is one.
const REQUEST: u32 = 1;
/// A client's link: the rules know such by the beginning of their names.
const CLIENT: &str = "ppp0";

/// How a site-to-site connection whose tunnel does not stand is called in what was seen.
pub fn down_key(connection: &ObjectId) -> String {
    format!("tunnel:{connection}")
}

/// The site-to-site connection or the remote access that a connection between the two goes through.
pub(crate) fn of(config: &RouterDocument, from: IpAddr, to: IpAddr, seen: &Seen) -> Option<Tunnel> {
    let vpn = &config.role.vpn;
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { return None };
    let sites = vpn.connections.iter().find_map(|connection| site(connection, from, to, seen));
    sites.or_else(|| vpn.remote_access.iter().find_map(|access| clients(access, from, to)))
}

fn site(connection: &VpnConnection, from: Ipv4Addr, to: Ipv4Addr, seen: &Seen) -> Option<Tunnel> {
    let has = |networks: &[Cidr], address: Ipv4Addr| {
        networks.iter().any(|network| network.contains(IpAddr::V4(address)))
    };
    let (ours, theirs) = (&connection.local_networks, &connection.gateway.networks);
    let comes_out = has(theirs, from) && has(ours, to);
    let goes_in = has(ours, from) && has(theirs, to);
    if !comes_out && !goes_in {
        return None;
    }
    Some(Tunnel {
        rule: format!("{TUNNEL}/{}", connection.id),
        peer: connection.gateway.address.map(|address| address.to_string()),
        comes_out,
        stands: !seen.contains(&down_key(&connection.id)),
    })
}

fn clients(access: &RemoteAccess, from: Ipv4Addr, to: Ipv4Addr) -> Option<Tunnel> {
    let is_client = |address: Ipv4Addr| access.range.clients().any(|client| client == address);
    let comes_out = is_client(from);
    let client = if comes_out { from } else { to };
    (comes_out || is_client(to)).then(|| Tunnel {
        rule: format!("{TUNNEL_CLIENTS}/{}", access.id),
        peer: Some(client.to_string()),
        comes_out,
        stands: true,
    })
}

/// A client's link is there while the client is: the way to it.
pub(crate) fn lead(tunnel: &Tunnel, ways: &mut Ways) {
    if !tunnel.rule.starts_with(TUNNEL_CLIENTS) {
        return;
    }
    let client = tunnel.peer.as_ref().and_then(|peer| peer.parse::<IpAddr>().ok());
    if let (Some(client), Ok(link)) = (client, CLIENT.parse::<LinkName>()) {
        let destination = Cidr::host(client);
        ways.routes.insert(Way { table: MAIN_TABLE, destination, metric: 0, link });
    }
}

/// The packet as it comes out of a site-to-site tunnel that stands, or will go into it.
pub(crate) fn inside(tunnel: &Tunnel, packet: Packet) -> Packet {
    if tunnel.rule.starts_with(TUNNEL_CLIENTS) || !tunnel.stands {
        return packet;
    }
    if tunnel.comes_out {
        Packet { ipsec_in: Some(REQUEST), ..packet }
    } else {
        Packet { ipsec_out: Some(REQUEST), ..packet }
    }
}
