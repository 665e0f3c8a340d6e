//! Ours and the rival, each alone on core 0.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use sluice_lab::Wait;
use sluice_proxy::values::TokenHash;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-link-for-the-bench";
const GRANT: &str = "bench";

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sluice,
    Websockify,
}

/// A running proxy; ended when dropped.
pub(super) struct Proxy {
    kind: Kind,
    child: Child,
    pub(super) address: SocketAddr,
    cookie: String,
    _folder: TempDir,
}

impl Proxy {
    /// In front of the VNC server at `server`.
    pub(super) fn start(kind: Kind, server: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = sluice_programs::command("taskset")?;
        command.args(["-c", "0"]);
        match kind {
            Kind::Sluice => {
                let slice = folder.path().join("slice.json");
                fs::write(&slice, slice_of(address, server).to_string())?;
                command.arg(crate::bin("sluice-proxy")).arg("serve").arg("--slice").arg(slice);
            }
            Kind::Websockify => {
                command.args(["websockify", &address.to_string(), &server.to_string()]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {kind:?}"))?;
        let mut proxy = Self { kind, child, address, cookie: String::new(), _folder: folder };
        Wait::until(PATIENCE, "the proxy's socket", || TcpStream::connect(address).is_ok())?;
        if kind == Kind::Sluice {
            proxy.cookie = cookie(address)?;
        }
        Ok(proxy)
    }

    /// Address of the WebSocket.
    pub(super) fn socket(&self) -> String {
        match self.kind {
            Kind::Sluice => format!("ws://{}/screen/{GRANT}", self.address),
            Kind::Websockify => format!("ws://{}/", self.address),
        }
    }

    /// What a viewer's request must say.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let origin = ("origin", format!("http://{}", self.address));
        match self.kind {
            Kind::Sluice => vec![origin, ("cookie", self.cookie.clone())],
            Kind::Websockify => vec![origin, ("sec-websocket-protocol", "binary".to_owned())],
        }
    }

    /// Processor time so far, of all its processes: websockify has one for each session.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let own = self.child.id();
        let mut total = 0;
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            // a process may end between the two looks
            let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
            let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
            let pid = head.split(' ').next().and_then(|pid| pid.parse().ok());
            let parent = rest.split(' ').nth(1).and_then(|pid| pid.parse().ok());
            if pid != Some(own) && parent != Some(own) {
                continue;
            }
            let schedstat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            total += schedstat.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    /// Memory that is its own, in MiB.
    pub(super) fn memory_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn slice_of(address: SocketAddr, server: SocketAddr) -> serde_json::Value {
    json!({
        "listen": [address],
        "hosts": ["127.0.0.1"],
        "grants": [{
            "id": GRANT,
            "token": TokenHash::of(TOKEN).to_string(),
            "vm": { "id": "vm-1", "name": "vm" },
            "backend": { "address": server.ip(), "port": server.port(), "unencrypted": "anything" },
            "expires": 4_102_444_800_u64,
            "source": "any",
            "limits": { "sessions": 1000 },
        }],
        "settings": { "sessions": 1000 },
    })
}

/// Shows the token, as the page does.
fn cookie(address: SocketAddr) -> Result<String> {
    let body = json!({ "token": TOKEN }).to_string();
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /session HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|line| line.split(';').next());
    cookie.map(str::to_owned).with_context(|| format!("no cookie in {answer}"))
}
