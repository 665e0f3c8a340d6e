//! `sluice-router service lb`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when every address is listened on; a newer process takes over from one that
//! runs ([`super::handover`]), and one that comes after a crash goes on with the sockets that the agent kept. Needs CAP_NET_BIND_SERVICE alone.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sluice_agent::service::Service;
use sluice_api::report::balancing::{Report, RuleReport, SERVICE};
use sluice_api::types::Generation;
use tokio::sync::{Mutex, Notify};

use super::handover::{Door, Open};
use super::server::Server;
use super::slice::LbSlice;

/// The running server as the agent's service interface sees it.
struct LbService {
    server: Arc<Mutex<Server>>,
    /// For the next process, until it is open.
    door: Option<Door>,
    /// Told when another process has taken over and the last connection has ended.
    ended: Arc<Notify>,
}

impl LbService {
    /// What is in force; nothing while another process takes over.
    fn look(&self) -> Report {
        self.server.try_lock().map(|server| server.report()).unwrap_or_default()
    }
}

impl Service for LbService {
    type Slice = LbSlice;

    async fn apply(&mut self, _: Generation, slice: LbSlice) -> Result<(), String> {
        self.server.lock().await.apply(&slice).await?;
        if let Some(open) = self.door.take().and_then(Door::open) {
            tokio::spawn(hand_over(open, Arc::clone(&self.server), Arc::clone(&self.ended)));
        }
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        named(&self.look())
    }

    fn report(&self) -> serde_json::Value {
        serde_json::to_value(self.look()).unwrap_or_default()
    }

    fn listening(&self) -> Vec<OwnedFd> {
        // one that hands over has nothing that would be its own after a crash
        self.server.try_lock().map(|server| server.copies()).unwrap_or_default()
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        let ended = Arc::clone(&self.ended);
        Box::pin(async move { ended.notified().await })
    }
}

async fn hand_over(open: Open, server: Arc<Mutex<Server>>, ended: Arc<Notify>) {
    if open.hand_over(server).await {
        ended.notify_one();
    }
}

/// Serves until the agent closes the control channel on standard input, or another process has taken over.
///
/// Errors: standard input is no socket, or there is no room for threads.
pub fn run() -> io::Result<()> {
    // first of all: they are known by their numbers
    let kept = sluice_agent::service::kept();
    sluice_sys::process::raise_open_files()?;
    let mut server = Server::start(0)?;
    let door = Door::new(SERVICE);
    server.inherit(door.knock());
    server.find(kept);
    let server = Arc::new(Mutex::new(server));
    sluice_agent::service::run(move || LbService {
        server,
        door: Some(door),
        ended: Arc::default(),
    })
}

/// Sums over all rules.
fn named(report: &Report) -> BTreeMap<String, u64> {
    let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let sum = |of: fn(&RuleReport) -> u64| report.rules.iter().map(of).sum();
    let named: [(&str, u64); 12] = [
        ("rules", size(report.rules.len())),
        ("connections", sum(|rule| u64::from(rule.counts.current))),
        ("sessions", sum(|rule| rule.counts.sessions)),
        ("requests", sum(|rule| rule.counts.requests)),
        ("bytes_in", sum(|rule| rule.counts.bytes_in)),
        ("bytes_out", sum(|rule| rule.counts.bytes_out)),
        ("denied", sum(|rule| rule.counts.denied)),
        ("request_errors", sum(|rule| rule.counts.request_errors)),
        ("connect_errors", sum(|rule| rule.counts.connect_errors)),
        ("response_errors", sum(|rule| rule.counts.response_errors)),
        ("no_member", sum(|rule| rule.counts.no_member)),
        ("timeouts", sum(|rule| rule.counts.timeouts)),
    ];
    named.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
