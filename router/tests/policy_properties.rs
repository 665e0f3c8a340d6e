//! Properties of policy: lists are kept in the order of their numbers whatever was edited before, a router's rules are those
//! of its last configuration, and what is explained is what the guide says (11.19.4), told a second time by a few lines here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use std::net::Ipv4Addr;

use futures_util::FutureExt;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use sluice_agent::plan::plan;
use sluice_api::RouterDocument;
use sluice_api::report::{ExplainQuestion, Outcome};
use sluice_api::types::{AskedProtocol, Cidr, Port};
use sluice_router::compile;
use sluice_router::explain::explain;
use sluice_sys::kernel::{FakeKernel, Kernel};
use sluice_sys::model::{Desired, Observed};
use sluice_sys::nft::early;

/// Three tiers with a guest each, and two hosts of the Internet.
const TIERS: usize = 3;
const OUTSIDE: [&str; 2] = ["192.0.2.4", "198.18.0.9"];
/// The public address whose port 80 leads to the first tier.
const PUBLIC: &str = "198.51.100.11";
/// Who may use that port.
const SOURCES: [&str; 2] = ["192.0.2.0/24", "10.1.1.0/24"];
const NETWORKS: [&str; 7] = [
    "10.1.0.0/24",
    "10.1.1.0/24",
    "10.1.2.20/32",
    "10.1.0.0/16",
    "192.0.2.0/24",
    "192.0.2.4/32",
    "0.0.0.0/0",
];
const PORTS: [u16; 4] = [22, 80, 443, 8080];

fn guest(tier: usize) -> String {
    format!("10.1.{tier}.20")
}

/// A rule of a list without its number.
#[derive(Clone, Debug)]
struct Rule {
    egress: bool,
    deny: bool,
    networks: Vec<&'static str>,
    /// None: everything; else TCP or UDP from the first to the last port.
    traffic: Option<(bool, u16, u16)>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let networks = prop::collection::vec(select(&NETWORKS[..]), 0..3);
    let ports = (any::<bool>(), select(&PORTS[..]), select(&PORTS[..]));
    let ports = ports.prop_map(|(udp, a, b)| (udp, a.min(b), a.max(b)));
    let traffic = prop::option::weighted(0.8, ports);
    (any::<bool>(), any::<bool>(), networks, traffic)
        .prop_map(|(egress, deny, networks, traffic)| Rule { egress, deny, networks, traffic })
}

/// Rules by number.
type List = std::collections::BTreeMap<u16, Rule>;

/// Of each tier; none: it has no list.
type Lists = Vec<Option<List>>;

fn lists() -> impl Strategy<Value = Lists> {
    let list = prop::collection::btree_map(1_u16..40, rule(), 0..6);
    prop::collection::vec(prop::option::weighted(0.8, list), TIERS)
}

fn traffic(of: &Rule) -> Value {
    match of.traffic {
        None => json!({ "all": {} }),
        Some((true, first, last)) => json!({ "udp": { "ports": format!("{first}-{last}") } }),
        Some((false, first, last)) => json!({ "tcp": { "ports": format!("{first}-{last}") } }),
    }
}

fn config(lists: &Lists) -> RouterDocument {
    let nic = |number: usize| json!({ "nic": { "mac": format!("02:00:00:00:00:{number:02x}") } });
    let mut links = vec![
        json!({ "name": "ctl", "role": "control", "attach": nic(0), "addresses": ["169.254.0.10/16"] }),
        json!({ "name": "pub0", "role": "public", "attach": nic(1),
                "addresses": ["198.51.100.10/24", format!("{PUBLIC}/24")] }),
    ];
    let mut tiers = Vec::new();
    let mut acls = Vec::new();
    for (tier, list) in lists.iter().enumerate() {
        links.push(json!({ "name": format!("guest{tier}"), "role": "guest",
            "attach": nic(2 + tier), "addresses": [format!("10.1.{tier}.1/24")] }));
        tiers.push(json!({ "id": format!("net-{tier}"), "link": format!("guest{tier}"),
            "cidr": format!("10.1.{tier}.0/24"), "gateway": format!("10.1.{tier}.1"),
            "domain": format!("t{tier}.internal"), "egress": "allow",
            "source_nat": { "link": "pub0", "address": "198.51.100.10" } }));
        let Some(list) = list else { continue };
        tiers[tier]["acl"] = json!(format!("acl-{tier}"));
        // the order in the document is not that of the numbers
        let rules = list.iter().rev().map(|(number, rule)| {
            let mut document = json!({ "id": format!("a-{number}"), "number": number,
                "direction": if rule.egress { "egress" } else { "ingress" },
                "action": if rule.deny { "deny" } else { "allow" },
                "networks": rule.networks, "traffic": traffic(rule) });
            // some ask for a helper, which lets nothing pass by itself
            if let (false, 0, Some((udp, ..))) = (rule.deny, number % 3, rule.traffic) {
                document["helper"] = json!(if udp { "tftp" } else { "ftp" });
            }
            document
        });
        acls.push(json!({ "id": format!("acl-{tier}"), "rules": rules.collect::<Vec<_>>() }));
    }
    let document = json!({
        "version": 2, "generation": 1, "appliance": "r-1",
        "control": { "link": "ctl", "managers": ["169.254.0.0/16"] },
        "links": links,
        "routes": [{ "destination": "0.0.0.0/0", "link": "pub0", "via": "198.51.100.1" }],
        "role": { "router": {
            "hostname": "r-1", "networks": tiers, "dns": { "upstreams": ["192.0.2.53"] },
            "public_addresses": [{ "id": "ip-1", "address": PUBLIC, "link": "pub0" }],
            "port_forwards": [{ "id": "pf-1", "public": PUBLIC, "protocol": "tcp", "ports": "80",
                "network": "net-0", "guest": guest(0), "guest_port": 8080, "sources": SOURCES }],
            "vpc": { "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": acls },
        } },
    });
    RouterDocument::decode(document.to_string().as_bytes())
        .unwrap_or_else(|bad| panic!("{bad:#?}"))
        .0
}

fn machine() -> FakeKernel {
    let macs = (0..8).map(|number| format!("02:00:00:00:00:{number:02x}").parse().unwrap());
    FakeKernel::with_nics(macs)
}

fn observe(kernel: &FakeKernel, wanted: &Desired) -> Observed {
    let keys = wanted.keys([early::table_id(), compile::table_id()]);
    kernel.observe(&keys).now_or_never().unwrap().unwrap()
}

fn reach(kernel: &FakeKernel, wanted: &Desired) -> Result<(), TestCaseError> {
    for step in plan(wanted, &observe(kernel, wanted)).steps {
        let done = kernel.apply(&step).now_or_never().unwrap();
        done.map_err(|error| TestCaseError::fail(format!("`{step}`: {error:?}\n{kernel}")))?;
    }
    let rest = plan(wanted, &observe(kernel, wanted));
    prop_assert!(rest.is_empty(), "left to do:\n{}", rest);
    Ok(())
}

/// The numbers of the rules in the chains of the lists, as the kernel has them.
fn numbers(kernel: &FakeKernel, wanted: &Desired) -> Vec<Vec<u16>> {
    let seen = observe(kernel, wanted);
    let chains = &seen.tables[&compile::table_id()].chains;
    let lists = chains.iter().filter(|(name, _)| name.starts_with("acl-") && name.len() > 12);
    lists
        .map(|(_, chain)| {
            let ids = chain.rules.iter().filter_map(|rule| rule.id.rsplit_once("/a-"));
            ids.map(|(_, number)| number.parse().unwrap()).collect()
        })
        .collect()
}

/// A connection between two of the places, by TCP or UDP.
#[derive(Clone, Debug)]
struct Flow {
    from: String,
    to: String,
    udp: bool,
    port: u16,
}

fn flow() -> impl Strategy<Value = Flow> {
    let places: Vec<String> =
        (0..TIERS).map(guest).chain(OUTSIDE.iter().map(|it| (*it).to_owned())).collect();
    let mut targets = places.clone();
    targets.push(PUBLIC.to_owned());
    (select(places), select(targets), any::<bool>(), select(&PORTS[..]))
        .prop_filter("nobody talks to himself", |(from, to, ..)| from != to)
        .prop_map(|(from, to, udp, port)| Flow { from, to, udp, port })
}

fn tier_of(address: &str) -> Option<usize> {
    let address: Ipv4Addr = address.parse().unwrap();
    let [10, 1, tier, _] = address.octets() else { return None };
    Some(usize::from(tier))
}

/// What the first rule says that fits; none when none fits.
fn says(list: &List, egress: bool, other: &str, flow: &Flow, port: u16) -> Option<bool> {
    let other = other.parse().unwrap();
    let fits = |rule: &&Rule| {
        let network = rule.networks.is_empty()
            || rule.networks.iter().any(|net| net.parse::<Cidr>().unwrap().contains(other));
        let ports = rule
            .traffic
            .is_none_or(|(udp, first, last)| udp == flow.udp && (first..=last).contains(&port));
        rule.egress == egress && network && ports
    };
    list.values().find(fits).map(|rule| !rule.deny)
}

/// The guide: out of a tier everything may go until an egress rule is there; into it comes what an ingress rule allows. A
/// list speaks of inside addresses and ports, whatever way the connection came. A forward is for its own sources alone.
fn guide(lists: &Lists, flow: &Flow) -> bool {
    let forwarded = flow.to == PUBLIC && !flow.udp && flow.port == 80;
    let (to, port) = if forwarded { (guest(0), 8080) } else { (flow.to.clone(), flow.port) };
    let among = |net: &&str| net.parse::<Cidr>().unwrap().contains(flow.from.parse().unwrap());
    if to == PUBLIC || forwarded && !SOURCES.iter().any(among) {
        return false;
    }
    let (from, into) = (tier_of(&flow.from), tier_of(&to));
    if from.is_none() && !forwarded {
        // inside addresses are not for the outside
        return false;
    }
    if from == into {
        return true;
    }
    let leaves = from.and_then(|tier| lists[tier].as_ref()).is_none_or(|list| {
        !list.values().any(|rule| rule.egress) || says(list, true, &to, flow, port).unwrap_or(false)
    });
    let enters = into.is_none_or(|tier| {
        let list = lists[tier].as_ref();
        list.is_some_and(|list| says(list, false, &flow.from, flow, port).unwrap_or(false))
    });
    leaves && enters
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any sequence of edits the kernel has the rules of a router that never had another configuration, in the order of
    /// their numbers.
    #[test]
    fn a_router_holds_its_last_configuration(history in prop::collection::vec(lists(), 1..5)) {
        let kernel = machine();
        for lists in &history {
            let wanted = compile::desired(&config(lists));
            reach(&kernel, &wanted)?;
            let fresh = machine();
            reach(&fresh, &wanted)?;
            prop_assert_eq!(observe(&kernel, &wanted).tables, observe(&fresh, &wanted).tables);
            for list in numbers(&kernel, &wanted) {
                prop_assert!(list.is_sorted(), "{:?}", list);
            }
        }
    }

    #[test]
    fn what_is_explained_is_what_the_guide_says(
        lists in lists(),
        flows in prop::collection::vec(flow(), 16),
    ) {
        let config = config(&lists);
        for flow in flows {
            let question = ExplainQuestion {
                from: flow.from.parse().unwrap(),
                to: flow.to.parse().unwrap(),
                protocol: if flow.udp { AskedProtocol::UDP } else { AskedProtocol::TCP },
                port: Some(Port::fixed(flow.port)),
                from_port: ExplainQuestion::FROM_PORT,
                link: None,
            };
            let told = explain(&config, &question).unwrap();
            let passes = told.verdict == Outcome::Passes;
            prop_assert_eq!(passes, guide(&lists, &flow), "{:?}\n{}", flow, told);
        }
    }
}
