//! The router as the agent sees it.

use std::collections::BTreeMap;

use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::RouterDocument;
use sluice_api::boot::Role;
use sluice_api::types::BlobDigest;
use sluice_sys::model::Desired;
use sluice_sys::process::{Capability, Limits};

use crate::vpn::{daemon, ike, lns};
use crate::{compile, dhcp, dns, lb, metadata, password};

/// The DHCP service.
pub const DHCP: ServiceName = ServiceName("dhcp");
/// The name service.
pub const DNS: ServiceName = ServiceName("dns");
/// The metadata service.
pub const METADATA: ServiceName = ServiceName("metadata");
/// The password server.
pub const PASSWORD: ServiceName = ServiceName("password");

/// Load balancing.
pub const LB: ServiceName = ServiceName("lb");

/// The virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Router;

impl Appliance for Router {
    type Config = RouterDocument;

    const ROLE: Role = Role::Router;

    fn desired(&self, config: &RouterDocument) -> Desired {
        compile::desired(config)
    }

    fn services(
        &self,
        config: &RouterDocument,
        blobs: &Blobs,
    ) -> BTreeMap<ServiceName, ServiceSlice> {
        let blob = |digest: &BlobDigest| blobs.get(digest).cloned();
        let mut services = BTreeMap::new();
        // a router without guest networks has nobody to serve
        if !config.role.networks.is_empty() {
            services.extend([
                (DHCP, ServiceSlice::of(&dhcp::slice(config))),
                (DNS, ServiceSlice::of(&dns::slice(config))),
                (METADATA, ServiceSlice::of(&metadata::slice(config, blob))),
                (PASSWORD, ServiceSlice::of(&password::slice(config, blob))),
            ]);
        }
        if !config.role.balancers.is_empty() {
            services.insert(LB, ServiceSlice::of(&lb::slice(config, blob)));
        }
        let vpn = &config.role.vpn;
        if !vpn.connections.is_empty() || !vpn.remote_access.is_empty() {
            let secret = |digest: &BlobDigest| blobs.get(digest);
            // charon is told by the process beside it
            services.insert(daemon::CHARON, ServiceSlice::of(&()));
            services.insert(daemon::IKE, ServiceSlice::of(&ike::slice(config, secret)));
            if !vpn.remote_access.is_empty() {
                services.insert(daemon::L2TP, ServiceSlice::of(&lns::slice(config, secret)));
            }
        }
        services
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec!["ike-strongswan", "remote-access", "site-to-site"]
    }

    fn service(&self, service: ServiceName) -> ServiceSpec {
        if let Some(spec) = daemon::service(service) {
            return spec;
        }
        // users of the image; nothing else on the box has them
        let (user, capabilities) = match service {
            DHCP => (64_001, vec![Capability::NetBindService, Capability::NetRaw]),
            DNS => (64_002, vec![Capability::NetBindService]),
            METADATA => (64_003, vec![Capability::NetBindService]),
            LB => return balancing(),
            // the password server, whose port is above 1024
            _ => (64_004, Vec::new()),
        };
        ServiceSpec::own(user).with_capabilities(capabilities)
    }
}

/// Two descriptors for each connection, and pipes; the memory is bounded by the rules' limits of connections.
fn balancing() -> ServiceSpec {
    let limits = Limits { open_files: 262_144, ..Limits::default() };
    ServiceSpec { limits, ..ServiceSpec::own(64_005) }
        .with_capabilities(vec![Capability::NetBindService])
}
