//! The router as the agent sees it.

use std::collections::BTreeMap;

use sluice_agent::{Appliance, Privileges, ServiceName, ServiceSlice};
use sluice_api::RouterConfig;
use sluice_api::boot::Role;
use sluice_sys::model::Desired;
use sluice_sys::process::Capability;

use crate::{compile, dhcp, dns};

/// The DHCP service.
pub const DHCP: ServiceName = ServiceName("dhcp");
/// The name service.
pub const DNS: ServiceName = ServiceName("dns");

/// The virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Router;

impl Appliance for Router {
    type Config = RouterConfig;

    const ROLE: Role = Role::Router;

    fn desired(&self, config: &RouterConfig) -> Desired {
        compile::desired(config)
    }

    fn services(&self, config: &RouterConfig) -> BTreeMap<ServiceName, ServiceSlice> {
        // a router without guest networks has nobody to serve
        if config.networks.is_empty() {
            return BTreeMap::new();
        }
        BTreeMap::from([
            (DHCP, ServiceSlice::of(&dhcp::slice(config))),
            (DNS, ServiceSlice::of(&dns::slice(config))),
        ])
    }

    fn privileges(&self, service: ServiceName) -> Privileges {
        // users of the image; nothing else on the box has them
        if service == DHCP {
            let capabilities = vec![Capability::NetBindService, Capability::NetRaw];
            return Privileges { user: 64_001, capabilities };
        }
        Privileges { user: 64_002, capabilities: vec![Capability::NetBindService] }
    }
}
