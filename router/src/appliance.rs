//! The router as the agent sees it.

use std::collections::BTreeMap;

use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::RouterDocument;
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
    type Config = RouterDocument;

    const ROLE: Role = Role::Router;

    fn desired(&self, config: &RouterDocument) -> Desired {
        compile::desired(config)
    }

    fn services(&self, config: &RouterDocument, _: &Blobs) -> BTreeMap<ServiceName, ServiceSlice> {
        // a router without guest networks has nobody to serve
        if config.role.networks.is_empty() {
            return BTreeMap::new();
        }
        BTreeMap::from([
            (DHCP, ServiceSlice::of(&dhcp::slice(config))),
            (DNS, ServiceSlice::of(&dns::slice(config))),
        ])
    }

    fn service(&self, service: ServiceName) -> ServiceSpec {
        // users of the image; nothing else on the box has them
        if service == DHCP {
            let capabilities = [Capability::NetBindService, Capability::NetRaw];
            return ServiceSpec::own(64_001).with_capabilities(capabilities);
        }
        ServiceSpec::own(64_002).with_capabilities([Capability::NetBindService])
    }
}
