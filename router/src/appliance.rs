//! The router as the agent sees it.

use std::collections::{BTreeMap, BTreeSet};

use sluice_agent::service::OpenedSocket;
use sluice_agent::{Appliance, Blobs, Seen, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::RouterDocument;
use sluice_api::boot::Role;
use sluice_api::config::{
    DNS_TLS_BY_NETWORK, DNS_WILDCARDS, HELPERS, IPV6_UPLINKS, LINK_LOCAL_GATEWAYS, NETWORK_RANGES,
    UPLINK_PROBES, UPLINK_PROBES_IPV6,
};
use sluice_api::report::ServiceStatus;
use sluice_api::types::BlobDigest;
use sluice_sys::model::Desired;
use sluice_sys::process::{Capability, Limits, Profile};

use crate::vpn::daemon::{self, Engine};
use crate::vpn::{ike, lns};
use crate::{compile, dhcp, dns, lb, metadata, password, ra, uplinks};

/// The DHCP service.
pub const DHCP: ServiceName = ServiceName("dhcp");
/// The name service.
pub const DNS: ServiceName = ServiceName("dns");
/// The metadata service.
pub const METADATA: ServiceName = ServiceName("metadata");
/// The password server.
pub const PASSWORD: ServiceName = ServiceName("password");

/// Router advertisements.
pub const RA: ServiceName = ServiceName("ra");

/// The watch over uplinks.
pub(crate) const UPLINKS: ServiceName = ServiceName(sluice_api::report::uplinks::SERVICE);

/// Load balancing.
pub const LB: ServiceName = ServiceName("lb");

/// Users that services run as, those of the tunnels included; of the image, and nothing else on the box has them.
pub const USERS: [u32; 10] = [
    DHCP_USER,
    DNS_USER,
    METADATA_USER,
    PASSWORD_USER,
    LB_USER,
    RA_USER,
    UPLINKS_USER,
    daemon::CHARON_USER,
    daemon::IKE_USER,
    daemon::L2TP_USER,
];
const DHCP_USER: u32 = 64_001;
const DNS_USER: u32 = 64_002;
const METADATA_USER: u32 = 64_003;
const PASSWORD_USER: u32 = 64_004;
const LB_USER: u32 = 64_005;
const RA_USER: u32 = 64_006;
const UPLINKS_USER: u32 = 64_007;

/// The virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Router;

impl Appliance for Router {
    type Config = RouterDocument;

    const ROLE: Role = Role::Router;

    fn desired(&self, config: &RouterDocument) -> Desired {
        compile::desired(config)
    }

    fn seen(&self, services: &[ServiceStatus]) -> Option<Seen> {
        let mut seen = lb::seen::down(services)?;
        seen.extend(uplinks::seen::down(services)?);
        Some(seen)
    }

    fn desired_seeing(&self, config: &RouterDocument, seen: &Seen) -> Desired {
        let without = lb::seen::without(config, seen);
        let config = without.as_ref().unwrap_or(config);
        let without = uplinks::seen::without(config, seen);
        compile::desired(without.as_ref().unwrap_or(config))
    }

    /// Whichever uplink a connection was opened by, it stays there.
    fn judged_seeing(&self, config: &RouterDocument, seen: &Seen) -> Desired {
        let without = lb::seen::without(config, seen);
        compile::desired(without.as_ref().unwrap_or(config))
    }

    fn alarms(&self, services: &[ServiceStatus]) -> Vec<String> {
        let mut alarms = uplinks::seen::alarms(services);
        alarms.extend(password::seen::alarms(PASSWORD.0, services));
        alarms
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
        let advertised = ra::slice(config);
        if !advertised.networks.is_empty() {
            services.insert(RA, ServiceSlice::of(&advertised));
        }
        let watched = uplinks::slice(config);
        if !watched.uplinks.is_empty() {
            services.insert(UPLINKS, ServiceSlice::of(&watched));
        }
        if !config.role.balancers.is_empty() {
            services.insert(LB, ServiceSlice::of(&lb::slice(config, blob)));
        }
        let vpn = &config.role.vpn;
        if !vpn.connections.is_empty() || !vpn.remote_access.is_empty() {
            let secret = |digest: &BlobDigest| blobs.get(digest);
            // charon is told by the process beside it; pluto is that one's child
            if Engine::here() == Engine::Strongswan {
                services.insert(daemon::CHARON, ServiceSlice::of(&()));
            }
            services.insert(daemon::IKE, ServiceSlice::of(&ike::slice(config, secret)));
            if !vpn.remote_access.is_empty() {
                services.insert(daemon::L2TP, ServiceSlice::of(&lns::slice(config, secret)));
            }
        }
        services
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec![
            Engine::here().capability(),
            DNS_TLS_BY_NETWORK,
            DNS_WILDCARDS,
            HELPERS,
            IPV6_UPLINKS,
            LINK_LOCAL_GATEWAYS,
            NETWORK_RANGES,
            "remote-access",
            "site-to-site",
            UPLINK_PROBES,
            UPLINK_PROBES_IPV6,
        ]
    }

    fn kept_from_control(&self) -> BTreeSet<u32> {
        BTreeSet::from(USERS)
    }

    fn service(&self, service: ServiceName) -> ServiceSpec {
        if let Some(spec) = daemon::service(service) {
            return spec;
        }
        let (user, capabilities) = match service {
            DHCP => {
                let mut sockets = vec![OpenedSocket::Ethernet];
                sockets.extend([OpenedSocket::Arp; dhcp::PROBES]);
                // a folder of its own, where what it lends is written down
                return ServiceSpec { sockets, state: true, ..ServiceSpec::own(DHCP_USER) }
                    .with_capabilities(vec![Capability::NetBindService]);
            }
            DNS => (DNS_USER, vec![Capability::NetBindService]),
            METADATA => (METADATA_USER, vec![Capability::NetBindService]),
            RA => {
                return ServiceSpec { profile: Profile::LinkService, ..ServiceSpec::own(RA_USER) }
                    .with_capabilities(vec![Capability::NetRaw]);
            }
            UPLINKS => (UPLINKS_USER, vec![Capability::NetRaw]),
            LB => return balancing(),
            // the password server, whose port is above 1024; it writes down which passwords are over
            _ => return ServiceSpec { state: true, ..ServiceSpec::own(PASSWORD_USER) },
        };
        ServiceSpec::own(user).with_capabilities(capabilities)
    }
}

/// Two descriptors for each connection, and pipes; the memory is bounded by the rules' limits of connections.
fn balancing() -> ServiceSpec {
    let limits = Limits { open_files: 262_144, ..Limits::default() };
    ServiceSpec { limits, hands_over: true, ..ServiceSpec::own(LB_USER) }
        .with_capabilities(vec![Capability::NetBindService])
}
