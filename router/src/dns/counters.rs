//! What the service counts.
//!
//! Threads count into a [`Tally`] of their own and add it once per batch, so counting costs nothing per query.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Upper bounds of the latency buckets, in microseconds; the last bucket has none.
pub const LATENCY_BOUNDS: [u64; 8] =
    [500, 1_000, 5_000, 20_000, 100_000, 500_000, 1_000_000, 5_000_000];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thread's counts since it last added them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// All counts since the service's start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($name: AtomicU64,)*
            latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
        }

        /// The counts at one time, for reports.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Forwarded questions by the time upstreams took; bounds in [`LATENCY_BOUNDS`].
            pub latency: [u64; LATENCY_BOUNDS.len() + 1],
        }

        impl Counts {
            /// The plain counts by name.
            pub fn named(&self) -> std::collections::BTreeMap<String, u64> {
                [$((stringify!($name).to_owned(), self.$name),)*].into()
            }
        }

        impl Counters {
            /// Adds `tally`.
            pub fn add(&self, tally: &Tally) {
                $(if tally.$name > 0 {
                    self.$name.fetch_add(tally.$name, Ordering::Relaxed);
                })*
            }

            /// The counts as they are now.
            pub fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    latency: std::array::from_fn(|at| {
                        self.latency.get(at).map_or(0, |count| count.load(Ordering::Relaxed))
                    }),
                }
            }
        }
    };
}

counters! {
    /// Messages received.
    queries,
    /// Answered from the guest zones and the special names.
    local,
    /// Answered from the cache.
    hits,
    /// Forwarded, or joined to a question already forwarded.
    misses,
    /// Refused: another domain, no upstream, a transfer.
    refused,
    /// Not readable as a query.
    malformed,
    /// Dropped: not a guest of the network asked.
    strangers,
    /// Dropped: more than one client may ask in a second.
    limited,
    /// Questions sent to upstreams.
    upstream_queries,
    /// Of these, without a usable answer.
    upstream_failures,
    /// Questions that no upstream answered.
    servfail,
    /// Answers that the socket did not take.
    unsent,
}

impl Counters {
    /// Counts one forwarded question that took `time`.
    pub fn latency(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS.iter().take_while(|bound| micros > **bound).count();
        if let Some(count) = self.latency.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_latencies_find_their_bucket() {
        let counters = Counters::default();
        counters.add(&Tally { queries: 2, hits: 1, ..Tally::default() });
        counters.add(&Tally { queries: 1, ..Tally::default() });
        counters.latency(Duration::from_micros(500));
        counters.latency(Duration::from_mins(1));
        let counts = counters.read();
        assert_eq!((counts.queries, counts.hits), (3, 1));
        assert_eq!((counts.latency[0], counts.latency[8]), (1, 1));
    }
}
