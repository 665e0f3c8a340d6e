//! Counters that begin anew, added up: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluice_api::report::{RuleUse, UsageReport, Used, Volume};
use sluice_sys::nft::{Count, Counters};

/// Most numbers that are kept of what is not there any more.
const RETIRED: usize = 10_000;

/// What a counter came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    /// Everything.
    total: Count,
    /// What the kernel said last.
    last: Count,
}

impl Reading {
    /// A counter that went back began anew.
    fn take(&mut self, now: Count) {
        let anew = now.packets < self.last.packets || now.bytes < self.last.bytes;
        let before = if anew { Count::default() } else { self.last };
        self.total.packets = self.total.packets.saturating_add(now.packets - before.packets);
        self.total.bytes = self.total.bytes.saturating_add(now.bytes - before.bytes);
        self.last = now;
    }
}

/// All counters, by what they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meter {
    /// The run of the machine that `last` is of.
    boot: String,
    /// By `SET/ID`, and `rule/ID`.
    readings: BTreeMap<String, Reading>,
    /// Those that were there at the last look.
    #[serde(skip)]
    present: BTreeSet<String>,
}

impl Meter {
    /// What was kept, for the run `boot` of the machine.
    pub(super) fn read(kept: &[u8], boot: &str) -> Self {
        let mut meter: Self = serde_json::from_slice(kept).unwrap_or_default();
        if meter.boot != boot {
            boot.clone_into(&mut meter.boot);
            for reading in meter.readings.values_mut() {
                reading.last = Count::default();
            }
        }
        meter
    }

    /// As it is kept.
    pub(super) fn write(&self) -> Vec<u8> {
        // writing maps of numbers to memory cannot fail
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes what the kernel says now: of the rules, and of the table of usage.
    pub(super) fn take(&mut self, rules: &Counters, usage: &Counters) {
        let mut now: BTreeMap<String, Count> = BTreeMap::new();
        for ((_, rule), count) in &rules.rules {
            let sum = now.entry(format!("rule/{rule}")).or_default();
            sum.packets = sum.packets.saturating_add(count.packets);
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
        for ((set, id), count) in &usage.elements {
            now.insert(format!("{set}/{id}"), *count);
        }
        self.present = now.keys().cloned().collect();
        for (name, reading) in &mut self.readings {
            if !now.contains_key(name) {
                // when it comes back it begins anew
                reading.last = Count::default();
            }
        }
        for (name, count) in now {
            self.readings.entry(name).or_default().take(count);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let gone = self.readings.keys().filter(|name| !self.present.contains(*name));
        let gone: Vec<String> = gone.cloned().collect();
        let many = gone.len().saturating_sub(RETIRED);
        for name in gone.iter().take(many) {
            self.readings.remove(name);
        }
    }

    /// What is there now.
    pub(super) fn report(&self) -> UsageReport {
        let mut report = UsageReport::default();
        let mut used: BTreeMap<(&str, &str), Used> = BTreeMap::new();
        let there = self.readings.iter().filter(|(name, _)| self.present.contains(*name));
        for (name, Reading { total, .. }) in there {
            let judged = Volume { packets: total.packets, bytes: total.bytes };
            let Some((set, id)) = name.split_once('/') else { continue };
            let Some((kind, way)) = set.rsplit_once('-') else {
                report.rules.push(RuleUse { rule: id.to_owned(), judged });
                continue;
            };
            let entry = used.entry((kind, id)).or_default();
            id.clone_into(&mut entry.name);
            match way {
                "received" => entry.received = judged,
                _ => entry.sent = judged,
            }
        }
        for ((kind, _), used) in used {
            match kind {
                "address" => report.addresses.push(used),
                "network" => report.networks.push(used),
                _ => report.forwards.push(used),
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(packets: u64) -> Count {
        Count { packets, bytes: packets * 100 }
    }

    fn rules(all: &[(&str, &str, u64)]) -> Counters {
        let each = all.iter().map(|(chain, rule, packets)| {
            (((*chain).to_owned(), (*rule).to_owned()), count(*packets))
        });
        Counters { rules: each.collect(), ..Counters::default() }
    }

    fn usage(all: &[(&str, &str, u64)]) -> Counters {
        Counters { elements: rules(all).rules, ..Counters::default() }
    }

    #[test]
    fn counters_that_begin_anew_go_on() {
        let mut meter = Meter::read(b"", "one");
        let of = |meter: &Meter| meter.report().rules[0].judged.packets;
        meter.take(&rules(&[("a", "firewall/fw-1", 5), ("b", "firewall/fw-1", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 7);
        // replaced, and counted three since
        meter.take(&rules(&[("a", "firewall/fw-1", 3)]), &usage(&[]));
        assert_eq!(of(&meter), 10);
        // gone, and back
        meter.take(&rules(&[]), &usage(&[]));
        assert_eq!(meter.report().rules, []);
        meter.take(&rules(&[("a", "firewall/fw-1", 4)]), &usage(&[]));
        assert_eq!(of(&meter), 14);
        // another agent of the same run, then after a start of the machine
        let mut meter = Meter::read(&meter.write(), "one");
        meter.take(&rules(&[("a", "firewall/fw-1", 6)]), &usage(&[]));
        assert_eq!(of(&meter), 16);
        let mut meter = Meter::read(&meter.write(), "two");
        meter.take(&rules(&[("a", "firewall/fw-1", 6)]), &usage(&[]));
        assert_eq!(of(&meter), 22);
    }

    #[test]
    fn both_ways_of_a_thing_are_told_together() {
        let mut meter = Meter::read(b"", "one");
        let all = [
            ("address-received", "198.51.100.10", 1),
            ("address-sent", "198.51.100.10", 2),
            ("network-sent", "n-1", 3),
            ("forward-received", "pf-1", 4),
            ("forwards-received", "pf-2", 5),
        ];
        meter.take(&Counters::default(), &usage(&all));
        let report = meter.report();
        assert_eq!(report.addresses[0].received.packets, 1);
        assert_eq!(report.addresses[0].sent.bytes, 200);
        assert_eq!((report.networks[0].name.as_str(), report.networks[0].sent.packets), ("n-1", 3));
        let forwards: Vec<_> = report.forwards.iter().map(|used| used.name.as_str()).collect();
        assert_eq!(forwards, ["pf-1", "pf-2"]);
    }

    proptest! {
        #[test]
        fn no_number_ever_falls(readings in prop::collection::vec(prop::option::of(0_u64..50), 1..40)) {
            let mut meter = Meter::read(b"", "one");
            let mut before = 0;
            for reading in readings {
                let all: Vec<_> = reading.iter().map(|it| ("a", "acl/l/r", *it)).collect();
                meter.take(&rules(&all), &usage(&[]));
                meter = Meter { present: meter.present.clone(), ..Meter::read(&meter.write(), "one") };
                if reading.is_some() {
                    let now = meter.report().rules[0].judged.packets;
                    prop_assert!(now >= before);
                    before = now;
                }
            }
        }
    }
}
