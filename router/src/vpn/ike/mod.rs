//! Key exchange: what connections there are, and the daemon that holds them.
//!
//! [`connections`] says purely which connections a configuration means. An [`IkeEngine`] loads them into a daemon one by
//! one and reads their state from the security associations, never from traffic. [`keeper`] decides what is to be begun
//! again. Why two engines: docs/vpn.md, "Engines".

mod connection;
pub mod keeper;
mod libreswan;
mod plan;
pub mod service;
mod slice;
mod state;
pub mod strongswan;

use std::collections::BTreeSet;

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
    /// What of `connection` cannot be done, by name; empty when everything can.
    pub fn lacks(&self, connection: &Connection) -> Vec<String> {
        let proposals = connection
            .ike
            .proposals
            .iter()
            .chain(connection.children.iter().flat_map(|child| &child.esp.proposals));
        let mut lacking = BTreeSet::new();
        for proposal in proposals {
            if !self.encryption.contains(&proposal.encryption) {
                lacking.insert(format!("{:?}", proposal.encryption));
            }
            if proposal.hash.is_some_and(|hash| !self.hashes.contains(&hash)) {
                lacking.insert(format!("{:?}", proposal.hash));
            }
            if let Some(group) = proposal.group.filter(|group| !self.groups.contains(group)) {
                lacking.insert(group.to_string());
            }
        }
        lacking.into_iter().collect()
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
