//! Questions for upstreams: one question asked by many is forwarded once.
//!
//! Guarantees: bounded numbers of questions in flight and of clients waiting; whoever waits gets an answer or "could not
//! find out", whatever becomes of the client that asked first; only answers of the present upstreams enter the cache.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::cache::{Cache, Key};
use super::counters::{Counters, Tally};
use super::query::Query;
use super::reply::Transport;
use super::slice::Settings;
use super::stored::Stored;
use super::upstream::Upstreams;
use super::wire::ede;

type Waiters = Vec<oneshot::Sender<Arc<Stored>>>;

/// Forwards and remembers.
pub struct Forwarder {
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    upstreams: ArcSwap<Upstreams>,
    in_flight: Mutex<InFlight>,
    start: Instant,
}

#[derive(Default)]
struct InFlight {
    questions: HashMap<Key, Waiters>,
    waiting: usize,
    max_questions: usize,
    max_waiting: usize,
}

impl Forwarder {
    /// A forwarder without upstreams; times count from `start`.
    pub(super) fn new(cache: Arc<Cache>, counters: Arc<Counters>, start: Instant) -> Self {
        let none = Upstreams::new(&[], &Settings::default(), counters.clone(), None);
        let upstreams = ArcSwap::from_pointee(none);
        Self { cache, counters, upstreams, in_flight: Mutex::default(), start }
    }

    /// Asks `addresses` from now on. When they are others than before, what the ones before said is forgotten.
    pub(super) fn configure(&self, addresses: &[SocketAddr], settings: &Settings) {
        let previous = self.upstreams.load_full();
        let next = Upstreams::new(addresses, settings, self.counters.clone(), Some(&previous));
        self.upstreams.store(Arc::new(next));
        if !previous.same_set(addresses) {
            self.cache.clear();
        }
        let mut in_flight = self.lock();
        in_flight.max_questions = settings.max_in_flight;
        in_flight.max_waiting = settings.max_waiting;
    }

    /// Upstreams that do not answer.
    pub fn down(&self) -> Vec<SocketAddr> {
        self.upstreams.load().down()
    }

    /// Finds out about `key` and answers `message`, the query that asked for it; the length written to `out`.
    pub(super) async fn complete(
        self: &Arc<Self>,
        key: Key,
        message: &[u8],
        transport: Transport,
        out: &mut [u8],
    ) -> usize {
        let stored = self.resolve(key).await;
        Query::read(message).map_or(0, |query| stored.answer(&query, transport, 0, out))
    }

    async fn resolve(self: &Arc<Self>, key: Key) -> Arc<Stored> {
        let Some(answer) = self.join(key) else { return Arc::new(Stored::overload()) };
        answer
            .await
            .unwrap_or_else(|_| Arc::new(Stored::failure(ede::OTHER, "the question was dropped")))
    }

    /// Waits with the others, or starts the question; `None` when there are too many.
    fn join(self: &Arc<Self>, key: Key) -> Option<oneshot::Receiver<Arc<Stored>>> {
        let (sender, receiver) = oneshot::channel();
        let mut in_flight = self.lock();
        if in_flight.waiting >= in_flight.max_waiting {
            return None;
        }
        if let Some(waiters) = in_flight.questions.get_mut(&key) {
            waiters.push(sender);
        } else if in_flight.questions.len() >= in_flight.max_questions {
            return None;
        } else {
            in_flight.questions.insert(key.clone(), vec![sender]);
            let question = InFlightGuard { forwarder: self.clone(), key };
            tokio::spawn(async move { question.run().await });
        }
        in_flight.waiting += 1;
        Some(receiver)
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn leave(&self, key: &Key) -> Waiters {
        let mut in_flight = self.lock();
        let waiters = in_flight.questions.remove(key).unwrap_or_default();
        in_flight.waiting = in_flight.waiting.saturating_sub(waiters.len());
        waiters
    }
}

/// Takes the question off the list even when its task ends early; dropped senders tell the waiters.
struct InFlightGuard {
    forwarder: Arc<Forwarder>,
    key: Key,
}

impl InFlightGuard {
    async fn run(self) {
        let forwarder = &self.forwarder;
        let upstreams = forwarder.upstreams.load_full();
        let begun = Instant::now();
        let stored = Arc::new(upstreams.ask(&self.key).await);
        forwarder.counters.latency(begun.elapsed());
        if !stored.is_conclusive() {
            forwarder.counters.add(&Tally { servfail: 1, ..Tally::default() });
        }
        if forwarder.upstreams.load().same_as(&upstreams) {
            forwarder.cache.insert(&self.key, stored.clone(), forwarder.seconds());
        }
        for waiter in forwarder.leave(&self.key) {
            // a client that went away needs no answer
            let _gone = waiter.send(stored.clone());
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.forwarder.leave(&self.key);
    }
}
