//! What the process that drives the IKE daemon is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::vpn::{VpnConfig, secret_of_blob};
use sluice_api::types::{BlobDigest, ObjectId, Secret, SecretBytes};

use super::connection::{Connection, ConnectionName, SharedKey};
use super::plan::{connections, id_of};

/// Everything the IKE process needs of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IkeSlice {
    /// The tunnels; of remote access without its users, who are no business of this process.
    pub vpn: VpnConfig,
    /// The blobs of the pre-shared keys.
    pub keys: BTreeMap<BlobDigest, SecretBytes>,
}

/// A connection with its key and the number of its resets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The connection.
    pub connection: Connection,
    /// Its key; `None`: the blob is not made as blobs of keys are.
    pub key: Option<SharedKey>,
    /// Another number than before: end it and begin anew.
    pub resets: u32,
}

/// The IKE process's part of `config`.
pub fn slice<'a>(
    config: &RouterDocument,
    secret: impl Fn(&BlobDigest) -> Option<&'a SecretBytes>,
) -> IkeSlice {
    let mut vpn = config.role.vpn.clone();
    for access in &mut vpn.remote_access {
        access.users.clear();
    }
    let keys = vpn.blobs().filter_map(|digest| Some((digest, secret(&digest)?.clone()))).collect();
    IkeSlice { vpn, keys }
}

impl IkeSlice {
    /// The connections that it means, by name.
    pub fn wanted(&self) -> BTreeMap<ConnectionName, Wanted> {
        let all = connections(&self.vpn).into_iter();
        all.map(|connection| (connection.name.clone(), self.with_key(connection))).collect()
    }

    fn with_key(&self, connection: Connection) -> Wanted {
        let name = &connection.name;
        let site =
            self.vpn.connections.iter().find(|c| is(name, &c.id, ConnectionName::site_to_site));
        let mut accesses = self.vpn.remote_access.iter();
        let access = accesses.find(|a| is(name, &a.id, ConnectionName::remote_access));
        let digest = site.map(|site| site.gateway.psk).or_else(|| access.map(|access| access.psk));
        let key = digest.and_then(|digest| secret_of_blob(self.keys.get(&digest)?.reveal()));
        // found by its id, or by its address while the id is not known yet (IKEv1's main mode)
        let address = connection.peer.address.and_then(id_of);
        let mut peers: Vec<_> = connection.peer.id.clone().into_iter().chain(address).collect();
        peers.dedup();
        let key = key.map(|key| SharedKey { key: Secret::new(key), peers });
        Wanted { key, resets: site.map_or(0, |site| site.resets), connection }
    }
}

fn is(name: &ConnectionName, id: &ObjectId, of: fn(&ObjectId) -> ConnectionName) -> bool {
    of(id) == *name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_of_their_blobs_and_are_not_shown() {
        let blob = b"5f1c0e\nvery secret";
        let digest = BlobDigest::of(blob);
        let vpn = serde_json::json!({"connections": [{
            "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"], "resets": 3,
            "gateway": {
                "id": "office", "address": "203.0.113.9", "peer_id": "branch",
                "networks": ["172.16.1.0/24"], "psk": digest,
                "ike": {"encryption": "aes256", "hash": "sha256"},
                "esp": {"encryption": "aes256", "hash": "sha256"},
            },
        }]});
        let mut slice = IkeSlice {
            vpn: serde_json::from_value(vpn).unwrap(),
            keys: [(digest, SecretBytes::new(*blob))].into(),
        };
        let name = ConnectionName::of_daemon("s2s-c-1").unwrap();
        let wanted = slice.wanted().remove(&name).unwrap();
        let key = wanted.key.clone().unwrap();
        assert_eq!((key.key.reveal(), wanted.resets), ("very secret", 3));
        let peers: Vec<_> = key.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["branch", "203.0.113.9"]);
        assert!(!format!("{wanted:?}{slice:?}").contains("very secret"));
        slice.keys = [(digest, SecretBytes::new(*b"no first line"))].into();
        assert_eq!(slice.wanted()[&name].key, None);
    }
}
