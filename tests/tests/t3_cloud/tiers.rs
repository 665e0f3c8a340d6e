//! As many tiers as a VPC may have on one trunk, beside a private gateway, a static route and a second public range; and the
//! same after its router was switched off.

use std::fmt::Write as _;

use sluice_tests::cloud::{Shell as _, guest, office};

use super::world::{BOOT, World};

/// Most of `max_tiers`.
const TIERS: u32 = 250;

/// The second range is one that the page outside is not in: a router's own address is not looked for outside.
const REST: &str = r#"
[[zones]]
name = "zone1"
resolvers = ["192.0.2.53"]

[[physical_networks]]
zone = "zone1"
name = "physnet1"
vlans = ["100-399"]

[[public_ranges]]
zone = "zone1"
physical_network = "physnet1"
name = "public1"
gateway = "198.51.100.1"
prefix = 24
start = "198.51.100.10"
end = "198.51.100.99"

[[public_ranges]]
zone = "zone1"
physical_network = "physnet1"
name = "public2"
vlan = 500
gateway = "198.18.5.1"
prefix = 24
start = "198.18.5.10"
end = "198.18.5.19"

[[vpcs]]
zone = "zone1"
name = "vpc1"
cidr = "10.0.0.0/16"
max_tiers = 250

[[public_ips]]
zone = "zone1"
vpc = "vpc1"
public_range = "public2"
name = "second"

[[private_gateways]]
vpc = "vpc1"
name = "office"
vlan = 900
address = "172.16.0.2/24"
gateway = "172.16.0.1"
acl = "default-allow"

[[static_routes]]
private_gateway = "office"
name = "branches"
cidr = "172.20.0.0/16"

[[guests]]
network = "t1"
name = "first"

[[guests]]
network = "t250"
name = "last"
"#;

/// The last tier lets everybody in, the others nobody.
pub(crate) fn description() -> String {
    let mut text = REST.to_owned();
    for number in 1..=TIERS {
        let acl = if number == TIERS { "default-allow" } else { "default-deny" };
        // writing to a String cannot fail
        let _ = write!(
            text,
            "\n[[networks]]\nzone = \"zone1\"\nvpc = \"vpc1\"\nname = \"t{number}\"\n\
             domain = \"t{number}.internal\"\ncidr = \"10.0.{number}.0/24\"\nacl = \"{acl}\"\n"
        );
    }
    text
}

/// Leases, the Internet, the office and each other, as far as lists let them.
pub(crate) async fn all_are_reached(world: &World) {
    world.leases().await;
    for (name, network) in [("first", "t1"), ("last", "t250")] {
        world.visits(name, network).await;
        let own = world.view.address(name).unwrap();
        assert_eq!(office::visit(&world.lab, name).await.unwrap(), own.to_string());
    }
    let (first, last) = (world.view.address("first").unwrap(), world.view.address("last").unwrap());
    assert!(guest::knock(&world.lab, "first", last, 8080, "in").await.unwrap(), "it lets all in");
    assert!(!guest::knock(&world.lab, "last", first, 8080, "x").await.unwrap(), "nobody");
}

/// The office has its page, and the guests listen.
pub(crate) async fn all_are_there(world: &World) {
    world.lab.ready("office", BOOT).await.unwrap();
    office::set_up(&world.lab, "office").await.unwrap();
    for name in ["first", "last"] {
        guest::listen(&world.lab, name, 8080).await.unwrap();
    }
}

/// The power of the router goes and comes back; the manager has nothing to do.
pub(crate) async fn the_router_starts_anew(world: &World) {
    let router = world.lab.machine("r-1").unwrap();
    router.power_cut().await.unwrap();
    router.power_on().await.unwrap();
    let back = world.in_sync().unwrap();
    assert!(back[0].alarms.is_empty(), "{back:#?}");
}
