//! Counters that begin anew, added up: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluice_api::report::{RuleUse, UsageReport, Used, Volume};
use sluice_sys::nft::{Count, Counters};

use super::gone::Gone;

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

    /// What counters had that are not there any more.
    fn before(self) -> Count {
        Count {
            packets: self.total.packets.saturating_sub(self.last.packets),
            bytes: self.total.bytes.saturating_sub(self.last.bytes),
        }
    }
}

/// What one rule judged. The kernel may have it several times (in several chains, or once for each network), and each of
/// these comes and goes by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Judged {
    /// What those counted that are not there any more.
    before: Count,
    /// By the kernel's number, those that are.
    #[serde(default)]
    there: BTreeMap<u64, Reading>,
    /// How earlier builds kept them: by chain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    chains: BTreeMap<String, Reading>,
}

impl Judged {
    /// What the kernel says now, by its numbers.
    fn take(&mut self, now: &BTreeMap<u64, Count>) {
        for (_, reading) in self.there.extract_if(.., |number, _| !now.contains_key(number)) {
            self.before = sum(self.before, reading.total);
        }
        for (number, count) in now {
            self.there.entry(*number).or_default().take(*count);
        }
    }

    /// What is there is counted anew, each by itself; what was there before is kept.
    fn upgrade(&mut self) {
        for reading in std::mem::take(&mut self.chains).into_values() {
            self.before = sum(self.before, reading.before());
        }
    }

    fn total(&self) -> Count {
        self.there.values().fold(self.before, |all, reading| sum(all, reading.total))
    }
}

fn sum(one: Count, other: Count) -> Count {
    Count {
        packets: one.packets.saturating_add(other.packets),
        bytes: one.bytes.saturating_add(other.bytes),
    }
}

/// How readings of rules were called in files of earlier builds, which added up whatever had a rule's id.
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
    /// Rules and readings that a change took away since everything was written.
    #[serde(skip)]
    left: (BTreeSet<String>, BTreeSet<String>),
}

impl Meter {
    /// What was kept, for the run `boot` of the machine: everything, and what changes took away since, or before.
    pub(super) fn read(kept: &[u8], left: &[u8], boot: &str) -> Self {
        let mut meter = Self::read_one(kept, boot);
        let left = Self::read_one(left, boot);
        // numbers only rise, so the larger one was written later
        for (name, reading) in left.readings {
            let known = meter.readings.entry(name).or_default();
            if is_more(reading.total, known.total) {
                *known = reading;
            }
        }
        for (rule, judged) in left.rules {
            let known = meter.rules.entry(rule).or_default();
            if is_more(judged.total(), known.total()) {
                *known = judged;
            }
        }
        meter
    }

    fn read_one(kept: &[u8], boot: &str) -> Self {
        let mut meter: Self = serde_json::from_slice(kept).unwrap_or_default();
        if meter.boot != boot {
            boot.clone_into(&mut meter.boot);
            let of_rules = meter.rules.values_mut();
            let of_rules =
                of_rules.flat_map(|rule| rule.there.values_mut().chain(rule.chains.values_mut()));
            for reading in meter.readings.values_mut().chain(of_rules) {
                reading.last = Count::default();
            }
        }
        meter.upgrade();
        meter
    }

    /// Files of earlier builds go on.
    fn upgrade(&mut self) {
        let (old, readings): (BTreeMap<_, _>, _) = std::mem::take(&mut self.readings)
            .into_iter()
            .partition(|(name, _): &(String, Reading)| name.starts_with(ADDED_UP));
        self.readings = readings;
        for (name, reading) in old {
            let rule = name.trim_start_matches(ADDED_UP).to_owned();
            self.rules.insert(rule, Judged { before: reading.before(), ..Judged::default() });
        }
        for rule in self.rules.values_mut() {
            rule.upgrade();
        }
    }

    /// As it is kept.
    pub(super) fn write(&mut self) -> Vec<u8> {
        self.left = (BTreeSet::new(), BTreeSet::new());
        // writing maps of numbers to memory cannot fail
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Of it what changes took away since everything was written: costs what they did.
    pub(super) fn write_left(&self) -> Vec<u8> {
        let (rules, readings) = &self.left;
        let rules = rules.iter().filter_map(|rule| self.rules.get_key_value(rule));
        let readings = readings.iter().filter_map(|name| self.readings.get_key_value(name));
        let left = Self {
            boot: self.boot.clone(),
            rules: rules.map(|(rule, judged)| (rule.clone(), judged.clone())).collect(),
            readings: readings.map(|(name, reading)| (name.clone(), *reading)).collect(),
            ..Self::default()
        };
        serde_json::to_vec(&left).unwrap_or_default()
    }

    /// Takes what the kernel said while `gone` went: of that what was read last counts, since nobody knows whether the kernel
    /// was read before or after it went.
    pub(super) fn take_but(&mut self, mut rules: Counters, mut usage: Counters, gone: &Gone) {
        for (rule, number) in &gone.rules {
            let judged = self.rules.get(rule).and_then(|judged| judged.there.get(number));
            let last = judged.map(|reading| reading.last).unwrap_or_default();
            rules.each.insert((rule.clone(), *number), last);
        }
        for (set, id) in &gone.elements {
            let last = self.readings.get(&format!("{set}/{id}")).map(|reading| reading.last);
            usage.elements.insert((set.clone(), id.clone()), last.unwrap_or_default());
        }
        self.take(&rules, &usage);
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

    /// Takes what goes with the next change of rules; what stays is not among it.
    pub(super) fn take_leaving(&mut self, rules: &Counters, usage: &Counters) {
        for ((rule, number), count) in &rules.each {
            let judged = self.rules.entry(rule.clone()).or_default();
            judged.there.entry(*number).or_default().take(*count);
            self.left.0.insert(rule.clone());
        }
        for ((set, id), count) in &usage.elements {
            let name = format!("{set}/{id}");
            self.readings.entry(name.clone()).or_default().take(*count);
            self.left.1.insert(name);
        }
    }

    fn take_rules(&mut self, rules: &Counters) {
        let mut now: BTreeMap<&str, BTreeMap<u64, Count>> = BTreeMap::new();
        for ((rule, number), count) in &rules.each {
            now.entry(rule).or_default().insert(*number, *count);
        }
        for (rule, judged) in &mut self.rules {
            judged.take(&now.remove(rule.as_str()).unwrap_or_default());
        }
        for (rule, there) in now {
            self.rules.entry(rule.to_owned()).or_default().take(&there);
        }
    }

    fn forget(&mut self) {
        let gone = self.readings.keys().filter(|name| !self.present.contains(*name));
        for name in too_many(gone.cloned().collect()) {
            self.readings.remove(&name);
        }
        let gone = self.rules.iter().filter(|(_, judged)| judged.there.is_empty());
        for rule in too_many(gone.map(|(rule, _)| rule.clone()).collect()) {
            self.rules.remove(&rule);
        }
    }

    /// What is there now.
    pub(super) fn report(&self) -> UsageReport {
        let mut report = UsageReport::default();
        let there = self.rules.iter().filter(|(_, judged)| !judged.there.is_empty());
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
                "address" | "address-v6" => report.addresses.push(used),
                "network" => report.networks.push(used),
                _ => report.forwards.push(used),
            }
        }
        report
    }
}

fn is_more(one: Count, other: Count) -> bool {
    (one.packets, one.bytes) > (other.packets, other.bytes)
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

    fn rules(all: &[(u64, &str, u64)]) -> Counters {
        let each = all.iter();
        let each =
            each.map(|(number, rule, packets)| (((*rule).to_owned(), *number), count(*packets)));
        Counters { each: each.collect(), ..Counters::default() }
    }

    fn usage(all: &[(&str, &str, u64)]) -> Counters {
        let elements = all.iter();
        let elements = elements
            .map(|(set, id, packets)| (((*set).to_owned(), (*id).to_owned()), count(*packets)));
        Counters { elements: elements.collect(), ..Counters::default() }
    }

    #[test]
    fn counters_that_begin_anew_go_on() {
        let mut meter = Meter::read(b"", b"", "one");
        let of = |meter: &Meter| meter.report().rules[0].judged.packets;
        meter.take(&rules(&[(1, "firewall/fw-1", 5), (2, "firewall/fw-1", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 7);
        // replaced, and counted three since
        meter.take(&rules(&[(1, "firewall/fw-1", 3)]), &usage(&[]));
        assert_eq!(of(&meter), 10);
        // gone, and back
        meter.take(&rules(&[]), &usage(&[]));
        assert_eq!(meter.report().rules, []);
        meter.take(&rules(&[(1, "firewall/fw-1", 4)]), &usage(&[]));
        assert_eq!(of(&meter), 14);
        // another agent of the same run, then after a start of the machine
        let mut meter = Meter::read(&meter.write(), b"", "one");
        meter.take(&rules(&[(1, "firewall/fw-1", 6)]), &usage(&[]));
        assert_eq!(of(&meter), 16);
        let mut meter = Meter::read(&meter.write(), b"", "two");
        meter.take(&rules(&[(1, "firewall/fw-1", 6)]), &usage(&[]));
        assert_eq!(of(&meter), 22);
    }

    #[test]
    fn what_the_kernel_has_several_times_is_counted_each_by_itself() {
        let mut meter = Meter::read(b"", b"", "one");
        let of = |meter: &Meter| meter.report().rules[0].judged.packets;
        meter.take(&rules(&[(1, "acl/l/r", 5), (2, "acl/l/r", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 7);
        // one is replaced, and its successor counted more than it had; the other goes on
        meter.take(&rules(&[(3, "acl/l/r", 6), (2, "acl/l/r", 2)]), &usage(&[]));
        assert_eq!(of(&meter), 13);
        // one of them goes: what is left did not begin anew
        meter.take(&rules(&[(2, "acl/l/r", 3)]), &usage(&[]));
        assert_eq!(of(&meter), 14);
        // a table that is built anew gives the same numbers again
        meter.take(&rules(&[(2, "acl/l/r", 1)]), &usage(&[]));
        assert_eq!(of(&meter), 15);
    }

    #[test]
    fn what_goes_is_taken_before_it_does_and_what_stays_is_not_touched() {
        let mut meter = Meter::read(b"", b"", "one");
        let of = |meter: &Meter, place: usize| meter.report().rules[place].judged.packets;
        meter.take(
            &rules(&[(1, "acl/l/r", 5), (2, "acl/l/r", 2), (3, "acl/l/s", 1)]),
            &usage(&[("forward-sent", "pf-1", 3)]),
        );
        // it counted two more by then, and another one that nobody had looked at was there
        meter.take_leaving(
            &rules(&[(1, "acl/l/r", 7), (4, "acl/l/t", 9)]),
            &usage(&[("forward-sent", "pf-1", 4)]),
        );
        let mut meter = Meter::read(&meter.write(), b"", "one");
        meter.take(
            &rules(&[(5, "acl/l/r", 1), (2, "acl/l/r", 2), (3, "acl/l/s", 1), (6, "acl/l/t", 1)]),
            &usage(&[("forward-sent", "pf-1", 1)]),
        );
        assert_eq!([of(&meter, 0), of(&meter, 1), of(&meter, 2)], [10, 1, 10]);
        assert_eq!(meter.report().forwards[0].sent.packets, 5);
    }

    #[test]
    fn what_left_since_everything_was_written_is_kept_beside_it() {
        let mut meter = Meter::read(b"", b"", "one");
        let of = |meter: &Meter, rule: &str| meter.rules[rule].total().packets;
        let all = [(1, "acl/l/r", 5), (2, "acl/l/s", 2)];
        meter.take(
            &rules(&all),
            &usage(&[("forward-sent", "pf-1", 3), ("forward-sent", "pf-2", 3)]),
        );
        let early = meter.write_left();
        let kept = meter.write();
        meter.take_leaving(&rules(&[(1, "acl/l/r", 7)]), &usage(&[("forward-sent", "pf-1", 4)]));
        let left = meter.write_left();
        assert!(!String::from_utf8_lossy(&left).contains("pf-2"), "no more than what left");
        let again = Meter::read(&kept, &left, "one");
        assert_eq!((of(&again, "acl/l/r"), of(&again, "acl/l/s")), (7, 2));
        assert_eq!(again.readings["forward-sent/pf-1"].total, count(4));
        assert_eq!(again.readings["forward-sent/pf-2"].total, count(3));
        // everything was written after it: what is older takes nothing back
        meter.take(&rules(&[(2, "acl/l/s", 9)]), &usage(&[("forward-sent", "pf-1", 1)]));
        let kept = meter.write();
        for left in [left, early] {
            let again = Meter::read(&kept, &left, "one");
            assert_eq!((of(&again, "acl/l/r"), of(&again, "acl/l/s")), (7, 9));
            assert_eq!(again.readings["forward-sent/pf-1"].total, count(5));
        }
    }

    #[test]
    fn what_goes_while_the_kernel_is_read_is_not_counted_twice() {
        let of = |meter: &Meter| {
            let report = meter.report();
            [report.rules[0].judged.packets, report.forwards[0].sent.packets]
        };
        let element = |packets| usage(&[("forward-sent", "pf-1", packets)]);
        // read before it went or after, gone for good, back with a count of its own, or never gone since the change failed
        for (read, after) in [(5, None), (0, None), (6, Some(2)), (0, Some(2)), (5, Some(8))] {
            let mut meter = Meter::read(b"", b"", "one");
            meter.take(&rules(&[(1, "acl/l/r", 4)]), &element(4));
            let mut gone = Gone::default();
            let (rule, one) = (rules(&[(1, "acl/l/r", 7)]), element(7));
            meter.take_leaving(&rule, &one);
            gone.note(&rule, &one);
            meter.take_but(rules(&[(1, "acl/l/r", read)]), element(read), &gone);
            assert_eq!(of(&meter), [7, 7], "{read}");
            let Some(after) = after else { continue };
            meter.take(&rules(&[(1, "acl/l/r", after)]), &element(after));
            let whole = if after < 7 { 7 + after } else { after };
            assert_eq!(of(&meter), [whole, whole], "{read}, {after}");
        }
    }

    #[test]
    fn what_an_earlier_build_kept_goes_on() {
        // 9 in all, of which the counters that are there had 7
        let kept = br#"{"boot":"one","readings":{"rule/firewall/fw-1":
            {"total":{"packets":9,"bytes":900},"last":{"packets":7,"bytes":700}}}}"#;
        let now = rules(&[(1, "firewall/fw-1", 6), (2, "firewall/fw-1", 2)]);
        let mut meter = Meter::read(kept, b"", "one");
        assert_eq!(meter.report().rules, []);
        meter.take(&now, &usage(&[]));
        assert_eq!(meter.report().rules[0].judged.packets, 10);
        let mut meter = Meter::read(kept, b"", "two");
        meter.take(&now, &usage(&[]));
        assert_eq!(meter.report().rules[0].judged.packets, 17);
        // those after them kept each chain by itself
        let kept = br#"{"boot":"one","readings":{},"rules":{"firewall/fw-1":{"before":{"packets":2,"bytes":200},
            "chains":{"fw-a":{"total":{"packets":9,"bytes":900},"last":{"packets":7,"bytes":700}}}}}}"#;
        let mut meter = Meter::read(kept, b"", "one");
        meter.take(&now, &usage(&[]));
        assert_eq!(meter.report().rules[0].judged.packets, 12);
    }

    #[test]
    fn both_ways_of_a_thing_are_told_together() {
        let mut meter = Meter::read(b"", b"", "one");
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
            let mut meter = Meter::read(b"", b"", "one");
            let mut before = 0;
            for reading in readings {
                let all: Vec<_> = reading.iter().map(|it| (1, "acl/l/r", *it)).collect();
                meter.take(&rules(&all), &usage(&[]));
                meter = Meter { present: meter.present.clone(), ..Meter::read(&meter.write(), b"", "one") };
                if reading.is_some() {
                    let now = meter.report().rules[0].judged.packets;
                    prop_assert!(now >= before);
                    before = now;
                }
            }
        }
    }
}
