//! The proxy as a process of its own, and the slice that it runs by.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sluice_lab::Wait;
use tempfile::TempDir;

pub(crate) use sluice_tests::console::{BOUND, token};

/// A grant for the VNC server at `port` of this machine.
pub(crate) fn grant(id: &str, port: u16) -> Value {
    let hash = sluice_proxy::values::TokenHash::of(&token(id)).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "id": id, "token": hash, "vm": { "id": format!("vm-{id}"), "name": "web server" },
        "backend": { "address": "127.0.0.1", "port": port, "unencrypted": "anything" },
        "expires": now + 600, "source": "any",
    })
}

/// A running proxy; ended when dropped.
pub(crate) struct Proxy {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) slice: Value,
}

impl Proxy {
    /// With these grants and further fields of the slice.
    pub(crate) fn start(grants: &[Value], more: Value) -> Self {
        let address = free();
        let mut slice = json!({
            "listen": [address], "hosts": ["localhost", "127.0.0.1"], "grants": grants,
            "settings": { "ping_seconds": 2 },
        });
        for (field, value) in more.as_object().unwrap() {
            slice[field] = value.clone();
        }
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let file = folder.path().join("slice.json");
        fs::write(&file, slice.to_string()).unwrap();
        let child = sluice_programs::command("setpriv")
            .unwrap()
            .args(["--pdeathsig", "KILL", "--"])
            .arg(sluice_tests::bin("sluice-proxy"))
            .arg("serve")
            .arg("--slice")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let proxy = Self { child, folder, address, slice };
        proxy.logged("console started", 1);
        proxy
    }

    /// Brings the slice as it is now into force.
    pub(crate) fn reload(&mut self) {
        let before = self.log().matches("configuration in force").count();
        fs::write(self.path("slice.json"), self.slice.to_string()).unwrap();
        self.signal(Signal::SIGHUP);
        self.logged("configuration in force", before + 1);
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it where it is: its connections stay, and nothing answers on them.
    pub(crate) fn hang(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// How many files it has open, and threads.
    pub(crate) fn holds(&self) -> (usize, usize) {
        let count =
            |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.child.id())).unwrap().count();
        (count("fd"), count("task"))
    }

    /// Its report.
    pub(crate) fn report(&self) -> Value {
        let before = self.reports().len();
        self.signal(Signal::SIGUSR1);
        let report = Wait::until_some(BOUND, "a report", || self.reports().get(before).cloned());
        report.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    fn reports(&self) -> Vec<Value> {
        let log = self.log();
        // a line is whole when its end is there
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// All that it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn logged(&self, text: &str, times: usize) {
        let there = || self.log().matches(text).count() >= times;
        Wait::until(BOUND, text, there).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy said:\n{}", self.log());
        }
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// An address of the loopback that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
