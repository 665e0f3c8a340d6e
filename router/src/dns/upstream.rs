//! The zone's resolvers as one: who is asked when, and what counts as the answer.
//!
//! Guarantees: an answer within [`DEADLINE`] or a failure that says why; the next upstream is asked as soon as one
//! fails or is slow, while late answers still count; state of an upstream survives changes of the others.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::cache::Key;
use super::carry::Tls;
use super::counters::{Counters, Tally};
use super::exchange::{ExchangeError, Resolver};
use super::health::{Health, order};
use super::proof::Prover;
use super::slice::{Group, Settings};
use super::stored::Stored;
use super::terms::Terms;
use super::wire::ede;

/// Time after which clients are told of a failure; stock resolvers give up after 5 s.
const DEADLINE: Duration = Duration::from_millis(4500);
/// Times from one try to the next, while none has failed earlier.
const PATIENCE: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_millis(800), Duration::from_millis(1200)];
/// Time after which one try counts as a failure.
const TRY_TIME: Duration = Duration::from_millis(2500);
/// Most tries for one question.
const MAX_TRIES: usize = 6;

/// One resolver.
pub(super) struct Upstream {
    resolver: Resolver,
    health: Mutex<Health>,
}

/// All of them.
pub(super) struct Upstreams {
    group: Group,
    list: Vec<Arc<Upstream>>,
    start: Instant,
    settings: Settings,
    counters: Arc<Counters>,
    prover: Option<Arc<Prover>>,
}

/// How one try ended.
enum Tried {
    Answer(Stored),
    Nothing,
}

/// The tries for one question.
#[derive(Default)]
struct Race {
    waiting: Vec<(usize, Instant)>,
    ended: Vec<usize>,
    inconclusive: Option<Stored>,
}

impl Race {
    /// One try ended; the answer, if it is one.
    fn ended(&mut self, index: usize, tried: Tried) -> Option<Stored> {
        self.waiting.retain(|(other, _)| *other != index);
        self.ended.push(index);
        match tried {
            Tried::Answer(answer) if answer.is_conclusive() => return Some(answer),
            Tried::Answer(answer) => self.inconclusive = Some(answer),
            Tried::Nothing => {}
        }
        None
    }
}

impl Upstream {
    fn new(address: SocketAddr, tls: Option<Tls>) -> Self {
        Self { resolver: Resolver::new(address, tls), health: Mutex::default() }
    }

    fn address(&self) -> SocketAddr {
        self.resolver.address
    }

    fn with_health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Upstreams {
    /// The upstreams of `group`, with what those of `before` know of them; times count from `start`.
    pub(super) fn new(
        group: &Group,
        settings: &Settings,
        terms: &Terms,
        counters: Arc<Counters>,
        before: &[Arc<Self>],
        start: Instant,
    ) -> Self {
        let known = |address| before.iter().find_map(|other| other.at(group, address));
        let upstream = |address: &SocketAddr| {
            let new = || Arc::new(Upstream::new(*address, terms.tls_of(group, *address)));
            known(*address).unwrap_or_else(new)
        };
        let list = group.resolvers.iter().map(upstream).collect();
        let prover = terms.prover_of(group);
        Self { group: group.clone(), list, start, settings: settings.clone(), counters, prover }
    }

    /// The one at `address`, if it is among them and is asked as those of `group` are.
    fn at(&self, group: &Group, address: SocketAddr) -> Option<Arc<Upstream>> {
        let mut list = self.list.iter().filter(|_| self.group.tls == group.tls);
        list.find(|upstream| upstream.address() == address).cloned()
    }

    /// Whom they ask, and how.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Addresses of those that count as down.
    pub(super) fn down(&self) -> impl Iterator<Item = SocketAddr> {
        let down =
            self.list.iter().filter(|upstream| upstream.with_health(|health| health.is_down()));
        down.map(|upstream| upstream.address())
    }

    /// Asks until there is an answer or no hope of one.
    pub(super) async fn ask(self: &Arc<Self>, key: &Key) -> Stored {
        self.probe(key);
        match timeout(DEADLINE, self.found(key)).await {
            Ok(answer) => answer,
            Err(_) => Stored::failure(ede::NO_REACHABLE_AUTHORITY, "no upstream resolver answered"),
        }
    }

    /// What they say, proved if that is wanted and the client does not say that it does so itself.
    async fn found(self: &Arc<Self>, key: &Key) -> Stored {
        match &self.prover {
            Some(prover) if !key.checking_disabled() => prover.prove(self, key).await,
            _ => self.race(key).await,
        }
    }

    /// Bounds and times.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks one after the other, not waiting for one to fail before the next is asked. Who said no is not asked again.
    pub(super) async fn race(self: &Arc<Self>, key: &Key) -> Stored {
        let health: Vec<_> =
            self.list.iter().map(|upstream| upstream.with_health(|health| *health)).collect();
        let order = order(&health);
        let mut turns = order.iter().cycle().take(MAX_TRIES).copied();
        let mut patience = PATIENCE.iter().copied();
        let mut tries = FuturesUnordered::new();
        let mut race = Race::default();
        loop {
            let wait = patience.next().unwrap_or(TRY_TIME);
            match turns.find(|index| !race.ended.contains(index)) {
                Some(index) => {
                    let before = race.waiting.iter().filter(|(other, _)| *other == index).count();
                    race.waiting.push((index, Instant::now()));
                    tries.push(self.try_number(index, key, is_plain(before, key)));
                }
                None if tries.is_empty() => break,
                None => {}
            }
            tokio::select! {
                Some((index, tried)) = tries.next() => {
                    if let Some(answer) = race.ended(index, tried) {
                        self.blame(&race.waiting);
                        return answer;
                    }
                }
                () = sleep(wait) => {}
            }
        }
        race.inconclusive.unwrap_or_else(|| {
            Stored::failure(ede::NO_REACHABLE_AUTHORITY, "no upstream resolver could be reached")
        })
    }

    async fn try_number(&self, index: usize, key: &Key, plain: bool) -> (usize, Tried) {
        let tried = match self.list.get(index) {
            Some(upstream) => self.try_one(upstream, key, plain).await,
            None => Tried::Nothing,
        };
        (index, tried)
    }

    /// Counts those against which another one won although they were asked well before: otherwise one that is dead
    /// would be asked first for ever.
    fn blame(&self, waiting: &[(usize, Instant)]) {
        let late = waiting.iter().filter(|(_, since)| since.elapsed() >= PATIENCE[0]);
        for upstream in late.filter_map(|(index, _)| self.list.get(*index)) {
            self.failed(upstream, &ExchangeError::Slow);
            self.counters.add(&Tally {
                upstream_queries: 1,
                upstream_failures: 1,
                ..Tally::default()
            });
        }
    }

    /// Sends `key` to those that are down, now and then, to see whether they are back; nobody waits for it.
    fn probe(self: &Arc<Self>, key: &Key) {
        let now = self.start.elapsed();
        for upstream in &self.list {
            if upstream.with_health(|health| health.wants_probe(now)) {
                let (all, upstream, key) = (self.clone(), upstream.clone(), key.clone());
                tokio::spawn(async move {
                    all.try_one(&upstream, &key, false).await;
                });
            }
        }
    }

    async fn try_one(&self, upstream: &Upstream, key: &Key, plain: bool) -> Tried {
        let now = self.start.elapsed();
        let asked = upstream.resolver.ask(key, &self.settings, now, plain);
        let result = timeout(TRY_TIME, asked).await.unwrap_or(Err(ExchangeError::Slow));
        let (failures, tried) = match result {
            Ok(answer) => {
                answered(upstream);
                (u64::from(!answer.is_conclusive()), Tried::Answer(answer))
            }
            // it is there and says something, only nothing that can be read
            Err(ExchangeError::Unusable) => {
                answered(upstream);
                (1, Tried::Nothing)
            }
            Err(error) => {
                self.failed(upstream, &error);
                (1, Tried::Nothing)
            }
        };
        let tally = Tally { upstream_queries: 1, upstream_failures: failures, ..Tally::default() };
        self.counters.add(&tally);
        tried
    }

    fn failed(&self, upstream: &Upstream, error: &ExchangeError) {
        let now = self.start.elapsed();
        if upstream.with_health(|health| health.failed(now)) {
            warn!(upstream = %upstream.address(), %error, "upstream resolver is down");
        }
    }
}

/// Whether to ask without EDNS one that was silent `before` times to `key`: something on the way may not let it through.
/// Who wants DNSSEC's records, which cannot be had so, gets one more chance.
fn is_plain(before: usize, key: &Key) -> bool {
    before > usize::from(key.dnssec_ok())
}

fn answered(upstream: &Upstream) {
    if upstream.with_health(Health::succeeded) {
        info!(upstream = %upstream.address(), "upstream resolver is back");
    }
}
