//! Networks and ranges of addresses are one owner's: no packet may belong to two tunnels.

use super::Check;
use crate::Finding;
use crate::config::vpn::VpnConnection;
use crate::types::Cidr;

impl Check<'_> {
    /// Networks behind peers are nobody else's: not the router's, not another peer's.
    pub(super) fn networks_apart(&mut self) {
        let guests = self.around.guests.iter();
        let guests = guests.map(|(id, network)| (format!("guest network {id}"), *network));
        let links = self.around.others.iter();
        let links = links.map(|(link, network)| (format!("link {link}"), *network));
        let own: Vec<(String, Cidr)> = guests.chain(links).collect();
        let mut taken: Vec<(String, Cidr)> = own;
        for (index, connection) in self.vpn.connections.iter().enumerate() {
            let networks = &connection.gateway.networks;
            for (position, network) in networks.iter().enumerate() {
                let clash = taken.iter().find(|(_, other)| other.overlaps(network));
                if let Some((owner, other)) = clash {
                    let reason = format!("{network} overlaps {other} of {owner}");
                    let path = format!("vpn.connections[{index}].gateway.networks[{position}]");
                    self.findings.push(Finding::error(path, "overlap", reason));
                }
            }
            let name = || format!("connection {}", connection.id);
            taken.extend(networks.iter().map(|network| (name(), *network)));
            self.local_apart(index, connection);
        }
    }

    /// Both ends of a connection in one network: no packet would know which way to go.
    fn local_apart(&mut self, index: usize, connection: &VpnConnection) {
        for (position, local) in connection.local_networks.iter().enumerate() {
            let remote = connection.gateway.networks.iter().find(|remote| remote.overlaps(local));
            if let Some(remote) = remote {
                let reason = format!("{local} overlaps {remote} behind the gateway");
                let path = format!("vpn.connections[{index}].local_networks[{position}]");
                self.error(path, "overlap", reason);
            }
        }
    }

    /// Client addresses are nobody else's: replies to a client must not go into another tunnel.
    pub(super) fn ranges_apart(&mut self) {
        let vpn = self.vpn;
        for (index, access) in vpn.remote_access.iter().enumerate() {
            let path = || format!("vpn.remote_access[{index}].range");
            let range = access.range;
            let guests = self.around.guests.iter();
            let guests = guests.map(|(id, network)| (format!("guest network {id}"), *network));
            let links = self.around.others.iter();
            let links = links.map(|(link, network)| (format!("link {link}"), *network));
            let behind = vpn.connections.iter().flat_map(|connection| {
                let name = format!("connection {}", connection.id);
                connection.gateway.networks.iter().map(move |network| (name.clone(), *network))
            });
            let clash = guests.chain(links).chain(behind).find(|(_, other)| range.touches(other));
            if let Some((owner, other)) = clash {
                let reason = format!("{range} overlaps {other} of {owner}");
                self.error(path(), "overlap", reason);
            }
            let earlier = vpn.remote_access.iter().take(index);
            if let Some(other) = earlier.clone().find(|other| other.range.overlaps(range)) {
                let reason =
                    format!("{range} overlaps {} of remote access {}", other.range, other.id);
                self.error(path(), "overlap", reason);
            }
        }
    }
}
