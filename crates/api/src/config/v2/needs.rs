//! Which features of an appliance a configuration uses that appliances of earlier builds do not have.
//!
//! Guarantees: an appliance whose status names all of these among its capabilities reads the configuration and does what it
//! says. Whoever pushes asks first, so that an older one is refused by the feature's name.

use std::collections::BTreeSet;

use super::{AnyPart, ApplianceConfig, Link, LinkRole, RouterConfig};

/// IPv6 to and from the Internet.
pub const IPV6_UPLINKS: &str = "ipv6-uplinks";
/// Uplinks that are watched.
pub const UPLINK_PROBES: &str = "uplink-probes";

impl ApplianceConfig<AnyPart> {
    /// The features that it needs, by the names that a status has them under.
    pub fn needs(&self) -> BTreeSet<&'static str> {
        match &self.role {
            AnyPart::Router(router) => of_router(router, &self.links),
            AnyPart::Proxy(_) => BTreeSet::new(),
            AnyPart::Ssvm(ssvm) => ssvm.needs(),
        }
    }
}

fn of_router(router: &RouterConfig, links: &[Link]) -> BTreeSet<&'static str> {
    let mut public = links.iter().filter(|link| link.role == LinkRole::Public);
    // one that only routes would neither hold back forged sources nor have a rule for what comes in
    let ipv6 = public.any(|link| link.addresses.iter().any(|address| address.ip().is_ipv6()))
        || router.uplinks.iter().any(|up| up.gateway_ipv6.is_some())
        || !router.ipv6_firewall.is_empty();
    let watched = router.uplinks.iter().any(|up| up.probe.is_some() || up.source_nat.is_some());
    let features = [(IPV6_UPLINKS, ipv6), (UPLINK_PROBES, watched)];
    features.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_is_needed() {
        let text = std::fs::read("../../examples/router.json").unwrap();
        let mut config = <ApplianceConfig>::decode(&text).unwrap().0;
        assert_eq!(config.needs(), BTreeSet::new());
        let public = config.links.iter_mut().find(|link| link.role == LinkRole::Public).unwrap();
        public.addresses.push("2001:db8:ffff::2/64".parse().unwrap());
        assert_eq!(config.needs(), BTreeSet::from([IPV6_UPLINKS]));
    }
}
