//! Virtual private networks: addresses are the router's own, networks do not overlap, algorithms fit and are not obsolete
//! unless that is allowed.

mod algorithms;
mod apart;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::Finding;
use crate::config::vpn::{CustomerGateway, RemoteAccess, VpnConfig, VpnConnection};
use crate::config::{ForwardProtocol, LinkRole, RouterConfig};
use crate::types::{Cidr, InterfaceAddress, ObjectId, Port};

/// Connections of one router, and its users; more than any router was tried with.
const MOST_CONNECTIONS: usize = 128;
const MOST_USERS: usize = 1024;

/// UDP ports of IKE (RFC 7296 2, RFC 3948 4), and of L2TP (RFC 2661 8.1).
const IKE: [Port; 2] = [Port::fixed(500), Port::fixed(4500)];
const L2TP: Port = Port::fixed(1701);

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let public = scope.all_links.iter().filter(|link| link.role == LinkRole::Public);
    let others = scope.all_links.iter().filter(|link| link.role != LinkRole::Guest);
    let around = Surroundings {
        public: public.flat_map(|link| link.addresses.iter().map(InterfaceAddress::ip)).collect(),
        guests: router
            .networks
            .iter()
            .flat_map(|network| network.spans().map(|(cidr, _)| (&network.id, cidr)))
            .collect(),
        others: others
            .flat_map(|link| link.addresses.iter().map(|a| (link.name.to_string(), a.network())))
            .collect(),
    };
    let mut findings = judge(&router.vpn, &around);
    findings.extend(ports(router));
    let base = scope.base;
    scope.findings.extend(findings.into_iter().map(|mut finding| {
        finding.path.insert_str(0, base);
        finding
    }));
}

/// Addresses of tunnels whose ports something else leads away.
fn ports(router: &RouterConfig) -> Vec<Finding> {
    let vpn = &router.vpn;
    let sites = vpn.connections.iter().enumerate();
    let sites = sites.map(|(i, c)| (c.address, format!("vpn.connections[{i}].address"), false));
    let accesses = vpn.remote_access.iter().enumerate();
    let accesses =
        accesses.map(|(i, a)| (a.address, format!("vpn.remote_access[{i}].address"), true));
    let mut findings = Vec::new();
    for (address, path, l2tp) in sites.chain(accesses) {
        if let Some(rule) = router.static_nat.iter().find(|rule| rule.public == address) {
            let reason = format!("{address} is used by static NAT {}", rule.id);
            findings.push(Finding::error(path.clone(), "address-in-use", reason));
        }
        let wanted = || IKE.into_iter().chain(l2tp.then_some(L2TP));
        let taken = router.port_forwards.iter().find(|rule| {
            let span = rule.ports.first()..=rule.ports.last();
            rule.public == address
                && rule.protocol == ForwardProtocol::Udp
                && wanted().any(|port| span.contains(&port))
        });
        if let Some(rule) = taken {
            let reason =
                format!("udp {} of {address} is led away by port forward {}", rule.ports, rule.id);
            findings.push(Finding::error(path, "address-in-use", reason));
        }
    }
    findings
}

/// What else of a configuration the rules look at.
#[derive(Clone, Debug, Default)]
struct Surroundings<'a> {
    /// Addresses of public links.
    public: Vec<IpAddr>,
    /// Guest networks by id.
    guests: Vec<(&'a ObjectId, Cidr)>,
    /// Networks of links that are no guest networks, with the links' names.
    others: Vec<(String, Cidr)>,
}

/// Everything wrong or doubtful in `vpn`, whose fields are found below `vpn.`.
fn judge(vpn: &VpnConfig, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut check = Check { vpn, around, findings: Vec::new() };
    check.ids();
    for (index, connection) in vpn.connections.iter().enumerate() {
        check.connection(index, connection);
    }
    for (index, access) in vpn.remote_access.iter().enumerate() {
        check.remote_access(index, access);
    }
    check.networks_apart();
    check.ranges_apart();
    check.findings
}

struct Check<'a> {
    vpn: &'a VpnConfig,
    around: &'a Surroundings<'a>,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn error(&mut self, path: String, code: &str, reason: impl Into<String>) {
        self.findings.push(Finding::error(path, code, reason));
    }

    fn warning(&mut self, path: String, code: &str, reason: impl Into<String>) {
        self.findings.push(Finding::warning(path, code, reason));
    }

    /// Reports every key that occurs a second time.
    fn unique<K: Ord>(
        &mut self,
        code: &str,
        what: &str,
        keys: impl IntoIterator<Item = (K, String)>,
    ) {
        let mut seen: BTreeMap<K, String> = BTreeMap::new();
        for (key, path) in keys {
            match seen.get(&key) {
                Some(first) => {
                    let reason = format!("the same {what} is already used at {first}");
                    self.error(path, code, reason);
                }
                None => _ = seen.insert(key, path),
            }
        }
    }

    fn ids(&mut self) {
        let vpn = self.vpn;
        let connections = || vpn.connections.iter().enumerate();
        let accesses = || vpn.remote_access.iter().enumerate();
        let ids = connections()
            .map(|(i, c)| (c.id.clone(), format!("vpn.connections[{i}].id")))
            .chain(accesses().map(|(i, a)| (a.id.clone(), format!("vpn.remote_access[{i}].id"))));
        self.unique("duplicate-vpn", "id", ids);
        let gateways =
            connections().map(|(i, c)| (&c.gateway.id, format!("vpn.connections[{i}].gateway.id")));
        self.unique("duplicate-vpn", "customer gateway", gateways);
        let ends = connections().map(|(i, c)| {
            let gateway = &c.gateway;
            let peer = (gateway.address, gateway.peer_id.clone());
            ((c.address, peer), format!("vpn.connections[{i}].gateway"))
        });
        self.unique("duplicate-vpn", "pair of ends", ends);
        let addresses =
            accesses().map(|(i, a)| (a.address, format!("vpn.remote_access[{i}].address")));
        self.unique("duplicate-vpn", "address", addresses);
        if vpn.connections.len() > MOST_CONNECTIONS {
            let reason = format!("{} are more than {MOST_CONNECTIONS}", vpn.connections.len());
            self.error("vpn.connections".to_owned(), "too-many", reason);
        }
    }

    fn own_address(&mut self, address: Ipv4Addr, path: String) {
        if !self.around.public.contains(&IpAddr::V4(address)) {
            let reason = format!("{address} is not an address of a public link");
            self.error(path, "not-own-address", reason);
        }
    }

    fn connection(&mut self, index: usize, connection: &VpnConnection) {
        let at = |field: &str| format!("vpn.connections[{index}].{field}");
        self.own_address(connection.address, at("address"));
        self.networks(&connection.local_networks, &at("local_networks"));
        let gateway = &connection.gateway;
        self.networks(&gateway.networks, &at("gateway.networks"));
        self.peer(connection, &at("gateway"));
        self.ike(&gateway.ike, &at("gateway.ike"));
        self.esp(&gateway.esp, &at("gateway.esp"));
        for (position, network) in gateway.networks.iter().enumerate() {
            if network.as_ipv4().is_some_and(|network| !is_private(network)) {
                let reason = format!("{network} is not a private network (RFC 1918)");
                let path = at(&format!("gateway.networks[{position}]"));
                self.warning(path, "public-network", reason);
            }
        }
    }

    fn networks(&mut self, networks: &[Cidr], path: &str) {
        if networks.is_empty() {
            self.error(path.to_owned(), "no-network", "at least one network is needed");
        }
        for (position, network) in networks.iter().enumerate() {
            let at = format!("{path}[{position}]");
            if !network.is_ipv4() {
                self.error(at, "family", "tunnels carry IPv4 networks");
            } else if let Some(other) = networks.iter().take(position).find(|o| o.overlaps(network))
            {
                self.error(at, "overlap", format!("{network} and {other} overlap"));
            }
        }
    }

    fn peer(&mut self, connection: &VpnConnection, path: &str) {
        let CustomerGateway { address, peer_id, .. } = &connection.gateway;
        match address {
            Some(address) if self.around.public.contains(&address.ip()) => {
                let reason = format!("{address} is this router's own");
                self.error(format!("{path}.address"), "own-address", reason);
            }
            Some(address) if !address.ip().is_ipv4() => {
                let reason = format!("{address} cannot be reached from an IPv4 address");
                self.error(format!("{path}.address"), "family", reason);
            }
            None if !connection.passive || peer_id.is_none() => {
                let reason = "without an address the connection must be passive and have a peer_id";
                self.error(format!("{path}.address"), "missing-field", reason);
            }
            _ => (),
        }
    }

    fn remote_access(&mut self, index: usize, access: &RemoteAccess) {
        let at = |field: &str| format!("vpn.remote_access[{index}].{field}");
        self.own_address(access.address, at("address"));
        if access.networks.is_empty() {
            self.error(at("networks"), "no-network", "at least one guest network is needed");
        }
        for (position, id) in access.networks.iter().enumerate() {
            if !self.around.guests.iter().any(|(known, _)| *known == id) {
                let reason = format!("there is no guest network {id}");
                self.error(at(&format!("networks[{position}]")), "unknown-network", reason);
            }
        }
        let names = access.users.iter().enumerate();
        let names = names.map(|(i, user)| (&user.name, at(&format!("users[{i}].name"))));
        self.unique("duplicate-user", "name", names);
        if access.users.len() > MOST_USERS {
            let reason = format!("{} are more than {MOST_USERS}", access.users.len());
            self.error(at("users"), "too-many", reason);
        }
        if access.dns.len() > 2 {
            self.error(at("dns"), "too-many", "clients can be told 2 name servers");
        }
        if access.authentication.is_empty() {
            let reason = "at least one way to prove oneself is needed";
            self.error(at("authentication"), "missing-field", reason);
        }
        let ways = access.authentication.iter().enumerate();
        let ways = ways.map(|(i, way)| (*way, at(&format!("authentication[{i}]"))));
        self.unique("duplicate-vpn", "way", ways);
    }
}

/// RFC 1918 3, and the networks of carriers' NAT (RFC 6598), which are no more public.
fn is_private(network: ipnetwork::Ipv4Network) -> bool {
    let within = |a: [u8; 4], prefix: u8| {
        ipnetwork::Ipv4Network::new(Ipv4Addr::from(a), prefix)
            .is_ok_and(|outer| outer.contains(network.network()) && prefix <= network.prefix())
    };
    within([10, 0, 0, 0], 8)
        || within([172, 16, 0, 0], 12)
        || within([192, 168, 0, 0], 16)
        || within([100, 64, 0, 0], 10)
}

#[cfg(test)]
mod tests;
