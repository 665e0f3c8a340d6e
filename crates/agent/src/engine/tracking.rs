//! The table of tracked connections: an alarm when it is nearly full, and when connections had to go before their time.
//!
//! Guarantees: costs two small questions to the kernel every ten seconds; an alarm stands a minute after its cause is gone,
//! so that it can be seen; a table that cannot be read is none.

use std::time::Duration;

use sluice_sys::conntrack::TrackingCounts;
use tokio::time::Instant;

use super::Engine;
use super::alarms::Trouble;
use crate::appliance::Appliance;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long an alarm outlives its cause.
const STAYS: Duration = Duration::from_mins(1);

/// What was seen of the table.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    seen: Option<TrackingCounts>,
    looked: Option<Instant>,
    trouble: Option<Instant>,
}

/// What is wrong with the table, given what was seen of it before.
fn judge(before: Option<&TrackingCounts>, now: &TrackingCounts) -> Option<String> {
    let more = |of: fn(&TrackingCounts) -> u64| {
        before.map_or(0, |before| of(now).saturating_sub(of(before)))
    };
    let limit = now.limit;
    // two connections that clash are counted as not entered, and as dropped as well, however much room there is
    let for_want_of_room = more(|counts| counts.dropped) > more(|counts| counts.insert_failed);
    if for_want_of_room || more(|counts| counts.early_dropped) > 0 {
        return Some(format!(
            "the table of connections is full: of {limit}, some had to go before their time or were refused"
        ));
    }
    // four fifths
    let full = u64::from(now.entries) * 5 >= u64::from(limit) * 4;
    (limit > 0 && full)
        .then(|| format!("the table of connections is nearly full: it holds {limit}"))
}

impl<A: Appliance> Engine<A> {
    /// Looks at the table when it is time to.
    pub(super) async fn watch_tracking(&mut self) {
        let now = Instant::now();
        if self.tracking.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return;
        }
        self.tracking.looked = Some(now);
        let Ok(counts) = self.kernel.tracking().await else { return };
        self.shared.totals().tracked = Some((counts.entries, counts.limit));
        let trouble = judge(self.tracking.seen.as_ref(), &counts);
        self.tracking.seen = Some(counts);
        if let Some(text) = trouble {
            self.tracking.trouble = Some(now);
            self.alarm(Trouble::Connections, &text);
            self.publish();
        } else if self.tracking.trouble.is_some_and(|since| now >= since + STAYS) {
            self.tracking.trouble = None;
            self.clear(Trouble::Connections);
            self.publish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_judged_by_its_fill_and_by_what_it_lost_since() {
        let counts = |entries, early_dropped| TrackingCounts {
            entries,
            limit: 1000,
            early_dropped,
            ..TrackingCounts::default()
        };
        assert_eq!(judge(None, &counts(799, 0)), None);
        assert!(judge(None, &counts(800, 0)).unwrap().contains("nearly full"));
        // what was lost before anybody looked is no news
        assert_eq!(judge(None, &counts(10, 7)), None);
        assert_eq!(judge(Some(&counts(10, 7)), &counts(10, 7)), None);
        assert!(judge(Some(&counts(10, 7)), &counts(10, 8)).unwrap().contains("before their time"));
        assert_eq!(judge(None, &TrackingCounts::default()), None);
        // a clash is no lack of room
        let dropped =
            |dropped, insert_failed| TrackingCounts { dropped, insert_failed, ..counts(10, 0) };
        assert_eq!(judge(Some(&counts(10, 0)), &dropped(21, 21)), None);
        assert!(judge(Some(&dropped(21, 21)), &dropped(22, 21)).unwrap().contains("refused"));
    }
}
