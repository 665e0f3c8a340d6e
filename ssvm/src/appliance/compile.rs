//! From a configuration to the kernel state that it means: uploads and downloads are let in where they are served.

use sluice_agent::host::{self, Served};
use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::Listener;
use sluice_api::types::Port;
use sluice_sys::model::Desired;

/// Everything that the kernel of this secondary storage VM is to hold.
pub fn desired(config: &SsvmDocument) -> Desired {
    host::desired(config, "input/storage", config.role.listeners.iter().filter_map(served))
}

fn served(listener: &Listener) -> Option<Served> {
    let port = Port::try_from(u64::from(listener.port())).ok()?;
    Some(Served { link: listener.link.clone(), port, from: None })
}
