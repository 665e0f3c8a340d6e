//! Two guest networks on two VLANs of one trunk: each works, and neither sees a frame of the other.

use std::collections::BTreeMap;

use sluice_api::types::{ApplianceId, VlanId};
use sluice_lab::wire::{CapturedFrame, Frame, PortId};
use sluice_tests::cloud::{Shell as _, TRUNK, guest};

use super::world::World;

/// DHCP, DNS and NAT over each VLAN, from its own router.
pub(crate) async fn each_has_its_own_router(world: &World) {
    world.leases().await;
    for (name, network) in [("vm1", "net1"), ("vm2", "net2")] {
        world.visits(name, network).await;
        let domain = &world.view.network(network).unwrap().domain;
        let own = guest::look_up(&world.lab, name, &format!("{name}.{domain}")).await.unwrap();
        assert_eq!(own, [world.view.address(name).unwrap()]);
    }
    assert_ne!(world.public("net1"), world.public("net2"));
    let foreign = &world.view.network("net1").unwrap().domain;
    let found = guest::look_up(&world.lab, "vm2", &format!("vm1.{foreign}")).await.unwrap();
    assert!(found.is_empty(), "net2's router knows net1's guest: {found:?}");
}

/// Each guest shouts; what the other's NIC and the routers' ports carry is looked at frame by frame.
pub(crate) async fn no_frame_of_the_other_is_seen(world: &World) {
    let mut capture = world.lab.wire(TRUNK).unwrap().capture();
    for name in ["vm1", "vm2"] {
        let line = "(tcpdump -i eth0 -U -w /run/seen.pcap >/run/dump.log 2>&1 </dev/null &) ; \
                    for i in $(seq 100); do grep -q listening /run/dump.log && exit 0; sleep 0.1; done; exit 1";
        world.lab.done(name, line).await.unwrap();
    }
    for name in ["vm1", "vm2"] {
        // the whole subnet is asked for, the broadcast address pinged, and traffic goes through the router
        let shout = "for a in $(seq 2 40); do arping -c 1 -w 1 -I eth0 10.1.1.$a & done; \
                     ping -b -c 2 -W 1 10.1.1.255; wait; true";
        world.lab.done(name, shout).await.unwrap();
    }
    for (name, network) in [("vm1", "net1"), ("vm2", "net2")] {
        world.visits(name, network).await;
        let renewed = guest::take_lease(&world.lab, name).await;
        renewed.unwrap_or_else(|error| panic!("{error:#}"));
    }
    tags_are_right(world, &capture.drain());
    for (name, other) in [("vm1", "vm2"), ("vm2", "vm1")] {
        heard_only_its_own(world, name, other).await;
    }
}

/// The VLAN that belongs to whoever sits behind a port; the routers' ports are trunks, so their tags are their own.
fn vlans(world: &World) -> BTreeMap<PortId, (String, VlanId)> {
    let ports = world.lab.wire(TRUNK).unwrap().status().ports;
    let vlan_of = |station: &str| {
        let name = station.split('.').next().unwrap();
        let view = &world.view;
        let serves = |id: &ApplianceId| id.as_str() == name;
        let router = view.networks.iter().find(|net| net.router.as_ref().is_some_and(serves));
        let network = router.or_else(|| {
            let guest = view.guest(name).ok()?;
            view.networks.iter().find(|network| network.id == guest.nics[0].network)
        });
        network.unwrap_or_else(|| panic!("unknown station {station:?}")).vlan
    };
    ports.iter().map(|port| (port.port, (port.station.clone(), vlan_of(&port.station)))).collect()
}

fn tags_are_right(world: &World, frames: &[CapturedFrame]) {
    let stations = vlans(world);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for frame in frames {
        let (station, vlan) = &stations[&frame.from];
        let parsed = Frame::parse(&frame.bytes).expect("a whole frame");
        assert_eq!(parsed.vlan(), Some(*vlan), "{station} sent a frame of another VLAN: {frame:?}");
        *counts.entry(station).or_default() += 1;
    }
    assert_eq!(counts.len(), 4, "each station was to send something: {counts:?}");
}

async fn heard_only_its_own(world: &World, name: &str, other: &str) {
    let seen = world.lab.done(name, "tcpdump -enr /run/seen.pcap 2>/dev/null").await.unwrap();
    let mac = |guest: &str| world.view.guest(guest).unwrap().nics[0].mac.to_string();
    let router_of_other = {
        let network = world.view.guest(other).unwrap().nics[0].network.clone();
        let network = world.view.networks.iter().find(|n| n.id == network).unwrap();
        let router =
            world.view.appliances.iter().find(|a| Some(&a.id) == network.router.as_ref()).unwrap();
        router.nics.last().unwrap().mac.to_string()
    };
    assert!(seen.contains(&mac(name)), "{name} saw nothing of its own:\n{seen}");
    for foreign in [mac(other), router_of_other] {
        assert!(!seen.contains(&foreign), "{name} saw a frame of {foreign}:\n{seen}");
    }
}
