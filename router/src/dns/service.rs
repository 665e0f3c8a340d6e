//! `sluice-router service dns`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when every thread answers from it; nothing is restarted for it. Needs
//! CAP_NET_BIND_SERVICE alone.

use std::collections::BTreeMap;
use std::io;

use sluice_agent::service::Service;
use sluice_api::types::Generation;

use super::counters::LATENCY_BOUNDS;
use super::server::{Report, Server};
use super::slice::{DnsSlice, Settings};

/// The running server as the agent's service interface sees it.
struct DnsService {
    server: Server,
}

impl Service for DnsService {
    type Slice = DnsSlice;

    async fn apply(&mut self, generation: Generation, slice: DnsSlice) -> Result<(), String> {
        self.server.apply(&slice, serial(generation)).await
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        named(&self.server.report())
    }
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    let server = Server::start(&Settings::default())?;
    sluice_agent::service::run(move || DnsService { server })
}

/// SOA serials are 32 bits that wrap (RFC 1982), so the low bits of the generation do.
fn serial(generation: Generation) -> u32 {
    u32::try_from(generation.get() & u64::from(u32::MAX)).unwrap_or(0)
}

/// The report as counters: those of [`super::counters::Counts`], latencies by upper bound, and sizes.
fn named(report: &Report) -> BTreeMap<String, u64> {
    let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut named = report.counts.named();
    for (at, count) in report.counts.latency.iter().enumerate() {
        let bound = LATENCY_BOUNDS.get(at).map_or("more".to_owned(), |us| format!("{us}us"));
        named.insert(format!("forward_within_{bound}"), *count);
    }
    named.insert("cache_entries".to_owned(), size(report.cache_entries));
    named.insert("cache_bytes".to_owned(), size(report.cache_bytes));
    named.insert("upstreams_down".to_owned(), size(report.upstreams_down.len()));
    named.insert("addresses_missing".to_owned(), size(report.missing.len()));
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_wrap() {
        let generation = Generation::try_from((1 << 32) + 7).unwrap();
        assert_eq!(serial(generation), 7);
    }

    #[test]
    fn every_counter_has_a_name() {
        let named = named(&Report::default());
        for name in
            ["queries", "hits", "forward_within_500us", "forward_within_more", "cache_bytes"]
        {
            assert_eq!(named.get(name), Some(&0), "{name}");
        }
    }

    #[tokio::test]
    async fn a_slice_over_the_channel_is_in_force_when_acknowledged() {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let server = Server::start(&Settings { workers: 1, ..Settings::default() }).unwrap();
        let serving = sluice_agent::service::serve(theirs, DnsService { server });
        let asking = async {
            use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
            let (reader, mut writer) = ours.into_split();
            let slice = r#"{"router":"r-1","networks":[],"upstreams":[]}"#;
            let line = format!("{{\"generation\":7,\"slice\":{slice}}}\n");
            writer.write_all(line.as_bytes()).await.unwrap();
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("in-force") {
                    return line;
                }
            }
            String::new()
        };
        let line = tokio::select! {
            line = asking => line,
            ended = serving => panic!("the service ended: {ended:?}"),
        };
        assert!(line.contains('7'), "{line}");
    }
}
