//! Members of UDP rules that do not answer: the kernel balances datagrams, so its rules leave them out.

use sluice_agent::Seen;
use sluice_api::RouterDocument;
use sluice_api::config::balancer::{Balancer, Mode};
use sluice_api::report::ServiceStatus;
use sluice_api::report::balancing::SERVICE;

/// The members that are down, each as `RULE/MEMBER`; `None` when nobody can say.
pub fn down(services: &[ServiceStatus]) -> Option<Seen> {
    let Some(service) = services.iter().find(|service| service.name == SERVICE) else {
        return Some(Seen::new());
    };
    let rules = service.report.as_ref()?.get("rules")?.as_array()?;
    let of_kernel = rules.iter().filter(|rule| rule["mode"] == "udp");
    let down = of_kernel.flat_map(|rule| {
        let members = rule["members"].as_array().into_iter().flatten();
        let down = members.filter(|member| member["up"] == false);
        down.filter_map(|member| Some(key(rule["id"].as_str()?, member["id"].as_str()?)))
    });
    Some(down.collect())
}

/// `config` with those members left out as if they drained; `None` when it changes nothing.
pub fn without(config: &RouterDocument, down: &Seen) -> Option<RouterDocument> {
    let is_down = |rule: &Balancer, member: &str| {
        rule.mode == Mode::Udp && down.contains(&key(rule.id.as_str(), member))
    };
    let rules = &config.role.balancers;
    let any = |rule: &Balancer| rule.members.iter().any(|it| is_down(rule, it.id.as_str()));
    if down.is_empty() || !rules.iter().any(any) {
        return None;
    }
    let mut config = config.clone();
    for rule in &mut config.role.balancers {
        let gone: Vec<bool> = rule.members.iter().map(|it| is_down(rule, it.id.as_str())).collect();
        for (member, gone) in rule.members.iter_mut().zip(gone) {
            member.drain |= gone;
        }
    }
    Some(config)
}

fn key(rule: &str, member: &str) -> String {
    format!("{rule}/{member}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_api::config::balancer::Member;

    use super::*;

    fn told(report: Option<Value>) -> Vec<ServiceStatus> {
        let status = json!({
            "name": "lb", "state": "running", "pid": 7, "generation": 3, "restarts": 0,
            "last_exit": null, "counters": {}, "report": report,
        });
        vec![serde_json::from_value(status).unwrap()]
    }

    fn member(id: &str, up: bool) -> Value {
        json!({ "id": id, "address": "10.1.1.9:53", "up": up, "weight": 1 })
    }

    #[test]
    fn members_of_udp_rules_alone_are_seen() {
        let rules = json!({ "rules": [
            { "id": "web", "mode": "http", "members": [member("m1", false)] },
            { "id": "dns", "mode": "udp", "members": [member("m1", true), member("m2", false)] },
        ] });
        assert_eq!(down(&told(Some(rules))), Some(Seen::from(["dns/m2".to_owned()])));
        assert_eq!(down(&[]), Some(Seen::new()), "there is no balancer");
        assert_eq!(down(&told(None)), None, "it has not spoken yet");
        assert_eq!(down(&told(Some(json!({ "left-out": 300_000 })))), None);
    }

    #[test]
    fn who_is_down_gets_no_new_flows() {
        let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/balancers/config.json");
        let config = crate::desk::load_sound(&config).unwrap();
        let drained = |config: &RouterDocument, rule: usize| -> Vec<bool> {
            config.role.balancers[rule].members.iter().map(|it: &Member| it.drain).collect()
        };
        let seen = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Seen>();
        assert!(without(&config, &seen(&[])).is_none());
        assert!(without(&config, &seen(&["web/m1", "dns/m9"])).is_none());
        let left = without(&config, &seen(&["web/m1", "dns/m2"])).unwrap();
        assert_eq!((drained(&left, 0), drained(&left, 2)), (vec![false; 2], vec![false, true]));
        let balancing = |config: &RouterDocument| {
            let tables = crate::compile::desired(config).tables;
            let rules = tables.values().flat_map(|it| it.chains.values()).flat_map(|it| &it.rules);
            rules.filter(|rule| rule.id.to_string() == "balancer/dns").count()
        };
        assert_eq!((balancing(&config), balancing(&left)), (1, 1));
        let nobody = without(&config, &seen(&["dns/m1", "dns/m2"])).unwrap();
        assert_eq!(balancing(&nobody), 0, "datagrams stay at the address, and are refused");
    }
}
