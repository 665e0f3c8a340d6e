//! What is counted, per rule and per member; the names of HAProxy's statistics say what each is.
//!
//! Guarantees: counts never go back while their rule (their member) is configured, whatever changes about it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use sluice_api::report::balancing::Counts;

use super::clock;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of a rule, or of a member.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// Connections (a rule's) or connections and requests (a member's) at the moment.
            pub current: Gauge,
            /// Answers by the first digit of their status; 0 for those that have none of the five.
            pub answers: [AtomicU64; 6],
            /// Sessions in a second.
            pub session_rate: Rate,
            /// Requests in a second.
            pub request_rate: Rate,
            /// Milliseconds until a member accepted, over the last ones.
            pub connect_time: Mean,
            /// Milliseconds from a request to its answer.
            pub response_time: Mean,
            /// Milliseconds that a connection or a request took in all.
            pub total_time: Mean,
        }

        impl Counters {
            /// The counts now.
            pub fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Relaxed),)*
                    current: self.current.now(),
                    current_most: self.current.most.load(Relaxed),
                    answers: std::array::from_fn(|at| {
                        self.answers.get(at).map_or(0, |count| count.load(Relaxed))
                    }),
                    session_rate: self.session_rate.read(),
                    request_rate: self.request_rate.read(),
                    connect_time: self.connect_time.get(),
                    response_time: self.response_time.get(),
                    total_time: self.total_time.get(),
                }
            }

            /// Takes in what another process counted for the same rule or member.
            pub fn take_in(&self, more: &Counts) {
                $(add(&self.$name, more.$name);)*
                for (count, more) in self.answers.iter().zip(more.answers) {
                    add(count, more);
                }
            }
        }

        /// What was counted from `before` to `now`.
        pub fn since(before: &Counts, now: &Counts) -> Counts {
            Counts {
                $($name: now.$name.saturating_sub(before.$name),)*
                answers: std::array::from_fn(|at| {
                    let of = |counts: &Counts| counts.answers.get(at).copied().unwrap_or(0);
                    of(now).saturating_sub(of(before))
                }),
                ..Counts::default()
            }
        }
    };
}

counters! {
    /// Connections (a rule's); connections and requests given to it (a member's).
    sessions,
    /// Bytes from clients.
    bytes_in,
    /// Bytes to clients.
    bytes_out,
    /// HTTP requests.
    requests,
    /// Clients turned away by the rule's list of sources.
    denied,
    /// Clients that did not speak as they should: TLS or HTTP.
    request_errors,
    /// Connections to members that failed.
    connect_errors,
    /// Members that ended a connection before their answer was whole.
    response_errors,
    /// Tries beyond the first.
    retries,
    /// Clients served by another member than they were bound to (a rule's), or taken away so (a member's).
    redispatches,
    /// Connections and requests that clients gave up.
    client_aborts,
    /// Clients refused because no member could serve.
    no_member,
    /// Connections made to members.
    connects,
    /// Requests that went over a connection that was there already.
    reuses,
    /// Connections ended because a time was over.
    timeouts,
}

impl Counters {
    /// Counts an answer.
    pub fn answer(&self, status: u16) {
        let class = usize::from(status / 100);
        if let Some(count) = self.answers.get(if class > 5 { 0 } else { class }) {
            add(count, 1);
        }
    }
}

/// Adds to a count.
pub fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Relaxed);
}

/// How many there are, and the most there were.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicU32,
    most: AtomicU32,
}

impl Gauge {
    /// How many there are.
    pub fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// One more.
    pub fn enter(&self) {
        let now = self.now.fetch_add(1, Relaxed).saturating_add(1);
        self.most.fetch_max(now, Relaxed);
    }

    /// One more, unless there are `limit` already.
    pub fn enter_below(&self, limit: u32) -> bool {
        let below = |now| (now < limit).then_some(now + 1);
        let Ok(before) = self.now.fetch_update(Relaxed, Relaxed, below) else { return false };
        self.most.fetch_max(before + 1, Relaxed);
        true
    }

    /// One fewer.
    pub fn leave(&self) {
        self.now.fetch_sub(1, Relaxed);
    }
}

/// How many there are in a second.
#[derive(Debug, Default)]
pub struct Rate {
    second: AtomicU64,
    count: AtomicU64,
    last: AtomicU64,
    most: AtomicU64,
}

impl Rate {
    /// One more at `now`, in milliseconds of the clock.
    pub fn hit(&self, now: u64) {
        self.turn(now / 1000);
        self.count.fetch_add(1, Relaxed);
    }

    /// In the last whole second, and the most in any, the present one as far as it goes.
    pub fn read(&self) -> [u64; 2] {
        self.turn(clock::now() / 1000);
        let most = self.most.load(Relaxed).max(self.count.load(Relaxed));
        [self.last.load(Relaxed), most]
    }

    /// Closes the account of seconds that are over. Whoever comes second at the turn counts into either.
    fn turn(&self, second: u64) {
        let former = self.second.load(Relaxed);
        if former == second
            || self.second.compare_exchange(former, second, Relaxed, Relaxed).is_err()
        {
            return;
        }
        let count = self.count.swap(0, Relaxed);
        self.most.fetch_max(count, Relaxed);
        self.last.store(if second == former + 1 { count } else { 0 }, Relaxed);
    }
}

/// The mean of about the last 512 values.
#[derive(Debug, Default)]
pub struct Mean(AtomicU64);

impl Mean {
    const WINDOW: u64 = 512;

    /// Takes in one more value. Two at the same instant may lose one, which a mean bears.
    pub fn add(&self, value: u64) {
        let sum = self.0.load(Relaxed);
        self.0.store(sum - sum.div_ceil(Self::WINDOW) + value, Relaxed);
    }

    /// The mean.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed).div_ceil(Self::WINDOW)
    }
}
