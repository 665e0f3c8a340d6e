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

/// What one rule judged: a rule may stand in several chains, and one of them may be replaced alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Judged {
    /// What it counted in chains that it is not in any more.
    before: Count,
    /// By chain, where it is.
    chains: BTreeMap<String, Reading>,
}

impl Judged {
    /// What the kernel says now, by chain.
    fn take(&mut self, now: &BTreeMap<&str, Count>) {
        let is_gone = |chain: &String| !now.contains_key(chain.as_str());
        let gone: Vec<String> =
            self.chains.keys().filter(|chain| is_gone(chain)).cloned().collect();
        for reading in gone.iter().filter_map(|chain| self.chains.remove(chain)) {
            self.before = sum(self.before, reading.total);
        }
        for (chain, count) in now {
            self.chains.entry((*chain).to_owned()).or_default().take(*count);
        }
    }

    fn total(&self) -> Count {
        self.chains.values().fold(self.before, |all, reading| sum(all, reading.total))
    }
}

fn sum(one: Count, other: Count) -> Count {
    Count {
        packets: one.packets.saturating_add(other.packets),
        bytes: one.bytes.saturating_add(other.bytes),
    }
}

/// How readings of rules were called in files of earlier builds, which added up a rule's chains.
const ADDED_UP: &str = "rule/";

/// All counters, by what they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meter {
    /// The run of the machine that each `last` is of.
    boot: String,
    /// Of the table of usage, by `SET/ID`.
    readings: BTreeMap<String, Reading>,
    /// By rule id.
    #[serde(default)]
    rules: BTreeMap<String, Judged>,
    /// Those of `readings` that were there at the last look.
    #[serde(skip)]
    present: BTreeSet<String>,
}

impl Meter {
    /// What was kept, for the run `boot` of the machine.
    pub(super) fn read(kept: &[u8], boot: &str) -> Self {
        let mut meter: Self = serde_json::from_slice(kept).unwrap_or_default();
        if meter.boot != boot {
            boot.clone_into(&mut meter.boot);
            let of_rules = meter.rules.values_mut().flat_map(|rule| rule.chains.values_mut());
            for reading in meter.readings.values_mut().chain(of_rules) {
                reading.last = Count::default();
            }
        }
        meter.upgrade();
        meter
    }

    /// What is there is counted anew by chain; what was there before is kept.
    fn upgrade(&mut self) {
        let (old, readings) = std::mem::take(&mut self.readings)
            .into_iter()
            .partition(|(name, _)| name.starts_with(ADDED_UP));
        self.readings = readings;
        let old: BTreeMap<String, Reading> = old;
        for (name, Reading { total, last }) in old {
            let rule = name.trim_start_matches(ADDED_UP).to_owned();
            let before = Count {
                packets: total.packets.saturating_sub(last.packets),
                bytes: total.bytes.saturating_sub(last.bytes),
            };
            self.rules.insert(rule, Judged { before, chains: BTreeMap::new() });
        }
    }

    /// As it is kept.
    pub(super) fn write(&self) -> Vec<u8> {
        // writing maps of numbers to memory cannot fail
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes what the kernel says now: of the rules, and of the table of usage.
    pub(super) fn take(&mut self, rules: &Counters, usage: &Counters) {
        self.take_rules(rules);
        let now = usage.elements.iter().map(|((set, id), count)| (format!("{set}/{id}"), *count));
        let now: BTreeMap<String, Count> = now.collect();
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

    fn take_rules(&mut self, rules: &Counters) {
        let mut now: BTreeMap<&str, BTreeMap<&str, Count>> = BTreeMap::new();
        for ((chain, rule), count) in &rules.rules {
            now.entry(rule).or_default().insert(chain, *count);
        }
        for (rule, judged) in &mut self.rules {
            judged.take(&now.remove(rule.as_str()).unwrap_or_default());
        }
        for (rule, chains) in now {
            self.rules.entry(rule.to_owned()).or_default().take(&chains);
        }
    }

    fn forget(&mut self) {
        let gone = self.readings.keys().filter(|name| !self.present.contains(*name));
        for name in too_many(gone.cloned().collect()) {
            self.readings.remove(&name);
        }
        let gone = self.rules.iter().filter(|(_, judged)| judged.chains.is_empty());
        for rule in too_many(gone.map(|(rule, _)| rule.clone()).collect()) {
            self.rules.remove(&rule);
        }
    }

    /// What is there now.
    pub(super) fn report(&self) -> UsageReport {
        let mut report = UsageReport::default();
        let there = self.rules.iter().filter(|(_, judged)| !judged.chains.is_empty());
        report.rules = there
            .map(|(rule, judged)| RuleUse { rule: rule.clone(), judged: volume(judged.total()) })
            .collect();
        let mut used: BTreeMap<(&str, &str), Used> = BTreeMap::new();
        let there = self.readings.iter().filter(|(name, _)| self.present.contains(*name));
        for (name, reading) in there {
            let Some((set, id)) = name.split_once('/') else { continue };
            let Some((kind, way)) = set.rsplit_once('-') else { continue };
            let entry = used.entry((kind, id)).or_default();
            id.clone_into(&mut entry.name);
            match way {
                "received" => entry.received = volume(reading.total),
                _ => entry.sent = volume(reading.total),
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

fn volume(count: Count) -> Volume {
    Volume { packets: count.packets, bytes: count.bytes }
}

/// Those of what is gone that are beyond what is kept.
fn too_many(gone: Vec<String>) -> impl Iterator<Item = String> {
    let many = gone.len().saturating_sub(RETIRED);
    gone.into_iter().take(many)
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
    fn a_rule_of_several_chains_is_counted_in_each_by_itself() {
        let mut meter = Meter::read(b"", "one");
        let of = |meter: &Meter| meter.report().rules[0].judged.packets;
        meter.take(&rules(&[("a", "acl/l/r", 5), ("b", "acl/l/r", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 7);
        // one copy is replaced, and counted one since; the other goes on
        meter.take(&rules(&[("a", "acl/l/r", 1), ("b", "acl/l/r", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 8);
        // one is gone, another is new
        meter.take(&rules(&[("b", "acl/l/r", 3), ("c", "acl/l/r", 4)]), &usage(&[]));
        assert_eq!(of(&meter), 13);
        // the one that was gone is back and begins anew
        meter.take(&rules(&[("a", "acl/l/r", 6), ("b", "acl/l/r", 3)]), &usage(&[]));
        assert_eq!(of(&meter), 19);
    }

    #[test]
    fn what_an_earlier_build_kept_goes_on() {
        // 9 in all, of which the counters that are there had 7
        let kept = br#"{"boot":"one","readings":{"rule/firewall/fw-1":
            {"total":{"packets":9,"bytes":900},"last":{"packets":7,"bytes":700}}}}"#;
        let now = rules(&[("a", "firewall/fw-1", 6), ("b", "firewall/fw-1", 2)]);
        let mut meter = Meter::read(kept, "one");
        assert_eq!(meter.report().rules, []);
        meter.take(&now, &usage(&[]));
        assert_eq!(meter.report().rules[0].judged.packets, 10);
        let mut meter = Meter::read(kept, "two");
        meter.take(&now, &usage(&[]));
        assert_eq!(meter.report().rules[0].judged.packets, 17);
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
