//! Remote access: Debian's xl2tpd and pppd over its strongSwan, three of them behind one NAT.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::spec::{MachineSpec, NicSpec};
use sluice_tests::cloud::PUBLIC;
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::warrior::{self, CHAP, MS_CHAP, PAP, Warrior};
use sluice_tests::tunnels::{SOON, libreswan, transfer};

use super::world::{self, GUEST, ROUTER, World, digest, outside};

const KEY: &str = "the key of all clients";
const HOME: &str = "home";
/// The router's end of all links.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 9, 1);
const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

fn access(users: &[(&str, &str)]) -> Value {
    access_with(users, "deny")
}

fn access_with(users: &[(&str, &str)], internet: &str) -> Value {
    let users: Vec<_> = users
        .iter()
        .map(|(name, password)| json!({"name": name, "password": digest(password)}))
        .collect();
    json!({"remote_access": [{
        "id": "ra-1", "address": ROUTER, "networks": ["net-1"], "psk": digest(KEY),
        "range": "10.1.9.1-10.1.9.8", "users": users, "internet": internet,
    }]})
}

async fn world() -> World {
    let hosts = ["nat", "c1", "c2", "c3"];
    let world = World::start("vpn-roaming", Single::direct(), &hosts, |lab| {
        let nic = |wire: &str| NicSpec::on(wire.parse().unwrap());
        let lab = lab.wire(HOME);
        let lab = lab.machine("nat", MachineSpec::host().nic(nic(PUBLIC)).nic(nic(HOME)));
        CLIENTS.iter().fold(lab, |lab, name| lab.host(name, HOME, None))
    })
    .await;
    let nat = "ip link set lo up; ip addr add 198.51.100.30/24 dev eth0; ip link set eth0 up; \
        ip addr add 192.168.7.1/24 dev eth1; ip link set eth1 up; sysctl -qw net.ipv4.ip_forward=1; \
        nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname eth0 masquerade'";
    world.done("nat", nat).await;
    for (place, client) in CLIENTS.iter().enumerate() {
        let address = place + 11;
        let up = format!(
            "ip link set lo up; ip addr add 192.168.7.{address}/24 dev eth0; ip link set eth0 up; \
             ip route add default via 192.168.7.1"
        );
        world.done(client, &up).await;
    }
    world
}

fn warrior(user: &str, password: &str, method: &'static str) -> Warrior {
    let (key, user, password) = (KEY.to_owned(), user.to_owned(), password.to_owned());
    Warrior { router: ROUTER, key, user, password, method }
}

/// The link, then a route to the guests' network by it.
async fn is_up(world: &World, client: &str) {
    let up = warrior::is_up(&world.single.lab, client, SERVER).await;
    world.must(up).await;
    world.done(client, "ip route replace 10.1.1.0/24 dev ppp0").await;
    world.soon(client, &format!("ping -c 1 -W 3 {GUEST}")).await;
}

/// Users with addresses, as the router reports them.
async fn sessions(world: &World) -> Vec<(String, String)> {
    let report = world.service("l2tp").await.report.unwrap_or_default();
    let text =
        |session: &Value, field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let all = report["sessions"].as_array().cloned().unwrap_or_default();
    let all = all.iter().map(|session| (text(session, "user"), text(session, "address")));
    let mut all: Vec<_> = all.filter(|(_, address)| !address.is_empty()).collect();
    all.sort();
    all
}

/// Waits until the report, which is some seconds old, has these and no others.
async fn sessions_are(world: &World, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(user, address)| (user.to_string(), address.to_string())).collect();
    let look = || async { (sessions(world).await == wanted).then_some(()) };
    let seen = Wait::until_async(SOON, "the sessions", look).await;
    world.must(seen.map_err(Into::into)).await;
}

/// Three clients share an address, and to the router even a port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_clients_behind_one_nat() {
    let mut world = world().await;
    let users = [("anna", "correct horse"), ("bob", "battery staple"), ("carl", "three of them")];
    let secrets = [KEY, "correct horse", "battery staple", "three of them"];
    world.push(access(&users), &secrets).await;
    for (client, (user, password)) in CLIENTS.iter().zip(users) {
        let method = match user {
            "bob" => PAP,
            "carl" => CHAP,
            _ => MS_CHAP,
        };
        let dialled = warrior(user, password, method).dial(&world.single.lab, client).await;
        world.must(dialled).await;
        is_up(&world, client).await;
    }
    let all = [("anna", "10.1.9.2"), ("bob", "10.1.9.3"), ("carl", "10.1.9.4")];
    sessions_are(&world, &all).await;
    // each has its own traffic, both ways, at the same time
    for client in CLIENTS {
        world
            .done(client, &format!("ping -c 5 -i 0.2 -W 3 -q {GUEST} | grep -q ' 0% packet loss'"))
            .await;
    }
    for address in ["10.1.9.2", "10.1.9.3", "10.1.9.4"] {
        world.soon("vm1", &format!("ping -c 1 -W 3 {address}")).await;
    }
    routes_by_dhcp(&world, "c1").await;
    names_and_nothing_but_guests(&world, "c1").await;
    the_internet_by_policy(&mut world, &users).await;
    leave_and_are_cut_off(&mut world, &users).await;
    world.down().await;
}

/// A client that has no route to the guests asks for one by DHCP, as Windows does, and reaches them by what it is told.
async fn routes_by_dhcp(world: &World, client: &str) {
    world.done(client, "ip route del 10.1.1.0/24 dev ppp0").await;
    world.fails(client, &format!("ping -c 1 -W 3 {GUEST}")).await;
    let told = world.must(warrior::informed(&world.single.lab, client).await).await;
    let mut wanted = [121, 249].map(|code| format!("{code} 10.1.1.0/24 {SERVER}"));
    let mut options = told.clone();
    options.sort();
    wanted.sort();
    assert_eq!(options, wanted);
    let (network, hop) = told[0][4..].split_once(' ').unwrap();
    world.done(client, &format!("ip route add {network} via {hop}")).await;
    world.soon(client, &format!("ping -c 1 -W 3 {GUEST}")).await;
}

/// Names by the router's service, which the client is told, and nothing but the guests' network.
async fn names_and_nothing_but_guests(world: &World, client: &str) {
    world.soon(client, "grep -q 10.1.1.1 /etc/ppp/resolv.conf").await;
    let name = "dig +short +time=3 @10.1.1.1 vm1.cs1.cloud.internal | grep -qx 10.1.1.23";
    world.soon(client, name).await;
    let into = "ip route replace 10.1.2.0/24 dev ppp0; ip route replace 203.0.113.0/24 dev ppp0";
    world.done(client, into).await;
    for other in ["10.1.2.23", "203.0.113.10"] {
        let refused = format!("ping -c 1 -W 3 {other} | grep -qi 'filtered\\|prohibited'");
        world.soon(client, &refused).await;
    }
}

/// A client that sends everything into the tunnel is refused, or leaves by the tunnel's address; no session ends by it.
async fn the_internet_by_policy(world: &mut World, users: &[(&str, &str)]) {
    const OUTSIDE: &str = "198.51.100.30";
    world.done("c1", &format!("ip route replace {OUTSIDE}/32 dev ppp0")).await;
    let count = format!(
        "nft 'add table ip c; add chain ip c i {{ type filter hook input priority 0; }}; \
         add rule ip c i ip saddr {ROUTER} icmp type echo-request counter'"
    );
    world.done("nat", &count).await;
    let refused = format!("ping -c 1 -W 3 {OUTSIDE} | grep -qi 'filtered\\|prohibited'");
    world.done("c1", &refused).await;
    world.push(access_with(users, "allow"), &[]).await;
    world.soon("c1", &format!("ping -c 1 -W 3 {OUTSIDE}")).await;
    world.done("nat", "nft list chain ip c i | grep -q 'packets [1-9]'").await;
    world.push(access(users), &[]).await;
    world.soon("c1", &refused).await;
    for client in CLIENTS {
        world.done(client, &format!("ping -c 2 -W 3 {GUEST}")).await;
    }
}

/// One leaves, one is removed, and those who may not come stay outside.
async fn leave_and_are_cut_off(world: &mut World, users: &[(&str, &str)]) {
    world.must(warrior::hang_up(&world.single.lab, "c2").await).await;
    for client in ["c1", "c3"] {
        world.done(client, &format!("ping -c 2 -W 3 {GUEST}")).await;
    }
    // a removed user is cut off, and the other stays
    world.push(access(&users[..2]), &[]).await;
    let cut = format!(
        "for i in 1 2 3 4 5; do ping -c 1 -W 1 {GUEST} >/dev/null || exit 0; sleep 1; done; exit 1"
    );
    world.done("c3", &cut).await;
    world.done("c1", &format!("ping -c 2 -W 3 {GUEST}")).await;
    sessions_are(world, &[("anna", "10.1.9.2")]).await;
    // wrong passwords and unknown users stay outside
    for (client, user, password) in [("c2", "bob", "wrong"), ("c3", "carl", "three of them")] {
        world.must(warrior::forget(&world.single.lab, client).await).await;
        let called = warrior(user, password, MS_CHAP).call(&world.single.lab, client).await;
        world.must(called).await;
        world
            .soon(client, "grep -qi 'authentication failed\\|wrong name or password' /run/ppp.log")
            .await;
        world.fails(client, "ip link show dev ppp0").await;
    }
    sessions_are(world, &[("anna", "10.1.9.2")]).await;
}

/// One client without NAT, by libreswan at either end.
async fn one_client(name: &str, router: MachineSpec, over_libreswan: bool) {
    let mut world = World::start(name, router, &["c1"], |lab| outside(lab, "c1", PUBLIC)).await;
    let up = "ip link set lo up; ip addr add 198.51.100.31/24 dev eth0; ip link set eth0 up; \
        ip route add default via 198.51.100.1";
    world.done("c1", up).await;
    let users = [("anna", "correct horse")];
    world.push(access(&users), &[KEY, "correct horse"]).await;
    let anna = warrior("anna", "correct horse", MS_CHAP);
    let lab = &world.single.lab;
    let dialled = if over_libreswan {
        libreswan::dial(lab, "c1", &anna).await
    } else {
        anna.dial(lab, "c1").await
    };
    world.must(dialled).await;
    is_up(&world, "c1").await;
    sessions_are(&world, &[("anna", "10.1.9.2")]).await;
    world.must(transfer(lab, "c1", "vm1", &GUEST.to_string(), 7000, "").await).await;
    routes_by_dhcp(&world, "c1").await;
    names_and_nothing_but_guests(&world, "c1").await;
    // the other way to prove oneself, within the same IPsec
    world.must(warrior::forget(lab, "c1").await).await;
    world.must(warrior("anna", "correct horse", PAP).call(lab, "c1").await).await;
    is_up(&world, "c1").await;
    world.push(access(&[]), &[]).await;
    world.must(warrior::is_down(&world.single.lab, "c1").await).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_over_libreswan() {
    one_client("vpn-client-l", Single::direct(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_router_with_libreswan() {
    one_client("vpn-client-s", world::libreswan(), false).await;
}
