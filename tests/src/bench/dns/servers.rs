//! The servers that are measured, with the same names, and the resolver behind them.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

/// The core that servers are pinned to; dnsperf gets the other.
pub(super) const SERVER_CORE: &str = "0";
const DOMAIN: &str = "cs1.cloud.internal";
const READY: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sluice,
    Dnsmasq,
    Unbound,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
        }
    }
}

/// A running server; ends when dropped.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Local name number `number`.
pub(super) fn local_name(number: usize) -> String {
    format!("vm{number}.{DOMAIN}")
}

/// Foreign name number `number`.
pub(super) fn cached_name(number: usize) -> String {
    format!("c{number}.example.net")
}

fn address(number: usize) -> String {
    format!("10.1.{}.{}", 1 + number / 250, 2 + number % 250)
}

impl Server {
    /// The resolver that knows the foreign names.
    pub(super) fn upstream(folder: &Path, names: usize) -> Result<Self> {
        let records =
            lines(names, |n| format!("local-data: \"{} 86400 IN A 192.0.2.7\"", cached_name(n)));
        let port = free_port()?;
        let zone = format!("local-zone: \"example.net.\" static\n{records}");
        let config = write(folder, "upstream.conf", &unbound(port, &zone, ""))?;
        Self::spawn(Kind::Unbound, port, &["unbound", "-d", "-c", &config])
    }

    /// A server of `kind` with `names` local names that forwards to `upstream`.
    pub(super) fn start(kind: Kind, folder: &Path, names: usize, upstream: &Self) -> Result<Self> {
        let port = free_port()?;
        match kind {
            Kind::Sluice => {
                let slice = write(folder, "slice.json", &slice(port, names, upstream.port))?;
                let program = crate::bin("sluice-router");
                let program = program.to_str().context("the program's path is not text")?;
                Self::spawn(kind, port, &[program, "dns", "--slice", &slice])
            }
            Kind::Dnsmasq => {
                let hosts = lines(names, |n| format!("{} {}", address(n), local_name(n)));
                let hosts = format!("--addn-hosts={}", write(folder, "hosts", &hosts)?);
                let (port_option, forward) =
                    (format!("--port={port}"), format!("--server=127.0.0.1#{}", upstream.port));
                let local = format!("--local=/{DOMAIN}/");
                let fixed = [
                    "--no-hosts",
                    "--no-resolv",
                    "--cache-size=10000",
                    "--listen-address=127.0.0.1",
                ];
                let mut words = vec![
                    "dnsmasq",
                    "-k",
                    "-C",
                    "/dev/null",
                    "--bind-interfaces",
                    "--pid-file=",
                    "--user=",
                ];
                words.extend(fixed);
                words.extend([hosts.as_str(), &port_option, &forward, &local]);
                Self::spawn(kind, port, &words)
            }
            Kind::Unbound => {
                let records = lines(names, |n| {
                    format!("local-data: \"{} 30 IN A {}\"", local_name(n), address(n))
                });
                let zone = format!("local-zone: \"{DOMAIN}.\" static\n{records}");
                let forward = format!(
                    "forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{}\n",
                    upstream.port
                );
                let config = write(folder, "unbound.conf", &unbound(port, &zone, &forward))?;
                Self::spawn(kind, port, &["unbound", "-d", "-c", &config])
            }
        }
    }

    fn spawn(kind: Kind, port: u16, words: &[&str]) -> Result<Self> {
        let child = sluice_programs::command("taskset")?
            .args(["-c", SERVER_CORE])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {} under taskset", kind.name()))?;
        let mut server = Self { kind, port, child };
        server.await_ready()?;
        Ok(server)
    }

    /// Waits until it answers anything at all.
    fn await_ready(&mut self) -> Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let end = Instant::now() + READY;
        let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once with {status}", self.kind.name());
            }
            socket.send_to(query, ("127.0.0.1", self.port))?;
            if socket.recv(&mut [0; 512]).is_ok() {
                return Ok(());
            }
        }
        bail!("{} does not answer within {READY:?}", self.kind.name())
    }

    /// Processor time that its threads have used, to the nanosecond: ticks would be too coarse for a round.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut total = 0;
        for task in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let first = text.split_whitespace().next().unwrap_or_default();
            total += first.parse::<u64>().with_context(|| format!("{text:?} is no schedstat"))?;
        }
        Ok(Duration::from_nanos(total))
    }
}

fn slice(port: u16, names: usize, upstream: u16) -> String {
    let host = |n: usize| json!({ "name": format!("vm{n}"), "address": address(n) });
    json!({
        "router": "r-1",
        "networks": [{
            "listen": [{ "address": "127.0.0.1", "clients": "127.0.0.0/8" }],
            "domain": DOMAIN,
            "cidr": "10.1.0.0/16",
            "hosts": (0..names).map(host).collect::<Vec<_>>(),
        }],
        "upstreams": [format!("127.0.0.1:{upstream}")],
        "settings": { "port": port, "client_rate": 0 },
    })
    .to_string()
}

fn unbound(port: u16, zone: &str, forward: &str) -> String {
    format!(
        "server:\n interface: 127.0.0.1\n port: {port}\n num-threads: 1\n do-daemonize: no\n username: \"\"\n\
         chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"/dev/null\"\n module-config: \"iterator\"\n\
         do-not-query-localhost: no\n so-rcvbuf: 0\n msg-cache-size: 8m\n rrset-cache-size: 16m\n{zone}\n{forward}\
         remote-control:\n control-enable: no\n"
    )
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path: PathBuf = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("no free port")?;
    Ok(socket.local_addr()?.port())
}
