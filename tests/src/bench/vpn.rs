//! Tunnels on machines: what passes through ESP against plain forwarding, tunnels set up against the engine alone, L2TP
//! sessions and their memory against Debian's xl2tpd and pppd.
//!
//! Everything is measured on the machine that waits for it, by its own clock, and both sides of a pair in turn. Machines are
//! emulated: ratios say something, absolute figures do not.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::types::BlobDigest;
use sluice_lab::LabBuilder;
use sluice_lab::spec::{MachineSpec, NicSpec};

use super::Row;
use crate::cloud::single::Single;
use crate::cloud::{PUBLIC, Shell as _, TRUNK};
use crate::faults;
use crate::tunnels::soon;
use crate::tunnels::strongswan::{self, Site};
use crate::tunnels::warrior::{self, MS_CHAP, Warrior};

const BOOT: Duration = Duration::from_mins(5);
const ROUTER: &str = "198.51.100.10";
const PEER: &str = "198.51.100.20";
/// A machine with the daemons of others alone.
const ALONE: &str = "198.51.100.21";
const KEY: &str = "a key";
const PASSWORD: &str = "a password";
const TRANSFERS: usize = 3;
const MEBIBYTES: u32 = 16;
const TUNNELS: u32 = 10;
const SESSIONS: u32 = 5;
/// Sessions that are up at once.
const CROWD: u32 = 200;
/// Addresses that they come from, four tunnels each, as many as the router takes of one peer.
const HOMES: u32 = 50;

/// Measures all four.
pub fn run() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(measure())
}

async fn measure() -> Result<Vec<Row>> {
    let single = Single::start("bench-vpn", Single::direct(), machines).await?;
    single.status(BOOT).await?;
    for host in ["vm1", "peer", "alone"] {
        single.lab.ready(host, BOOT).await?;
    }
    stage("machines are up");
    addresses(&single).await?;
    configure(&single).await?;
    stage("transfers");
    let mut rows = vec![throughput(&single).await?];
    stage("tunnels");
    rows.push(set_up(&single).await?);
    stage("sessions");
    rows.extend(sessions(&single).await?);
    single.lab.down().await?;
    Ok(rows)
}

/// Says where the benchmark is, since it takes many minutes.
fn stage(what: &str) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    eprintln!("vpn: {:4.0} s: {what}", BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64());
}

fn machines(lab: LabBuilder) -> LabBuilder {
    let on = |wire: &str| NicSpec::on(wire.parse().expect("a wire's name"));
    let guest = on(TRUNK).vlan(100.try_into().expect("a VLAN"));
    let guest = guest.mac("02:00:0a:01:01:17".parse().expect("a MAC"));
    lab.machine("vm1", MachineSpec::host().nic(guest))
        .machine("peer", MachineSpec::host().ram_mib(768).nic(on(PUBLIC)))
        .machine("alone", MachineSpec::host().ram_mib(768).nic(on(PUBLIC)))
}

async fn addresses(single: &Single) -> Result<()> {
    let homes = (1..=HOMES).map(|home| format!("ip addr add {}/24 dev eth0", home_address(home)));
    let homes: Vec<_> = homes.chain(["ip addr add 172.16.1.1/24 dev lo".to_owned()]).collect();
    let more_of_peer = homes.join("; ");
    for (host, address, more) in [
        ("vm1", "10.1.1.23", "ip route add default via 10.1.1.1"),
        ("peer", PEER, &more_of_peer),
        ("alone", ALONE, "ip addr add 10.1.2.1/24 dev lo"),
    ] {
        let line = format!(
            "ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up; {more}"
        );
        single.lab.done(host, &line).await?;
    }
    Ok(())
}

fn blob(secret: &str) -> Vec<u8> {
    format!("0123456789abcdef\n{secret}").into_bytes()
}

async fn configure(single: &Single) -> Result<()> {
    for secret in [KEY, PASSWORD] {
        let path = format!("/v1/blobs/{}", BlobDigest::of(&blob(secret)));
        single.client.raw(Method::PUT, &path, blob(secret), BOOT).await?;
    }
    let key = BlobDigest::of(&blob(KEY));
    let policy = json!({"encryption": "aes256", "hash": "sha256", "group": 14});
    let vpn: Value = json!({
        "connections": [{
            "id": "c-1", "address": ROUTER, "local_networks": ["10.1.1.0/24"], "passive": true,
            "gateway": {
                "id": "peer", "address": PEER, "networks": ["172.16.1.0/24"], "psk": key,
                "ike": policy, "esp": {"encryption": "aes256", "hash": "sha256"},
            },
        }],
        "remote_access": [{
            "id": "ra-1", "address": ROUTER, "networks": ["net-1"], "psk": key,
            "range": "10.1.9.1-10.1.9.220",
            "users": [{"name": "anna", "password": BlobDigest::of(&blob(PASSWORD))}],
        }],
    });
    let mut config = faults::example();
    config.role.vpn = serde_json::from_value(vpn)?;
    single.push_and_confirm(&config).await
}

fn site(router: &str, remote: &str) -> Result<Site> {
    Ok(Site {
        address: PEER.parse()?,
        router: router.parse()?,
        network: "172.16.1.0/24".to_owned(),
        remote: remote.to_owned(),
        version: 2,
        ike: "aes256-sha256-modp2048".to_owned(),
        esp: "aes256-sha256".to_owned(),
        key: KEY.to_owned(),
    })
}

/// Nanoseconds that a line takes on a host.
async fn timed(single: &Single, host: &str, line: &str) -> Result<f64> {
    let line = format!(
        "s=$(date +%s%N); ({line}) >/run/timed 2>&1 || (cat /run/timed; exit 1) && e=$(date +%s%N) && echo $((e-s))"
    );
    let said = single.lab.within(host, &line, BOOT).await?;
    let text = said.stdout.trim();
    text.parse().with_context(|| format!("{host}: {text}{}", said.stderr))
}

async fn throughput(single: &Single) -> Result<Row> {
    strongswan::start(&single.lab, "peer").await?;
    strongswan::load(&single.lab, "peer", &site(ROUTER, "10.1.1.0/24")?.swanctl()).await?;
    soon(&single.lab, "peer", "swanctl --initiate --child n").await?;
    let blob = format!("head -c {} /dev/zero >/run/blob", MEBIBYTES << 20);
    single.lab.done("vm1", &blob).await?;
    let (mut plain, mut esp) = (f64::MAX, f64::MAX);
    for _ in 0..TRANSFERS {
        plain = plain.min(send(single, PEER).await?);
        esp = esp.min(send(single, "172.16.1.1").await?);
    }
    let rate = |nanoseconds: f64| f64::from(MEBIBYTES) * 8.389e9 / nanoseconds;
    stage(&format!("{:.1} Mbit/s through ESP, {:.1} without", rate(esp), rate(plain)));
    Ok(row("TCP through ESP", "Mbit/s", rate(esp), rate(plain), "plain forwarding"))
}

async fn send(single: &Single, to: &str) -> Result<f64> {
    let listen = "(nc -l -p 7000 >/dev/null) >/dev/null 2>&1 </dev/null &";
    single.lab.done("peer", listen).await?;
    soon(&single.lab, "peer", "ss -Hltn 'sport = :7000' | grep -q .").await?;
    timed(single, "vm1", &format!("nc -N -w 60 {to} 7000 </run/blob")).await
}

/// One end after the other, begun by the same peer.
async fn set_up(single: &Single) -> Result<Row> {
    let alone = Site { address: ALONE.parse()?, router: PEER.parse()?, ..site(ROUTER, "")? };
    let alone = Site { network: "10.1.2.0/24".into(), remote: "172.16.1.0/24".into(), ..alone };
    strongswan::start(&single.lab, "alone").await?;
    strongswan::load(&single.lab, "alone", &alone.swanctl()).await?;
    let ours = tunnels_a_second(single, &site(ROUTER, "10.1.1.0/24")?).await?;
    let rival = tunnels_a_second(single, &site(ALONE, "10.1.2.0/24")?).await?;
    stage(&format!("{ours:.2} tunnels a second, strongSwan alone {rival:.2}"));
    Ok(row("tunnels set up, IKEv2, group 14", "1/s", ours, rival, "strongSwan alone"))
}

async fn tunnels_a_second(single: &Single, site: &Site) -> Result<f64> {
    strongswan::load(&single.lab, "peer", &site.swanctl()).await?;
    let one = "swanctl --terminate --ike r >/dev/null 2>&1; swanctl --initiate --child n || exit 1";
    let line = format!("for i in $(seq {TUNNELS}); do {one}; done");
    Ok(f64::from(TUNNELS) * 1e9 / timed(single, "peer", &line).await?)
}

/// The same client calls one server, then the other.
async fn sessions(single: &Single) -> Result<[Row; 2]> {
    server(single).await?;
    single.lab.done("peer", "swanctl --terminate --ike r >/dev/null 2>&1; true").await?;
    dial(single, ROUTER).await?;
    let ours = sessions_a_second(single).await?;
    stage(&format!("{ours:.2} sessions a second; now {CROWD} at once"));
    let our_memory = crowded(single, ROUTER, || resident(single)).await?;
    stage(&format!("{our_memory:.1} MiB; now xl2tpd and pppd"));
    dial(single, ALONE).await?;
    let rival = sessions_a_second(single).await?;
    stage(&format!("{rival:.2} sessions a second; now {CROWD} at once"));
    let rival_memory = crowded(single, ALONE, || daemons(single)).await?;
    let speed = row("L2TP sessions in IPsec, MS-CHAPv2", "1/s", ours, rival, "xl2tpd + pppd");
    let case = format!("memory of {CROWD} L2TP sessions");
    let memory = row(&case, "MiB", our_memory, rival_memory, "xl2tpd + pppd");
    // less is better, and none at all is no figure to divide by
    let ratio = (our_memory > 0.0).then(|| rival_memory / our_memory);
    Ok([speed, Row { ratio, ..memory }])
}

fn anna(server: &str) -> Result<Warrior> {
    Ok(Warrior {
        router: server.parse()?,
        key: KEY.to_owned(),
        user: "anna".to_owned(),
        password: PASSWORD.to_owned(),
        method: MS_CHAP,
    })
}

/// IPsec to a server, and a first call that ends again.
async fn dial(single: &Single, server: &str) -> Result<()> {
    let anna = anna(server)?;
    strongswan::load(&single.lab, "peer", &anna.swanctl()).await?;
    soon(&single.lab, "peer", "swanctl --initiate --child l").await?;
    anna.call(&single.lab, "peer").await?;
    soon(&single.lab, "peer", "ip -4 addr show up dev ppp0 | grep -q peer").await?;
    warrior::hang_up(&single.lab, "peer").await
}

async fn sessions_a_second(single: &Single) -> Result<f64> {
    let wait = |line: &str| {
        format!("for w in $(seq 600); do {line} && break; sleep 0.05; done; {line} || exit 1")
    };
    let up = wait("ip -4 addr show up dev ppp0 2>/dev/null | grep -q peer");
    let down = wait("! ip link show dev ppp0 >/dev/null 2>&1");
    let one =
        format!("echo 'c r' >/run/xl2tpd/control; {up}; echo 'd r' >/run/xl2tpd/control; {down}");
    let line = format!("for i in $(seq {SESSIONS}); do {one}; done");
    let took = timed(single, "peer", &line).await?;
    Ok(f64::from(SESSIONS) * 1e9 / took)
}

/// What a server's memory grows by while the crowd is up.
async fn crowded<F>(single: &Single, server: &str, memory: impl Fn() -> F) -> Result<f64>
where
    F: Future<Output = Result<f64>>,
{
    warrior::forget(&single.lab, "peer").await?;
    single.lab.done("peer", "swanctl --terminate --ike r --force >/dev/null 2>&1; true").await?;
    strongswan::load(&single.lab, "peer", &homes(server)).await?;
    for home in 1..=HOMES {
        soon(&single.lab, "peer", &format!("swanctl --initiate --child l{home}")).await?;
    }
    stage(&format!("{HOMES} homes have IPsec"));
    let before = memory().await?;
    for home in 1..=HOMES {
        // one home after the other: two hundred pppd at once keep an emulated machine from answering any of them
        let said = single.lab.within("peer", &calls(home, server), BOOT).await?;
        if !said.stdout.is_empty() {
            stage(&format!("home {home}: {}", said.stdout.trim().replace('\n', ", ")));
        }
        if home % 10 == 0 {
            stage(&format!("{home} of {HOMES} homes have called"));
        }
    }
    all_are_up(single).await?;
    let grown = memory().await? - before;
    warrior::forget(&single.lab, "peer").await?;
    for home in 1..=HOMES {
        let end = format!("swanctl --terminate --ike r{home} --force >/dev/null 2>&1; true");
        single.lab.done("peer", &end).await?;
    }
    Ok(grown)
}

/// Where one of the crowd's homes is: a server takes few tunnels of one peer.
fn home_address(home: u32) -> String {
    format!("198.51.100.{}", 100 + home)
}

/// IPsec of every home.
fn homes(server: &str) -> String {
    let mut text = String::from("connections {\n");
    for home in 1..=HOMES {
        let address = home_address(home);
        // writing into a string cannot fail
        let _ = write!(
            text,
            " r{home} {{\n  version = 1\n  local_addrs = {address}\n  remote_addrs = {server}\n  \
             proposals = aes256-sha256-modp2048\n  local {{\n   auth = psk\n  }}\n  remote {{\n   auth = psk\n  }}\n  \
             children {{\n   l{home} {{\n    mode = transport\n    local_ts = dynamic[17/1701]\n    \
             remote_ts = dynamic[17/1701]\n    esp_proposals = aes256-sha256\n   }}\n  }}\n }}\n"
        );
    }
    let _ = write!(text, "}}\nsecrets {{\n ike-r {{\n  secret = \"{KEY}\"\n }}\n}}");
    text
}

/// A home's calls: each a tunnel of its own with one session, begun again should it come to nothing. Waits a while for them,
/// and has the whole home begin again, twice at most, which it says: xl2tpd's pppd is passive and waits for ever for a server
/// that it missed. Those that come later are waited for by [`all_are_up`].
fn calls(home: u32, server: &str) -> String {
    let address = home_address(home);
    let lac = |number: u32| {
        format!(
            "[lac x{number}]\\nlns = {server}\\npppoptfile = /run/crowd.options\\nlength bit = yes\\nautodial = yes\\n\
             redial = yes\\nredial timeout = 10\\nmax redials = 30\\n"
        )
    };
    let lacs: String = (1..=CROWD / HOMES).map(lac).collect();
    let wanted = CROWD / HOMES;
    let up = "ip -4 -o addr show up | grep -c 'ppp.*peer'";
    format!(
        "sed '/logfile\\|lcp-echo/d' /run/ppp.options >/run/crowd.options; \
         printf '[global]\\nlisten-addr = {address}\\naccess control = no\\n{lacs}' >/run/home{home}.conf; \
         had=$({up}); for try in 1 2 3; do \
         (xl2tpd -D -c /run/home{home}.conf -p /run/home{home}.pid -C /run/xl2tpd/home{home} \
         >>/run/home{home}.log 2>&1 </dev/null &); \
         for w in $(seq 60); do [ \"$({up})\" -ge $((had + {wanted})) ] && break 2; sleep 0.5; done; \
         echo \"$(($({up}) - had)) of {wanted} calls\"; [ $try = 3 ] && break; kill $(cat /run/home{home}.pid); \
         for w in $(seq 20); do [ \"$({up})\" -le $had ] && break; sleep 0.5; done; done; true"
    )
}

async fn all_are_up(single: &Single) -> Result<()> {
    const LOOKS: u32 = 40;
    let count = "ip -4 -o addr show up | grep -c 'ppp.*peer' || true";
    let mut up = 0;
    for _ in 0..LOOKS {
        up = single.lab.done("peer", count).await?.trim().parse()?;
        stage(&format!("{up} of {CROWD} sessions are up"));
        if up >= CROWD {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let said =
        single.lab.done("peer", "tail -n 30 /run/home1.log; tail -n 5 /run/home*.log").await?;
    bail!("{up} of {CROWD} sessions are up: {said}")
}

/// Mebibytes that the router's L2TP service has.
async fn resident(single: &Single) -> Result<f64> {
    let (status, body) = single.client.raw(Method::GET, "/metrics", Vec::new(), BOOT).await?;
    let text = String::from_utf8_lossy(&body);
    let series = "sluice_service_memory_bytes{service=\"l2tp\"} ";
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    let bytes: f64 = value.with_context(|| format!("{status}: no {series}"))?.parse()?;
    Ok(bytes / 1_048_576.0)
}

/// Mebibytes that Debian's daemons have, what they share counted once.
async fn daemons(single: &Single) -> Result<f64> {
    let line = "for p in $(pidof xl2tpd pppd); do cat /proc/$p/smaps_rollup 2>/dev/null; done | awk '/^Pss:/ { n += $2 } END { print n }'";
    let said = single.lab.done("alone", line).await?;
    let kibibytes: f64 = said.trim().parse().with_context(|| format!("alone: {said}"))?;
    Ok(kibibytes / 1024.0)
}

/// Debian's server, as its manual sets it up.
async fn server(single: &Single) -> Result<()> {
    let transport = format!(
        "connections {{\n in {{\n  version = 1\n  local_addrs = {ALONE}\n  proposals = aes256-sha256-modp2048\n  \
         local {{\n   auth = psk\n  }}\n  remote {{\n   auth = psk\n  }}\n  children {{\n   l {{\n    mode = transport\n    \
         local_ts = dynamic[17/1701]\n    remote_ts = dynamic[17]\n    esp_proposals = aes256-sha256\n   }}\n  }}\n }}\n}}\n\
         secrets {{\n ike-in {{\n  secret = \"{KEY}\"\n }}\n}}"
    );
    strongswan::load(&single.lab, "alone", &transport).await?;
    let line = format!(
        "mkdir -p /run/xl2tpd /etc/ppp; printf 'anna * \"{PASSWORD}\" *\\n' >/etc/ppp/chap-secrets; \
         printf '[global]\\n[lns default]\\nip range = 10.1.8.2-10.1.8.220\\nlocal ip = 10.1.8.1\\nrequire chap = yes\\n\
         pppoptfile = /run/ppp.options\\nlength bit = yes\\n' >/run/xl2tpd.conf; \
         printf 'require-mschap-v2\\nnoccp\\nmtu 1400\\nmru 1400\\n' >/run/ppp.options; \
         (xl2tpd -D -c /run/xl2tpd.conf -p /run/xl2tpd.pid -C /run/xl2tpd/control >/run/xl2tpd.log 2>&1 </dev/null &)"
    );
    single.lab.done("alone", &line).await?;
    soon(&single.lab, "alone", "[ -p /run/xl2tpd/control ]").await
}

fn row(case: &str, unit: &str, ours: f64, rival: f64, name: &str) -> Row {
    Row {
        bench: "vpn".into(),
        case: case.into(),
        unit: unit.into(),
        ours,
        rival: Some(rival),
        rival_name: Some(name.into()),
        ratio: Some(ours / rival),
        budget: None,
        within: None,
    }
}
