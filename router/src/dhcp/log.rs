//! Log lines for events, at a bounded rate: a client can send as fast as it likes, the log cannot grow as fast.
//!
//! Two budgets, so that noise (unknown clients, malformed messages) does not drown the leases' lines. What is left out is
//! counted and said with the next line that is written.

use std::time::Duration;

use sluice_api::types::LinkName;
use tracing::{debug, info, warn};

use super::server::{DropReason, Event};

/// Lines that may come at once.
const BURST: u32 = 20;
/// One more line may come after each of these.
const REFILL: Duration = Duration::from_millis(200);

/// A token bucket.
#[derive(Debug)]
struct Budget {
    tokens: u32,
    filled: Duration,
    suppressed: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: BURST, filled: Duration::ZERO, suppressed: 0 }
    }
}

impl Budget {
    /// `Some(n)` when a line may be written, `n` lines having been left out before it.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let earned = now.saturating_sub(self.filled).as_nanos() / REFILL.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.filled = now;
        }
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Writes events to the log.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    leases: Budget,
    noise: Budget,
}

impl EventLog {
    /// Writes `event`, or counts it as left out.
    pub(crate) fn write(&mut self, now: Duration, link: &LinkName, event: Event) {
        match event {
            Event::Offered(mac, address) => debug!(%link, %mac, %address, "dhcp offer"),
            Event::Informed(mac, address) => debug!(%link, %mac, %address, "dhcp inform"),
            Event::Dropped(DropReason::OtherServer(mac)) => {
                debug!(%link, %mac, "dhcp message for another server");
            }
            Event::Dropped(reason) => self.dropped(now, link, reason),
            _ => self.lease(now, link, event),
        }
    }

    fn lease(&mut self, now: Duration, link: &LinkName, event: Event) {
        let Some(suppressed) = self.leases.take(now) else { return };
        match event {
            Event::Acked(mac, address) => info!(%link, %mac, %address, suppressed, "dhcp lease"),
            Event::Released(mac, address) => {
                info!(%link, %mac, %address, suppressed, "dhcp release");
            }
            Event::Refused(mac, asked, why) => {
                info!(%link, %mac, %asked, ?why, suppressed, "dhcp refused");
            }
            Event::Declined(mac, address) => warn!(
                %link, %mac, %address, suppressed,
                "dhcp decline: the guest found its address in use by another host"
            ),
            Event::Offered(..) | Event::Informed(..) | Event::Dropped(_) => {}
        }
    }

    fn dropped(&mut self, now: Duration, link: &LinkName, reason: DropReason) {
        let Some(suppressed) = self.noise.take(now) else { return };
        let name = reason.name();
        match reason {
            DropReason::Malformed(error) => {
                info!(%link, reason = name, %error, suppressed, "dhcp message dropped");
            }
            DropReason::NoNetwork => {
                info!(%link, reason = name, suppressed, "dhcp message dropped");
            }
            DropReason::ForeignRelay(mac, relay) => {
                info!(%link, reason = name, %mac, %relay, suppressed, "dhcp message dropped");
            }
            DropReason::UnknownClient(mac)
            | DropReason::OtherServer(mac)
            | DropReason::NoAddress(mac)
            | DropReason::ForeignAddress(mac)
            | DropReason::Held(mac) => {
                info!(%link, reason = name, %mac, suppressed, "dhcp message dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_burst_and_then_five_lines_a_second() {
        let mut budget = Budget::default();
        let written = (0..10_000_u64)
            .filter(|millis| budget.take(Duration::from_millis(*millis)).is_some())
            .count();
        assert!((60..=70).contains(&written), "{written} lines in 10 s");
    }

    #[test]
    fn the_line_after_a_silence_says_how_many_were_left_out() {
        let mut budget = Budget::default();
        let left_out = (0..100).filter(|_| budget.take(Duration::ZERO).is_none()).count();
        assert_eq!(left_out, 80);
        assert_eq!(budget.take(REFILL), Some(80));
        assert_eq!(budget.take(REFILL * 2), Some(0));
    }
}
