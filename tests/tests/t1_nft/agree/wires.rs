//! A router with three links, and the other ends of them as bare wires: nobody answers but the test.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sluice_api::types::{LinkName, MacAddr};
use sluice_lab::netns::{Namespace, Topology, VethEnd};
use sluice_sys::nft::eval::{Way, Ways};
use sluice_sys::packet::{FrameSocket, Hear};

use super::frames::{self, Sight};
use crate::world::World;

/// Links of the router, with their addresses.
pub(crate) const LINKS: [(&str, &[&str]); 3] = [
    ("guest0", &["10.1.1.1/24", "2001:db8:1::1/64"]),
    ("guest1", &["10.1.2.1/24", "2001:db8:2::1/64"]),
    ("pub0", &["198.51.100.10/24", "198.51.100.11/24", "2001:db8:f::1/64"]),
];

/// Who is behind each link.
pub(crate) const HOSTS: [(&str, &[&str]); 3] = [
    ("guest0", &["10.1.1.23", "10.1.1.24", "2001:db8:1::23"]),
    ("guest1", &["10.1.2.23", "2001:db8:2::23"]),
    ("pub0", &["192.0.2.1", "192.0.2.200", "198.51.100.77", "2001:db8:9::1"]),
];

/// Next hops of the default routes.
const GATEWAYS: [&str; 2] = ["198.51.100.1", "2001:db8:f::2"];

/// What this machine sends with this mark passes the probe, all else that it sends is dropped unseen.
pub(crate) const OWN: u32 = 0x8000_0000;

/// Before everything: our answers to what comes in are not what is asked about.
const PROBE: &str = "add table inet probe
add chain inet probe silence { type filter hook output priority -500; policy accept; }
add rule inet probe silence meta mark & 0x80000000 == 0 drop";

pub(crate) fn name(link: &str) -> LinkName {
    link.parse().unwrap()
}

fn mac(side: u8, number: usize) -> MacAddr {
    MacAddr::from_bytes([2, 0, 0, side, 0, u8::try_from(number).unwrap()]).unwrap()
}

/// The address of the router on its link of that number.
pub(crate) fn ours(number: usize) -> MacAddr {
    mac(1, number)
}

/// The address of everybody behind it.
pub(crate) fn theirs(number: usize) -> MacAddr {
    mac(2, number)
}

pub(crate) struct Wires {
    pub(crate) router: World,
    others: Namespace,
    _topology: Topology,
}

impl Wires {
    pub(crate) fn new() -> Self {
        let router = World::new("router");
        let mut topology = Topology::new().unwrap();
        let others = topology.namespace("others").unwrap();
        // what comes up says nothing by itself: reports of multicast groups, of which nothing is foreseen, would count
        others.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1").check().unwrap();
        // nor does the router wait until its addresses are known to be its own, which it would not translate to
        let at_once =
            "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0";
        router.ns.sh(at_once).check().unwrap();
        for (number, (link, addresses)) in LINKS.iter().enumerate() {
            let end = VethEnd::new(&router.ns, name(link)).mac(ours(number));
            let other = VethEnd::new(&others, name(&format!("wire{number}"))).mac(theirs(number));
            topology.veth(&end, &other).unwrap();
            others
                .sh(&format!("ip link set wire{number} arp off && ip addr flush dev wire{number}"))
                .check()
                .unwrap();
            for address in *addresses {
                router.ns.address(&name(link), address.parse().unwrap()).unwrap();
            }
            for host in HOSTS[number].1.iter().chain(GATEWAYS.iter().filter(|_| *link == "pub0")) {
                let neighbour = format!(
                    "ip neigh replace {host} lladdr {} dev {link} nud permanent",
                    theirs(number)
                );
                router.ns.sh(&neighbour).check().unwrap();
            }
        }
        for gateway in GATEWAYS {
            router.ns.route(["default", "via", gateway]).unwrap();
        }
        router.ns.sh(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0
             for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done
             for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $f; done",
        ).check().unwrap();
        router.load(PROBE);
        Self { router, others, _topology: topology }
    }

    /// The router's routing, as the evaluator knows it.
    pub(crate) fn ways() -> Ways {
        let addresses = LINKS.iter().map(|(link, addresses)| {
            (name(link), addresses.iter().map(|address| address.parse().unwrap()).collect())
        });
        let default = |to: &str| Way {
            table: 254,
            destination: to.parse().unwrap(),
            metric: 0,
            link: name("pub0"),
        };
        Ways {
            addresses: addresses.collect(),
            routes: [default("0.0.0.0/0"), default("::/0")].into(),
            rules: BTreeMap::new(),
        }
    }

    /// Opens the wires, runs `work` in their namespace.
    pub(crate) fn on<T: Send>(&self, work: impl AsyncFnOnce(Ends) -> T + Send) -> T {
        self.others.enter_async(async || work(Ends::open()).await).unwrap()
    }
}

/// The other ends, to send and to hear.
pub(crate) struct Ends([FrameSocket; 3]);

impl Ends {
    fn open() -> Self {
        Self(
            [0, 1, 2].map(|number| {
                FrameSocket::open(&name(&format!("wire{number}")), Hear::All).unwrap()
            }),
        )
    }

    pub(crate) fn send(&self, number: usize, frame: &[u8]) {
        self.0[number].send(frame).unwrap();
    }

    /// All that the router sent by now, by link. The kernel forwards within the sending call, so a short silence is the end.
    pub(crate) async fn heard(&self) -> Vec<(usize, Sight, u16)> {
        let mut heard = Vec::new();
        for (number, socket) in self.0.iter().enumerate() {
            let mut buffer = [0; 2000];
            while let Ok(seen) =
                tokio::time::timeout(Duration::from_millis(3), socket.receive(&mut buffer)).await
            {
                let taken = seen.unwrap().taken;
                let read = frames::read(&buffer[..taken], ours(number));
                heard.extend(read.map(|(sight, id)| (number, sight, id)));
            }
        }
        heard
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
