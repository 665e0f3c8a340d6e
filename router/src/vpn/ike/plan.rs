//! From a configuration to the connections that it means: pure, total, in the configuration's order.

use std::net::IpAddr;

use sluice_api::config::vpn::{
    CustomerGateway, Encryption, EspPolicy, Hash, IkePolicy, IkeVersion, RemoteAccess, VpnConfig,
    VpnConnection,
};
use sluice_api::types::{DhGroup, IkeId};

use super::connection::{
    Child, ChildName, Connection, ConnectionName, Dpd, Esp, Ike, Mode, Peer, Proposal, Selector,
    Start,
};

/// Groups for a first phase that names none, the best first; then those that are obsolete.
const GROUPS: [u64; 6] = [31, 20, 19, 16, 15, 14];
const OBSOLETE_GROUPS: [u64; 2] = [5, 2];
/// Asked after half a minute of silence, gone after two minutes: what routers of this kind have had since the guide.
const DPD: Dpd = Dpd { delay: 30, timeout: 120 };
/// Clients roam and sleep: asked later than gateways, and gone sooner.
const CLIENT_DPD: Dpd = Dpd { delay: 40, timeout: 130 };
/// Lifetimes of clients' associations; clients begin new ones themselves, Windows after an hour (docs/vpn.md, "Clients").
const CLIENT_IKE_LIFETIME: u32 = 86_400;
const CLIENT_ESP_LIFETIME: u32 = 28_800;
/// UDP port of L2TP at our end; behind NAT a client's is any.
const L2TP: u16 = 1701;

/// The connections of `vpn`, site-to-site first.
pub fn connections(vpn: &VpnConfig) -> Vec<Connection> {
    let sites = vpn.connections.iter().map(|connection| site(connection, vpn.allow_obsolete));
    let accesses = vpn.remote_access.iter().map(|access| remote(access, vpn.allow_obsolete));
    sites.chain(accesses).collect()
}

fn site(connection: &VpnConnection, obsolete: bool) -> Connection {
    let name = ConnectionName::site_to_site(&connection.id);
    let gateway = &connection.gateway;
    Connection {
        local: connection.address,
        local_id: connection.local_id.clone().unwrap_or_else(|| connection.address.into()),
        peer: peer(gateway),
        ike: ike(&gateway.ike, obsolete),
        dpd: gateway.dead_peer_detection.then_some(DPD),
        force_encapsulation: gateway.force_encapsulation,
        start: if connection.passive { Start::Peers } else { Start::Ours },
        children: tunnels(&name, connection),
        name,
    }
}

fn peer(gateway: &CustomerGateway) -> Peer {
    let address = gateway.address.map(sluice_api::types::HostAddress::ip);
    Peer { address, id: gateway.peer_id.clone().or_else(|| address.and_then(id_of)) }
}

/// An address as an id.
pub(super) fn id_of(address: IpAddr) -> Option<IkeId> {
    address.to_string().parse().ok()
}

/// One tunnel for each pair of networks: IKEv1 knows no other way, and many peers of IKEv2 take one pair only.
fn tunnels(name: &ConnectionName, connection: &VpnConnection) -> Vec<Child> {
    let pairs = connection
        .local_networks
        .iter()
        .flat_map(|local| connection.gateway.networks.iter().map(move |remote| (local, remote)));
    pairs
        .enumerate()
        .map(|(place, (local, remote))| Child {
            name: ChildName::new(name, place),
            local: Selector::Network(*local),
            remote: Selector::Network(*remote),
            mode: Mode::Tunnel,
            esp: esp(&connection.gateway.esp),
        })
        .collect()
}

fn ike(policy: &IkePolicy, obsolete: bool) -> Ike {
    let groups = match policy.group {
        Some(group) => vec![group],
        None => any_group(obsolete),
    };
    let (encryption, hash) = (policy.encryption, Some(policy.hash));
    let proposal = |group| Proposal { encryption, hash, group: Some(group) };
    Ike {
        version: policy.version,
        proposals: groups.into_iter().map(proposal).collect(),
        lifetime: policy.lifetime_seconds.get(),
    }
}

fn any_group(obsolete: bool) -> Vec<DhGroup> {
    let more = OBSOLETE_GROUPS.into_iter().filter(|_| obsolete);
    // the numbers above are groups' numbers
    GROUPS.into_iter().chain(more).filter_map(|number| DhGroup::try_from(number).ok()).collect()
}

fn esp(policy: &EspPolicy) -> Esp {
    let EspPolicy { encryption, hash, pfs, lifetime_seconds } = policy;
    let proposal = Proposal { encryption: *encryption, hash: *hash, group: *pfs };
    Esp { proposals: vec![proposal], lifetime: lifetime_seconds.get() }
}

/// L2TP over IPsec as clients do it: IKEv1, main mode, transport mode, whoever has the key.
fn remote(access: &RemoteAccess, obsolete: bool) -> Connection {
    let name = ConnectionName::remote_access(&access.id);
    let child = Child {
        name: ChildName::new(&name, 0),
        local: Selector::Udp(Some(L2TP)),
        remote: Selector::Udp(None),
        mode: Mode::Transport,
        esp: Esp { proposals: client_esp(obsolete), lifetime: CLIENT_ESP_LIFETIME },
    };
    Connection {
        local: access.address,
        local_id: access.address.into(),
        peer: Peer { address: None, id: None },
        ike: Ike {
            version: IkeVersion::V1,
            proposals: client_ike(obsolete),
            lifetime: CLIENT_IKE_LIFETIME,
        },
        dpd: Some(CLIENT_DPD),
        force_encapsulation: false,
        start: Start::Peers,
        children: vec![child],
        name,
    }
}

/// What clients of today offer in the first phase: Windows AES-256 and AES-128 with SHA-1 and groups 20, 19 and 14; Apple's
/// AES-256 with SHA-256 and group 14; Android and Linux a mixture. Older ones: 3DES, groups 5 and 2.
fn client_ike(obsolete: bool) -> Vec<Proposal> {
    let mut all = Vec::new();
    for encryption in [Encryption::Aes256, Encryption::Aes128] {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Sha1] {
            for group in any_group(obsolete) {
                all.push(Proposal { encryption, hash: Some(hash), group: Some(group) });
            }
        }
    }
    if obsolete {
        for hash in [Hash::Sha1, Hash::Md5] {
            for group in any_group(true) {
                let encryption = Encryption::TripleDes;
                all.push(Proposal { encryption, hash: Some(hash), group: Some(group) });
            }
        }
    }
    all
}

/// And in the second, without perfect forward secrecy, which Windows does not do here.
fn client_esp(obsolete: bool) -> Vec<Proposal> {
    let aes = [Encryption::Aes256, Encryption::Aes128].into_iter();
    let mut all: Vec<Proposal> = aes
        .flat_map(|encryption| {
            let hashes = [Hash::Sha256, Hash::Sha512, Hash::Sha1];
            hashes.map(|hash| Proposal { encryption, hash: Some(hash), group: None })
        })
        .collect();
    if obsolete {
        let old = [Hash::Sha1, Hash::Md5];
        let encryption = Encryption::TripleDes;
        all.extend(old.map(|hash| Proposal { encryption, hash: Some(hash), group: None }));
    }
    all
}
