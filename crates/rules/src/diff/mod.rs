//! From what is to what should be: the smallest script, one kernel transaction.
//!
//! Cost follows the change: elements come and go one by one, and so do the rules of a chain; everything else keeps its
//! place, its handle and its counters. Only a base chain with another hook, a set of another form or a helper for another
//! protocol makes the table be built anew, within the same transaction.

mod apply;
mod chain;
mod render;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluice_api::types::LinkName;

use crate::observe::{ObjectKey, objects};
use crate::{
    Element, Entry, Hook, Ident, Object, ObjectKind, ObservedSet, ObservedTable, ObservedTables,
    Rule, Set, Table, TableId,
};

pub use apply::Refused;

/// One nft transaction over all our tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Changes in order of execution.
    pub changes: Vec<(TableId, Change)>,
    /// Chains, sets and maps that stay as they are.
    pub unchanged: u64,
}

/// One change within a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Removes the table with all that is in it, if it is there.
    DeleteTable,
    /// Makes an empty table.
    CreateTable,
    /// Makes a set or map.
    CreateSet {
        /// Its name.
        name: Ident,
        /// Its form; it has no elements yet.
        form: Set,
    },
    /// Makes a counter, helper or flowtable.
    CreateObject {
        /// Its name.
        name: Ident,
        /// What it is.
        object: Object,
    },
    /// Makes a chain without rules.
    CreateChain {
        /// Its name.
        name: Ident,
        /// Where packets enter.
        hook: Option<Hook>,
    },
    /// Removes all elements of a set or map.
    FlushSet {
        /// Its name.
        name: Ident,
        /// True for a map.
        map: bool,
    },
    /// Removes elements.
    RemoveElements {
        /// From this set or map.
        name: Ident,
        /// Their keys.
        keys: Vec<Element>,
    },
    /// Adds elements.
    AddElements {
        /// To this set or map.
        name: Ident,
        /// Keys with what they have; empty values for a set.
        #[serde(with = "crate::pairs")]
        elements: BTreeMap<Element, Entry>,
    },
    /// Changes the links of a flowtable.
    ChangeFlowtable {
        /// Its name.
        name: Ident,
        /// Links that go.
        gone: BTreeSet<LinkName>,
        /// Links that come.
        new: BTreeSet<LinkName>,
    },
    /// Replaces all rules of a chain.
    FillChain {
        /// Its name.
        name: Ident,
        /// How many rules it had.
        before: usize,
        /// The rules it is to have.
        rules: Vec<Rule>,
    },
    /// Changes some rules of a chain, the others stay.
    EditChain {
        /// Its name.
        name: Ident,
        /// In this order.
        edits: Vec<RuleEdit>,
    },
    /// Removes a chain with its rules.
    DeleteChain {
        /// Its name.
        name: Ident,
    },
    /// Removes a set or map.
    DeleteSet {
        /// Its name.
        name: Ident,
        /// True for a map.
        map: bool,
    },
    /// Removes a counter, helper or flowtable.
    DeleteObject {
        /// Its name.
        name: Ident,
        /// Its kind.
        kind: ObjectKind,
    },
}

/// A change to one rule of a chain. Rules are known by the kernel's handles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleEdit {
    /// Removes a rule.
    Delete {
        /// Which.
        handle: u64,
    },
    /// Adds a rule before one that stays.
    Insert {
        /// The one that stays.
        before: u64,
        /// The new one.
        rule: Rule,
    },
    /// Adds a rule at the end.
    Append {
        /// The new one.
        rule: Rule,
    },
}

/// What turns `observed` into `desired`; a table in `observed` that is not desired goes.
pub fn diff(observed: &ObservedTables, desired: &BTreeMap<TableId, Table>) -> Script {
    let mut script = Script::default();
    for (id, table) in desired {
        match observed.get(id) {
            None => script.create(id, table),
            Some(is) if must_rebuild(is, table) => {
                script.push(id, Change::DeleteTable);
                script.create(id, table);
            }
            Some(is) => script.change(id, is, table),
        }
    }
    for id in observed.keys().filter(|id| !desired.contains_key(id)) {
        script.push(id, Change::DeleteTable);
    }
    script
}

/// Changes that nft cannot make in place, and objects whose names we could not even write.
fn must_rebuild(observed: &ObservedTable, desired: &Table) -> bool {
    let names = observed.chains.keys().chain(observed.sets.keys());
    let foreign = observed.foreign > 0 || names.into_iter().any(|name| ident(name).is_none());
    let hooks = observed.chains.iter().any(|(name, is)| {
        let wanted = ident(name).and_then(|name| desired.chains.get(&name));
        wanted.is_some_and(|wanted| is.foreign_hook || is.hook != wanted.hook)
    });
    let forms = desired
        .sets
        .iter()
        .any(|(name, set)| observed.sets.get(name.as_str()).is_some_and(|is| is.is_another(set)));
    let helpers = desired.helpers.iter().any(|(name, wanted)| {
        let is = observed.objects.get(&(ObjectKind::Helper, name.clone()));
        is.is_some_and(|is| *is != Object::Helper(*wanted))
    });
    foreign || hooks || forms || helpers
}

fn ident(name: &str) -> Option<Ident> {
    Ident::try_from(name.to_owned()).ok()
}

type Entries = BTreeMap<Element, Entry>;

/// Keys that go and elements that come; one walk along both, since both are sorted.
fn compare(is: &Entries, wanted: &Entries) -> (Vec<Element>, Entries) {
    let (mut is, mut wanted) = (is.iter().peekable(), wanted.iter().peekable());
    let (mut gone, mut new) = (Vec::new(), BTreeMap::new());
    loop {
        let order = match (is.peek(), wanted.peek()) {
            (None, None) => return (gone, new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((next, _))) => old.cmp(next),
        };
        let old = if order.is_le() { is.next() } else { None };
        let next = if order.is_ge() { wanted.next() } else { None };
        if old == next {
            continue;
        }
        gone.extend(old.map(|(key, _)| key.clone()));
        new.extend(next.map(|(key, value)| (key.clone(), value.clone())));
    }
}

impl Script {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many objects, elements and rules it makes or removes.
    pub fn size(&self) -> usize {
        self.changes.iter().map(|(_, change)| change.size()).sum()
    }

    fn push(&mut self, id: &TableId, change: Change) {
        self.changes.push((id.clone(), change));
    }

    fn create(&mut self, id: &TableId, table: &Table) {
        self.push(id, Change::CreateTable);
        self.change(id, &ObservedTable::default(), table);
    }

    /// New things first, then contents, then removals: at no point does anything refer to what is not there.
    fn change(&mut self, id: &TableId, observed: &ObservedTable, table: &Table) {
        self.creations(id, observed, table);
        let empty = ObservedSet::default();
        for (name, set) in &table.sets {
            let is = observed.sets.get(name.as_str()).unwrap_or(&empty);
            self.elements(id, name, is, set);
        }
        for (name, chain) in &table.chains {
            match chain::change(name, observed.chains.get(name.as_str()), &chain.rules) {
                Some(change) => self.push(id, change),
                None => self.unchanged += 1,
            }
        }
        self.removals(id, observed, table);
    }

    fn creations(&mut self, id: &TableId, observed: &ObservedTable, table: &Table) {
        for (key, wanted) in objects(table) {
            self.object(id, observed.objects.get(&key), key, wanted);
        }
        for (name, chain) in &table.chains {
            if !observed.chains.contains_key(name.as_str()) {
                self.push(id, Change::CreateChain { name: name.clone(), hook: chain.hook });
            }
        }
        // after the chains: nft before 1.1 gives a new map of intervals its elements where the map is made
        for (name, set) in &table.sets {
            if !observed.sets.contains_key(name.as_str()) {
                let form = without_elements(set);
                self.push(id, Change::CreateSet { name: name.clone(), form });
            }
        }
    }

    fn object(&mut self, id: &TableId, is: Option<&Object>, key: ObjectKey, wanted: Object) {
        let name = key.1;
        match (is, wanted) {
            (None, object) => self.push(id, Change::CreateObject { name, object }),
            (Some(Object::Flowtable(is)), Object::Flowtable(wanted)) if *is != wanted => {
                let gone = is.links.difference(&wanted.links).cloned().collect();
                let new = wanted.links.difference(&is.links).cloned().collect();
                self.push(id, Change::ChangeFlowtable { name, gone, new });
            }
            _ => self.unchanged += 1,
        }
    }

    fn elements(&mut self, id: &TableId, name: &Ident, is: &ObservedSet, wanted: &Set) {
        if is.foreign > 0 {
            self.push(id, Change::FlushSet { name: name.clone(), map: is.is_map() });
            self.add_elements(id, name, wanted.elements.clone());
            return;
        }
        let (keys, added) = compare(&is.elements, &wanted.elements);
        if keys.is_empty() && added.is_empty() {
            self.unchanged += 1;
        }
        if !keys.is_empty() {
            self.push(id, Change::RemoveElements { name: name.clone(), keys });
        }
        self.add_elements(id, name, added);
    }

    fn add_elements(&mut self, id: &TableId, name: &Ident, elements: Entries) {
        if !elements.is_empty() {
            self.push(id, Change::AddElements { name: name.clone(), elements });
        }
    }

    fn removals(&mut self, id: &TableId, observed: &ObservedTable, table: &Table) {
        let chains: Vec<Ident> = observed
            .chains
            .keys()
            .filter_map(|name| ident(name))
            .filter(|name| !table.chains.contains_key(name))
            .collect();
        // emptied before any is deleted: they may jump to one another
        for name in &chains {
            let before = observed.chains.get(name.as_str()).map_or(0, |chain| chain.rules.len());
            self.push(id, Change::FillChain { name: name.clone(), before, rules: Vec::new() });
        }
        let sets: Vec<(Ident, bool)> = observed
            .sets
            .iter()
            .filter_map(|(name, set)| Some((ident(name)?, set.is_map())))
            .filter(|(name, _)| !table.sets.contains_key(name))
            .collect();
        // likewise: their values may jump to the chains and name the counters that go
        for (name, _) in sets.iter().filter(|(_, map)| *map) {
            self.push(id, Change::FlushSet { name: name.clone(), map: true });
        }
        for name in chains {
            self.push(id, Change::DeleteChain { name });
        }
        for (name, map) in sets {
            self.push(id, Change::DeleteSet { name, map });
        }
        let wanted = objects(table);
        for (kind, name) in observed.objects.keys().filter(|key| !wanted.contains_key(key)) {
            self.push(id, Change::DeleteObject { name: name.clone(), kind: *kind });
        }
    }
}

fn without_elements(set: &Set) -> Set {
    Set {
        key: set.key.clone(),
        value: set.value.clone(),
        interval: set.interval,
        counter: set.counter,
        elements: BTreeMap::new(),
    }
}
