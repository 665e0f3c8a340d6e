//! IPv6 in a tier: the router is advertised, guests give themselves addresses, and lists judge both versions of IP alike.

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::Namespace;

use crate::SOON;
use crate::policy::changed;
use crate::world::World;

fn with_ipv6(generation: u64, second: bool) -> RouterDocument {
    changed(generation, |document| {
        let links = document["links"].as_array_mut().unwrap();
        let guest0 = links.iter_mut().find(|link| link["name"] == "guest0").unwrap();
        guest0["addresses"].as_array_mut().unwrap().push(json!("2001:db8:1::1/64"));
        links.push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24", "2001:db8:2::1/64"],
        }));
        let router = &mut document["role"]["router"];
        router["networks"][0]["ipv6"] =
            json!({ "cidr": "2001:db8:1::/64", "gateway": "2001:db8:1::1" });
        let ipv6 = json!({ "cidr": "2001:db8:2::/64", "gateway": "2001:db8:2::1" });
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-2",
            "ipv6": if second { ipv6 } else { json!(null) },
        }));
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": [
            { "id": "acl-2", "rules": [
                { "id": "a-1", "number": 1, "direction": "ingress", "action": "allow",
                  "networks": ["192.0.2.0/24", "2001:db8:1::/64"], "traffic": { "icmp": {} } },
            ] },
        ] });
    })
}

/// What the kernel of a guest made of advertisements.
fn slaac(ns: &Namespace) -> Option<String> {
    let addresses = ns.sh("ip -6 -o addr show dev eth0 scope global dynamic").check().unwrap();
    let address = addresses.split_whitespace().skip_while(|word| *word != "inet6").nth(1)?;
    let route = ns.sh("ip -6 route show default proto ra").check().unwrap();
    route.contains("fe80::").then(|| address.split('/').next().unwrap().to_owned())
}

#[test]
fn guests_give_themselves_addresses_and_lists_judge_them() {
    let world = World::new();
    world.push_and_confirm(&with_ipv6(10, true));
    let (vm1, vm3) = (world.guest("vm1"), &world.tier);
    // the reader asks from a link-local address, which the kernel tries out first
    let has_address = "ip -6 addr show dev eth0 scope link -tentative | grep -q fe80";
    Wait::until(SOON, "a link-local address", || vm1.sh(has_address).run().unwrap().ok()).unwrap();
    // an independent reader of what is advertised
    let told = vm1.sh("rdisc6 -1 -w 5000 eth0").check().unwrap();
    for words in [
        "Router lifetime           :         1800",
        "Prefix                   : 2001:db8:1::/64",
        "Autonomous address conf.:          Yes",
        "On-link                 :          Yes",
        "MTU                      :         1500",
        "from fe80::aff:fe01:101",
    ] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    for ns in [vm1, vm3] {
        // a link that comes up asks
        ns.sh(
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=1; ip link set eth0 down; ip link set eth0 up",
        )
        .check()
        .unwrap();
        Wait::until(SOON, "an address by SLAAC", || slaac(ns).is_some()).unwrap();
    }
    let (one, three) = (slaac(vm1).unwrap(), slaac(vm3).unwrap());
    assert!(one.starts_with("2001:db8:1:") && three.starts_with("2001:db8:2:"), "{one} {three}");
    let pings = |ns: &Namespace, to: &str| ns.sh(&format!("ping -c1 -W2 {to}")).run().unwrap().ok();
    Wait::until(SOON, "the router to answer", || pings(vm1, "2001:db8:1::1")).unwrap();
    Wait::until(SOON, "the other tier to answer", || pings(vm1, &three)).unwrap();
    assert!(!pings(vm3, &one), "a tier without a list lets nothing in, over IPv6 neither");
    assert!(world.status().services.iter().any(|service| service.name == "ra"));

    // a prefix that is taken away is a router that is none any more
    world.push_and_confirm(&with_ipv6(11, false));
    let gone = || {
        let route = vm3.sh("ip -6 route show default proto ra").check().unwrap();
        route.trim().is_empty()
    };
    Wait::until(SOON, "the guest to forget the router", gone).unwrap();
    assert!(slaac(vm1).is_some(), "the other network goes on");
}
