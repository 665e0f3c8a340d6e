//! What the kernel of a test's machine may lack, on the template's: flowtables, and the sizes of neighbour tables, which only
//! the first network namespace has.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // tests and their helpers

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use sluice_api::config::Guest;
use sluice_api::types::LinkName;
use sluice_lab::Lab;
use sluice_lab::spec::MachineSpec;
use sluice_sys::kernel::Fault;
use sluice_sys::nft::{
    self, Chain, ChainKind, Expr, Flowtable, Hook, HookPoint, Ident, L4, ObservedTable,
    ObservedTables, Policy, Rule, RuleId, Table, TableId,
};
use sluice_tests::cloud::Shell as _;
use sluice_tests::faults::{FileFault, World, example};
use sluice_tests::hosts::TWO_HOSTS;

const MACHINE: &str = "host";
/// An emulated machine boots within this.
const SLOW: Duration = Duration::from_mins(3);

async fn lab(name: &str) -> Lab {
    let disk = sluice_tests::image("testhost.raw");
    let images = disk.parent().unwrap();
    let machine = MachineSpec::host().ram_mib(512);
    let lab = Lab::builder(name).images(images).wire("unused").machine(MACHINE, machine);
    let lab = lab.start().await.unwrap();
    lab.ready(MACHINE, SLOW).await.unwrap();
    lab
}

/// A server that says all it has heard and goes on listening.
const SERVER: &str = "ip netns exec inet nc -lk 5001 > /run/heard &
sleep 1";

/// A connection that is kept open, with a line in each second.
const TALK: &str = "(for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line; sleep 1; done) \
    | ip netns exec guest timeout 15 nc -q 1 198.51.100.1 5001 > /dev/null 2>&1 &";

fn ours() -> TableId {
    TableId::inet("sluice")
}

fn fast() -> Ident {
    Ident::fixed("fast")
}

fn links(names: &[&str]) -> Flowtable {
    let names = names.iter().map(|name| name.parse::<LinkName>().unwrap());
    Flowtable { links: names.collect() }
}

/// A table whose forwarded TCP goes past it by a flowtable of these links; without any there is none.
fn table(names: &[&str]) -> Table {
    let mut table = Table::default();
    let hook = Hook {
        kind: ChainKind::Filter,
        point: HookPoint::Forward,
        priority: 0,
        policy: Policy::Accept,
    };
    let mut chain = Chain { hook: Some(hook), rules: Vec::new() };
    if !names.is_empty() {
        table.flowtables.insert(fast(), links(names));
        let exprs = vec![Expr::L4([L4::Tcp].into()), Expr::Counter, Expr::Offload(fast())];
        chain.rules.push(Rule { id: RuleId::fixed("forward/fast"), exprs });
    }
    table.chains.insert(Ident::fixed("forward"), chain);
    table
}

async fn observe(lab: &Lab) -> ObservedTables {
    let listing = lab.done(MACHINE, "nft -j -p list ruleset").await.unwrap();
    nft::parse(listing.as_bytes(), |id| *id == ours()).unwrap().0
}

/// Brings the machine to `table` with the script that the agent would send, and proves that it is listed as equal.
async fn reach(lab: &Lab, table: &Table) {
    let desired = BTreeMap::from([(ours(), table.clone())]);
    let script = nft::diff(&observe(lab).await, &desired).render();
    lab.done(MACHINE, &format!("nft -f - <<'END'\n{script}END")).await.unwrap();
    let seen = observe(lab).await;
    assert_eq!(*seen[&ours()], ObservedTable::of(table), "after\n{script}");
    assert!(nft::diff(&seen, &desired).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flowtable_is_made_listed_changed_and_takes_connections_up() {
    let lab = lab("flowtable").await;
    lab.done(MACHINE, &[TWO_HOSTS, SERVER].concat()).await.unwrap();
    reach(&lab, &table(&[])).await;
    reach(&lab, &table(&["guest0"])).await;
    // links come and go without a rule of the table being touched
    reach(&lab, &table(&["guest0", "pub0"])).await;
    reach(&lab, &table(&["pub0"])).await;
    reach(&lab, &table(&["guest0", "pub0"])).await;
    lab.done(MACHINE, TALK).await.unwrap();
    let taken = "for i in $(seq 20); do conntrack -L 2>/dev/null | grep -q OFFLOAD && exit 0; \
                 sleep 0.5; done; conntrack -L; nft list ruleset; exit 1";
    lab.done(MACHINE, taken).await.unwrap();
    // and once it is gone everything goes by the rules again
    reach(&lab, &table(&[])).await;
    let heard = "for i in $(seq 20); do [ $(grep -c line /run/heard) -ge 12 ] && exit 0; \
                 sleep 1; done; cat /run/heard; exit 1";
    lab.done(MACHINE, heard).await.unwrap();
    lab.down().await.unwrap();
}

/// Guests of the test; the kernel's own limit is 1,024 neighbours.
const GUESTS: u32 = 2000;

/// What the engine sets for so many guests.
async fn sizes() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let running = World::in_dir(folder.path()).start(Fault::None, FileFault::None).await;
    let mut config = example();
    config.links.retain(|link| link.name.as_str() != "guest1");
    for link in config.links.iter_mut().filter(|link| link.name.as_str() == "guest0") {
        link.addresses = vec!["10.1.0.1/16".parse().unwrap()];
    }
    config.role.networks.truncate(1);
    let network = &mut config.role.networks[0];
    network.cidr = "10.1.0.0/16".parse().unwrap();
    network.gateway = Ipv4Addr::new(10, 1, 0, 1);
    network.dhcp.routes.clear();
    let guest = network.guests[0].clone();
    network.guests = (0..GUESTS)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 100, 0)) + number);
            let mac = format!("02:00:00:01:{high:02x}:{low:02x}").parse().unwrap();
            let hostname = format!("vm{number}").parse().unwrap();
            let id = format!("g-{number}").parse().unwrap();
            let secondary_addresses = Vec::new();
            Guest { id, mac, address, secondary_addresses, hostname, ..guest.clone() }
        })
        .collect();
    let body = serde_json::to_vec(&config).unwrap();
    let answer = running.handle.push(body.into(), None).await;
    assert!(matches!(answer, sluice_api::report::Answer::Applied { .. }), "{answer:?}");
    let set = running.kernel.inner().state().sysctls.into_iter();
    let set = set.map(|(key, value)| (key.to_string(), value));
    set.filter(|(key, _)| key.contains("gc_thresh")).collect()
}

/// How many neighbours that were just heard of stay.
async fn room(lab: &Lab) -> u32 {
    // in the machine: a line of the shell has 128 KiB at most
    let fill = format!(
        "for n in $(seq 0 {}); do echo \"neigh replace 10.1.$((100 + n / 256)).$((n % 256)) \\
         lladdr 02:00:00:00:00:07 dev wide0 nud reachable\"; done > /run/fill
        ip -force -batch /run/fill > /run/filled 2>&1; true",
        GUESTS - 1
    );
    lab.within(MACHINE, &fill, SLOW).await.unwrap();
    let count = lab.done(MACHINE, "ip neigh show dev wide0 | wc -l").await.unwrap();
    lab.done(MACHINE, "ip neigh flush dev wide0").await.unwrap();
    count.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_neighbours_have_room_for_every_guest_once_their_sizes_are_set() {
    let sizes = sizes().await;
    assert_eq!(sizes.len(), 6, "{sizes:?}");
    let lab = lab("neighbours").await;
    let wide = "ip link add wide0 type veth peer name wide1 && ip addr add 10.1.0.1/16 dev wide0 \
                && ip link set wide0 up && ip link set wide1 up";
    lab.done(MACHINE, wide).await.unwrap();
    let before = room(&lab).await;
    assert!(before < GUESTS, "there was room for {before} before");
    for (key, value) in &sizes {
        lab.done(MACHINE, &format!("sysctl -qw {key}={value}")).await.unwrap();
        let now = lab.done(MACHINE, &format!("sysctl -n {key}")).await.unwrap();
        assert_eq!(now.trim(), value, "{key}");
    }
    assert_eq!(room(&lab).await, GUESTS);
    lab.down().await.unwrap();
}
