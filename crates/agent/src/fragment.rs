//! What one subsystem of an appliance wants of the kernel, and how the wishes of all become one state.
//!
//! Guarantees: subsystems know nothing of each other; the order of fragments and of slots alone decides the order of
//! rules; two fragments that contradict each other are found, and named, and the first one holds. A set may get elements
//! from several fragments. Contradictions are mistakes of the code, not of a configuration, so tests look for them on
//! every configuration that they have.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeSet, btree_map};
use std::fmt;
use std::net::IpAddr;

use sluice_api::types::{InterfaceAddress, LinkName, MacAddr};
use sluice_sys::model::{Desired, DesiredLink, PolicyEntry, RouteEntry, SysctlKey};
use sluice_sys::nft::{Chain, Hook, Ident, Rule, Set, Table, TableId};

/// The places in an appliance's base chains that rules are put into, in the order of evaluation within each chain.
pub trait Slot: Copy + Ord + 'static {
    /// The base chains. All are there, with rules or without, so that rules come and go alone.
    const CHAINS: &'static [(&'static str, Hook)];

    /// The chain that the slot is in; one of [`Slot::CHAINS`].
    fn chain(self) -> &'static str;
}

/// What one subsystem wants.
#[derive(Clone, Debug)]
pub struct Fragment<S> {
    /// The subsystem, for messages.
    pub name: &'static str,
    /// Interfaces by the name they are to have.
    pub links: BTreeMap<LinkName, DesiredLink>,
    /// Addresses by link.
    pub addresses: BTreeSet<(LinkName, InterfaceAddress)>,
    /// Routes.
    pub routes: BTreeSet<RouteEntry>,
    /// Policy rules.
    pub policy_rules: BTreeSet<PolicyEntry>,
    /// Kernel settings.
    pub sysctls: BTreeMap<SysctlKey, String>,
    /// Whose inside addresses are.
    pub owners: BTreeMap<IpAddr, MacAddr>,
    /// Rules of base chains.
    pub rules: BTreeMap<S, Vec<Rule>>,
    /// Chains that are jumped to, sets, counters, helpers and flowtables.
    pub table: Table,
}

impl<S: Slot> Fragment<S> {
    /// One that wants nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            links: BTreeMap::new(),
            addresses: BTreeSet::new(),
            routes: BTreeSet::new(),
            policy_rules: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            owners: BTreeMap::new(),
            rules: BTreeMap::new(),
            table: Table::default(),
        }
    }

    /// Adds rules to a slot, after those that are in it.
    pub fn rules(&mut self, slot: S, rules: impl IntoIterator<Item = Rule>) {
        self.rules.entry(slot).or_default().extend(rules);
    }

    /// Adds a chain that is jumped to.
    pub fn chain(&mut self, name: Ident, rules: Vec<Rule>) {
        self.table.chains.insert(name, Chain { hook: None, rules });
    }

    /// Adds a set or map.
    pub fn set(&mut self, name: Ident, set: Set) {
        self.table.sets.insert(name, set);
    }
}

/// Two fragments that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The later one.
    pub fragment: &'static str,
    /// What it wants otherwise than the one before.
    pub what: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wants {} otherwise than what came before", self.fragment, self.what)
    }
}

/// One state of all, with what did not fit together.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The state.
    pub desired: Desired,
    /// Contradictions; in it the first wish holds.
    pub conflicts: Vec<Conflict>,
}

/// One state of all fragments, with their rules in the table `id`.
pub fn merge<S: Slot>(id: TableId, fragments: impl IntoIterator<Item = Fragment<S>>) -> Merged {
    let mut merged = Merged { desired: Desired::default(), conflicts: Vec::new() };
    let mut table = Table::default();
    let mut slots: BTreeMap<S, Vec<Rule>> = BTreeMap::new();
    for fragment in fragments {
        merged.kernel(&fragment);
        merged.table(&mut table, fragment.name, fragment.table);
        for (slot, rules) in fragment.rules {
            slots.entry(slot).or_default().extend(rules);
        }
    }
    for (name, hook) in S::CHAINS {
        let own = slots.iter_mut().filter(|(slot, _)| slot.chain() == *name);
        let rules = own.flat_map(|(_, rules)| std::mem::take(rules)).collect();
        let base = Chain { hook: Some(*hook), rules };
        if table.chains.insert(Ident::fixed(name), base).is_some() {
            merged.conflict("the skeleton", format!("chain {name}"));
        }
    }
    merged.desired.tables.insert(id, table);
    merged
}

impl Merged {
    fn conflict(&mut self, fragment: &'static str, what: String) {
        self.conflicts.push(Conflict { fragment, what });
    }

    /// Gives `map` what is new; what is there already must be the same.
    fn put<K: Ord + Clone + fmt::Debug, V: PartialEq>(
        &mut self,
        map: &mut BTreeMap<K, V>,
        fragment: &'static str,
        kind: &str,
        new: impl IntoIterator<Item = (K, V)>,
    ) {
        for (key, value) in new {
            match map.entry(key) {
                Place::Vacant(place) => drop(place.insert(value)),
                Place::Occupied(place) if *place.get() == value => {}
                Place::Occupied(place) => {
                    let what = format!("{kind} {:?}", place.key());
                    self.conflicts.push(Conflict { fragment, what });
                }
            }
        }
    }

    fn kernel<S>(&mut self, fragment: &Fragment<S>) {
        let name = fragment.name;
        let mut links = std::mem::take(&mut self.desired.links);
        self.put(&mut links, name, "link", fragment.links.clone());
        self.desired.links = links;
        let mut sysctls = std::mem::take(&mut self.desired.sysctls);
        self.put(&mut sysctls, name, "setting", fragment.sysctls.clone());
        self.desired.sysctls = sysctls;
        let mut owners = std::mem::take(&mut self.desired.owners);
        self.put(&mut owners, name, "owner of", fragment.owners.clone());
        self.desired.owners = owners;
        self.desired.addresses.extend(fragment.addresses.iter().cloned());
        self.desired.routes.extend(fragment.routes.iter().cloned());
        self.desired.policy_rules.extend(fragment.policy_rules.iter().cloned());
    }

    fn table(&mut self, table: &mut Table, fragment: &'static str, new: Table) {
        self.put(&mut table.chains, fragment, "chain", new.chains);
        self.put(&mut table.helpers, fragment, "helper", new.helpers);
        self.put(&mut table.flowtables, fragment, "flowtable", new.flowtables);
        table.counters.extend(new.counters);
        for (name, set) in new.sets {
            match table.sets.entry(name) {
                btree_map::Entry::Vacant(place) => drop(place.insert(set)),
                btree_map::Entry::Occupied(mut place) => {
                    let what = format!("set {:?}", place.key());
                    let is = place.get_mut();
                    if is.has_form_of(&set) {
                        self.put(
                            &mut is.elements,
                            fragment,
                            &format!("{what}, element"),
                            set.elements,
                        );
                    } else {
                        self.conflict(fragment, what);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_sys::nft::{ChainKind, Element, Expr, HookPoint, Policy, RuleId, SetType, Verdict};

    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Place {
        First,
        Last,
    }

    impl Slot for Place {
        const CHAINS: &'static [(&'static str, Hook)] = &[(
            "filter-input",
            Hook {
                kind: ChainKind::Filter,
                point: HookPoint::Input,
                priority: 0,
                policy: Policy::Drop,
            },
        )];

        fn chain(self) -> &'static str {
            "filter-input"
        }
    }

    fn rule(id: &'static str) -> Rule {
        Rule::verdict(RuleId::fixed(id), [Expr::ToSelf], Verdict::Accept)
    }

    fn links(names: &[&str]) -> Set {
        let names =
            names.iter().map(|name| Element::from([name.parse::<LinkName>().unwrap().into()]));
        Set::of([SetType::Link]).with(names)
    }

    fn id() -> TableId {
        TableId::inet("sluice")
    }

    #[test]
    fn slots_and_then_fragments_give_the_order_of_rules_and_sets_grow() {
        let mut one = Fragment::new("one");
        one.rules(Place::Last, [rule("one/last")]);
        one.rules(Place::First, [rule("one/first")]);
        one.set(Ident::fixed("all-links"), links(&["guest0"]));
        let mut two = Fragment::new("two");
        two.rules(Place::First, [rule("two/first")]);
        two.set(Ident::fixed("all-links"), links(&["guest0", "guest1"]));
        let merged = merge(id(), [one, two]);
        assert_eq!(merged.conflicts, []);
        let table = &merged.desired.tables[&id()];
        let rules = table.chains[&Ident::fixed("filter-input")].rules.iter();
        let order: Vec<_> = rules.map(|rule| rule.id.to_string()).collect();
        assert_eq!(order, ["one/first", "two/first", "one/last"]);
        assert_eq!(table.sets[&Ident::fixed("all-links")], links(&["guest0", "guest1"]));
    }

    #[test]
    fn contradictions_are_named() {
        let mut one = Fragment::<Place>::new("one");
        one.chain(Ident::fixed("a-list"), vec![rule("one/x")]);
        one.set(Ident::fixed("all-links"), links(&[]));
        one.sysctls.insert(SysctlKey::fixed("net.ipv4.ip_forward"), "1".to_owned());
        let mut two = Fragment::new("two");
        two.chain(Ident::fixed("a-list"), vec![]);
        two.chain(Ident::fixed("filter-input"), vec![]);
        two.set(Ident::fixed("all-links"), Set::of([SetType::Ipv4]));
        two.sysctls.insert(SysctlKey::fixed("net.ipv4.ip_forward"), "0".to_owned());
        let merged = merge(id(), [one, two]);
        let said: Vec<_> = merged
            .conflicts
            .iter()
            .map(|conflict| (conflict.fragment, conflict.what.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("two", "setting net.ipv4.ip_forward"),
                ("two", "chain a-list"),
                ("two", "set all-links"),
                ("the skeleton", "chain filter-input"),
            ]
        );
        assert_eq!(merged.desired.sysctls.values().collect::<Vec<_>>(), ["1"]);
    }
}
