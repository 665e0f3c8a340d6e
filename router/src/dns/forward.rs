//! Questions for upstreams: one question asked by many is forwarded once.
//!
//! Guarantees: bounded numbers of questions in flight, and of those waited for, in all and by one client; whoever waits gets an answer or "could not
//! find out", whatever becomes of the client that asked first; only answers of the present upstreams enter the cache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::cache::{Cache, Key};
use super::counters::{Counters, Tally};
use super::slice::Settings;
use super::stored::Stored;
use super::upstream::Upstreams;
use super::wire::ede;

/// Most questions that one client may wait for at a time, of the 1024 and 8192 in all: more than a busy mail server asks.
pub(super) const MAX_PER_CLIENT: usize = 128;

/// Somebody who waits.
struct Waiter {
    client: IpAddr,
    answer: oneshot::Sender<Arc<Stored>>,
}

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
    questions: HashMap<Key, Vec<Waiter>>,
    waiting: usize,
    clients: HashMap<IpAddr, usize>,
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

    /// Finds out about `key` for `client`.
    pub(super) async fn resolve(self: &Arc<Self>, key: Key, client: IpAddr) -> Arc<Stored> {
        let Some(answer) = self.join(key, client) else { return Arc::new(Stored::overload()) };
        answer
            .await
            .unwrap_or_else(|_| Arc::new(Stored::failure(ede::OTHER, "the question was dropped")))
    }

    /// Waits with the others, or starts the question; `None` when there are too many.
    fn join(self: &Arc<Self>, key: Key, client: IpAddr) -> Option<oneshot::Receiver<Arc<Stored>>> {
        let (answer, receiver) = oneshot::channel();
        let mut in_flight = self.lock();
        if !in_flight.has_room(client) {
            return None;
        }
        let waiter = Waiter { client, answer };
        if let Some(waiters) = in_flight.questions.get_mut(&key) {
            waiters.push(waiter);
        } else if in_flight.questions.len() >= in_flight.max_questions {
            return None;
        } else {
            in_flight.questions.insert(key.clone(), vec![waiter]);
            let question = InFlightGuard { forwarder: self.clone(), key, done: false };
            tokio::spawn(async move { question.run().await });
        }
        in_flight.waiting += 1;
        *in_flight.clients.entry(client).or_default() += 1;
        Some(receiver)
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn leave(&self, key: &Key) -> Vec<Waiter> {
        let mut in_flight = self.lock();
        let waiters = in_flight.questions.remove(key).unwrap_or_default();
        for waiter in &waiters {
            in_flight.end_of(waiter.client);
        }
        waiters
    }
}

impl InFlight {
    fn has_room(&self, client: IpAddr) -> bool {
        let own = self.clients.get(&client).copied().unwrap_or(0);
        self.waiting < self.max_waiting && own < MAX_PER_CLIENT
    }

    fn end_of(&mut self, client: IpAddr) {
        self.waiting = self.waiting.saturating_sub(1);
        match self.clients.get_mut(&client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.clients.remove(&client)),
        }
    }
}

/// Takes the question off the list even when its task ends early; dropped senders tell the waiters.
struct InFlightGuard {
    forwarder: Arc<Forwarder>,
    key: Key,
    /// True once the question is off the list: another may be on it under the same key.
    done: bool,
}

impl InFlightGuard {
    async fn run(mut self) {
        let forwarder = self.forwarder.clone();
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
        let waiters = forwarder.leave(&self.key);
        self.done = true;
        for waiter in waiters {
            // a client that went away needs no answer
            let _gone = waiter.answer.send(stored.clone());
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if !self.done {
            self.forwarder.leave(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::query::Query;

    /// A standard query for `NUMBER.example`, type A.
    fn key(number: u32) -> Key {
        let label = format!("{number:08}");
        let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
        message.extend(label.bytes());
        message.extend(*b"\x07example\0\0\x01\0\x01");
        Key::of(&Query::read(&message).unwrap())
    }

    #[tokio::test]
    async fn one_client_cannot_take_the_room_of_the_others() {
        // it is bound and never reads: no question is answered
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let counters = Arc::new(Counters::default());
        let cache = Arc::new(Cache::new(1 << 20));
        let forwarder = Arc::new(Forwarder::new(cache, counters, Instant::now()));
        forwarder.configure(&[silent.local_addr().unwrap()], &Settings::default());
        let (greedy, modest) = (IpAddr::from([10, 1, 1, 2]), IpAddr::from([10, 1, 1, 3]));
        let own = u32::try_from(MAX_PER_CLIENT).unwrap();
        let held: Vec<_> = (0..own).filter_map(|n| forwarder.join(key(n), greedy)).collect();
        assert_eq!(held.len(), MAX_PER_CLIENT);
        assert!(forwarder.join(key(own), greedy).is_none());
        // not even by asking what is being asked already
        assert!(forwarder.join(key(0), greedy).is_none());
        assert!(forwarder.join(key(own), modest).is_some());
        // whoever is answered may ask again
        forwarder.leave(&key(0));
        assert!(forwarder.join(key(own), greedy).is_some());
    }
}
