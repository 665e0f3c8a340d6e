//! What is remembered between messages: who has taken its lease and who has declined its address.
//!
//! Only for accounting and for the decline hold. Nothing here decides which address a client gets, so losing it all in a
//! restart changes no answer. Bounded by the number of guests: only a guest that the configuration names gets an entry.

use std::collections::HashMap;
use std::time::Duration;

use sluice_api::types::{LeaseSeconds, LinkName, MacAddr};

/// How long a guest that declined its address gets no answer: 10 s.
///
/// A reservation has exactly one address, so there is no other one to offer. Withholding it for long would make an outage of
/// a short conflict, such as a guest that is seen twice while it migrates; offering it at once would make a client that
/// does not wait spin. RFC 2131 3.1 (5) has clients wait at least 10 s by themselves.
pub const DECLINE_HOLD: Duration = Duration::from_secs(10);
/// From the end of a hold, how long further declines of that guest are counted but hold nothing: 50 s.
///
/// A neighbour can write a decline in a guest's name. Without a pause between holds it could keep that guest from its
/// address for ever; so it costs ten seconds of each minute, and never a renewal.
pub const DECLINE_PAUSE: Duration = Duration::from_secs(50);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `None`: for ever.
    expires: Option<Duration>,
    /// `None`: never declined.
    held_until: Option<Duration>,
}

/// Leases taken and declined, by link and client: a MAC may be used again on another segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(HashMap<LinkName, HashMap<MacAddr, Entry>>);

impl State {
    pub(crate) fn acked(
        &mut self,
        now: Duration,
        link: &LinkName,
        mac: MacAddr,
        lease: LeaseSeconds,
    ) {
        let span = Duration::from_secs(lease.get().into());
        let expires = (lease != LeaseSeconds::MAX).then(|| now.saturating_add(span));
        let held_until = self.held_until(link, mac);
        self.set(link, mac, Entry { expires, held_until });
    }

    pub(crate) fn released(&mut self, now: Duration, link: &LinkName, mac: MacAddr) {
        let held_until = self.held_until(link, mac);
        self.set(link, mac, Entry { expires: Some(now), held_until });
    }

    pub(crate) fn declined(&mut self, now: Duration, link: &LinkName, mac: MacAddr) {
        let before = self.held_until(link, mac);
        let pauses = before.is_some_and(|until| now < until.saturating_add(DECLINE_PAUSE));
        let held_until = if pauses { before } else { Some(now.saturating_add(DECLINE_HOLD)) };
        self.set(link, mac, Entry { expires: Some(now), held_until });
    }

    pub(crate) fn is_held(&self, now: Duration, link: &LinkName, mac: MacAddr) -> bool {
        self.held_until(link, mac).is_some_and(|until| now < until)
    }

    fn held_until(&self, link: &LinkName, mac: MacAddr) -> Option<Duration> {
        self.0.get(link)?.get(&mac)?.held_until
    }

    fn set(&mut self, link: &LinkName, mac: MacAddr, entry: Entry) {
        match self.0.get_mut(link) {
            Some(of_link) => {
                of_link.insert(mac, entry);
            }
            None => {
                self.0.insert(link.clone(), HashMap::from([(mac, entry)]));
            }
        }
    }

    /// Leases taken and not run out.
    pub(crate) fn active(&self, now: Duration) -> usize {
        let entries = self.0.values().flat_map(HashMap::values);
        entries.filter(|entry| entry.expires.is_none_or(|end| now < end)).count()
    }

    /// Forgets every client that `keep` does not want kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(&LinkName, MacAddr) -> bool) {
        self.0.retain(|link, of_link| {
            of_link.retain(|mac, _| keep(link, *mac));
            !of_link.is_empty()
        });
    }
}
