//! What the console service tells of itself: who is on which console, what went, who left and why.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;
use sluice_api::types::ObjectId;

use crate::grants::{Closed, Registry, SessionId, Stats};

/// Sessions listed one by one; with more than these the rest is a number. The agent reads a line of 64 KiB at most.
const LISTED: usize = 128;

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
