//! A router with tunnels, a guest behind it, and machines outside.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_api::report::ServiceStatus;
use sluice_api::types::{BlobDigest, VlanId};
use sluice_lab::spec::{MachineSpec, NicSpec};
use sluice_lab::{LabBuilder, Wait};
use sluice_tests::cloud::single::Single;
use sluice_tests::cloud::{Shell as _, TRUNK};
use sluice_tests::tunnels::{self, SOON};
use sluice_tests::{faults, image};

/// Emulated machines on a busy host boot within this.
pub(crate) const BOOT: Duration = Duration::from_mins(5);
/// The router's public address.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The guest behind it.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 23);

pub(crate) struct World {
    pub(crate) single: Single,
    config: RouterDocument,
}

/// A blob as secrets are made: random, then the secret.
pub(crate) fn blob(secret: &str) -> Vec<u8> {
    format!("0123456789abcdef\n{secret}").into_bytes()
}

pub(crate) fn digest(secret: &str) -> BlobDigest {
    BlobDigest::of(&blob(secret))
}

/// The template with the other IKE daemon.
pub(crate) fn libreswan() -> MachineSpec {
    let file = |kind: &str| Some(image(&format!("sluice-libreswan.{kind}")));
    MachineSpec {
        disk: file("qcow2"),
        kernel: file("vmlinuz"),
        initrd: file("initrd"),
        ..Single::direct()
    }
}

/// A machine with one NIC on a wire.
pub(crate) fn outside(lab: LabBuilder, name: &str, wire: &str) -> LabBuilder {
    lab.machine(name, MachineSpec::host().nic(NicSpec::on(wire.parse().unwrap())))
}

impl World {
    /// The router, which is `router`, and its guest `vm1` have booted and have their first configuration; `more` adds
    /// machines, whose names are `hosts`, and which have booted too.
    pub(crate) async fn start(
        name: &str,
        router: MachineSpec,
        hosts: &[&str],
        more: impl FnOnce(LabBuilder) -> LabBuilder,
    ) -> Self {
        let guest = |lab: LabBuilder| {
            let vlan = VlanId::try_from(100).unwrap();
            let mac = "02:00:0a:01:01:17".parse().unwrap();
            let nic = NicSpec::on(TRUNK.parse().unwrap()).vlan(vlan).mac(mac);
            more(lab.machine("vm1", MachineSpec::host().nic(nic)))
        };
        let single = Single::start(name, router, guest).await.unwrap();
        single.status(BOOT).await.unwrap();
        let mut world = Self { single, config: faults::example() };
        world.push(json!({}), &[]).await;
        for host in hosts.iter().chain([&"vm1"]) {
            world.single.lab.ready(host, BOOT).await.unwrap();
        }
        let up = format!(
            "ip link set lo up; ip addr add {GUEST}/24 dev eth0; ip link set eth0 up; \
             ip route add default via 10.1.1.1"
        );
        world.done("vm1", &up).await;
        world
    }

    /// The same router with these tunnels, whose secrets are sent first.
    pub(crate) async fn push(&mut self, vpn: Value, secrets: &[&str]) {
        self.send(secrets).await;
        self.config.role.vpn = serde_json::from_value(vpn).unwrap();
        self.again().await;
    }

    /// Why these tunnels are not taken; those that there are stay.
    pub(crate) async fn refused(&mut self, vpn: Value, secrets: &[&str]) -> String {
        self.send(secrets).await;
        let mut config = self.config.clone();
        config.role.vpn = serde_json::from_value(vpn).unwrap();
        let error = self.single.push_and_confirm(&config).await.unwrap_err();
        // the number is used up
        self.config.generation = self.config.generation.next().unwrap();
        format!("{error:#}")
    }

    async fn send(&self, secrets: &[&str]) {
        for secret in secrets {
            let path = format!("/v1/blobs/{}", digest(secret));
            let put = self.single.client.raw(Method::PUT, &path, blob(secret), SOON).await;
            let (status, body) = put.unwrap();
            assert!(status < 300, "{status} {}", String::from_utf8_lossy(&body));
        }
    }

    /// A change of something else.
    pub(crate) async fn change_a_guest(&mut self, hostname: &str) {
        self.config.role.networks[0].guests[1].hostname = hostname.parse().unwrap();
        self.again().await;
    }

    /// So many ports of the public address lead to the guest, and no others.
    pub(crate) async fn forwards(&mut self, count: u16) {
        let forward = |number: u16| {
            let forward = json!({
                "id": format!("pf-{number}"), "public": ROUTER, "protocol": "tcp",
                "ports": (20_000 + number).to_string(), "network": "net-1", "guest": GUEST,
            });
            serde_json::from_value(forward).unwrap()
        };
        let public = json!([{"id": "ip-1", "address": ROUTER, "link": "pub0"}]);
        self.config.role.public_addresses = serde_json::from_value(public).unwrap();
        self.config.role.port_forwards = (1..=count).map(forward).collect();
        self.again().await;
    }

    async fn again(&mut self) {
        let sent = self.single.push_and_confirm(&self.config).await;
        self.must(sent).await;
        self.config.generation = self.config.generation.next().unwrap();
    }

    /// What a service of the router says of itself.
    pub(crate) async fn service(&self, name: &str) -> ServiceStatus {
        let status = self.single.status(SOON).await.unwrap();
        let found = status.services.into_iter().find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("no service {name}"))
    }

    /// What the router says of a site-to-site connection.
    pub(crate) async fn connection(&self, id: &str) -> Value {
        let report = self.service("ike").await.report.unwrap_or_default();
        tunnels::connection(&report, id).clone()
    }

    /// Waits until that is as wanted.
    pub(crate) async fn connection_is(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) {
        let look = || async { Some(self.connection(id).await).filter(&wanted) };
        if let Err(late) = Wait::until_async(SOON, what, look).await {
            let is = self.connection(id).await;
            panic!("{late}: {is:#}\n{}", self.logs().await);
        }
    }

    /// What was done, or the end of the test with everything that is known.
    pub(crate) async fn must<T>(&self, done: anyhow::Result<T>) -> T {
        match done {
            Ok(done) => done,
            Err(error) => panic!("{error:#}\n{}", self.logs().await),
        }
    }

    pub(crate) async fn done(&self, host: &str, line: &str) -> String {
        self.must(self.single.lab.done(host, line).await).await
    }

    /// Runs a line until it succeeds.
    pub(crate) async fn soon(&self, host: &str, line: &str) {
        self.must(tunnels::soon(&self.single.lab, host, line).await).await;
    }

    pub(crate) async fn fails(&self, host: &str, line: &str) {
        let output = self.single.lab.sh(host, line).await.unwrap();
        assert!(!output.ok(), "{host}: `{line}` works: {}", output.stdout);
    }

    /// Everything that a failing test must print.
    pub(crate) async fn logs(&self) -> String {
        let status = self.single.client.status().await;
        let logs = self.single.client.logs(0, 400).await;
        let mut said = format!("{status:#?}\n{logs:#?}\n");
        for host in ["peer", "c1", "c2", "c3"] {
            let line = format!("{}; {}", tunnels::STATE, tunnels::libreswan::STATE);
            if let Ok(output) = self.single.lab.sh(host, &line).await {
                said.push_str(&format!("--- {host}\n{}{}\n", output.stdout, output.stderr));
            }
        }
        said
    }

    pub(crate) async fn down(self) {
        self.single.lab.down().await.unwrap();
    }
}
