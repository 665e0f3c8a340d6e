//! What the console service tells of itself: who is on which console, what went, who left and why.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;
use sluice_agent::service::protocol::MAX_LINE;
use sluice_api::types::ObjectId;

use crate::grants::{Closed, Registry, SessionId, Stats};

/// Sessions listed one by one; with more than these the rest is a number.
const LISTED: usize = 512;
/// Longest report as JSON, in bytes: the agent reads it in one line with what else the service says.
const LONGEST: usize = MAX_LINE - 16 * 1024;

/// The state of the service.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Sessions that run, the oldest first; those that wait for the VM's screen are not among them.
    pub sessions: Vec<Running>,
    /// Further sessions.
    pub more: usize,
    /// Sessions that ended last.
    pub closed: Vec<Closed>,
    /// How much of this proxy is in use.
    pub load: Load,
}

/// What a choice between proxies goes by.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load {
    /// Sessions that run, and those that wait for a screen.
    pub sessions: usize,
    /// Sessions since the start.
    pub begun: u64,
    /// Sessions that may run.
    pub most: u32,
    /// Grants in force.
    pub grants: usize,
    /// Bytes of screen since the start.
    pub screen_bytes: u64,
    /// Takes no new sessions.
    pub draining: bool,
}

/// A session that runs.
#[derive(Debug, Serialize)]
pub struct Running {
    /// Its number.
    pub id: SessionId,
    /// Id of its grant.
    pub grant: ObjectId,
    /// Id of the VM.
    pub vm: ObjectId,
    /// For whom the grant is.
    pub user: Option<String>,
    /// The browser's address.
    pub from: IpAddr,
    /// Its begin, seconds since 1970.
    pub since: u64,
    /// It may not type.
    pub view_only: bool,
    /// How the screen was authenticated.
    pub security: Option<String>,
    /// Bytes of screen.
    pub to_browser: u64,
    /// Bytes of input.
    pub from_browser: u64,
    /// Messages left out because the grant does not allow them.
    pub left_out: u64,
    /// Last round trip to the browser in milliseconds, 0 before the first.
    pub round_trip_ms: u32,
    /// Seconds since a person typed or clicked.
    pub idle_seconds: u64,
}

impl Report {
    /// The state of `registry` now.
    pub(crate) fn of(registry: &Registry) -> Self {
        let (running, settings) = (registry.running(), registry.settings());
        let closed = registry.closed();
        let shown: Vec<_> = running.iter().filter(|it| it.security.get().is_some()).collect();
        Self {
            more: shown.len().saturating_sub(LISTED),
            load: Load {
                sessions: running.len(),
                begun: registry.begun(),
                most: settings.sessions,
                grants: registry.grants(),
                screen_bytes: registry.screen_bytes(),
                draining: settings.draining,
            },
            sessions: shown.iter().take(LISTED).map(|stats| running_now(stats)).collect(),
            closed,
        }
        .fitted(LONGEST)
    }

    /// Halves the longer list, the youngest sessions or the oldest ends, until all is at most `longest` bytes.
    fn fitted(mut self, longest: usize) -> Self {
        while serde_json::to_vec(&self).is_ok_and(|json| json.len() > longest) {
            let (sessions, closed) = (self.sessions.len(), self.closed.len());
            if sessions.max(closed) == 0 {
                break;
            }
            if sessions >= closed {
                self.sessions.truncate(sessions / 2);
                self.more += sessions - sessions / 2;
            } else {
                self.closed.drain(..closed - closed / 2);
            }
        }
        self
    }

    /// Its numbers.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        BTreeMap::from([
            ("sessions".to_owned(), number(self.load.sessions)),
            ("sessions_begun".to_owned(), self.load.begun),
            ("grants".to_owned(), number(self.load.grants)),
            ("screen_bytes".to_owned(), self.load.screen_bytes),
        ])
    }
}

fn running_now(stats: &Stats) -> Running {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Running {
        id: stats.id,
        grant: stats.grant.clone(),
        vm: stats.vm.clone(),
        user: stats.user.clone(),
        from: stats.from,
        since: stats.since,
        view_only: stats.view_only.load(Ordering::Relaxed),
        security: stats.security.get().cloned(),
        to_browser: read(&stats.to_browser),
        from_browser: read(&stats.from_browser),
        left_out: read(&stats.left_out),
        round_trip_ms: stats.round_trip.load(Ordering::Relaxed),
        idle_seconds: stats.idle().as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::grants::{Asker, BrowserId, unix_now};
    use crate::values::TokenHash;

    /// A registry with so many sessions that run, after as many as are remembered have ended.
    fn busy(user: &str, running: usize) -> (Registry, Vec<crate::grants::Seat>) {
        let (id, vm) = ("gr-12345", "0d5b1c9e-3f7a-4c52-9d3e-6a1f0c2b4e88");
        let slice = json!({ "listen": [], "hosts": ["localhost"], "settings": { "sessions": 10_000 }, "grants": [{
            "id": id, "token": TokenHash::of(id).to_string(), "vm": { "id": vm, "name": "web" }, "user": user,
            "backend": { "address": "192.0.2.1", "port": 5900, "unencrypted": "anything" },
            "expires": unix_now() + 600, "source": "any", "limits": { "sessions": 10_000 },
        }] });
        let registry = Registry::default();
        registry.apply(&serde_json::from_value(slice).unwrap());
        let sit = || {
            let from = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
            let asker = Asker { from, browser: Some(BrowserId::new()), now: 0 };
            let seat = registry.sit(&id.parse().unwrap(), asker).unwrap();
            seat.stats.security.set("TLSv1_3 VeNCrypt X509Plain".to_owned()).unwrap();
            seat
        };
        for _ in 0..300 {
            drop(sit());
        }
        let seats = (0..running).map(|_| sit()).collect();
        (registry, seats)
    }

    #[test]
    fn all_sessions_of_a_full_proxy_are_told_one_by_one() {
        let (registry, _seats) = busy("alice", 500);
        let report = Report::of(&registry);
        assert_eq!((report.sessions.len(), report.more), (500, 0));
        assert!(report.closed.len() > 128, "{}", report.closed.len());
        assert!(serde_json::to_vec(&report).unwrap().len() <= LONGEST);
    }

    #[test]
    fn a_report_is_never_too_long_for_the_agent() {
        let (registry, _seats) = busy(&"\u{10348}".repeat(255), 1000);
        let report = Report::of(&registry);
        assert!(serde_json::to_vec(&report).unwrap().len() < MAX_LINE);
        assert_eq!(report.sessions.len() + report.more, 1000);
        assert!(report.sessions.len() >= 64 && report.closed.len() >= 64);
        assert_eq!(report.closed.last().map(|it| it.id), Some(300), "the latest ends are kept");
    }
}
