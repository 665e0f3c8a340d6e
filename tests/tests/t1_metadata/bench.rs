//! A router with one guest link and two guests on it, and what they ask.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_api::types::{BlobDigest, LinkName};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};

pub(crate) const BOUND: Duration = Duration::from_secs(20);
pub(crate) const VM1: &str = "02:00:0a:01:01:17";
pub(crate) const VM2: &str = "02:00:0a:01:01:18";
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8QJQ0mT2m2c0w5N1nqvGm5c1gJ0i4k6XqVn9rW0h2a";
pub(crate) const USER_DATA: &str = "#cloud-config\nruncmd: [ date ]\n";

pub(crate) fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

/// base64, as secrets are written in slices.
pub(crate) fn base64(text: &str) -> String {
    let secret = sluice_api::types::SecretBytes::new(text);
    serde_json::from_value(serde_json::to_value(secret).unwrap()).unwrap()
}

/// vm1 with everything, vm2 with nothing but its name.
pub(crate) fn metadata() -> Value {
    let digest = BlobDigest::of(USER_DATA.as_bytes()).to_string();
    json!({
        "networks": [{
            "link": "guest0",
            "cidr": "10.1.1.0/24",
            "listen": ["10.1.1.1", "169.254.169.254"],
            "domain": "cs1.cloud.internal",
            "guests": [
                {
                    "mac": VM1,
                    "addresses": ["10.1.1.23", "10.1.1.201"],
                    "hostname": "vm1",
                    "instance_id": "i-2-7-VM",
                    "vm_id": "6b4f2c6e",
                    "availability_zone": "zone 1",
                    "service_offering": "Small Instance",
                    "cloud_identifier": "CloudStack-{a}",
                    "public_address": "198.51.100.10",
                    "public_keys": [format!("{KEY} ann"), KEY],
                    "extra": { "cloud-domain": "ROOT" },
                    "user_data": digest,
                },
                {
                    "mac": VM2,
                    "addresses": ["10.1.1.24"],
                    "hostname": "vm2",
                    "instance_id": "vm2-0",
                    "availability_zone": "default",
                    "needs_token": true,
                },
            ],
        }],
        "user_data": { digest: base64(USER_DATA) },
    })
}

/// A password for vm1.
pub(crate) fn passwords(secret: &str) -> Value {
    json!({
        "networks": [{
            "link": "guest0",
            "listen": ["10.1.1.1"],
            "guests": [
                {
                    "id": "vm1-0", "mac": VM1, "addresses": ["10.1.1.23"],
                    "password": {
                        "digest": BlobDigest::of(secret.as_bytes()).to_string(),
                        "secret": secret,
                        "valid_seconds": 3600,
                    },
                },
                { "id": "vm2-0", "mac": VM2, "addresses": ["10.1.1.24"] },
            ],
        }],
    })
}

/// The bench. The order of fields is that of dropping: programs before their namespaces.
pub(crate) struct Bench {
    servers: Vec<(&'static str, Process)>,
    pub(crate) router: Namespace,
    pub(crate) first: Namespace,
    pub(crate) second: Namespace,
    _topology: Topology,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Namespaces and wires: `guest0` is a bridge, so that the guests share a segment.
    pub(crate) fn wired(test: &str) -> Self {
        let mut topology = Topology::new().unwrap();
        let mut namespace = |role: &str| topology.namespace(&format!("{test}-{role}")).unwrap();
        let (router, first, second) = (namespace("r"), namespace("a"), namespace("b"));
        let ports = [link("port0"), link("port1")];
        for ((guest, mac, address), port) in
            [(&first, VM1, "10.1.1.23/24"), (&second, VM2, "10.1.1.24/24")].into_iter().zip(&ports)
        {
            let inside = VethEnd::new(&router, port.clone());
            let outside = VethEnd::new(guest, link("eth0")).mac(mac.parse().unwrap());
            topology.veth(&inside, &outside).unwrap();
            guest.address(&link("eth0"), address.parse().unwrap()).unwrap();
            guest.route(["default", "via", "10.1.1.1"]).unwrap();
        }
        router.bridge(&link("guest0"), &ports).unwrap();
        for address in ["10.1.1.1/24", "169.254.169.254/32"] {
            router.address(&link("guest0"), address.parse().unwrap()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        Self { servers: Vec::new(), router, first, second, _topology: topology, folder }
    }

    /// The same with the metadata service.
    pub(crate) fn new(test: &str) -> Self {
        let mut bench = Self::wired(test);
        bench.serve("metadata", &metadata());
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, service: &str, slice: &Value) -> PathBuf {
        let path = self.path(&format!("{service}.json"));
        let fresh = self.path("fresh.json");
        std::fs::write(&fresh, slice.to_string()).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    /// Starts `service` with `slice`.
    pub(crate) fn serve(&mut self, service: &'static str, slice: &Value) {
        let file = self.write(service, slice);
        let program = sluice_tests::bin("sluice-router");
        let words = [program.as_os_str(), service.as_ref(), "--slice".as_ref(), file.as_os_str()];
        let mut server = self.router.spawn(words).unwrap();
        server.says(&format!("{service} server started"), BOUND).unwrap();
        self.servers.push((service, server));
    }

    /// Gives `service` another slice and waits until it is in force.
    pub(crate) fn change(&mut self, service: &'static str, slice: &Value) {
        self.write(service, slice);
        let server = self.server(service);
        let in_force = |server: &Process| server.output().matches("in force").count();
        let before = in_force(server);
        server.signal(Signal::SIGHUP).unwrap();
        Wait::until(BOUND, "the new slice in force", || in_force(server) > before).unwrap();
    }

    pub(crate) fn server(&mut self, service: &str) -> &mut Process {
        let found = self.servers.iter_mut().find(|(name, _)| *name == service);
        &mut found.expect("the service was started").1
    }

    /// The counters of `service` at this moment.
    pub(crate) fn counters(&mut self, service: &str) -> Value {
        let server = self.server(service);
        let printed = |server: &Process| -> Vec<Value> {
            let output = server.output();
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let before = printed(server).len();
        server.signal(Signal::SIGUSR1).unwrap();
        Wait::until_some(BOUND, "counters", || printed(server).get(before).cloned()).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, server) in &self.servers {
                eprintln!("== {name}\n{}", server.output());
            }
        }
    }
}

/// What curl got: the status and the body; status 0 when nothing came.
pub(crate) fn curl(guest: &Namespace, words: &[&str]) -> (u32, String) {
    let fixed = ["curl", "-sS", "--max-time", "5", "--noproxy", "*", "-w", "\n%{http_code}"];
    let output = guest.command(fixed.iter().chain(words)).run().unwrap();
    let (body, status) = output.stdout.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}

/// What is at `path` of the gateway.
pub(crate) fn get(guest: &Namespace, path: &str) -> (u32, String) {
    curl(guest, &[&format!("http://10.1.1.1{path}")])
}
