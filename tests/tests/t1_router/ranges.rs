//! One guest network with two ranges of addresses on its link, each with a gateway of its own.

use sluice_api::RouterDocument;
use sluice_api::config::NetworkRange;

use super::world::{World, config};

/// vm1 is in the first range, vm2 in the second, which also lends.
fn two_ranges() -> RouterDocument {
    let mut config = config();
    for link in config.links.iter_mut().filter(|link| link.name.as_str() == "guest0") {
        link.addresses.push("10.1.9.1/24".parse().unwrap());
    }
    let network = &mut config.role.networks[0];
    network.ranges = vec![NetworkRange {
        cidr: "10.1.9.0/24".parse().unwrap(),
        gateway: "10.1.9.1".parse().unwrap(),
    }];
    network.guests[1].address = "10.1.9.24".parse().unwrap();
    network.dhcp.pools = vec!["10.1.9.100-10.1.9.100".parse().unwrap()];
    config
}

#[test]
fn guests_of_both_ranges_are_served_at_their_own_gateway_and_reach_each_other() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&two_ranges());
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.9.24");
    // one that nobody knows is lent what there is to lend
    world.lease("stranger", "10.1.9.100");
    let at = |guest: &str, line: &str| world.guest(guest).sh(line).check().unwrap();
    for (guest, gateway, other) in
        [("vm1", "10.1.1.1", "10.1.9.24"), ("vm2", "10.1.9.1", "10.1.1.23")]
    {
        assert!(at(guest, "ip route show default").contains(&format!("via {gateway} ")));
        at(guest, &format!("ping -c1 -W5 {other}"));
        for (name, address) in [("vm1", "10.1.1.23"), ("vm2", "10.1.9.24")] {
            let line = format!("dig +short +time=2 +tries=3 @{gateway} {name}.cs1.cloud.internal");
            assert_eq!(at(guest, &line).trim(), address);
        }
        let own = at(
            guest,
            &format!("curl -s --max-time 5 http://{gateway}/latest/meta-data/instance-id"),
        );
        assert_eq!(own.trim(), format!("{guest}-0"));
        let page = at(guest, "curl -s --max-time 5 http://192.0.2.80:8080/");
        assert_eq!(page.trim(), "seen from 198.51.100.10", "one network, one way out");
    }
    assert_eq!(
        at("vm2", "dig +short +time=2 +tries=3 @10.1.9.1 -x 10.1.1.23").trim(),
        "vm1.cs1.cloud.internal."
    );
    // the other range's gateway has nothing to say to it
    let silence =
        world.guest("vm2").sh("dig +short +time=1 +tries=1 @10.1.1.1 vm1.cs1.cloud.internal");
    assert!(!silence.run().unwrap().ok());
    // taken back, its guests are where they were
    let mut back = config();
    back.generation = two_ranges().generation.next().unwrap();
    world.push_and_confirm(&back);
    world.lease("vm2", "10.1.1.24");
}
