//! Properties of plans between random router configurations: one plan leads from any of them to any other.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use futures_util::FutureExt;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use sluice_agent::plan::plan;
use sluice_api::RouterDocument;
use sluice_api::types::MacAddr;
use sluice_router::compile;
use sluice_sys::kernel::{FakeKernel, Kernel};
use sluice_sys::model::{Desired, Observed, Step};
use sluice_sys::nft::{Change, early};

/// NICs: control, public, two trunks and one for each network.
const NICS: u8 = 8;
const NETWORKS: usize = 4;

#[derive(Clone, Debug)]
struct Network {
    /// Trunk and tag; `None` for a NIC of its own.
    vlan: Option<(u8, u16)>,
    mtu: u16,
    ipv6: bool,
    allow: bool,
    nat: bool,
    guests: u8,
}

fn network() -> impl Strategy<Value = Network> {
    let vlan = prop::option::weighted(0.7, (0_u8..2, 100_u16..106));
    let mtu = select(vec![1300_u16, 1400, 1500]);
    (vlan, mtu, any::<[bool; 3]>(), 0_u8..5).prop_map(|(vlan, mtu, [ipv6, allow, nat], guests)| {
        Network { vlan, mtu, ipv6, allow, nat, guests }
    })
}

fn nic(number: u8) -> Value {
    json!({ "nic": { "mac": format!("02:00:00:00:00:{number:02x}") } })
}

fn link(name: &str, role: &str, attach: &Value, addresses: &Value) -> Value {
    json!({ "name": name, "role": role, "attach": attach, "addresses": addresses })
}

/// The link and the guest network number `number`.
fn guest_network(number: usize, is: &Network, public: &str) -> (Value, Value) {
    let name = format!("guest{number}");
    let attach = match is.vlan {
        Some((trunk, id)) => json!({ "vlan": { "trunk": format!("trunk{trunk}"), "id": id } }),
        None => nic(4 + u8::try_from(number).unwrap()),
    };
    let mut addresses = vec![format!("10.1.{number}.1/24")];
    addresses.extend(is.ipv6.then(|| format!("2001:db8:{number}::1/64")));
    let mut wire = link(&name, "guest", &attach, &json!(addresses));
    wire["mtu"] = json!(is.mtu);
    let guests = (0..is.guests).map(|guest| {
        json!({
            "id": format!("vm{number}-{guest}"),
            "mac": format!("02:00:01:00:{number:02x}:{guest:02x}"),
            "address": format!("10.1.{number}.{}", 20 + guest),
            "hostname": format!("vm{guest}"),
        })
    });
    let mut network = json!({
        "id": format!("net-{number}"),
        "link": name,
        "cidr": format!("10.1.{number}.0/24"),
        "gateway": format!("10.1.{number}.1"),
        "domain": format!("cs{number}.cloud.internal"),
        "egress": if is.allow { "allow" } else { "deny" },
        "guests": guests.collect::<Vec<_>>(),
    });
    if is.nat {
        network["source_nat"] = json!({ "link": "pub0", "address": public });
    }
    (wire, network)
}

fn config(networks: &[Option<Network>], host: u8, gateway: u8, jumbo: bool) -> RouterDocument {
    let public = format!("198.51.100.{host}");
    let mut links = vec![
        link("ctl", "control", &nic(0), &json!(["169.254.0.10/16"])),
        link("pub0", "public", &nic(1), &json!([format!("{public}/24")])),
        link("trunk0", "trunk", &nic(2), &json!([])),
        link("trunk1", "trunk", &nic(3), &json!([])),
    ];
    links[2]["mtu"] = json!(if jumbo { 9000 } else { 1500 });
    let mut tags = std::collections::BTreeSet::new();
    let mut made = Vec::new();
    for (number, network) in networks.iter().enumerate() {
        let Some(network) = network else { continue };
        if network.vlan.is_none_or(|tag| tags.insert(tag)) {
            let (wire, network) = guest_network(number, network, &public);
            links.push(wire);
            made.push(network);
        }
    }
    let document = json!({
        "version": 2,
        "generation": 1,
        "appliance": "r-1",
        "control": { "link": "ctl", "managers": ["169.254.0.0/16"] },
        "links": links,
        "routes": [{
            "destination": "0.0.0.0/0", "link": "pub0", "via": format!("198.51.100.{gateway}")
        }],
        "role": { "router": {
            "hostname": "r-1",
            "networks": made,
            "dns": { "upstreams": ["192.0.2.53"] },
        } },
    });
    RouterDocument::decode(document.to_string().as_bytes())
        .unwrap_or_else(|bad| panic!("{bad:#?}"))
        .0
}

fn any_config() -> impl Strategy<Value = RouterDocument> {
    let networks = prop::collection::vec(prop::option::weighted(0.7, network()), NETWORKS);
    (networks, 10_u8..12, 1_u8..3, any::<bool>())
        .prop_map(|(networks, host, gateway, jumbo)| config(&networks, host, gateway, jumbo))
}

fn machine() -> FakeKernel {
    FakeKernel::with_nics(
        (0..NICS).map(|number| MacAddr::from_bytes([2, 0, 0, 0, 0, number]).unwrap()),
    )
}

fn observe(kernel: &FakeKernel, wanted: &Desired) -> Observed {
    let keys = wanted.keys([early::table_id(), compile::table_id()]);
    kernel.observe(&keys).now_or_never().unwrap().unwrap()
}

fn reach(kernel: &FakeKernel, wanted: &Desired) -> Result<Vec<Step>, TestCaseError> {
    let steps = plan(wanted, &observe(kernel, wanted)).steps;
    for step in &steps {
        let done = kernel.apply(step).now_or_never().unwrap();
        done.map_err(|error| TestCaseError::fail(format!("`{step}`: {error:?}\n{kernel}")))?;
    }
    let rest = plan(wanted, &observe(kernel, wanted));
    prop_assert!(rest.is_empty(), "left to do:\n{}after {:#?}\n{}", rest, steps, kernel);
    Ok(steps)
}

/// Rules, addresses and routes, which are all ours or the machine's own here.
fn reached(kernel: &FakeKernel, wanted: &Desired) -> String {
    let seen = observe(kernel, wanted);
    format!("{:#?}\n{:#?}\n{:#?}\n{:#?}", seen.tables, seen.addresses, seen.routes, seen.sysctls)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_plan_leads_from_any_configuration_to_any_other(a in any_config(), b in any_config()) {
        let (a, b) = (compile::desired(&a), compile::desired(&b));
        let kernel = machine();
        for wanted in [&a, &b, &a] {
            reach(&kernel, wanted)?;
            let fresh = machine();
            reach(&fresh, wanted)?;
            prop_assert_eq!(reached(&kernel, wanted), reached(&fresh, wanted));
        }
    }

    /// Adding and removing networks is elements: chains keep their rules and counters as long as the control link does.
    #[test]
    fn a_change_of_networks_changes_elements_only(a in any_config(), b in any_config()) {
        let kernel = machine();
        reach(&kernel, &compile::desired(&a))?;
        for step in reach(&kernel, &compile::desired(&b))? {
            let Step::Rules(script) = step else { continue };
            for (_, change) in &script.changes {
                let elements =
                    matches!(change, Change::AddElements { .. } | Change::RemoveElements { .. });
                prop_assert!(elements, "{change:?}");
            }
        }
    }
}
