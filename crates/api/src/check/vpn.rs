//! Virtual private networks: addresses are the router's own, networks do not overlap, algorithms fit and are not obsolete
//! unless that is allowed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::Finding;
use crate::config::vpn::{
    CustomerGateway, EspPolicy, IkePolicy, RemoteAccess, VpnConfig, VpnConnection,
};
use crate::config::{ForwardProtocol, LinkRole, RouterConfig};
use crate::types::{Cidr, DhGroup, InterfaceAddress, ObjectId, Port};

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
        guests: router.networks.iter().map(|network| (&network.id, network.cidr)).collect(),
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

    fn ike(&mut self, policy: &IkePolicy, path: &str) {
        self.obsolete(policy.encryption.is_obsolete(), "3DES", format!("{path}.encryption"));
        self.obsolete(policy.hash.is_obsolete(), "MD5", format!("{path}.hash"));
        self.group(policy.group, format!("{path}.group"));
    }

    fn esp(&mut self, policy: &EspPolicy, path: &str) {
        let EspPolicy { encryption, hash, pfs, .. } = policy;
        self.obsolete(encryption.is_obsolete(), "3DES", format!("{path}.encryption"));
        let md5 = hash.is_some_and(crate::config::vpn::Hash::is_obsolete);
        self.obsolete(md5, "MD5", format!("{path}.hash"));
        self.group(*pfs, format!("{path}.pfs"));
        let reason = match (encryption.has_integrity(), hash) {
            (true, Some(_)) => "GCM has its own integrity; give no hash with it",
            (false, None) => "this encryption needs a hash",
            _ => return,
        };
        self.error(format!("{path}.hash"), "algorithm-mismatch", reason);
    }

    fn group(&mut self, group: Option<DhGroup>, path: String) {
        if let Some(group) = group.filter(|group| group.is_obsolete()) {
            self.obsolete(true, &group.to_string(), path);
        }
    }

    fn obsolete(&mut self, obsolete: bool, what: &str, path: String) {
        const CODE: &str = "obsolete-algorithm";
        match (obsolete, self.vpn.allow_obsolete) {
            (true, false) => {
                let reason = format!("{what} is obsolete and needs vpn.allow_obsolete");
                self.error(path, CODE, reason);
            }
            (true, true) => self.warning(path, CODE, format!("{what} is obsolete")),
            (false, _) => (),
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

    /// Networks behind peers are nobody else's: not the router's, not another peer's.
    fn networks_apart(&mut self) {
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
    fn ranges_apart(&mut self) {
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
mod tests {
    use super::*;

    fn connection() -> serde_json::Value {
        serde_json::json!({
            "id": "c-1",
            "address": "198.51.100.10",
            "local_networks": ["10.1.1.0/24"],
            "gateway": {
                "id": "office",
                "address": "203.0.113.9",
                "networks": ["172.16.1.0/24"],
                "psk": DIGEST,
                "ike": {"encryption": "aes256", "hash": "sha256", "group": 14},
                "esp": {"encryption": "aes256", "hash": "sha256", "pfs": 14},
            },
        })
    }

    const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    fn access() -> serde_json::Value {
        serde_json::json!({
            "id": "ra-1",
            "address": "198.51.100.10",
            "networks": ["net-1"],
            "psk": DIGEST,
            "range": "10.1.2.1-10.1.2.8",
            "users": [{"name": "anna", "password": DIGEST}],
        })
    }

    /// `path code` of every finding of a VPN that `change` made of a sound one.
    fn findings(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let mut vpn = serde_json::json!({
            "connections": [connection()], "remote_access": [access()],
        });
        change(&mut vpn);
        let vpn: VpnConfig = serde_json::from_value(vpn).unwrap();
        let id = "net-1".parse().unwrap();
        let around = Surroundings {
            public: vec!["198.51.100.10".parse().unwrap()],
            guests: vec![(&id, "10.1.1.0/24".parse().unwrap())],
            others: vec![("pub0".to_owned(), "198.51.100.0/24".parse().unwrap())],
        };
        let mut all: Vec<String> = judge(&vpn, &around)
            .iter()
            .map(|finding| format!("{} {}", finding.path.trim_start_matches("vpn."), finding.code))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_sound_one_has_no_findings() {
        assert!(findings(|_| ()).is_empty());
    }

    #[test]
    #[allow(clippy::too_many_lines, clippy::semicolon_if_nothing_returned)] // a table of cases
    fn each_rule_finds_its_fault() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(Change, &str); 19] = [
            (
                |v| v["connections"][0]["address"] = "198.51.100.11".into(),
                "connections[0].address not-own-address",
            ),
            (
                |v| v["connections"][0]["local_networks"] = serde_json::json!([]),
                "connections[0].local_networks no-network",
            ),
            (
                |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["10.1.0.0/16"]),
                "connections[0].gateway.networks[0] overlap",
            ),
            (
                |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["10.1.2.0/24"]),
                "remote_access[0].range overlap",
            ),
            (
                |v| {
                    v["connections"][0]["gateway"]["networks"] =
                        serde_json::json!(["2001:db8::/32"])
                },
                "connections[0].gateway.networks[0] family",
            ),
            (
                |v| {
                    v["connections"][0]["gateway"]["networks"] = serde_json::json!(["192.0.2.0/24"])
                },
                "connections[0].gateway.networks[0] public-network",
            ),
            (
                |v| v["connections"][0]["gateway"]["address"] = "198.51.100.10".into(),
                "connections[0].gateway.address own-address",
            ),
            (
                |v| _ = v["connections"][0]["gateway"].as_object_mut().unwrap().remove("address"),
                "connections[0].gateway.address missing-field",
            ),
            (
                |v| v["connections"][0]["gateway"]["ike"]["encryption"] = "3des".into(),
                "connections[0].gateway.ike.encryption obsolete-algorithm",
            ),
            (
                |v| v["connections"][0]["gateway"]["ike"]["group"] = 2.into(),
                "connections[0].gateway.ike.group obsolete-algorithm",
            ),
            (
                |v| v["connections"][0]["gateway"]["esp"]["hash"] = "md5".into(),
                "connections[0].gateway.esp.hash obsolete-algorithm",
            ),
            (
                |v| v["connections"][0]["gateway"]["esp"]["encryption"] = "aes256-gcm".into(),
                "connections[0].gateway.esp.hash algorithm-mismatch",
            ),
            (
                |v| v["remote_access"][0]["range"] = "10.1.1.200-10.1.1.210".into(),
                "remote_access[0].range overlap",
            ),
            (
                |v| v["remote_access"][0]["networks"] = serde_json::json!(["net-2"]),
                "remote_access[0].networks[0] unknown-network",
            ),
            (
                |v| {
                    let same = v["remote_access"][0]["users"][0].clone();
                    v["remote_access"][0]["users"].as_array_mut().unwrap().push(same);
                },
                "remote_access[0].users[1].name duplicate-user",
            ),
            (
                |v| v["remote_access"][0]["authentication"] = serde_json::json!([]),
                "remote_access[0].authentication missing-field",
            ),
            (
                |v| {
                    v["remote_access"][0]["dns"] =
                        serde_json::json!(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
                },
                "remote_access[0].dns too-many",
            ),
            (
                |v| v["remote_access"][0]["address"] = "198.51.100.99".into(),
                "remote_access[0].address not-own-address",
            ),
            (|v| v["remote_access"][0]["id"] = "c-1".into(), "remote_access[0].id duplicate-vpn"),
        ];
        for (change, expected) in cases {
            let found = findings(change);
            assert!(found.iter().any(|one| one == expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn obsolete_algorithms_are_a_warning_where_they_are_allowed() {
        let all = findings(|vpn| {
            vpn["allow_obsolete"] = true.into();
            vpn["connections"][0]["gateway"]["ike"]["encryption"] = "3des".into();
        });
        assert_eq!(all, ["connections[0].gateway.ike.encryption obsolete-algorithm"]);
        let vpn = serde_json::json!({"allow_obsolete": true, "connections": [{
            "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"],
            "gateway": {"id": "g", "address": "203.0.113.9", "networks": ["172.16.0.0/16"], "psk": DIGEST,
                "ike": {"encryption": "3des", "hash": "md5", "group": 2},
                "esp": {"encryption": "3des", "hash": "md5"}},
        }]});
        let vpn: VpnConfig = serde_json::from_value(vpn).unwrap();
        let around = Surroundings {
            public: vec!["198.51.100.10".parse().unwrap()],
            ..Surroundings::default()
        };
        assert!(!Finding::any_error(&judge(&vpn, &around)));
        assert_eq!(judge(&vpn, &around).len(), 5);
    }

    #[test]
    fn two_peers_with_the_same_network_are_named() {
        let all = findings(|vpn| {
            let mut second = connection();
            second["id"] = "c-2".into();
            second["gateway"]["id"] = "branch".into();
            second["gateway"]["address"] = "203.0.113.10".into();
            second["gateway"]["networks"] = serde_json::json!(["172.16.0.0/16"]);
            vpn["connections"].as_array_mut().unwrap().push(second);
        });
        assert_eq!(all, ["connections[1].gateway.networks[0] overlap"]);
    }
}
