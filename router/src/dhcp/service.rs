//! The DHCP process: one core, one task per link, slices coming in while it serves.
//!
//! Guarantees: a new slice is one index build and one swap; sockets of links that stay are not touched, so no message is
//! lost to a change. One thread is enough: a message costs microseconds, and one thread needs no locking discipline.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use sluice_api::types::LinkName;
use sluice_sys::packet::Sent;
use sluice_sys::udp_batch::ReceiveBatch;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::link;
use super::log::EventLog;
use super::server::{Arrival, Reply, Server};
use super::slice::DhcpSlice;

/// The running service. Dropping it closes every socket.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    links: BTreeMap<LinkName, AbortHandle>,
    /// Slices since the start.
    changes: u64,
}

/// What the service tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Links by name: `None` is open, otherwise why it is not.
    pub links: BTreeMap<LinkName, Option<String>>,
    /// Leases taken and not run out.
    pub active_leases: usize,
    /// Well-formed messages by type.
    pub received: BTreeMap<&'static str, u64>,
    /// Replies made, by type.
    pub sent: BTreeMap<&'static str, u64>,
    /// Messages not answered, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Options left out for want of room.
    pub options_omitted: u64,
    /// Replies that the kernel refused to send.
    pub send_failures: u64,
}

/// What the links' tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    log: EventLog,
    links: BTreeMap<LinkName, Option<String>>,
    send_failures: u64,
}

impl Service {
    /// Starts serving `slice`. Must be called inside a tokio runtime.
    pub fn start(slice: &DhcpSlice) -> Self {
        let inner = Inner {
            server: Server::new(slice),
            log: EventLog::default(),
            links: BTreeMap::new(),
            send_failures: 0,
        };
        let shared = Shared { start: Instant::now(), inner: Mutex::new(inner) };
        let mut this = Self { shared: Arc::new(shared), links: BTreeMap::new(), changes: 0 };
        this.follow(slice);
        this
    }

    /// Puts `slice` in force; when this returns, every answer is made from it.
    pub fn replace(&mut self, slice: &DhcpSlice) {
        let before = Instant::now();
        self.shared.lock().server.replace(slice);
        self.follow(slice);
        let guests: usize = slice.networks.iter().map(|network| network.guests.len()).sum();
        let micros = before.elapsed().as_micros();
        self.changes += 1;
        info!(changes = self.changes, guests, micros, "dhcp configuration in force");
    }

    /// A consistent picture of what was done so far.
    pub fn status(&self) -> Status {
        let now = self.shared.start.elapsed();
        let inner = self.shared.lock();
        let counters = inner.server.counters().clone();
        Status {
            links: inner.links.clone(),
            active_leases: inner.server.active_leases(now),
            received: counters.received,
            sent: counters.sent,
            dropped: counters.dropped,
            options_omitted: counters.options_omitted,
            send_failures: inner.send_failures,
        }
    }

    /// Starts tasks of links that are new, ends those of links that are gone.
    fn follow(&mut self, slice: &DhcpSlice) {
        let wanted = |link: &LinkName| slice.networks.iter().any(|network| network.link == *link);
        for (link, task) in self.links.extract_if(.., |link, _| !wanted(link)) {
            task.abort();
            self.shared.lock().links.remove(&link);
        }
        for network in &slice.networks {
            let start = || {
                let task = link::run(Arc::clone(&self.shared), network.link.clone());
                tokio::spawn(task).abort_handle()
            };
            self.links.entry(network.link.clone()).or_insert_with(start);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.links.values().for_each(AbortHandle::abort);
    }
}

impl Shared {
    /// A panic while it was held cannot have left a message half counted in a way that matters.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers every message of `batch` into `replies`.
    pub(crate) fn handle(&self, link: &LinkName, batch: &ReceiveBatch, replies: &mut Vec<Reply>) {
        let now = self.start.elapsed();
        let mut inner = self.lock();
        let Inner { server, log, .. } = &mut *inner;
        for (bytes, source) in batch.iter() {
            // the socket is an IPv4 one
            let IpAddr::V4(source) = source.ip() else { continue };
            let outcome = server.handle(now, Arrival { link, source, bytes });
            log.write(now, link, outcome.event);
            replies.extend(outcome.reply);
        }
    }

    /// Notes what became of the replies.
    pub(crate) fn sent(&self, link: &LinkName, report: &Sent) {
        let Some(error) = &report.error else { return };
        let mut inner = self.lock();
        // the first, and then each time the count has doubled: bounded however long it lasts
        if inner.send_failures.is_power_of_two() || inner.send_failures == 0 {
            warn!(%link, failed = report.failed, %error, "dhcp reply not sent; the client will ask again");
        }
        inner.send_failures += u64::try_from(report.failed).unwrap_or(u64::MAX);
    }

    /// Notes whether `link` is open (`None`) or why not; `true` when that is news.
    pub(crate) fn link_state(&self, link: &LinkName, trouble: Option<String>) -> bool {
        let mut inner = self.lock();
        let news = inner.links.get(link) != Some(&trouble);
        inner.links.insert(link.clone(), trouble);
        news
    }
}
