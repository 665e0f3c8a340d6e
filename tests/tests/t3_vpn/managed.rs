//! examples/vpn.toml, from the description to packets: an office behind a strongSwan of Debian's, and a road warrior.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_lab::spec::Firmware;
use sluice_lab::{Lab, Wait};
use sluice_tests::cloud::{Cloud, INTERNET, Shell as _, View, guest};
use sluice_tests::tunnels::example::{self, CLIENT, DESK, ROAD, SERVER};
use sluice_tests::tunnels::{self, SOON, transfer, warrior};

use super::world::BOOT;

const IN_SYNC_S: u32 = 300;
/// A user that is deleted is cut off within 5 s; the rest is for a busy machine.
const CUT_OFF: Duration = Duration::from_secs(30);

struct World {
    cloud: Cloud,
    view: View,
    lab: Lab,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/vpn.toml");
        let free = "127.0.0.1:0".parse().unwrap();
        let cloud = Cloud::start(folder.path(), &description, free).await.unwrap();
        let spec = example::with_road(cloud.lab("vpn", Firmware::Direct).unwrap()).unwrap();
        let lab = Lab::start(spec).await.unwrap();
        let view = cloud.view().unwrap();
        let world = Self { cloud, view, lab, _folder: folder };
        let id = world.router();
        world.cloud.endpoint(id, world.lab.endpoint(id).unwrap()).unwrap();
        world.in_sync().await;
        for host in ["web1", INTERNET, ROAD] {
            world.lab.ready(host, BOOT).await.unwrap();
        }
        world
    }

    fn router(&self) -> &str {
        self.view.appliances[0].id.as_str()
    }

    async fn in_sync(&self) {
        let synced = tokio::task::block_in_place(|| self.cloud.in_sync(IN_SYNC_S));
        self.must(synced).await;
    }

    async fn must<T>(&self, done: anyhow::Result<T>) -> T {
        match done {
            Ok(done) => done,
            Err(error) => panic!("{error:#}\n{}", self.state().await),
        }
    }

    /// Everything that a failing test must print.
    async fn state(&self) -> String {
        let mut said = format!("{}\n{}\n", self.cloud.log(), self.lab.state().await);
        for service in ["ike", "l2tp", "charon"] {
            said.push_str(&format!("--- {service}\n{:#}\n", self.report(service)));
        }
        for host in [INTERNET, ROAD] {
            if let Ok(output) = self.lab.sh(host, tunnels::STATE).await {
                said.push_str(&format!("--- {host}\n{}{}\n", output.stdout, output.stderr));
            }
        }
        let logs = self.cloud.manager.done(["logs", self.router()]);
        said + &logs.unwrap_or_else(|error| error.to_string())
    }

    /// What `sluice appliance report` shows of a service; null while it cannot be asked.
    fn report(&self, service: &str) -> Value {
        let asked: Result<Value, _> =
            self.cloud.manager.ask(["appliance", "report", self.router(), service]);
        asked.map(|status| status["report"].clone()).unwrap_or_default()
    }

    async fn report_says(
        &self,
        service: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let look = || async {
            let report = tokio::task::block_in_place(|| self.report(service));
            wanted(&report).then_some(report)
        };
        self.must(Wait::until_async(SOON, what, look).await.map_err(Into::into)).await
    }

    async fn done(&self, host: &str, line: &str) -> String {
        self.must(self.lab.done(host, line).await).await
    }

    async fn soon(&self, host: &str, line: &str) {
        self.must(tunnels::soon(&self.lab, host, line).await).await;
    }

    async fn fails(&self, host: &str, line: &str) {
        let output = self.lab.sh(host, line).await.unwrap();
        assert!(!output.ok(), "{host}: `{line}` works: {}", output.stdout);
    }
}

/// Both kinds of tunnels on one set of machines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_leads_to_an_office_and_to_the_road() {
    let world = World::start().await;
    world.must(example::set_up(&world.lab).await).await;
    world.must(guest::take_lease(&world.lab, "web1").await).await;
    let web1 = world.view.address("web1").unwrap();
    the_office_is_connected(&world).await;
    packets_pass_both_ways(&world, web1).await;
    the_tiers_list_decides(&world, web1).await;
    a_warrior_comes_in(&world, web1).await;
    a_deleted_user_is_cut_off(&world).await;
    packets_pass_both_ways(&world, web1).await;
    world.lab.down().await.unwrap();
}

/// `sluice` says that it is being begun, and that it is connected once the office is there.
async fn the_office_is_connected(world: &World) {
    let phase = |report: &Value| tunnels::connection(report, "vc-1")["phase"].clone();
    let begun = |report: &Value| phase(report) == "connecting" || phase(report) == "error";
    world.report_says("ike", "a state without a peer", begun).await;
    world.must(example::office_opens(&world.lab).await).await;
    // it would be begun again by itself, within a minute
    world.must(world.cloud.manager.done(["vpn-connection", "reset", "office"])).await;
    world.report_says("ike", "the office connected", |report| phase(report) == "connected").await;
}

async fn packets_pass_both_ways(world: &World, web1: Ipv4Addr) {
    world.soon("web1", &format!("ping -c 1 -W 3 {DESK}")).await;
    world.soon(INTERNET, &format!("ping -c 1 -W 3 -I {DESK} {web1}")).await;
    world.must(transfer(&world.lab, "web1", INTERNET, DESK, 7000, "").await).await;
    let source = format!("-s {DESK}");
    let in_ward = transfer(&world.lab, INTERNET, "web1", &web1.to_string(), 80, &source).await;
    world.must(in_ward).await;
}

/// Port 80 and pings come in, nothing else does.
async fn the_tiers_list_decides(world: &World, web1: Ipv4Addr) {
    world.must(guest::listen(&world.lab, "web1", 8080).await).await;
    world.fails(INTERNET, &format!("echo in | nc -N -s {DESK} -w 3 {web1} 8080")).await;
    assert_eq!(world.must(guest::heard(&world.lab, "web1", 8080).await).await, "");
}

/// By the key of all clients and a password of its own; it reaches the guest and finds it by name.
async fn a_warrior_comes_in(world: &World, web1: Ipv4Addr) {
    world.must(example::anna().dial(&world.lab, ROAD).await).await;
    world.must(warrior::is_up(&world.lab, ROAD, SERVER).await).await;
    world.done(ROAD, "ip route replace 10.0.0.0/16 dev ppp0").await;
    world.soon(ROAD, &format!("ping -c 1 -W 3 {web1}")).await;
    world.must(transfer(&world.lab, ROAD, "web1", &web1.to_string(), 80, "").await).await;
    world.soon(ROAD, "grep -q 'nameserver 10.0.1.1' /etc/ppp/resolv.conf").await;
    let name = format!("dig +short +time=3 @10.0.1.1 web1.web.vpc1.internal | grep -qx {web1}");
    world.soon(ROAD, &name).await;
    let anna = |session: &Value| session["user"] == "anna" && session["address"] == CLIENT;
    let sessions =
        |report: &Value| report["sessions"].as_array().is_some_and(|all| all.iter().any(anna));
    world.report_says("l2tp", "the session", sessions).await;
}

/// And the tunnel to the office stays what it was.
async fn a_deleted_user_is_cut_off(world: &World) {
    let office = |report: &Value| {
        let tunnels = tunnels::connection(report, "vc-1")["tunnels"].as_array().cloned();
        let mut tunnels = tunnels.unwrap_or_default().into_iter();
        tunnels.find(|tunnel| !tunnel["group"].is_null()).map(|tunnel| tunnel["number"].clone())
    };
    // the early proof of perfect forward secrecy makes new keys once
    let proved = |report: &Value| tunnels::connection(report, "vc-1")["pfs"] == "proved";
    let before = office(&world.report_says("ike", "PFS proved", proved).await);
    let deleted = Instant::now();
    world.must(world.cloud.manager.done(["vpn-user", "delete", "anna"])).await;
    let gone = "! ip link show dev ppp0 >/dev/null 2>&1";
    world.must(tunnels::within(&world.lab, ROAD, gone, CUT_OFF).await).await;
    eprintln!("cut off {:.1} s after the command", deleted.elapsed().as_secs_f64());
    let empty = |report: &Value| report["sessions"].as_array().is_some_and(Vec::is_empty);
    world.report_says("l2tp", "no session", empty).await;
    world.in_sync().await;
    assert_eq!(office(&world.report("ike")), before);
}
