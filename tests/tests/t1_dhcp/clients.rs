//! Clients as guests have them: udhcpc, dhclient, dhcpcd, and a real relay.

use std::collections::BTreeMap;

use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, VethEnd};

use super::bench::{BOUND, Bench, VM1, link, mac};

/// Configures the interface, so that renewals go by unicast, and prints what the client was given.
const SCRIPT: &str = r#"#!/bin/sh
what="${reason:-$1}"
case "$what" in
bound|renew|BOUND|RENEW|REBOOT|REBIND) ip addr replace "${new_ip_address:-$ip}/24" dev eth0 ;;
deconfig|EXPIRE|RELEASE|STOP) ip addr flush dev eth0 scope global ;;
esac
echo "event $what"
env | grep -E '^(new_|ip=|subnet=|router=|dns=|domain=|hostname=|mtu=|lease=|staticroutes=|broadcast=|serverid=)'
echo "end $what"
"#;

/// What the script printed about the last `event`.
fn values(output: &str, event: &str) -> BTreeMap<String, String> {
    let block = output.rsplit(&format!("event {event}\n")).next().unwrap();
    let lines = block.lines().take_while(|line| !line.starts_with("end "));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[track_caller]
fn assert_values(got: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(got.get(*name).map(String::as_str), Some(*value), "{name} of {got:#?}");
    }
}

fn udhcpc(bench: &Bench, guest: &Namespace) -> Process {
    let script = bench.script("script", SCRIPT);
    let ask = ["-O", "staticroutes", "-O", "mtu", "-O", "broadcast"];
    let words = ["udhcpc", "-f", "-i", "eth0", "-s", script.as_str()];
    guest.spawn(words.iter().chain(&ask)).unwrap()
}

#[test]
fn udhcpc_gets_renews_and_releases() {
    let (mut bench, guest, _) = Bench::new("udhcpc");
    let mut client = udhcpc(&bench, &guest);
    client.says("end bound", BOUND).unwrap();
    assert_values(
        &values(&client.output(), "bound"),
        &[
            ("ip", "10.1.1.23"),
            ("subnet", "255.255.255.0"),
            ("router", "10.1.1.1"),
            ("dns", "10.1.1.1"),
            ("domain", "cs1.cloud.internal"),
            ("hostname", "vm1"),
            ("mtu", "1400"),
            ("lease", "3600"),
            ("broadcast", "10.1.1.255"),
            ("serverid", "10.1.1.1"),
            ("staticroutes", "0.0.0.0/0 10.1.1.1 10.9.0.0/16 10.1.1.254"),
        ],
    );
    client.signal(nix::sys::signal::Signal::SIGUSR1).unwrap();
    client.says("end renew", BOUND).unwrap();
    assert_eq!(bench.counters()["active_leases"], 1);
    client.signal(nix::sys::signal::Signal::SIGUSR2).unwrap();
    bench.await_log("dhcp release link=guest0 mac=02:00:0a:01:01:17 address=10.1.1.23");
    assert_eq!(bench.counters()["active_leases"], 0);
}

const DHCLIENT_CONF: &str = "\
option classless-routes code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name, \
interface-mtu, classless-routes;
";

fn dhclient(bench: &Bench, guest: &Namespace, more: &[&str]) -> Process {
    let conf = bench.script("dhclient.conf", DHCLIENT_CONF);
    let script = bench.script("script", SCRIPT);
    let leases = bench.path("leases").display().to_string();
    let pid = bench.path("dhclient.pid").display().to_string();
    let files = ["-cf", &conf, "-sf", &script, "-lf", &leases, "-pf", &pid];
    let words = ["dhclient", "-4", "-v", "-d", "-1"];
    guest.spawn(words.iter().chain(more).chain(&files).chain(&["eth0"])).unwrap()
}

#[test]
fn dhclient_is_confirmed_by_a_server_that_was_rebuilt_from_nothing() {
    let (mut bench, guest, _) = Bench::new("dhclient");
    let mut client = dhclient(&bench, &guest, &[]);
    client.says("end BOUND", BOUND).unwrap();
    assert_values(
        &values(&client.output(), "BOUND"),
        &[
            ("new_ip_address", "10.1.1.23"),
            ("new_subnet_mask", "255.255.255.0"),
            ("new_routers", "10.1.1.1"),
            ("new_domain_name_servers", "10.1.1.1"),
            ("new_domain_name", "cs1.cloud.internal"),
            ("new_host_name", "vm1"),
            ("new_interface_mtu", "1400"),
            ("new_dhcp_lease_time", "3600"),
            ("new_classless_routes", "0 10 1 1 1 16 10 9 10 1 1 254"),
        ],
    );
    client.kill();
    bench.crash();
    bench.start();
    bench.await_link("guest0");
    // its lease file has the lease, so that it starts with INIT-REBOOT
    let mut client = dhclient(&bench, &guest, &[]);
    client.says("end REBOOT", BOUND).unwrap();
    assert!(!client.output().contains("DHCPDISCOVER"), "{}", client.output());
    client.kill();
    let mut release = dhclient(&bench, &guest, &["-r"]);
    release.says("DHCPRELEASE", BOUND).unwrap();
    bench.await_log("dhcp release link=guest0 mac=02:00:0a:01:01:17 address=10.1.1.23");
}

#[test]
fn udhcpc_renews_with_a_server_that_was_rebuilt_from_nothing() {
    let (mut bench, guest, _) = Bench::new("rebuilt");
    let mut client = udhcpc(&bench, &guest);
    client.says("end bound", BOUND).unwrap();
    bench.crash();
    bench.start();
    bench.await_link("guest0");
    client.signal(nix::sys::signal::Signal::SIGUSR1).unwrap();
    client.says("end renew", BOUND).unwrap();
    let counters = bench.counters();
    // udhcpc may miss a first answer that is faster than it closes the socket it asked by, and ask once more
    assert_eq!(counters["received"]["discover"], serde_json::Value::Null, "{counters}");
    assert_eq!(counters["sent"]["nak"], serde_json::Value::Null, "{counters}");
}

const DHCPCD_CONF: &str = "\
option subnet_mask, routers, domain_name_servers, domain_name, host_name, interface_mtu
option classless_static_routes
noarp
";

#[test]
fn dhcpcd_takes_the_classless_routes() {
    let (bench, guest, _) = Bench::new("dhcpcd");
    let conf = bench.script("dhcpcd.conf", DHCPCD_CONF);
    let script = bench.script("script", SCRIPT);
    // it keeps leases under a fixed path: a file system of its own, in the mount namespace of `ip netns exec`
    let line = format!(
        "mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -4 -B -1 -d -L -c {script} -f {conf} eth0"
    );
    let mut client = guest.spawn(["sh", "-c", &line]).unwrap();
    client.says("end BOUND", BOUND).unwrap();
    assert_values(
        &values(&client.output(), "BOUND"),
        &[
            ("new_ip_address", "10.1.1.23"),
            ("new_domain_name", "cs1.cloud.internal"),
            ("new_host_name", "vm1"),
            ("new_interface_mtu", "1400"),
            ("new_classless_static_routes", "0.0.0.0/0 10.1.1.1 10.9.0.0/16 10.1.1.254"),
        ],
    );
    let routed = || {
        let routes = guest.ip(["route"]).unwrap();
        routes.contains("default via 10.1.1.1") && routes.contains("10.9.0.0/16 via 10.1.1.254")
    };
    Wait::until(BOUND, "both routes in the guest", routed).unwrap();
}

#[test]
fn each_of_two_networks_gets_its_own() {
    let (bench, first, second) = Bench::new("two");
    let mut clients = [udhcpc(&bench, &first), udhcpc(&bench, &second)];
    for (client, third) in clients.iter_mut().zip([1, 2]) {
        client.says("end bound", BOUND).unwrap();
        let values = values(&client.output(), "bound");
        assert_values(
            &values,
            &[
                ("ip", &format!("10.1.{third}.23")),
                ("router", &format!("10.1.{third}.1")),
                ("domain", &format!("cs{third}.cloud.internal")),
            ],
        );
    }
}

/// guest - relay (10.1.1.254 towards the guest, 10.1.1.253 towards the router) - router
#[test]
fn dhcrelay_carries_a_client_to_the_server() {
    let mut bench = Bench::empty("relay");
    let relay = bench.guest("relay-x", "guest0", 1, "02:00:00:00:00:77");
    let guest = bench.namespace("relay-g");
    bench.veth(
        &VethEnd::new(&relay, link("inner")),
        &VethEnd::new(&guest, link("eth0")).mac(mac(VM1)),
    );
    relay.address(&link("eth0"), "10.1.1.253/24".parse().unwrap()).unwrap();
    relay.address(&link("inner"), "10.1.1.254/32".parse().unwrap()).unwrap();
    bench.write(&super::bench::slice());
    bench.start();
    bench.await_link("guest0");
    let mut program = relay
        .spawn(["dhcrelay", "-4", "-d", "-a", "-id", "inner", "-iu", "eth0", "10.1.1.1"])
        .unwrap();
    program.says("Sending on   Socket/fallback", BOUND).unwrap();
    let mut client = udhcpc(&bench, &guest);
    client
        .says("end bound", BOUND)
        .unwrap_or_else(|error| panic!("{error}\n== relay\n{}", program.output()));
    assert_values(
        &values(&client.output(), "bound"),
        &[("ip", "10.1.1.23"), ("serverid", "10.1.1.1")],
    );
}

/// What a network manager of systemd is told; its folders are its own, and it takes a read-only `/sys` for a container,
/// where no udev will tell it of links.
const NETWORKD: &str = "\
mount -t tmpfs none /run/systemd && mkdir -p /run/systemd/network /run/systemd/netif/links \
/run/systemd/netif/leases /run/systemd/netif/lldp && \
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\nIPv6AcceptRA=no\\n\
[DHCPv4]\\nUseMTU=yes\\nUseHostname=no\\n' > /run/systemd/network/10-eth0.network && \
mount -o remount,ro /sys && exec /lib/systemd/systemd-networkd";

#[test]
fn systemd_networkd_takes_address_routes_and_mtu() {
    let (mut bench, guest, _) = Bench::new("networkd");
    let mut client = guest.spawn(["sh", "-c", NETWORKD]).unwrap();
    let configured = || {
        let addresses = guest.ip(["addr", "show", "dev", "eth0"]).unwrap();
        let routes = guest.ip(["route"]).unwrap();
        addresses.contains("inet 10.1.1.23/24")
            && addresses.contains("mtu 1400")
            && routes.contains("default via 10.1.1.1")
            && routes.contains("10.9.0.0/16 via 10.1.1.254")
    };
    Wait::until(BOUND, "the guest's configuration", configured)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", client.output(), guest.state()));
    assert_eq!(bench.counters()["active_leases"], 1);
    client.kill();
}
