//! Which features of an appliance a configuration uses that appliances of earlier builds do not have.
//!
//! Guarantees: an appliance whose status names all of these among its capabilities reads the configuration and does what it
//! says. Whoever pushes asks first, so that an older one is refused by the feature's name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{AnyPart, ApplianceConfig, GuestNetwork, Link, LinkRole, Route, RouterConfig, Uplink};

/// Networks' own resolvers and forwarded zones over TLS.
pub const DNS_TLS_BY_NETWORK: &str = "dns-tls-by-network";
/// Records of wildcards.
pub const DNS_WILDCARDS: &str = "dns-wildcards";
/// Rules whose connections agree on others.
pub const HELPERS: &str = "helpers";
/// IPv6 to and from the Internet.
pub const IPV6_UPLINKS: &str = "ipv6-uplinks";
/// Next hops with link-local addresses.
pub const LINK_LOCAL_GATEWAYS: &str = "link-local-gateways";
/// Asking the manager, before each connection, whether a screen is still its VM's.
pub const CONSOLE_QUESTIONS: &str = "console-questions";
/// Networks of several ranges.
pub const NETWORK_RANGES: &str = "network-ranges";
/// Uplinks that are watched.
pub const UPLINK_PROBES: &str = "uplink-probes";
/// Uplinks that are watched by IPv6.
pub const UPLINK_PROBES_IPV6: &str = "uplink-probes-ipv6";

impl ApplianceConfig<AnyPart> {
    /// The features that it needs, by the names that a status has them under.
    pub fn needs(&self) -> BTreeSet<&'static str> {
        match &self.role {
            AnyPart::Router(router) => of_router(router, &self.links, &self.routes),
            AnyPart::Proxy(proxy) => {
                let asks = proxy.settings.ask_manager;
                asks.then_some(CONSOLE_QUESTIONS).into_iter().collect()
            }
            AnyPart::Ssvm(ssvm) => ssvm.needs(),
        }
    }
}

fn of_router(router: &RouterConfig, links: &[Link], routes: &[Route]) -> BTreeSet<&'static str> {
    let mut public = links.iter().filter(|link| link.role == LinkRole::Public);
    // one that only routes would neither hold back forged sources nor have a rule for what comes in
    let ipv6 = public.any(|link| link.addresses.iter().any(|address| address.ip().is_ipv6()))
        || router.uplinks.iter().any(|up| up.gateway_ipv6.is_some())
        || !router.ipv6_firewall.is_empty();
    let watched = router.uplinks.iter().any(|up| up.probe.is_some() || up.source_nat.is_some());
    let by_ipv6 = |up: &Uplink| up.probe.as_ref().is_some_and(|probe| probe.ipv6().is_some());
    let hops = routes.iter().filter_map(|route| route.via);
    let mut hops =
        hops.chain(router.uplinks.iter().filter_map(|up| up.gateway_ipv6.map(Into::into)));
    let is_local = |hop| matches!(hop, IpAddr::V6(hop) if hop.is_unicast_link_local());
    let own = |network: &GuestNetwork| network.dns.tls.is_some();
    let tls = router.networks.iter().any(own)
        || router.dns.forward_zones.iter().any(|zone| zone.tls.is_some());
    let mut records = router.networks.iter().flat_map(|network| &network.dns.records);
    let features = [
        (DNS_TLS_BY_NETWORK, tls),
        (DNS_WILDCARDS, records.any(|record| record.name.is_wildcard())),
        (HELPERS, helps(router)),
        (IPV6_UPLINKS, ipv6),
        (LINK_LOCAL_GATEWAYS, hops.any(is_local)),
        (NETWORK_RANGES, router.networks.iter().any(|network| !network.ranges.is_empty())),
        (UPLINK_PROBES, watched),
        (UPLINK_PROBES_IPV6, router.uplinks.iter().any(by_ipv6)),
    ];
    features.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
}

/// Whether a rule asks for a helper of connection tracking.
fn helps(router: &RouterConfig) -> bool {
    let mut lists = router.vpc.iter().flat_map(|vpc| &vpc.acls).flat_map(|acl| &acl.rules);
    router.firewall.iter().any(|rule| rule.helper.is_some())
        || router.egress_rules.iter().any(|rule| rule.helper.is_some())
        || lists.any(|rule| rule.helper.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn only_what_is_used_is_needed() {
        let text = std::fs::read("../../examples/router.json").unwrap();
        let mut config = <ApplianceConfig>::decode(&text).unwrap().0;
        assert_eq!(config.needs(), BTreeSet::new());
        let public = config.links.iter_mut().find(|link| link.role == LinkRole::Public).unwrap();
        public.addresses.push("2001:db8:ffff::2/64".parse().unwrap());
        let link = public.name.clone();
        assert_eq!(config.needs(), BTreeSet::from([IPV6_UPLINKS]));
        let way = json!({ "destination": "::/0", "link": link, "via": "fe80::1" });
        config.routes.push(serde_json::from_value(way).unwrap());
        assert_eq!(config.needs(), BTreeSet::from([IPV6_UPLINKS, LINK_LOCAL_GATEWAYS]));
    }

    #[test]
    fn each_feature_of_a_router_is_needed_by_its_name() {
        let text = std::fs::read("../../examples/router.json").unwrap();
        let example: Value = serde_json::from_slice(&text).unwrap();
        let tls = json!({ "authorities": AUTHORITY });
        let network = |router: &mut Value, field: &str, value: Value| {
            router["networks"][0][field] = value;
        };
        let record = json!({ "name": "*.apps.example", "data": { "a": "10.1.1.9" } });
        let zone = json!({ "zone": "corp.example", "upstreams": ["192.0.2.9"], "tls": tls });
        let rule = json!({ "id": "ftp", "network": example["role"]["router"]["networks"][0]["id"],
            "traffic": { "tcp": { "ports": "21" } }, "helper": "ftp" });
        let range = json!([{ "cidr": "10.1.9.0/24", "gateway": "10.1.9.1" }]);
        for (feature, field, value) in [
            (DNS_TLS_BY_NETWORK, "", json!({ "forward_zones": [zone] })),
            (DNS_TLS_BY_NETWORK, "dns", json!({ "upstreams": ["192.0.2.9"], "tls": tls })),
            (DNS_WILDCARDS, "dns", json!({ "records": [record] })),
            (NETWORK_RANGES, "ranges", range),
            (HELPERS, "egress_rules", json!([rule])),
        ] {
            let mut config = example.clone();
            let router = &mut config["role"]["router"];
            match field {
                "" => router["dns"] = value,
                "egress_rules" => router[field] = value,
                _ => network(router, field, value),
            }
            let config: ApplianceConfig = serde_json::from_value(config).unwrap();
            assert_eq!(config.needs(), BTreeSet::from([feature]));
        }
    }
}
