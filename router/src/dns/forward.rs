//! Questions for upstreams: one question asked by many is forwarded once.
//!
//! Guarantees: bounded numbers of questions in flight, and of those waited for, in all and by one client; what one client
//! asks beyond its share waits for its turn, and not in the way of others; whoever waits gets an answer or "could not find
//! out" within [`PATIENCE`], whatever becomes of the client that asked first; only answers of the present upstreams enter the
//! cache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::cache::{Cache, Key};
use super::counters::{Counters, Tally};
use super::slice::{Group, Settings};
use super::stored::Stored;
use super::terms::Terms;
use super::upstream::Upstreams;
use super::wire::ede;

/// Most questions that are with upstreams at a time.
const MAX_IN_FLIGHT: usize = 1024;
/// Most questions of one client that are with upstreams at a time.
pub(super) const MAX_PER_CLIENT: usize = 128;
/// Most questions of one client, those that wait for their turn included: a mail server's or a build's burst.
pub(super) const MAX_WAITING_PER_CLIENT: usize = 1024;
/// How long a question waits in all, its turn included; stock resolvers give up after 5 s.
const PATIENCE: Duration = Duration::from_millis(4800);

/// Somebody who waits.
struct Waiter {
    answer: oneshot::Sender<Arc<Stored>>,
}

/// Forwards and remembers.
pub struct Forwarder {
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    upstreams: ArcSwap<Vec<Arc<Upstreams>>>,
    terms: ArcSwap<Terms>,
    in_flight: Mutex<InFlight>,
    /// One for each question that may be with upstreams.
    turns: Semaphore,
    start: Instant,
}

#[derive(Default)]
struct InFlight {
    questions: HashMap<Key, Vec<Waiter>>,
    waiting: usize,
    clients: HashMap<IpAddr, Client>,
    max_waiting: usize,
}

/// What one client has with us.
struct Client {
    waiting: usize,
    turns: Arc<Semaphore>,
}

impl Forwarder {
    /// A forwarder without upstreams; times count from `start`.
    pub(super) fn new(cache: Arc<Cache>, counters: Arc<Counters>, start: Instant) -> Self {
        let (upstreams, terms, in_flight) =
            (ArcSwap::default(), ArcSwap::default(), Mutex::default());
        let turns = Semaphore::new(MAX_IN_FLIGHT);
        Self { cache, counters, upstreams, terms, in_flight, turns, start }
    }

    /// Asks `groups` from now on. When they are others than before, what the ones before said is forgotten.
    pub(super) fn configure(&self, groups: &[Group], settings: &Settings, terms: &Terms) {
        let previous = self.upstreams.load_full();
        // with other terms nothing of before holds
        let terms_same = self.terms.swap(Arc::new(terms.clone())).same_as(terms);
        let known = if terms_same { previous.as_slice() } else { &[] };
        let group = |group: &Group| {
            let counters = self.counters.clone();
            Arc::new(Upstreams::new(group, settings, terms, counters, known, self.start))
        };
        self.upstreams.store(Arc::new(groups.iter().map(group).collect()));
        let same = terms_same
            && previous.len() == groups.len()
            && previous.iter().zip(groups).all(|(before, now)| before.group().same_set(now));
        if !same {
            self.cache.clear();
        }
        self.lock().max_waiting = settings.max_waiting;
    }

    /// Upstreams that do not answer, each once.
    pub fn down(&self) -> Vec<SocketAddr> {
        let groups = self.upstreams.load();
        let mut down: Vec<_> = groups.iter().flat_map(|group| group.down()).collect();
        down.sort_unstable();
        down.dedup();
        down
    }

    /// Finds out about `key` for `client`.
    pub(super) async fn resolve(self: &Arc<Self>, key: Key, client: IpAddr) -> Arc<Stored> {
        let Some(place) = Place::take(self, client) else { return Arc::new(Stored::overload()) };
        let found = async {
            // the semaphore is never closed
            let _turn = place.turns.acquire().await;
            self.join(key).await
        };
        match timeout(PATIENCE, found).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Arc::new(Stored::failure(ede::OTHER, "the question was dropped")),
            Err(_) => Arc::new(Stored::overload()),
        }
    }

    /// Waits with the others, or starts the question.
    fn join(self: &Arc<Self>, key: Key) -> oneshot::Receiver<Arc<Stored>> {
        let (answer, receiver) = oneshot::channel();
        let mut in_flight = self.lock();
        let waiter = Waiter { answer };
        if let Some(waiters) = in_flight.questions.get_mut(&key) {
            waiters.push(waiter);
        } else {
            in_flight.questions.insert(key.clone(), vec![waiter]);
            let question = InFlightGuard { forwarder: self.clone(), key, done: false };
            tokio::spawn(async move { question.run().await });
        }
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn leave(&self, key: &Key) -> Vec<Waiter> {
        self.lock().questions.remove(key).unwrap_or_default()
    }

    /// Takes `key` off the list when all who wanted to know it have given up.
    fn is_given_up(&self, key: &Key) -> bool {
        let mut in_flight = self.lock();
        let waiters = in_flight.questions.get(key);
        let all = waiters.is_none_or(|all| all.iter().all(|waiter| waiter.answer.is_closed()));
        if all {
            in_flight.questions.remove(key);
        }
        all
    }
}

/// A client's place among those who wait; given back when dropped.
struct Place {
    forwarder: Arc<Forwarder>,
    client: IpAddr,
    turns: Arc<Semaphore>,
}

impl Place {
    /// `None` when there are too many.
    fn take(forwarder: &Arc<Forwarder>, client: IpAddr) -> Option<Self> {
        let mut in_flight = forwarder.lock();
        if in_flight.waiting >= in_flight.max_waiting {
            return None;
        }
        let entry = in_flight.clients.entry(client).or_insert_with(|| Client {
            waiting: 0,
            turns: Arc::new(Semaphore::new(MAX_PER_CLIENT)),
        });
        if entry.waiting >= MAX_WAITING_PER_CLIENT {
            return None;
        }
        entry.waiting += 1;
        let turns = entry.turns.clone();
        in_flight.waiting += 1;
        Some(Self { forwarder: forwarder.clone(), client, turns })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_flight = self.forwarder.lock();
        in_flight.waiting = in_flight.waiting.saturating_sub(1);
        match in_flight.clients.get_mut(&self.client) {
            Some(client) if client.waiting > 1 => client.waiting -= 1,
            _ => drop(in_flight.clients.remove(&self.client)),
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
        // the semaphore is never closed
        let _turn = forwarder.turns.acquire().await;
        if forwarder.is_given_up(&self.key) {
            self.done = true;
            return;
        }
        let group = usize::from(self.key.group());
        let upstreams = |all: &[Arc<Upstreams>]| all.get(group).cloned();
        let Some(asked) = upstreams(&forwarder.upstreams.load()) else { return };
        let begun = Instant::now();
        let stored = Arc::new(asked.ask(&self.key).await);
        forwarder.counters.latency(begun.elapsed());
        if !stored.is_conclusive() {
            forwarder.counters.add(&Tally { servfail: 1, ..Tally::default() });
        }
        let now = upstreams(&forwarder.upstreams.load());
        if now.is_some_and(|now| now.group().same_set(asked.group())) {
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
        Key::of(&Query::read(&message).unwrap(), 0)
    }

    /// A forwarder whose upstream never answers.
    fn forwarder() -> (Arc<Forwarder>, std::net::UdpSocket) {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let counters = Arc::new(Counters::default());
        let cache = Arc::new(Cache::new(1 << 20));
        let forwarder = Arc::new(Forwarder::new(cache, counters, Instant::now()));
        let group = Group { resolvers: vec![silent.local_addr().unwrap()], tls: None };
        forwarder.configure(&[group], &Settings::default(), &Terms::default());
        (forwarder, silent)
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        for _ in 0..1000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{what} did not come about");
    }

    #[tokio::test]
    async fn a_client_has_its_share_with_upstreams_and_the_rest_waits_for_its_turn() {
        let (forwarder, _silent) = forwarder();
        let (greedy, modest) = (IpAddr::from([10, 1, 1, 2]), IpAddr::from([10, 1, 1, 3]));
        let ask = |number, client| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { forwarder.resolve(key(number), client).await })
        };
        let most = u32::try_from(MAX_WAITING_PER_CLIENT).unwrap();
        let held: Vec<_> = (0..most).map(|number| ask(number, greedy)).collect();
        until("all of them", || forwarder.lock().waiting == MAX_WAITING_PER_CLIENT).await;
        until("a share", || forwarder.lock().questions.len() == MAX_PER_CLIENT).await;
        let refused = forwarder.resolve(key(most), greedy).await;
        assert_eq!(*refused, Stored::overload());
        let other = ask(most, modest);
        until("another's question", || forwarder.lock().questions.len() == MAX_PER_CLIENT + 1)
            .await;
        // whoever is answered makes room for its next
        for waiter in forwarder.leave(&key(0)) {
            waiter.answer.send(Arc::new(Stored::overload())).unwrap();
        }
        until("the next in turn", || forwarder.lock().questions.len() == MAX_PER_CLIENT + 1).await;
        held.iter().for_each(tokio::task::JoinHandle::abort);
        other.abort();
        until("nobody", || forwarder.lock().clients.is_empty() && forwarder.lock().waiting == 0)
            .await;
    }
}
