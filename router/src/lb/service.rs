//! `sluice-router service lb`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when every address is listened on. Needs CAP_NET_BIND_SERVICE alone.

use std::collections::BTreeMap;
use std::io;

use sluice_agent::service::Service;
use sluice_api::types::Generation;

use super::report::Report;
use super::server::Server;
use super::slice::LbSlice;

/// The running server as the agent's service interface sees it.
struct LbService(Server);

impl Service for LbService {
    type Slice = LbSlice;

    async fn apply(&mut self, _: Generation, slice: LbSlice) -> Result<(), String> {
        self.0.apply(&slice).await
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        named(&self.0.report())
    }

    fn report(&self) -> serde_json::Value {
        serde_json::to_value(self.0.report()).unwrap_or_default()
    }
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    sluice_sys::process::raise_open_files()?;
    let server = Server::start(0)?;
    sluice_agent::service::run(move || LbService(server))
}

/// Sums over all rules.
fn named(report: &Report) -> BTreeMap<String, u64> {
    let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let sum = |of: fn(&super::report::RuleReport) -> u64| report.rules.iter().map(of).sum();
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
