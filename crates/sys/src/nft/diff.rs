//! From what is to what should be: the smallest script, one kernel transaction.
//!
//! Cost follows the change: elements come and go one by one, a chain whose rules differ is refilled, everything else
//! keeps its place and its counters. Only a base chain with another hook or a set with another type makes the table be
//! built anew, within the same transaction.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::listing::{ObservedSet, ObservedTable};
use super::listing::{observed_chain, type_names};
use super::render::{joined, set_type};
use super::{Chain, Element, Hook, Ident, ObservedTables, Rule, SetType, Table, TableId};

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
    /// Makes an empty set, or a map when `value` has types.
    CreateSet {
        /// Its name.
        name: Ident,
        /// Types of a key.
        key: Vec<SetType>,
        /// Types of a value; none for a set.
        value: Vec<SetType>,
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
        /// Keys with values; empty values for a set.
        #[serde(with = "crate::pairs")]
        elements: BTreeMap<Element, Element>,
    },
    /// Replaces the rules of a chain.
    FillChain {
        /// Its name.
        name: Ident,
        /// How many rules it had.
        before: usize,
        /// The rules it is to have.
        rules: Vec<Rule>,
    },
    /// Removes a chain with its rules.
    DeleteChain {
        /// Its name, as text since it may not be ours.
        name: Ident,
    },
    /// Removes a set or map.
    DeleteSet {
        /// Its name.
        name: Ident,
        /// True for a map.
        map: bool,
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
    let types = sets(desired).iter().any(|(name, set)| {
        observed
            .sets
            .get(name.as_str())
            .is_some_and(|is| is.types != (type_names(set.key), type_names(set.value)))
    });
    foreign || hooks || types
}

fn ident(name: &str) -> Option<Ident> {
    Ident::try_from(name.to_owned()).ok()
}

/// Sets and maps alike; borrowed, because they can be large and most of them stay as they are.
struct AnySet<'a> {
    key: &'a [SetType],
    value: &'a [SetType],
    elements: Elements<'a>,
}

/// The elements of a set, which have empty values, or of a map.
#[derive(Clone, Copy)]
enum Elements<'a> {
    Set(&'a BTreeSet<Element>),
    Map(&'a BTreeMap<Element, Element>),
}

const NO_VALUE: &Element = &Element(Vec::new());

impl<'a> Elements<'a> {
    /// In order of keys.
    fn iter(self) -> Box<dyn Iterator<Item = (&'a Element, &'a Element)> + 'a> {
        match self {
            Self::Set(set) => Box::new(set.iter().map(|key| (key, NO_VALUE))),
            Self::Map(map) => Box::new(map.iter()),
        }
    }
}

fn sets(table: &Table) -> BTreeMap<&Ident, AnySet<'_>> {
    let sets = table.sets.iter().map(|(name, set)| {
        (name, AnySet { key: &set.key, value: &[], elements: Elements::Set(&set.elements) })
    });
    let maps = table.maps.iter().map(|(name, map)| {
        (name, AnySet { key: &map.key, value: &map.value, elements: Elements::Map(&map.elements) })
    });
    sets.chain(maps).collect()
}

/// Keys that go and elements that come; one walk along both, since both are sorted.
fn compare(is: Elements<'_>, wanted: Elements<'_>) -> (Vec<Element>, BTreeMap<Element, Element>) {
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

    fn push(&mut self, id: &TableId, change: Change) {
        self.changes.push((id.clone(), change));
    }

    fn create(&mut self, id: &TableId, table: &Table) {
        self.push(id, Change::CreateTable);
        self.change(id, &ObservedTable::default(), table);
    }

    /// New things first, then contents, then removals: at no point does anything refer to what is not there.
    fn change(&mut self, id: &TableId, observed: &ObservedTable, table: &Table) {
        let wanted = sets(table);
        for (name, set) in &wanted {
            if !observed.sets.contains_key(name.as_str()) {
                let (key, value) = (set.key.to_vec(), set.value.to_vec());
                self.push(id, Change::CreateSet { name: (*name).clone(), key, value });
            }
        }
        for (name, chain) in &table.chains {
            if !observed.chains.contains_key(name.as_str()) {
                self.push(id, Change::CreateChain { name: name.clone(), hook: chain.hook });
            }
        }
        let empty = ObservedSet::default();
        for (name, set) in &wanted {
            self.elements(
                id,
                name,
                observed.sets.get(name.as_str()).unwrap_or(&empty),
                set.elements,
            );
        }
        for (name, chain) in &table.chains {
            self.rules(id, name, observed, chain);
        }
        self.removals(id, observed, table);
    }

    fn elements(&mut self, id: &TableId, name: &Ident, is: &ObservedSet, wanted: Elements<'_>) {
        let none = BTreeMap::new();
        if is.foreign > 0 {
            let map = !is.types.1.is_empty();
            self.push(id, Change::FlushSet { name: name.clone(), map });
            self.add_elements(id, name, compare(Elements::Map(&none), wanted).1);
            return;
        }
        let (keys, added) = compare(Elements::Map(&is.elements), wanted);
        if keys.is_empty() && added.is_empty() {
            self.unchanged += 1;
        }
        if !keys.is_empty() {
            self.push(id, Change::RemoveElements { name: name.clone(), keys });
        }
        self.add_elements(id, name, added);
    }

    fn add_elements(&mut self, id: &TableId, name: &Ident, elements: BTreeMap<Element, Element>) {
        if !elements.is_empty() {
            self.push(id, Change::AddElements { name: name.clone(), elements });
        }
    }

    fn rules(&mut self, id: &TableId, name: &Ident, observed: &ObservedTable, chain: &Chain) {
        let is = observed.chains.get(name.as_str());
        let before = is.map_or(0, |is| is.rules.len());
        let same = is.map_or(chain.rules.is_empty(), |is| is.rules == observed_chain(chain).rules);
        if same {
            self.unchanged += 1;
        } else {
            let rules = chain.rules.clone();
            self.push(id, Change::FillChain { name: name.clone(), before, rules });
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
            .filter_map(|(name, set)| Some((ident(name)?, !set.types.1.is_empty())))
            .filter(|(name, _)| !table.sets.contains_key(name) && !table.maps.contains_key(name))
            .collect();
        // likewise: their verdicts may jump to the chains that go
        for (name, _) in sets.iter().filter(|(_, map)| *map) {
            self.push(id, Change::FlushSet { name: name.clone(), map: true });
        }
        for name in chains {
            self.push(id, Change::DeleteChain { name });
        }
        for (name, map) in sets {
            self.push(id, Change::DeleteSet { name, map });
        }
    }

    /// The script as nft reads it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (table, change) in &self.changes {
            change.render(table, &mut text);
        }
        text
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let parts = self.changes.iter().filter_map(|(_, change)| change.summary());
        let tables: std::collections::BTreeSet<_> = self.changes.iter().map(|(id, _)| id).collect();
        format!("~ rules {}: {}", joined(tables, ", "), joined(parts, "; "))
    }
}

impl Change {
    pub(super) fn render(&self, table: &TableId, text: &mut String) {
        // writing to a String cannot fail
        let _ = match self {
            Self::DeleteTable => writeln!(text, "add table {table}\ndelete table {table}"),
            Self::CreateTable => writeln!(text, "add table {table}"),
            Self::CreateSet { name, key, value } => {
                let kind = if value.is_empty() { "set" } else { "map" };
                writeln!(text, "add {kind} {table} {name} {{ type {}; }}", set_type(key, value))
            }
            Self::CreateChain { name, hook: None } => writeln!(text, "add chain {table} {name}"),
            Self::CreateChain { name, hook: Some(hook) } => {
                writeln!(text, "add chain {table} {name} {{ {hook} }}")
            }
            Self::FlushSet { name, map } => {
                writeln!(text, "flush {} {table} {name}", set_or_map(*map))
            }
            Self::RemoveElements { name, keys } => {
                writeln!(text, "delete element {table} {name} {{ {} }}", joined(keys, ", "))
            }
            Self::AddElements { name, elements } => {
                let listed = joined(elements.iter().map(|(key, value)| pair(key, value)), ", ");
                writeln!(text, "add element {table} {name} {{ {listed} }}")
            }
            Self::FillChain { name, before, rules } => fill(text, table, name, *before, rules),
            Self::DeleteChain { name } => writeln!(text, "delete chain {table} {name}"),
            Self::DeleteSet { name, map } => {
                writeln!(text, "delete {} {table} {name}", set_or_map(*map))
            }
        };
    }

    /// What a person is told; structure that only serves what follows is left out.
    fn summary(&self) -> Option<String> {
        match self {
            Self::DeleteTable => Some("table removed".to_owned()),
            Self::CreateTable => Some("table made".to_owned()),
            Self::CreateSet { .. } | Self::CreateChain { .. } => None,
            Self::FlushSet { name, .. } => Some(format!("{name} emptied")),
            Self::RemoveElements { name, keys } => Some(format!("{name} -{}", keys.len())),
            Self::AddElements { name, elements } => Some(format!("{name} +{}", elements.len())),
            Self::FillChain { name, before, rules } => {
                Some(format!("chain {name} {before} -> {} rules", rules.len()))
            }
            Self::DeleteChain { name } => Some(format!("chain {name} removed")),
            Self::DeleteSet { name, .. } => Some(format!("{name} removed")),
        }
    }
}

fn set_or_map(map: bool) -> &'static str {
    if map { "map" } else { "set" }
}

fn pair(key: &Element, value: &Element) -> String {
    if value.0.is_empty() { key.to_string() } else { format!("{key} : {value}") }
}

fn fill(
    text: &mut String,
    table: &TableId,
    name: &Ident,
    before: usize,
    rules: &[Rule],
) -> std::fmt::Result {
    if before > 0 {
        writeln!(text, "flush chain {table} {name}")?;
    }
    for rule in rules {
        writeln!(text, "add rule {table} {name} {rule}")?;
    }
    Ok(())
}
