//! Port forwards as elements of sets and maps: those that translate and those that count.
//!
//! Guarantees: the same whatever was asked for before. What was made last is remembered, so that one forward more or less
//! beside a hundred thousand costs a comparison and what it is, and shares all other elements with what was made before.
//! Not here: whom a forward is for, which is the firewall's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sluice_api::config::PortForward;
use sluice_api::types::{Port, PortRange};
use sluice_sys::nft::{Element, ElementValue, Entry, RuleId, Span};

use super::policy::l4;

/// Fewer are made anew each time.
const MANY: usize = 1000;

pub(super) type Entries = BTreeMap<Element, Entry>;

/// What there is of the four kinds of elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Four<T> {
    /// To another address and port: of a range that moves to other ports, each port.
    pub(super) moved: T,
    /// To another address: a range that keeps its ports.
    pub(super) kept: T,
    /// Counted, of one port.
    pub(super) counted: T,
    /// Counted, of several.
    pub(super) counted_ranges: T,
}

#[derive(Clone, Copy)]
enum Kind {
    Moved,
    Kept,
    Counted,
    CountedRanges,
}

impl<T> Four<T> {
    fn of_kind(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Moved => &mut self.moved,
            Kind::Kept => &mut self.kept,
            Kind::Counted => &mut self.counted,
            Kind::CountedRanges => &mut self.counted_ranges,
        }
    }
}

/// Elements, what they are of, and whether each is of one forward alone, as the check wants it.
#[derive(Default)]
struct Made {
    of: Vec<PortForward>,
    elements: Arc<Four<Entries>>,
    each_once: bool,
}

/// What was made last.
static LAST: Mutex<Option<Made>> = Mutex::new(None);

/// The elements of all forwards.
pub(super) fn elements(forwards: &[PortForward]) -> Arc<Four<Entries>> {
    if forwards.len() < MANY {
        return Made::of(forwards).elements;
    }
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut made = last.take().unwrap_or_default();
    if !made.follow(forwards) {
        made = Made::of(forwards);
    }
    let elements = Arc::clone(&made.elements);
    *last = Some(made);
    elements
}

impl Made {
    fn of(forwards: &[PortForward]) -> Self {
        let mut lists = Four::<Vec<(Element, Entry)>>::default();
        for forward in forwards {
            pieces(forward, |kind, key, entry| lists.of_kind(kind).push((key, entry)));
        }
        let Four { moved, kept, counted, counted_ranges } = lists;
        let pieces = moved.len() + kept.len() + counted.len() + counted_ranges.len();
        // sorted and put together at once, which costs much less than one by one
        let together = |list: Vec<(Element, Entry)>| list.into_iter().collect::<Entries>();
        let elements = Four {
            moved: together(moved),
            kept: together(kept),
            counted: together(counted),
            counted_ranges: together(counted_ranges),
        };
        let Four { moved, kept, counted, counted_ranges } = &elements;
        let each_once = pieces == moved.len() + kept.len() + counted.len() + counted_ranges.len();
        let of = if forwards.len() < MANY { Vec::new() } else { forwards.to_vec() };
        Self { of, elements: Arc::new(elements), each_once }
    }

    /// Becomes what is made of `now`; false when that is better made anew.
    fn follow(&mut self, now: &[PortForward]) -> bool {
        let same = |(one, other): &(&PortForward, &PortForward)| one == other;
        let start = self.of.iter().zip(now).take_while(same).count();
        let (was, is) = (self.of.get(start..), now.get(start..));
        let (was, is) = (was.unwrap_or_default(), is.unwrap_or_default());
        let end = was.iter().rev().zip(is.iter().rev()).take_while(same).count();
        let gone = was.get(..was.len() - end).unwrap_or_default();
        let new = is.get(..is.len() - end).unwrap_or_default();
        if !self.each_once || (gone.len() + new.len()) * 4 > now.len() {
            return false;
        }
        if gone.is_empty() && new.is_empty() {
            return true;
        }
        let elements = Arc::make_mut(&mut self.elements);
        for forward in gone {
            pieces(forward, |kind, key, _| drop(elements.of_kind(kind).remove(&key)));
        }
        let mut each_once = true;
        for forward in new {
            pieces(forward, |kind, key, entry| {
                each_once &= elements.of_kind(kind).insert(key, entry).is_none();
            });
        }
        let place = start..start + gone.len();
        drop(self.of.splice(place, new.iter().cloned()));
        self.each_once = each_once;
        each_once
    }
}

/// The elements of one forward; the one that counts shares its key with the one that translates.
fn pieces(rule: &PortForward, mut add: impl FnMut(Kind, Element, Entry)) {
    let id = RuleId::of("forward", &rule.id);
    let whole = key(rule, Span::new(rule.ports.first().get(), rule.ports.last().get()));
    if is_kept(rule) {
        add(Kind::Kept, whole.clone(), Entry::of([rule.guest.into()], id));
    } else {
        for (public, guest) in pairs(rule.ports, rule.guest_port) {
            let one = rule.ports.len() == 1;
            let key = if one { whole.clone() } else { key(rule, Span::from(public.get())) };
            add(Kind::Moved, key, Entry::of([rule.guest.into(), guest.into()], id.clone()));
        }
    }
    let kind = if rule.ports.len() > 1 { Kind::CountedRanges } else { Kind::Counted };
    let id = RuleId::try_from(rule.id.to_string()).ok();
    add(kind, whole, Entry { value: Element::default(), id });
}

fn key(rule: &PortForward, ports: Span<u16>) -> Element {
    [rule.public.into(), l4(rule.protocol).into(), ElementValue::Port(ports)].into()
}

/// A range that keeps its ports is one element; a port, or a range that moves, one per port.
fn is_kept(rule: &PortForward) -> bool {
    rule.ports.len() > 1 && rule.guest_port.is_none_or(|first| first == rule.ports.first())
}

/// Public ports with the guest's, in order.
fn pairs(ports: PortRange, guest: Option<Port>) -> impl Iterator<Item = (Port, Port)> {
    let start = guest.unwrap_or(ports.first()).get();
    (0..ports.len()).filter_map(move |offset| {
        let port = |first: u16| Port::try_from(u64::from(first) + u64::from(offset)).ok();
        // the check refuses ranges that go beyond the last port
        Some((port(ports.first().get())?, port(start)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn forward((number, guest, first, more): (u8, u8, u64, u64)) -> PortForward {
        serde_json::from_value(json!({
            "id": format!("pf-{number}"), "public": "198.51.100.11", "protocol": "tcp",
            "ports": if more == 0 { first.to_string() } else { format!("{first}-{}", first + more) },
            "network": "net-1", "guest": format!("10.1.1.{guest}"),
            "guest_port": if guest % 2 == 0 { json!(first) } else { json!(first + 1) },
        }))
        .unwrap()
    }

    fn forwards() -> impl Strategy<Value = Vec<PortForward>> {
        let one = (any::<u8>(), any::<u8>(), 1..5_000_u64, 0..3_u64).prop_map(forward);
        prop::collection::vec(one, 0..60)
    }

    /// What a person does to a list.
    fn edits() -> impl Strategy<Value = Vec<(bool, prop::sample::Index, Vec<PortForward>)>> {
        let some = forwards().prop_map(|mut some| {
            some.truncate(3);
            some
        });
        prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), some), 1..8)
    }

    fn made(forwards: &[PortForward]) -> Made {
        Made { of: forwards.to_vec(), ..Made::of(forwards) }
    }

    proptest! {
        #[test]
        fn what_follows_a_change_is_what_is_made_anew(first in forwards(), edits in edits()) {
            let mut list = first;
            let mut known = made(&list);
            let mut followed = 0;
            for (removes, place, some) in edits {
                let place = place.index(list.len() + 1);
                if removes && place < list.len() {
                    list.remove(place);
                }
                let place = place.min(list.len());
                list.splice(place..place, some);
                if known.follow(&list) {
                    followed += 1;
                    prop_assert_eq!(&known.of, &list);
                } else {
                    known = made(&list);
                }
                prop_assert_eq!(&*known.elements, &*Made::of(&list).elements);
            }
            prop_assert!(followed <= 8);
        }
    }

    #[test]
    fn one_change_beside_many_is_followed_and_shares_the_rest() {
        let mut list: Vec<_> = (0..200).map(|n| forward((7, 1, 10 + n, 0))).collect();
        let mut known = made(&list);
        let before = Arc::clone(&known.elements);
        list[50] = forward((8, 3, 7_000, 0));
        list.remove(50);
        assert!(known.follow(&list));
        let shared = known.elements.moved.keys().filter(|key| {
            before.moved.get_key_value(*key).is_some_and(|(old, _)| Arc::ptr_eq(&old.0, &key.0))
        });
        assert_eq!((shared.count(), known.elements.moved.len()), (199, 199));
        // one that takes another's port is no configuration, and nothing is made of what was before
        list.push(forward((9, 3, 10, 0)));
        assert!(!known.follow(&list));
    }

    #[test]
    fn many_are_the_same_however_they_came() {
        let many: Vec<_> = (0..2_000).map(|n| forward((1, 1, 1 + n, 0))).collect();
        for list in [&many[..], &many[..1_999], &many[1..], &many[..]] {
            assert_eq!(*elements(list), *Made::of(list).elements);
        }
    }
}
