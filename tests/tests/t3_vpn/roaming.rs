//! Remote access: Debian's xl2tpd and pppd over its strongSwan, three of them behind one NAT.

use serde_json::{Value, json};
use sluice_lab::spec::{MachineSpec, NicSpec};
use sluice_tests::cloud::PUBLIC;

use super::peer;
use super::world::{GUEST, ROUTER, World, digest};

const KEY: &str = "the key of all clients";
const HOME: &str = "home";
const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

fn access(users: &[(&str, &str)]) -> Value {
    let users: Vec<_> = users
        .iter()
        .map(|(name, password)| json!({"name": name, "password": digest(password)}))
        .collect();
    json!({"remote_access": [{
        "id": "ra-1", "address": ROUTER, "networks": ["net-1"], "psk": digest(KEY),
        "range": "10.1.9.1-10.1.9.8", "users": users,
    }]})
}

/// IKEv1 in transport mode, as every L2TP client does it.
fn swanctl() -> String {
    format!(
        "connections {{\n r {{\n  version = 1\n  remote_addrs = {ROUTER}\n  proposals = aes256-sha256-modp2048\n  \
         local {{\n   auth = psk\n  }}\n  remote {{\n   auth = psk\n  }}\n  children {{\n   l {{\n    mode = transport\n    \
         local_ts = dynamic[17/1701]\n    remote_ts = dynamic[17/1701]\n    esp_proposals = aes256-sha256,aes256-sha1\n   }}\n  \
         }}\n }}\n}}\nsecrets {{\n ike-r {{\n  secret = \"{KEY}\"\n }}\n}}"
    )
}

/// Files of xl2tpd and pppd, and xl2tpd itself.
fn xl2tpd(user: &str, password: &str, method: &str) -> String {
    format!(
        "mkdir -p /run/xl2tpd /etc/ppp; printf '[global]\\naccess control = no\\n[lac r]\\nlns = {ROUTER}\\n\
         pppoptfile = /run/ppp.options\\nlength bit = yes\\nredial = no\\n' >/run/xl2tpd.conf; \
         printf 'name {user}\\npassword \"{password}\"\\n{method}\\nnoauth\\nnoccp\\nnodefaultroute\\nusepeerdns\\n\
         mtu 1400\\nmru 1400\\nlogfile /run/ppp.log\\nlcp-echo-interval 5\\nlcp-echo-failure 4\\n' >/run/ppp.options; \
         (xl2tpd -D -c /run/xl2tpd.conf -p /run/xl2tpd.pid -C /run/xl2tpd/control >/run/xl2tpd.log 2>&1 </dev/null &); \
         for i in $(seq 100); do [ -p /run/xl2tpd/control ] && exit 0; sleep 0.1; done; cat /run/xl2tpd.log; exit 1"
    )
}

const MS_CHAP: &str = "require-mschap-v2";
const PAP: &str = "refuse-chap\\nrefuse-mschap\\nrefuse-mschap-v2\\nrefuse-eap";

async fn world() -> World {
    let hosts = ["nat", "c1", "c2", "c3"];
    let world = World::start("vpn-roaming", &hosts, |lab| {
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

/// IPsec, then L2TP, then a route to the guests' network by the new link.
async fn dial(world: &World, client: &str, user: &str, password: &str, method: &str) {
    peer::start(world, client).await;
    peer::load(world, client, &swanctl()).await;
    world.soon(client, "swanctl --initiate --child l >/run/initiate 2>&1").await;
    world.done(client, &xl2tpd(user, password, method)).await;
    world.done(client, "echo 'c r' >/run/xl2tpd/control").await;
}

async fn is_up(world: &World, client: &str) {
    world.soon(client, "ip -4 addr show dev ppp0 | grep -q 'peer 10.1.9.1'").await;
    world.done(client, "ip route replace 10.1.1.0/24 dev ppp0").await;
    world.soon(client, &format!("ping -c 1 -W 3 {GUEST}")).await;
}

async fn sessions(world: &World) -> Vec<(String, String)> {
    let report = world.service("l2tp").await.report.unwrap_or_default();
    let text =
        |session: &Value, field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let all = report["sessions"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<_> =
        all.iter().map(|session| (text(session, "user"), text(session, "address"))).collect();
    all.sort();
    all
}

/// Three clients share an address, and to the router even a port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_clients_behind_one_nat() {
    let mut world = world().await;
    let users = [("anna", "correct horse"), ("bob", "battery staple"), ("carl", "three of them")];
    let secrets = [KEY, "correct horse", "battery staple", "three of them"];
    world.push(access(&users), &secrets).await;
    for (client, (user, password)) in CLIENTS.iter().zip(users) {
        let method = if user == "bob" { PAP } else { MS_CHAP };
        dial(&world, client, user, password, method).await;
        is_up(&world, client).await;
    }
    let all = sessions(&world).await;
    let addresses: Vec<_> =
        all.iter().map(|(user, address)| (user.as_str(), address.as_str())).collect();
    assert_eq!(addresses, [("anna", "10.1.9.2"), ("bob", "10.1.9.3"), ("carl", "10.1.9.4")]);
    // each has its own traffic, both ways, at the same time
    for client in CLIENTS {
        world
            .done(client, &format!("ping -c 5 -i 0.2 -W 3 -q {GUEST} | grep -q ' 0% packet loss'"))
            .await;
    }
    for address in ["10.1.9.2", "10.1.9.3", "10.1.9.4"] {
        world.soon("vm1", &format!("ping -c 1 -W 3 {address}")).await;
    }
    // names by the router, and nothing but the guests' network
    world.soon("c1", "grep -q 10.1.1.1 /etc/ppp/resolv.conf").await;
    world
        .soon("c1", "dig +short +time=3 @10.1.1.1 vm1.cs1.cloud.internal | grep -qx 10.1.1.23")
        .await;
    world
        .done(
            "c1",
            "ip route replace 10.1.2.0/24 dev ppp0; ip route replace 203.0.113.0/24 dev ppp0",
        )
        .await;
    world.done("c1", "ping -c 1 -W 3 10.1.2.23 | grep -qi 'filtered\\|prohibited'").await;
    world.done("c1", "ping -c 1 -W 3 203.0.113.10 | grep -qi 'filtered\\|prohibited'").await;

    leave_and_are_cut_off(&mut world, &users).await;
    world.down().await;
}

/// One leaves, one is removed, and those who may not come stay outside.
async fn leave_and_are_cut_off(world: &mut World, users: &[(&str, &str)]) {
    world.done("c2", "echo 'd r' >/run/xl2tpd/control").await;
    world.soon("c2", "! ip link show dev ppp0 2>/dev/null | grep -q ppp0").await;
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
    assert_eq!(sessions(world).await.len(), 1);
    // wrong passwords and unknown users stay outside
    for (client, user, password) in [("c2", "bob", "wrong"), ("c3", "carl", "three of them")] {
        world
            .done(
                client,
                "kill $(pidof xl2tpd pppd); sleep 1; rm -f /run/xl2tpd/control /run/ppp.log",
            )
            .await;
        world.done(client, &xl2tpd(user, password, MS_CHAP)).await;
        world.done(client, "echo 'c r' >/run/xl2tpd/control").await;
        world
            .soon(client, "grep -qi 'authentication failed\\|wrong name or password' /run/ppp.log")
            .await;
        world.fails(client, "ip link show dev ppp0").await;
    }
    let sessions = sessions(world).await;
    assert_eq!(sessions.iter().filter(|(_, address)| !address.is_empty()).count(), 1);
}
