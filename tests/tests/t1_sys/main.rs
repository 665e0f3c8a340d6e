//! The real kernel behind `sluice_sys::kernel`: every step, foreign objects, wake-ups and, in `rules`, the memory of the rules.
//!
//! VLAN steps cannot run on the usual test kernel, which has no 802.1Q; they are proved in T3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail loudly anywhere

mod rules;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sluice_api::types::{Cidr, InterfaceAddress, LinkName, MacAddr};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Topology, VethEnd};
use sluice_sys::kernel::{Changes, Kernel, RealKernel, Wake};
use sluice_sys::model::{Keys, MAIN_TABLE, RouteEntry, Step, SysctlKey};

const SOON: Duration = Duration::from_secs(15);

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

fn address(text: &str) -> InterfaceAddress {
    text.parse().unwrap()
}

fn route(to: &str, link: &str, via: Option<&str>, metric: u32) -> RouteEntry {
    RouteEntry {
        table: MAIN_TABLE,
        destination: to.parse::<Cidr>().unwrap(),
        metric,
        link: link.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        source: None,
    }
}

/// Two namespaces joined by a veth pair; ours has the end `eth-a` with a known address.
fn two(topology: &mut Topology) -> (Namespace, Namespace) {
    let (ours, other) = (topology.namespace("ours").unwrap(), topology.namespace("other").unwrap());
    let near = VethEnd::new(&ours, link("eth-a")).mac(mac());
    topology.veth(&near, &VethEnd::new(&other, link("eth-b"))).unwrap();
    (ours, other)
}

fn mac() -> MacAddr {
    "02:00:0a:00:00:01".parse().unwrap()
}

async fn all(kernel: &RealKernel, steps: impl IntoIterator<Item = Step>) {
    for step in steps {
        let done = kernel.apply(&step).await;
        done.unwrap_or_else(|error| panic!("{step}: {error} ({:?})", error.errno()));
    }
}

/// The NIC becomes `pub0` with addresses and routes of both families.
fn set_up() -> Vec<Step> {
    vec![
        Step::Rename { from: "eth-a".to_owned(), to: link("pub0") },
        Step::SetMtu { link: link("pub0"), from: 1500, to: 1400_u64.try_into().unwrap() },
        Step::SetUp { link: link("pub0") },
        Step::AddAddress { link: link("pub0"), address: address("192.0.2.2/24") },
        Step::AddAddress { link: link("pub0"), address: address("2001:db8::2/64") },
        Step::AddRoute(route("0.0.0.0/0", "pub0", Some("192.0.2.1"), 0)),
        Step::AddRoute(route("198.51.100.0/24", "pub0", None, 7)),
        Step::AddRoute(route("::/0", "pub0", Some("2001:db8::1"), 1024)),
        Step::SetSysctl {
            key: SysctlKey::fixed("net.ipv4.conf.pub0.rp_filter"),
            from: None,
            to: "1".to_owned(),
        },
    ]
}

#[test]
fn every_step_shows_in_the_next_observation() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        let keys = Keys {
            sysctls: [SysctlKey::fixed("net.ipv4.conf.pub0.rp_filter")].into(),
            ..Keys::default()
        };
        let before = kernel.observe(&keys).await.unwrap();
        assert_eq!(before.nic(mac()).unwrap().0, "eth-a");
        assert!(!before.links["eth-a"].ours);
        all(&kernel, set_up()).await;
        let after = kernel.observe(&keys).await.unwrap();
        let pub0 = &after.links["pub0"];
        assert_eq!((pub0.mtu, pub0.up, pub0.ours), (1400, true, true));
        assert_eq!(pub0.index, before.links["eth-a"].index);
        let addresses =
            ["192.0.2.2/24", "2001:db8::2/64"].map(|ip| ("pub0".to_owned(), address(ip)));
        assert_eq!(after.addresses, addresses.into());
        let routes: BTreeSet<_> = set_up()
            .into_iter()
            .filter_map(|step| if let Step::AddRoute(route) = step { Some(route) } else { None })
            .collect();
        assert_eq!(after.routes, routes);
        assert_eq!(after.sysctls.values().collect::<Vec<_>>(), ["1"]);
        // away again, twice: what is gone stays gone without complaint
        let away = || {
            let routes = routes.iter().cloned().map(Step::RemoveRoute);
            let addresses = after.addresses.iter().cloned();
            routes.chain(addresses.map(|(link, address)| Step::RemoveAddress { link, address }))
        };
        all(&kernel, away().chain(away())).await;
        all(&kernel, [Step::SetDown { link: "pub0".to_owned() }]).await;
        let last = kernel.observe(&keys).await.unwrap();
        assert!(last.routes.is_empty() && last.addresses.is_empty() && !last.links["pub0"].up);
    })
    .unwrap();
}

/// Field case: on Hyper-V and Xen the kernel starts this program, and nothing else ends the machine in order.
#[test]
fn what_the_kernel_starts_to_end_a_machine_tells_pid_1() {
    let folder = tempfile::tempdir().unwrap();
    for (name, signal) in [("poweroff", "TERM"), ("reboot", "INT")] {
        let program = folder.path().join(name);
        std::os::unix::fs::symlink(sluice_tests::bin("sluice-init"), &program).unwrap();
        // PID 1 of a namespace of its own, which says what it was told
        let script = format!(
            "trap 'echo told {signal}; exit 0' {signal}; {} & for _ in $(seq 200); do wait; sleep 0.05; done",
            program.display()
        );
        let output = sluice_programs::command("unshare")
            .unwrap()
            .args(["--pid", "--fork", "--kill-child", "sh", "-c", &script])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), format!("told {signal}"), "{output:?}");
    }
}

/// The first address of a network goes, and neither its sibling nor what leads through it.
#[test]
fn an_address_that_goes_takes_no_sibling_and_no_route_along() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        let promote = SysctlKey::fixed("net.ipv4.conf.all.promote_secondaries");
        let [first, second] = ["192.0.2.2/24", "192.0.2.3/24"].map(address);
        let (on, way) = (link("eth-a"), route("203.0.113.0/24", "eth-a", Some("192.0.2.1"), 0));
        let steps = [
            Step::SetUp { link: on.clone() },
            Step::SetSysctl { key: promote, from: None, to: "1".to_owned() },
            Step::AddAddress { link: on.clone(), address: first },
            Step::AddAddress { link: on.clone(), address: second },
            Step::AddRoute(way.clone()),
            Step::RemoveAddress { link: on.to_string(), address: first },
        ];
        all(&kernel, steps).await;
        let left = kernel.observe(&Keys::default()).await.unwrap();
        let v4: Vec<_> = left.addresses.iter().filter(|(_, own)| own.ip().is_ipv4()).collect();
        assert_eq!(v4, [&(on.to_string(), second)]);
        assert!(left.routes.contains(&way), "{:?}", left.routes);
    })
    .unwrap();
}

/// Field case: an address went to another router, and the gateway sent to the old one for up to an hour.
#[test]
fn neighbours_learn_at_once_that_an_address_moved() {
    let mut topology = Topology::new().unwrap();
    let (ours, other) = two(&mut topology);
    other.address(&link("eth-b"), address("192.0.2.1/24")).unwrap();
    other.address(&link("eth-b"), address("2001:db8::1/64")).unwrap();
    // whom they knew before, and have no reason to doubt
    for address in ["192.0.2.2", "2001:db8::2"] {
        let old = "lladdr 02:00:00:00:00:99 dev eth-b nud reachable";
        other.sh(&format!("ip neigh replace {address} {old}")).check().unwrap();
    }
    let filter = "arp[14:4] == arp[24:4] or (icmp6 and ip6[40] == 136 and dst host ff02::1)";
    let hears = other.spawn(["tcpdump", "-lnn", "-i", "eth-b", filter]).unwrap();
    let heard = |text: &str| Wait::until(SOON, text, || hears.output().contains(text)).unwrap();
    heard("listening on");
    ours.enter_async(|| async {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, [Step::SetUp { link: link("eth-a") }]).await;
        let steps = ["192.0.2.2/24", "2001:db8::2/64"]
            .map(|own| Step::AddAddress { link: link("eth-a"), address: address(own) });
        all(&kernel, steps).await;
        // they are told by a task beside the caller's
        let knows = |address: &str| {
            let line = other.sh(&format!("ip neigh show {address}")).check().unwrap();
            line.contains(&mac().to_string())
        };
        let start = Instant::now();
        while !(knows("192.0.2.2") && knows("2001:db8::2")) {
            assert!(start.elapsed() < SOON, "nobody was told: {}", hears.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .unwrap();
    heard("192.0.2.2");
    heard("2001:db8::2");
}

#[test]
fn refusals_name_their_object_and_say_whether_to_retry() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, set_up()).await;
        let twice = Step::AddAddress { link: link("pub0"), address: address("192.0.2.2/24") };
        let error = kernel.apply(&twice).await.unwrap_err();
        assert_eq!(error.errno(), Some(17), "{error}"); // EEXIST
        assert_eq!(error.to_string(), "cannot add address 192.0.2.2/24 on pub0");
        assert!(error.retryable());
        let nowhere = Step::AddRoute(route("10.9.0.0/16", "pub0", Some("203.0.113.1"), 0));
        let error = kernel.apply(&nowhere).await.unwrap_err();
        assert_eq!(error.errno(), Some(101), "{error}"); // ENETUNREACH
        let error = kernel.apply(&Step::SetUp { link: link("absent") }).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot set up link absent: there is no link absent");
        let unknown = SysctlKey::fixed("net.ipv4.no_such_setting");
        let step = Step::SetSysctl { key: unknown, from: None, to: "1".to_owned() };
        assert!(kernel.apply(&step).await.unwrap_err().to_string().contains("no_such_setting"));
    })
    .unwrap();
}

#[test]
fn foreign_routes_are_not_seen_and_not_removed() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, set_up()).await;
        ours.route(["10.0.0.0/8", "via", "192.0.2.9", "metric", "3"]).unwrap();
        let seen = kernel.observe(&Keys::default()).await.unwrap();
        assert_eq!(seen.routes.len(), 3, "{:?}", seen.routes);
        let theirs = route("10.0.0.0/8", "pub0", Some("192.0.2.9"), 3);
        assert_eq!(
            kernel.apply(&Step::AddRoute(theirs.clone())).await.unwrap_err().errno(),
            Some(17)
        );
        // the protocol differs, so there is nothing of ours to remove
        all(&kernel, [Step::RemoveRoute(theirs)]).await;
    })
    .unwrap();
    assert!(ours.ip(["route"]).unwrap().contains("10.0.0.0/8"), "{}", ours.state());
}

#[test]
fn a_list_that_was_given_up_in_the_middle_is_in_nobodys_way() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, set_up()).await;
        let many = (0..2000_u32).map(|n| {
            let to = Ipv4Addr::from(0x0a01_0000 + n);
            route(&format!("{to}/32"), "pub0", Some("192.0.2.9"), 3)
        });
        all(&kernel, many.map(Step::AddRoute)).await;
        for wait in 0..40 {
            // as an audit is, to which somebody comes with a change
            let given_up = Duration::from_micros(200 * wait);
            let _ = tokio::time::timeout(given_up, kernel.observe(&Keys::default())).await;
            let seen = kernel.observe(&Keys::default()).await.unwrap();
            assert_eq!(seen.routes.len(), 2003, "after {given_up:?}");
        }
    })
    .unwrap();
}

async fn hear(changes: &mut Changes, wanted: Wake) {
    let bound = Duration::from_secs(5);
    let heard = tokio::time::timeout(bound, async {
        while let Some(wake) = changes.next().await {
            if wake == wanted {
                return;
            }
        }
    });
    heard.await.unwrap_or_else(|_| panic!("no wake-up {wanted:?}"));
}

#[test]
fn foreign_changes_wake_the_listener() {
    let mut topology = Topology::new().unwrap();
    let (ours, _other) = two(&mut topology);
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, set_up()).await;
        for (line, wake) in [
            ("ip link set pub0 mtu 1300", Wake::Links),
            ("ip addr add 192.0.2.77/24 dev pub0", Wake::Addresses),
            ("ip route add 10.0.0.0/8 dev pub0", Wake::Routes),
            ("nft add table inet foreign", Wake::Rules),
        ] {
            let mut changes = kernel.changes().unwrap();
            ours.sh(line).check().unwrap();
            hear(&mut changes, wake).await;
        }
    })
    .unwrap();
}
