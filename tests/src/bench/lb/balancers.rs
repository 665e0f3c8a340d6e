//! The two balancers with the same rules.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sluice_api::types::{BlobDigest, SecretBytes};

use super::origin::Origin;

/// The core that balancers are pinned to; the load gets the other.
const CORE: &str = "0";
const READY: Duration = Duration::from_secs(20);

/// Connections that a rule takes, if the machine allows it.
const CONNECTIONS: u64 = 100_000;
/// Descriptors of a process that are no connections'.
const OTHER_FILES: u64 = 500;

/// As many connections as a process can have, at most `wanted`: two descriptors for each, and HAProxy reserves half a one
/// more for pipes.
pub(super) fn connections(wanted: u64) -> Result<u64> {
    let files = sluice_sys::process::raise_open_files_further();
    let files = files.context("cannot have more open files")?;
    Ok(wanted.min(files.saturating_sub(OTHER_FILES) / 5 * 2))
}

/// Which balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sluice,
    Haproxy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::Haproxy => "haproxy",
        }
    }
}

/// A running balancer; ended when dropped.
pub(super) struct Balancer {
    pub(super) kind: Kind,
    pub(super) places: Places,
    child: Child,
}

/// Where its rules listen.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// TCP, to the server that answers.
    pub(super) tcp: SocketAddr,
    /// TCP, to the server that sends.
    pub(super) bulk: SocketAddr,
    /// HTTP.
    pub(super) http: SocketAddr,
    /// TLS, then TCP to the server that answers.
    pub(super) tls: SocketAddr,
    /// TLS, then TCP to the server that sends.
    pub(super) tls_bulk: SocketAddr,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Balancer {
    /// A balancer of `kind`, its files in `folder`.
    pub(super) fn start(kind: Kind, folder: &Path, origin: &Origin) -> Result<Self> {
        let places =
            Places { tcp: free()?, bulk: free()?, http: free()?, tls: free()?, tls_bulk: free()? };
        let pem = certificate(folder)?;
        let words = match kind {
            Kind::Sluice => sluice(folder, &places, origin, &pem)?,
            Kind::Haproxy => haproxy(folder, &places, origin, &pem)?,
        };
        let child = sluice_programs::command("taskset")?
            .args(["-c", CORE])
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {} under taskset", kind.name()))?;
        let mut balancer = Self { kind, places, child };
        balancer.await_ready()?;
        Ok(balancer)
    }

    fn await_ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once with {status}", self.kind.name());
            }
            if TcpStream::connect(self.places.tls_bulk).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not serve within {READY:?}", self.kind.name())
    }

    /// Processor time that its threads have used.
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

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
            .with_context(|| format!("{path} says no VmRSS"))?;
        Ok(kib * 1024.0)
    }
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// One certificate for both, with its key.
fn certificate(folder: &Path) -> Result<PathBuf> {
    let (pem, key) = (folder.join("bench.pem"), folder.join("bench.key"));
    if pem.exists() {
        return Ok(pem);
    }
    let status = sluice_programs::command("openssl")?
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=bench"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&pem)
        .stderr(Stdio::null())
        .status()
        .context("cannot run openssl")?;
    if !status.success() {
        bail!("openssl made no certificate: {status}");
    }
    let both = fs::read_to_string(&pem)? + &fs::read_to_string(&key)?;
    fs::write(&pem, both)?;
    Ok(pem)
}

fn sluice(folder: &Path, places: &Places, origin: &Origin, pem: &Path) -> Result<Vec<String>> {
    let pem = fs::read(pem)?;
    let most = connections(CONNECTIONS)?;
    let digest = BlobDigest::of(&pem);
    let rule = |id: &str, at: SocketAddr, mode: &str, to: SocketAddr, tls: bool| {
        let mut rule = json!({
            "id": id, "address": at.ip(), "port": at.port(), "mode": mode,
            "forwarded_headers": false, "max_connections": most,
            "timeouts": { "idle_seconds": 600, "keep_alive_seconds": 600, "request_seconds": 300 },
            "members": [{ "id": "m1", "address": to.ip(), "port": to.port() }],
        });
        if tls {
            let tls = json!({ "certificates": [digest] });
            rule.as_object_mut().expect("a rule").insert("tls".to_owned(), tls);
        }
        rule
    };
    let slice = json!({
        "balancers": [
            rule("tcp", places.tcp, "tcp", origin.web, false),
            rule("bulk", places.bulk, "tcp", origin.source, false),
            rule("http", places.http, "http", origin.web, false),
            rule("tls", places.tls, "tcp", origin.web, true),
            rule("tls-bulk", places.tls_bulk, "tcp", origin.source, true),
        ],
        "certificates": { digest.to_string(): SecretBytes::new(pem) },
    });
    let file = folder.join("slice.json");
    fs::write(&file, slice.to_string())?;
    let program = crate::bin("sluice-router");
    let words = [&program.display().to_string(), "lb", "--workers", "1", "--slice"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    words.push(file.display().to_string());
    Ok(words)
}

fn haproxy(folder: &Path, places: &Places, origin: &Origin, pem: &Path) -> Result<Vec<String>> {
    let section = |name: &str, bind: String, mode: &str, to: SocketAddr| {
        format!("listen {name}\n bind {bind}\n mode {mode}\n server m1 {to} check\n")
    };
    let most = connections(CONNECTIONS)?;
    let secure = |at: SocketAddr| format!("{at} ssl crt {}", pem.display());
    let text = [
        format!("global\n nbthread 1\n maxconn {most}\n tune.ssl.lifetime 0\n"),
        "defaults\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n".to_owned(),
        " option splice-auto\n".to_owned(),
        section("tcp", places.tcp.to_string(), "tcp", origin.web),
        section("bulk", places.bulk.to_string(), "tcp", origin.source),
        section("http", places.http.to_string(), "http", origin.web),
        section("tls", secure(places.tls), "tcp", origin.web),
        section("tls-bulk", secure(places.tls_bulk), "tcp", origin.source),
    ];
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text.concat())?;
    let words = ["haproxy", "-db", "-q", "-f"].map(str::to_owned);
    Ok(words.into_iter().chain([file.display().to_string()]).collect())
}
