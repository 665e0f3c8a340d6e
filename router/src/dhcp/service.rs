//! The DHCP process: one core, one task per link, slices coming in while it serves.
//!
//! Guarantees: a new slice is one index build and one swap; sockets of links that stay are not touched, so no message is
//! lost to a change. One thread is enough: a message costs microseconds, and one thread needs no locking discipline.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sluice_api::types::{LinkName, MacAddr};
use sluice_sys::packet::Sent;
use sluice_sys::udp_batch::ReceiveBatch;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::journal::Journal;
use super::lent::Change;
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
    /// Of these, addresses that are lent from pools.
    pub lent: usize,
    /// Addresses that may be lent in all.
    pub lendable: usize,
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
    journal: Journal,
}

/// A loan as a report tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loan {
    /// The link.
    pub link: LinkName,
    /// The client.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
    /// Seconds that are left; none: for ever.
    pub seconds: Option<u64>,
}

/// A message whose answer waits until the link was asked about the address in it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    pub(crate) source: Ipv4Addr,
    pub(crate) address: Ipv4Addr,
    pub(crate) reply: Option<Reply>,
}

impl Service {
    /// Starts serving `slice`; loans are written down in `folder`, if there is one. Must be called inside a tokio runtime.
    pub fn start(slice: &DhcpSlice, folder: Option<&Path>) -> Self {
        let (journal, loans) = Journal::open(folder);
        let mut server = Server::new(slice);
        server.restore(loans);
        let inner = Inner {
            server,
            log: EventLog::default(),
            links: BTreeMap::new(),
            send_failures: 0,
            journal,
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
            lent: inner.server.loans(now).count(),
            lendable: inner.server.capacity(),
            received: counters.received,
            sent: counters.sent,
            dropped: counters.dropped,
            options_omitted: counters.options_omitted,
            send_failures: inner.send_failures,
        }
    }

    /// The first `most` loans, for a report.
    pub fn loans(&self, most: usize) -> Vec<Loan> {
        let now = self.shared.start.elapsed();
        let inner = self.shared.lock();
        let loan = |Change { link, mac, address, until }| {
            let seconds = (until != Duration::MAX).then(|| until.saturating_sub(now).as_secs());
            Loan { link, mac, address, seconds }
        };
        inner.server.loans(now).take(most).map(loan).collect()
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

    /// Answers every message of `batch` into `replies`, but for those whose address the link is to be asked about first.
    pub(crate) fn handle(
        &self,
        link: &LinkName,
        batch: &ReceiveBatch,
        replies: &mut Vec<Reply>,
    ) -> Vec<Pending> {
        let now = self.start.elapsed();
        let mut inner = self.lock();
        let mut pending = Vec::new();
        for (bytes, source) in batch.iter() {
            // the socket is an IPv4 one
            let IpAddr::V4(source) = source.ip() else { continue };
            match inner.one(now, Arrival { link, source, bytes }) {
                (reply, None) => replies.extend(reply),
                (reply, Some(address)) => {
                    pending.push(Pending { bytes: bytes.to_vec(), source, address, reply });
                }
            }
        }
        inner.write_down(now);
        pending
    }

    /// Somebody answered for the address of `pending`: the message is answered otherwise.
    pub(crate) fn occupied(&self, link: &LinkName, pending: &mut Pending, user: MacAddr) -> bool {
        let now = self.start.elapsed();
        let mut inner = self.lock();
        warn!(%link, address = %pending.address, mac = %user, "dhcp address is in use by another host");
        inner.server.occupied(now, link, pending.address, user);
        let arrival = Arrival { link, source: pending.source, bytes: &pending.bytes };
        let (reply, probe) = inner.one(now, arrival);
        inner.write_down(now);
        pending.reply = reply;
        pending.address = probe.unwrap_or(pending.address);
        probe.is_some()
    }

    /// Nobody answered for the address of `pending`: whether its reply may be sent.
    pub(crate) fn proved(&self, link: &LinkName, pending: &Pending) -> bool {
        let now = self.start.elapsed();
        let Some(client) = pending.reply.as_ref().and_then(Reply::client) else { return false };
        let mut inner = self.lock();
        let proved = inner.server.prove(link, client, pending.address);
        inner.write_down(now);
        proved
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

impl Inner {
    /// The reply to one message, and the address to ask about first.
    fn one(&mut self, now: Duration, arrival: Arrival<'_>) -> (Option<Reply>, Option<Ipv4Addr>) {
        let outcome = self.server.handle(now, arrival);
        self.log.write(now, arrival.link, outcome.event);
        (outcome.reply, outcome.probe)
    }

    fn write_down(&mut self, now: Duration) {
        let changes = self.server.changes();
        if !changes.is_empty() {
            let server = &self.server;
            self.journal.append(now, &changes, || server.loans(now).collect());
        }
    }
}
