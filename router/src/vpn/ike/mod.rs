//! Key exchange: what connections there are, and the daemon that holds them.
//!
//! [`connections`] says purely which connections a configuration means. An [`IkeEngine`] loads them into a daemon one by
//! one and reads their state from the security associations, never from traffic. [`keeper`] decides what is to be begun
//! again. Why two engines: docs/vpn.md, "Engines".

#[cfg(test)]
mod clients;
mod connection;
pub mod keeper;
mod libreswan;
mod plan;
pub mod service;
mod slice;
mod state;
pub mod strongswan;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sluice_api::config::vpn::{Encryption, Hash};
use sluice_api::types::DhGroup;
use thiserror::Error;

pub use connection::{
    Child, ChildName, Connection, ConnectionName, Dpd, Esp, Ike, Mode, Peer, Proposal, Selector,
    SharedKey, Start,
};
pub use libreswan::Libreswan;
pub use plan::connections;
pub use slice::{IkeSlice, Wanted, slice};
pub use state::{ChildState, SaState, Trouble, TroubleKind};

/// A daemon that speaks IKE.
///
/// Every call is about one connection and leaves the others alone. A call that fails can be made again.
#[async_trait]
pub trait IkeEngine: Send {
    /// What the daemon of this image can do.
    fn capabilities(&self) -> Capabilities;

    /// How long a daemon that is starting is waited for. Default: 8 s, less than what a service has for a slice.
    fn starts_within(&self) -> Duration {
        Duration::from_secs(8)
    }

    /// Loads a connection with its key, or puts them in place of those of the same name. Tunnels that stand are kept where
    /// the change allows it. It is not begun.
    async fn load(&mut self, connection: &Connection, key: &SharedKey) -> Result<(), EngineError>;

    /// Ends a connection and forgets it and its key. One that is not loaded is no error.
    async fn unload(&mut self, name: &ConnectionName) -> Result<(), EngineError>;

    /// Begins a tunnel; does not wait for it.
    async fn initiate(
        &mut self,
        name: &ConnectionName,
        child: &ChildName,
    ) -> Result<(), EngineError>;

    /// Ends all tunnels of a connection, which stays loaded. None is no error.
    async fn terminate(&mut self, name: &ConnectionName) -> Result<(), EngineError>;

    /// Makes new keys for a tunnel now.
    async fn rekey(&mut self, name: &ConnectionName, child: &ChildName) -> Result<(), EngineError>;

    /// Every connection that has security associations, by name.
    async fn state(&mut self) -> Result<Vec<SaState>, EngineError>;

    /// What went wrong since the last call, oldest first.
    async fn troubles(&mut self) -> Vec<Trouble>;
}

/// What an engine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the engine.
    pub engine: &'static str,
    /// Encryption algorithms.
    pub encryption: BTreeSet<Encryption>,
    /// Hashes.
    pub hashes: BTreeSet<Hash>,
    /// Diffie-Hellman groups.
    pub groups: BTreeSet<DhGroup>,
    /// Clients of remote access that share an address and a port behind one NAT are told apart by marks.
    pub marks: bool,
}

impl Capabilities {
    /// What of `connection` cannot be done, by name; empty when everything can. Of several proposals one is enough.
    pub fn lacks(&self, connection: &Connection) -> Vec<String> {
        let first = std::iter::once(&connection.ike.proposals);
        let phases = first.chain(connection.children.iter().map(|child| &child.esp.proposals));
        let mut lacking = BTreeSet::new();
        for proposals in phases {
            let each: Vec<_> = proposals.iter().map(|proposal| self.lack_of(proposal)).collect();
            if each.iter().all(|lack| !lack.is_empty()) {
                lacking.extend(each.into_iter().flatten());
            }
        }
        lacking.into_iter().collect()
    }

    fn lack_of(&self, proposal: &Proposal) -> Vec<String> {
        let Proposal { encryption, hash, group } = proposal;
        let mut lacking = Vec::new();
        if !self.encryption.contains(encryption) {
            lacking.push(format!("{encryption:?}"));
        }
        if let Some(hash) = hash.filter(|hash| !self.hashes.contains(hash)) {
            lacking.push(format!("{hash:?}"));
        }
        if let Some(group) = group.filter(|group| !self.groups.contains(group)) {
            lacking.push(group.to_string());
        }
        lacking
    }
}

/// Why an engine did not do what it was told.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The daemon cannot be reached; it may be starting. Worth a retry.
    #[error("the IKE daemon cannot be reached: {0}")]
    Unreachable(String),
    /// It refused. Not worth a retry with the same connection.
    #[error("the IKE daemon refused {what} of {name}: {reason}")]
    Refused {
        /// The connection.
        name: ConnectionName,
        /// What was asked.
        what: &'static str,
        /// Its words.
        reason: String,
    },
    /// It answered what cannot be understood.
    #[error("the IKE daemon's answer cannot be read: {0}")]
    Answer(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine without group 2 takes a connection that offers others too, and none that offers nothing else.
    #[test]
    fn one_proposal_that_can_be_done_is_enough() {
        let proposal = |group: u64| Proposal {
            encryption: Encryption::Aes256,
            hash: Some(Hash::Sha256),
            group: Some(DhGroup::try_from(group).unwrap()),
        };
        let capabilities = Capabilities {
            engine: "libreswan",
            encryption: Encryption::ALL.into(),
            hashes: Hash::ALL.into(),
            groups: [DhGroup::try_from(14).unwrap()].into(),
            marks: false,
        };
        let vpn = serde_json::json!({"connections": [{
            "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"],
            "gateway": {
                "id": "office", "address": "203.0.113.9", "networks": ["172.16.1.0/24"],
                "psk": sluice_api::types::BlobDigest::of(b"key"),
                "ike": {"encryption": "aes256", "hash": "sha256"},
                "esp": {"encryption": "aes256", "hash": "sha256"},
            },
        }]});
        let mut all = connections(&serde_json::from_value(vpn).unwrap());
        let connection = &mut all[0];
        connection.ike.proposals = vec![proposal(2), proposal(14)];
        assert!(capabilities.lacks(connection).is_empty());
        connection.ike.proposals = vec![proposal(2)];
        assert_eq!(capabilities.lacks(connection), ["group 2"]);
    }
}
