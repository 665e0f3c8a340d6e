//! The three servers, each pinned to the first core.

use std::time::Duration;

use anyhow::{Context, Result};
use sluice_lab::Wait;
use sluice_lab::netns::Process;

use super::field::{Field, SERVER_LINK};
use super::load::Load;

const READY: Duration = Duration::from_secs(30);
/// Time per tick of `/proc/PID/stat`: USER_HZ is 100 on every architecture that Linux still has.
const TICK: Duration = Duration::from_millis(10);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Kea,
    Dnsmasq,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "sluice",
            Self::Kea => "kea",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    fn words(self, field: &Field) -> Vec<String> {
        let path = |name: &str| field.path(name).display().to_string();
        match self {
            Self::Ours => {
                let program = crate::bin("sluice-router").display().to_string();
                vec![program, "dhcp".to_owned(), "--slice".to_owned(), path("slice.json")]
            }
            Self::Kea => vec![
                "env".to_owned(),
                format!("KEA_PIDFILE_DIR={}", path("")),
                format!("KEA_LOCKFILE_DIR={}", path("")),
                "kea-dhcp4".to_owned(),
                "-c".to_owned(),
                path("kea.json"),
            ],
            Self::Dnsmasq => dnsmasq(&path("hosts")),
        }
    }
}

/// dnsmasq at its fastest for this job: no lease file, no ping before an offer, no log of each lease.
fn dnsmasq(hosts: &str) -> Vec<String> {
    let fixed = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--bind-interfaces",
        "--dhcp-range=10.1.16.0,static,255.255.0.0,1h",
        "--dhcp-lease-max=20000",
        "--leasefile-ro",
        "--no-ping",
        "--quiet-dhcp",
        "--log-facility=-",
    ];
    let more = [format!("--interface={SERVER_LINK}"), format!("--dhcp-hostsfile={hosts}")];
    fixed.into_iter().map(str::to_owned).chain(more).collect()
}

/// A running server; dropping it ends it.
pub(super) struct Running(Process);

impl Running {
    /// Starts it and waits until it completes exchanges.
    pub(super) fn start(field: &Field, kind: Kind) -> Result<Self> {
        let pin = ["taskset", "-c", "0"].map(str::to_owned);
        let words = pin.into_iter().chain(kind.words(field));
        let mut server = Self(field.servers.spawn(words)?);
        let probe = Load { rate: 20.0, span: Duration::from_millis(200) };
        let ready = Wait::until(READY, "an exchange", || {
            !server.0.is_running() || probe.run(field).is_ok_and(|flood| flood.exchanges() > 0.0)
        });
        ready.with_context(|| server.0.output())?;
        anyhow::ensure!(server.0.is_running(), "it ended by itself: {}", server.0.output());
        Ok(server)
    }

    /// CPU time that it has used, user and kernel.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.pid()))?;
        // after the name, which may hold blanks: state is field 3, utime 14, stime 15 (proc(5))
        let (_, rest) = stat.rsplit_once(')').context("stat has no name")?;
        let ticks = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u32>)
            .sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }
}
