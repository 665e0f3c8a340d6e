//! From a configuration to the kernel state that it means: pure, total, sorted.
//!
//! Guarantees: equal configurations give equal states; a configuration that passed its check always compiles; each
//! subsystem compiles its own fragment, and they meet only in the slots of `skeleton`.

mod base;
mod control;
mod forwards;
mod links;
mod networks;
mod policy;
mod routes;
pub mod skeleton;
mod spoofed;
mod sysctls;
mod uplinks;
pub mod usage;
mod vpn;
mod words;

use sluice_agent::fragment::{Merged, merge};
use sluice_api::RouterDocument;
use sluice_sys::model::Desired;
use sluice_sys::nft::TableId;

/// Everything that the kernel of this router is to hold.
pub fn desired(config: &RouterDocument) -> Desired {
    merged(config).desired
}

/// The same, with what subsystems contradict each other in, which is nothing: a test asks.
pub fn merged(config: &RouterDocument) -> Merged {
    let forwards = forwards::elements(&config.role.port_forwards);
    let fragments = [
        links::fragment(config),
        routes::fragment(config),
        sysctls::fragment(config),
        // before `base`: what belongs into a tunnel is judged before connections that stand are let through
        vpn::fragment(config),
        base::fragment(),
        spoofed::fragment(config),
        control::fragment(config),
        uplinks::fragment(config),
        policy::fragment(config, &forwards),
        networks::fragment(config),
    ];
    let mut merged = merge(table_id(), fragments);
    merged.desired.tables.insert(usage::table_id(), usage::table(config, &forwards));
    merged
}

/// The table of filter and NAT rules.
pub fn table_id() -> TableId {
    TableId::inet(sluice_sys::model::TABLE_NAME)
}
