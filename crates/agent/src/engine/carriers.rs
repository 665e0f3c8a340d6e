//! Links to the outside without a carrier: an alarm for as long as that lasts.
//!
//! Guarantees: the kernel is asked only when it said that links may have changed; a carrier that comes a moment after its
//! link does is no alarm. Not here: links to guests, whose carriers come and go with their machines; and a NIC that is
//! missing, which is told as that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_api::types::LinkName;
use sluice_sys::model::{Keys, Observed};
use tokio::time::Instant;

use super::Engine;
use super::alarms::Trouble;
use crate::appliance::{Appliance, Configuration as _};

/// A carrier that is missing for less is no alarm: NICs take a moment to find out the speed of their wire.
const STAYS_AWAY: Duration = Duration::from_secs(5);

/// Links to the outside that have no carrier, and since when that is known.
#[derive(Debug, Default)]
pub(super) struct Carriers(BTreeMap<LinkName, Instant>);

impl Carriers {
    /// Takes note of what was seen at `now`.
    fn note(&mut self, without: BTreeSet<LinkName>, now: Instant) {
        self.0.retain(|name, _| without.contains(name));
        for name in without {
            self.0.entry(name).or_insert(now);
        }
    }

    /// What is wrong at `now`.
    fn trouble(&self, now: Instant) -> Option<String> {
        let lasting = self.0.iter().filter(|(_, since)| now >= **since + STAYS_AWAY);
        let names: Vec<&str> = lasting.map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("no carrier to the outside on {}", names.join(", ")))
    }
}

/// Those of `links` that are there, are up, and have no carrier.
fn without(links: BTreeSet<LinkName>, observed: &Observed) -> BTreeSet<LinkName> {
    let mute = |name: &LinkName| {
        observed.links.get(name.as_str()).is_some_and(|link| link.up && !link.carrier)
    };
    links.into_iter().filter(mute).collect()
}

impl<A: Appliance> Engine<A> {
    /// Looks at the carriers when links may have changed, and raises or ends the alarm.
    pub(super) async fn watch_carriers(&mut self, woken: bool) {
        let now = Instant::now();
        if woken {
            let target = self.target();
            let links = target.map(|entry| entry.config.outside_links()).unwrap_or_default();
            // what cannot be read now is read when it changes again
            let Ok(observed) = self.kernel.observe(&Keys::default()).await else { return };
            self.carriers.note(without(links, &observed), now);
        }
        let before = self.alarms.texts();
        match self.carriers.trouble(now) {
            Some(text) => self.alarm(Trouble::Carrier, &text),
            None => self.clear(Trouble::Carrier),
        }
        if self.alarms.texts() != before {
            self.publish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_that_stays_away_is_an_alarm_until_it_is_back() {
        let name = |text: &str| -> LinkName { text.parse().unwrap() };
        let (begun, mut carriers) = (Instant::now(), Carriers::default());
        carriers.note([name("pub0")].into(), begun);
        assert_eq!(carriers.trouble(begun + STAYS_AWAY / 2), None, "it may come yet");
        carriers.note([name("pub0"), name("pub1")].into(), begun + STAYS_AWAY);
        let text = carriers.trouble(begun + STAYS_AWAY).unwrap();
        assert!(text.ends_with("on pub0"), "the other is new: {text}");
        let text = carriers.trouble(begun + STAYS_AWAY * 2).unwrap();
        assert!(text.ends_with("on pub0, pub1"), "{text}");
        carriers.note(BTreeSet::new(), begun + STAYS_AWAY * 2);
        assert_eq!(carriers.trouble(begun + STAYS_AWAY * 3), None);
    }
}
