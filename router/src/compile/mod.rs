//! From a configuration to the kernel state that it means: pure, total, sorted.
//!
//! Guarantees: equal configurations give equal states; a configuration that passed its check always compiles.

mod links;
mod routes;
mod rules;
mod sysctls;

use std::collections::BTreeMap;

use sluice_api::RouterConfig;
use sluice_sys::model::Desired;
use sluice_sys::nft::{Family, Ident, TableId};

/// Everything that the kernel of this router is to hold.
pub fn desired(config: &RouterConfig) -> Desired {
    Desired {
        links: links::links(config),
        addresses: links::addresses(config),
        routes: routes::routes(config),
        sysctls: sysctls::sysctls(config),
        tables: BTreeMap::from([(table_id(), rules::table(config))]),
    }
}

/// The table of filter and NAT rules.
pub fn table_id() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed(sluice_sys::model::TABLE_NAME) }
}
