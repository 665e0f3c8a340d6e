//! IPv6 to the Internet: a description that says it, the addresses that routers get, and an appliance that cannot do it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_api::types::Cidr;

use super::answers::status_says;
use super::kinds::{applied, config, done, refused};
use super::process::Cloud;
use super::wait::until;

fn link<'a>(config: &'a Value, name: &str) -> &'a Value {
    let links = config["links"].as_array().unwrap();
    links.iter().find(|link| link["name"] == name).unwrap()
}

/// The router's address on its uplink, which is in `prefix`.
fn uplink_address(config: &Value, prefix: &str) -> String {
    let prefix: Cidr = prefix.parse().unwrap();
    let addresses = link(config, "pub0")["addresses"].as_array().unwrap();
    let address = addresses.iter().map(|address| address.as_str().unwrap());
    let address = address.filter(|address| address.contains(':')).collect::<Vec<_>>();
    assert_eq!(address.len(), 1, "{address:?}");
    let (host, length) = address[0].split_once('/').unwrap();
    assert!(prefix.contains(host.parse().unwrap()) && length == "64", "{address:?}");
    host.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one cloud, step by step")]
async fn a_range_with_ipv6_leads_networks_and_tiers_out() {
    let cloud = Cloud::start().await;
    let isolated = applied(&cloud, "ipv6.toml", "r-2").await;
    let vpc = config(&cloud, "r-1").await;
    let mut own = BTreeSet::new();
    for config in [&isolated, &vpc] {
        let routes = config["routes"].as_array().unwrap();
        let wanted = json!({ "destination": "::/0", "link": "pub0", "via": "2001:db8:ffff::1", "metric": 0 });
        assert!(routes.contains(&wanted), "{routes:?}");
        own.insert(uplink_address(config, "2001:db8:ffff::/64"));
    }
    assert_eq!(own.len(), 2, "each router has an address of its own");
    let router = &isolated["role"]["router"];
    assert_eq!(
        router["networks"][0]["ipv6"],
        json!({ "cidr": "2001:db8:1::/64", "gateway": "2001:db8:1::1" })
    );
    assert_eq!(
        router["ipv6_firewall"],
        json!([{ "id": "f6-1", "network": router["networks"][0]["id"], "sources": ["2001:db8:77::/48"],
                 "destinations": ["2001:db8:1::1:11/128"], "traffic": { "tcp": { "ports": "22" } } }])
    );
    let rules = vpc["role"]["router"]["vpc"]["acls"].to_string();
    assert!(rules.contains("::/0") && rules.contains("0.0.0.0/0"), "{rules}");

    // why, before anything is pushed
    let ask = |from: &str, to: &str, port: u16| {
        let line = format!("explain --from {from} --to {to} --proto tcp --port {port}");
        let told = cloud.sluice(line.split(' '));
        assert_eq!(told.code, 0, "{told:?}");
        told.out
    };
    let text = ask("2001:db8:77::1", "2001:db8:1::1:11", 22);
    assert!(
        text.contains("[ipv6 firewall rule ssh]") && text.contains("leaves by guest0"),
        "{text}"
    );
    let text = ask("2001:db8:77::1", "2001:db8:1::1:12", 22);
    assert!(text.contains("no IPv6 firewall rule of the network lets it in"), "{text}");
    let text = ask("2001:db8:1::1:11", "2001:db8:80::1", 80);
    assert!(text.contains("[egress rule web]") && text.contains("leaves by pub0"), "{text}");
    let text = ask("2001:db8:1::1:11", "2001:db8:81::1", 80);
    assert!(text.contains("is dropped by"), "{text}");
    let text = ask("2001:db8:77::1", "2001:db8:2::1:11", 80);
    assert!(text.contains("[acl rule http]"), "{text}");
    let text = ask("2001:db8:2::1:11", "2001:db8:80::1", 443);
    assert!(
        text.contains("passes by forward/egress-v6") && text.contains("leaves by pub0"),
        "{text}"
    );
    done(&cloud, "network update net1 --egress allow");
    let text = ask("2001:db8:1::1:11", "2001:db8:81::1", 80);
    assert!(
        text.contains("passes by forward/egress-v6") && text.contains("leaves by pub0"),
        "{text}"
    );
    done(&cloud, "network update net1 --egress deny");

    // a new prefix: everybody keeps his place
    done(
        &cloud,
        "public-range update public1 --ipv6-cidr 2001:db8:eeee::/64 --ipv6-gateway 2001:db8:eeee::1",
    );
    let moved = uplink_address(&config(&cloud, "r-2").await, "2001:db8:eeee::/64");
    assert!(own.contains(&moved.replace("eeee", "ffff")), "{moved} {own:?}");

    // a next hop as most providers have it
    done(&cloud, "public-range update public1 --ipv6-gateway fe80::1");
    let now = config(&cloud, "r-2").await;
    let routes = now["routes"].as_array().unwrap();
    let local = |route: &&Value| route["via"] == "fe80::1" && route["link"] == "pub0";
    assert_eq!(routes.iter().find(local).unwrap()["destination"], "::/0");
    assert_eq!(uplink_address(&now, "2001:db8:eeee::/64"), moved);

    // a network's own prefix: what names guests of the old one comes first
    let line = "network update net1 --ipv6-cidr 2001:db8:5::/64";
    refused(&cloud, line, 5, "ipv6 firewall rule ssh names 2001:db8:1::1:11/128 of the old prefix");
    done(&cloud, "ipv6-firewall-rule delete ssh");
    done(&cloud, line);
    let now = config(&cloud, "r-2").await;
    let ipv6 = json!({ "cidr": "2001:db8:5::/64", "gateway": "2001:db8:5::1" });
    assert_eq!(now["role"]["router"]["networks"][0]["ipv6"], ipv6);
    done(&cloud, "network update net1 --unset ipv6-cidr");
    let now = config(&cloud, "r-2").await;
    assert_eq!(now["role"]["router"]["networks"][0].get("ipv6"), None);
    cloud.stop();
}

/// The command, its exit code, words of the reason.
const MISUSES: &[(&str, i32, &str)] = &[
    (
        "ipv6-firewall-rule create one --network net1 --protocol tcp --destinations 2001:db8:2::/64",
        3,
        "2001:db8:2::/64 is outside 2001:db8:1::/64",
    ),
    (
        "ipv6-firewall-rule create one --network net1 --protocol tcp --sources 192.0.2.0/24",
        3,
        "192.0.2.0/24 is not an IPv6 network",
    ),
    ("ipv6-firewall-rule create one --network web --protocol tcp", 3, "access control list"),
    (
        "public-range update public1 --ipv6-gateway 2001:db8:aaaa::1",
        3,
        "is neither a host address of",
    ),
    ("public-range update public1 --ipv6-cidr 2001:db8:1::/48", 3, "ipv6_gateway"),
    ("network update net1 --ipv6-cidr 2001:db8:5::/56", 3, "is not an IPv6 network of 64 bits"),
    (
        "network update net1 --ipv6-cidr 2001:db8:ffff::/64",
        5,
        "overlaps that of public range public1",
    ),
    (
        "public-range update public1 --ipv6-cidr 2001:db8:1::/64 --ipv6-gateway 2001:db8:1::9",
        5,
        "overlaps that of network net1",
    ),
    (
        "network create other --zone zone1 --domain other.internal --cidr 10.9.0.0/24 --egress allow --ipv6-cidr 2001:db8:1::/64",
        5,
        "overlaps that of network net1",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_that_does_not_fit_is_refused_by_its_field() {
    let cloud = Cloud::start().await;
    let before = applied(&cloud, "ipv6.toml", "r-2").await;
    for (line, code, words) in MISUSES {
        refused(&cloud, line, *code, words);
    }
    assert_eq!(config(&cloud, "r-2").await, before);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_of_an_earlier_build_is_not_sent_what_it_cannot_do() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let line = "public-range update public1 --ipv6-cidr 2001:db8:ffff::/64 --ipv6-gateway 2001:db8:ffff::1";
    done(&cloud, line);
    let words =
        "generation 2 needs ipv6-uplinks, which firmware simulated of the appliance does not have";
    status_says(&cloud, "rejected", words).await;
    assert_eq!((agent.committed(), agent.pushed()), (Some(1), vec![1]), "nothing was sent");
    agent.set_capabilities(&["ipv6-uplinks"]);
    until("the upgraded appliance has it", || agent.committed() == Some(2)).await;
    cloud.stop();
}
