//! Questions for upstreams: one question asked by many is forwarded once.
//!
//! Guarantees: bounded numbers of questions in flight, and of those waited for, in all, by one network and by one client; what
//! is asked beyond its share waits for its turn, and not in the way of others; whoever waits gets an answer or "could not find
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
use super::places::{Asker, Most, Places, Turns};
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
    turns: Arc<Turns>,
    start: Instant,
}

#[derive(Default)]
struct InFlight {
    questions: HashMap<Key, Question>,
    waiting: Places,
    /// One for each question of a client that may be with upstreams.
    turns: HashMap<IpAddr, Arc<Semaphore>>,
    max_waiting: usize,
}

/// A question that somebody waits for.
#[derive(Default)]
struct Question {
    waiters: Vec<Waiter>,
    /// It is with upstreams. Until then, each network that waits for it waits for a turn of its own.
    is_asked: bool,
    networks: Vec<IpAddr>,
}

impl Forwarder {
    /// A forwarder without upstreams; times count from `start`.
    pub(super) fn new(cache: Arc<Cache>, counters: Arc<Counters>, start: Instant) -> Self {
        let (upstreams, terms, in_flight) =
            (ArcSwap::default(), ArcSwap::default(), Mutex::default());
        let turns = Arc::new(Turns::new(MAX_IN_FLIGHT));
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

    /// Finds out about `key` for `asker`.
    pub(super) async fn resolve(self: &Arc<Self>, key: Key, asker: Asker) -> Arc<Stored> {
        let Some(place) = Place::take(self, asker) else { return Arc::new(Stored::overload()) };
        let found = async {
            // the semaphore is never closed
            let _turn = place.turns.acquire().await;
            self.join(key, asker.network).await
        };
        match timeout(PATIENCE, found).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Arc::new(Stored::failure(ede::OTHER, "the question was dropped")),
            Err(_) => Arc::new(Stored::overload()),
        }
    }

    /// Waits with the others, or for a turn to ask the question.
    fn join(self: &Arc<Self>, key: Key, network: IpAddr) -> oneshot::Receiver<Arc<Stored>> {
        let (answer, receiver) = oneshot::channel();
        let mut in_flight = self.lock();
        let question = in_flight.questions.entry(key.clone()).or_default();
        question.waiters.push(Waiter { answer });
        if !question.is_asked && !question.networks.contains(&network) {
            question.networks.push(network);
            let forwarder = self.clone();
            tokio::spawn(async move {
                let _turn = forwarder.turns.take(network).await;
                if forwarder.begins(&key) {
                    InFlightGuard { forwarder, key, done: false }.run().await;
                }
            });
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
        self.lock().questions.remove(key).unwrap_or_default().waiters
    }

    /// Whether `key` is to be asked now: not when it is already, or when all who wanted to know it have given up.
    fn begins(&self, key: &Key) -> bool {
        let mut in_flight = self.lock();
        let Some(question) = in_flight.questions.get_mut(key) else { return false };
        let begins = !question.is_asked;
        question.is_asked = true;
        let given_up = question.waiters.iter().all(|waiter| waiter.answer.is_closed());
        if begins && given_up {
            in_flight.questions.remove(key);
        }
        begins && !given_up
    }
}

/// A client's place among those who wait; given back when dropped.
struct Place {
    forwarder: Arc<Forwarder>,
    asker: Asker,
    turns: Arc<Semaphore>,
}

impl Place {
    /// `None` when there are too many.
    fn take(forwarder: &Arc<Forwarder>, asker: Asker) -> Option<Self> {
        let mut in_flight = forwarder.lock();
        let most = Most { all: in_flight.max_waiting, of_client: MAX_WAITING_PER_CLIENT };
        if !in_flight.waiting.enter(asker, most) {
            return None;
        }
        let new = || Arc::new(Semaphore::new(MAX_PER_CLIENT));
        let turns = in_flight.turns.entry(asker.client).or_insert_with(new).clone();
        Some(Self { forwarder: forwarder.clone(), asker, turns })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_flight = self.forwarder.lock();
        if !in_flight.waiting.leave(self.asker) {
            in_flight.turns.remove(&self.asker.client);
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

    /// A forwarder whose upstream never answers, with so many turns.
    fn forwarder(turns: usize) -> (Arc<Forwarder>, std::net::UdpSocket) {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let counters = Arc::new(Counters::default());
        let cache = Arc::new(Cache::new(1 << 20));
        let mut forwarder = Forwarder::new(cache, counters, Instant::now());
        forwarder.turns = Arc::new(Turns::new(turns));
        let forwarder = Arc::new(forwarder);
        let group = Group { resolvers: vec![silent.local_addr().unwrap()], tls: None };
        forwarder.configure(&[group], &Settings::default(), &Terms::default());
        (forwarder, silent)
    }

    fn asker(third: u8, last: u8) -> Asker {
        let [network, client] = [1, last].map(|last| IpAddr::from([10, 1, third, last]));
        Asker { network, client }
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
        let (forwarder, _silent) = forwarder(MAX_IN_FLIGHT);
        let [greedy, modest] = [2, 3].map(|last| asker(1, last));
        let ask = |number, client| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { forwarder.resolve(key(number), client).await })
        };
        let most = u32::try_from(MAX_WAITING_PER_CLIENT).unwrap();
        let held: Vec<_> = (0..most).map(|number| ask(number, greedy)).collect();
        until("all of them", || forwarder.lock().waiting.taken() == MAX_WAITING_PER_CLIENT).await;
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
        until("nobody", || forwarder.lock().turns.is_empty()).await;
        assert_eq!(forwarder.lock().waiting.taken(), 0);
    }

    #[tokio::test]
    async fn a_network_has_its_share_and_another_waits_for_no_turn_of_its() {
        let (forwarder, _silent) = forwarder(64);
        let ask = |number, asker| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { forwarder.resolve(key(number), asker).await })
        };
        let asked = || {
            let in_flight = forwarder.lock();
            in_flight.questions.values().filter(|question| question.is_asked).count()
        };
        let client = |number: u32| asker(1, u8::try_from(2 + number).unwrap());
        let mut held: Vec<_> = (0..80).map(|number| ask(number, client(number))).collect();
        let share = 64 / 4 * 3;
        until("a share", || asked() == share).await;
        until("the others", || forwarder.lock().questions.len() == 80).await;
        // one of its own, and one that the greedy network has not come to
        held.extend([ask(100, asker(2, 2)), ask(79, asker(2, 2))]);
        until("another's questions", || asked() == share + 2).await;
        assert!(forwarder.lock().questions[&key(79)].is_asked);
        held.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
