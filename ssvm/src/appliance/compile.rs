//! From a configuration to the kernel state that it means: uploads and downloads are let in where they are served.

use sluice_agent::host::{self, Served};
use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::Listener;
use sluice_api::types::{LinkName, Port};
use sluice_sys::model::Desired;

/// Everything that the kernel of this secondary storage VM is to hold.
pub fn desired(config: &SsvmDocument) -> Desired {
    let role = &config.role;
    let peers = role.peers.iter().filter_map(|peer| of(&peer.link, peer.port()));
    host::desired(config, "input/storage", role.listeners.iter().filter_map(served).chain(peers))
}

fn served(listener: &Listener) -> Option<Served> {
    of(&listener.link, listener.port())
}

fn of(link: &LinkName, port: u16) -> Option<Served> {
    let port = Port::try_from(u64::from(port)).ok()?;
    Some(Served { link: link.clone(), port, from: None })
}
