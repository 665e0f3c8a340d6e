//! Uplinks that are down, and the configuration as it is while they are.
//!
//! Guarantees: pure; with none that is up, or none that is down, nothing changes; of those that are up the first in the
//! configuration's order is taken, whatever was taken before. Addresses, forwards and static NAT of an uplink stay with it.

use std::net::IpAddr;

use serde::Deserialize as _;
pub use sluice_agent::Seen;
use sluice_api::RouterDocument;
use sluice_api::config::{Route, SourceNat, Uplink};
use sluice_api::report::ServiceStatus;
use sluice_api::report::uplinks::{Report, SERVICE, UplinkReport};
use sluice_api::types::LinkName;

/// The service that watches, if anything is watched.
fn watching(services: &[ServiceStatus]) -> Option<&ServiceStatus> {
    services.iter().find(|service| service.name == SERVICE)
}

/// What it says; none until it has spoken.
fn report(service: &ServiceStatus) -> Option<Report> {
    Report::deserialize(service.report.as_ref()?).ok()
}

/// The uplinks that are down, each as `uplink:LINK`; `None` while nobody can say, such as when the service has just begun.
pub fn down(services: &[ServiceStatus]) -> Option<Seen> {
    let Some(service) = watching(services) else { return Some(Seen::new()) };
    down_in(report(service)?)
}

/// The same of what the service says; `None` while it does not know all of them.
pub fn down_in(report: Report) -> Option<Seen> {
    let states = report.uplinks.into_iter().map(|up| Some((up.link, up.up?)));
    let states: Vec<(LinkName, bool)> = states.collect::<Option<_>>()?;
    Some(states.into_iter().filter(|(_, up)| !up).map(|(link, _)| key(&link)).collect())
}

/// What a person must look at.
pub fn alarms(services: &[ServiceStatus]) -> Vec<String> {
    let report = watching(services).and_then(report).unwrap_or_default();
    let down = |up: &&UplinkReport| up.up == Some(false);
    let told = |up: &UplinkReport| {
        let targets: Vec<String> = up.targets.iter().map(ToString::to_string).collect();
        format!("uplink {} is down: {} does not answer", up.link, targets.join(", "))
    };
    report.uplinks.iter().filter(down).map(told).collect()
}

fn key(link: &LinkName) -> String {
    format!("uplink:{link}")
}

/// The uplinks of `config` that it has watched and that are down.
pub fn down_of<'a>(config: &'a RouterDocument, seen: &Seen) -> Vec<&'a LinkName> {
    let watched = config.role.uplinks.iter().filter(|up| up.probe.is_some());
    watched.map(|up| &up.link).filter(|link| seen.contains(&key(link))).collect()
}

/// `config` with other uplinks in place of those that are down; `None` when it changes nothing.
pub fn without(config: &RouterDocument, seen: &Seen) -> Option<RouterDocument> {
    let uplinks = &config.role.uplinks;
    let down = down_of(config, seen);
    let is_down = |link: &LinkName| down.contains(&link);
    let others = Others(uplinks.iter().filter(|up| !is_down(&up.link)).collect());
    if others.0.is_empty() || others.0.len() == uplinks.len() {
        return None;
    }
    let mut left = config.clone();
    for route in left.routes.iter_mut().filter(|route| is_down(&route.link)) {
        others.lead(route);
    }
    for network in &mut left.role.networks {
        let nat = network.source_nat.as_ref().filter(|nat| is_down(&nat.link));
        if let Some(other) = nat.and_then(|_| others.source_nat()) {
            network.source_nat = Some(other);
        }
    }
    Some(left)
}

/// Those that are up, in the order of the configuration.
struct Others<'a>(Vec<&'a Uplink>);

impl Others<'_> {
    /// A default route of the main table goes by the first that its version of IP can leave by.
    fn lead(&self, route: &mut Route) {
        if route.table.is_some() || route.destination.prefix() != 0 {
            return;
        }
        let ipv4 = route.destination.is_ipv4();
        let gateway = |up: &&Uplink| {
            let ipv6 = || up.gateway_ipv6.map(IpAddr::V6);
            let gateway = if ipv4 { Some(IpAddr::V4(up.gateway)) } else { ipv6() };
            Some((up.link.clone(), gateway?))
        };
        if let Some((link, gateway)) = self.0.iter().find_map(gateway) {
            (route.link, route.via) = (link, Some(gateway));
        }
    }

    fn source_nat(&self) -> Option<SourceNat> {
        let own = |up: &&Uplink| Some(SourceNat { link: up.link.clone(), address: up.source_nat? });
        self.0.iter().find_map(own)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(report: Option<Value>) -> Vec<ServiceStatus> {
        let status = json!({
            "name": "uplinks", "state": "running", "pid": 7, "generation": 3, "restarts": 0,
            "last_exit": null, "counters": {}, "report": report,
        });
        vec![serde_json::from_value(status).unwrap()]
    }

    fn up(link: &str, up: Option<bool>) -> Value {
        json!({ "link": link, "up": up, "targets": ["192.0.2.1"] })
    }

    fn seen(links: &[&str]) -> Seen {
        links.iter().map(|link| format!("uplink:{link}")).collect()
    }

    #[test]
    fn only_what_is_known_is_seen() {
        let states = |all: &[(&str, Option<bool>)]| {
            let all: Vec<Value> = all.iter().map(|(link, state)| up(link, *state)).collect();
            told(Some(json!({ "uplinks": all })))
        };
        let one = states(&[("pub0", Some(false)), ("pub1", Some(true))]);
        assert_eq!(down(&one), Some(seen(&["pub0"])));
        assert_eq!(alarms(&one), ["uplink pub0 is down: 192.0.2.1 does not answer"]);
        assert_eq!(down(&states(&[("pub0", Some(false)), ("pub1", None)])), None, "not yet");
        assert_eq!(down(&told(None)), None, "it has not spoken yet");
        assert_eq!((down(&[]), alarms(&[])), (Some(Seen::new()), Vec::new()), "nothing is watched");
    }

    fn config() -> RouterDocument {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/uplink-probes/config.json");
        crate::desk::load_sound(&path).unwrap()
    }

    fn ways(config: &RouterDocument) -> (Vec<&str>, Vec<&str>) {
        let defaults = config.routes.iter().filter(|route| route.destination.prefix() == 0);
        let networks = config.role.networks.iter().filter_map(|it| it.source_nat.as_ref());
        (
            defaults.map(|it| it.link.as_str()).collect(),
            networks.map(|it| it.link.as_str()).collect(),
        )
    }

    #[test]
    fn what_is_down_is_replaced_by_the_first_that_is_up() {
        let config = config();
        assert_eq!(ways(&config), (vec!["pub0", "pub0"], vec!["pub0", "pub1"]));
        let first = without(&config, &seen(&["pub0"])).unwrap();
        assert_eq!(ways(&first), (vec!["pub1", "pub1"], vec!["pub1", "pub1"]));
        let nat = first.role.networks[0].source_nat.as_ref().unwrap();
        assert_eq!(nat.address.to_string(), "203.0.113.10", "with an address of that uplink");
        assert_eq!(first.check(), []);
        let second = without(&config, &seen(&["pub1"])).unwrap();
        assert_eq!(ways(&second), (vec!["pub0", "pub0"], vec!["pub0", "pub0"]));
    }

    #[test]
    fn with_none_up_or_none_down_nothing_changes() {
        let mut config = config();
        assert_eq!(without(&config, &seen(&[])), None);
        assert_eq!(without(&config, &seen(&["pub0", "pub1"])), None, "there is no better one");
        assert_eq!(without(&config, &seen(&["pub7"])), None, "of another configuration");
        config.role.uplinks[0].probe = None;
        assert_eq!(without(&config, &seen(&["pub0"])), None, "it is not watched any more");
    }

    #[test]
    fn whoever_has_no_address_to_leave_with_stays() {
        let mut config = config();
        config.role.uplinks[1].source_nat = None;
        config.role.uplinks[1].gateway_ipv6 = None;
        let left = without(&config, &seen(&["pub0"])).unwrap();
        assert_eq!(ways(&left), (vec!["pub1", "pub0"], vec!["pub0", "pub1"]));
    }
}
