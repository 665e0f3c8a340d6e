//! Our tables as the kernel has them.
//!
//! Elements come back typed; rules are kept as the text that the statement tree gives them, because a foreign edit may be
//! anything. Counters are u64 and kept apart, so that they never make two tables differ.

mod elements;
pub(crate) mod listing;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    Chain, Element, Entry, Flowtable, Helper, Hook, Ident, Rule, Set, SetType, Table, TableId, tree,
};

pub(crate) use elements::{Form, read as read_elements};
pub(crate) use listing::Listed;
pub use listing::{ListingError, parse};

/// Our tables as they are; shared, because they can be large and most are the same from one look to the next.
pub type ObservedTables = BTreeMap<TableId, Arc<ObservedTable>>;

/// One table as it is; equal to [`ObservedTable::of`] the wanted one exactly when the kernel agrees with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedTable {
    /// Chains by name.
    pub chains: BTreeMap<String, ObservedChain>,
    /// Sets and maps by name; the elements of a set have an empty value.
    pub sets: BTreeMap<String, ObservedSet>,
    /// Named counters, helpers and flowtables, as far as they are such as we make.
    #[serde(with = "crate::pairs")]
    pub objects: BTreeMap<ObjectKey, Object>,
    /// Objects that we never make: any makes the table differ.
    pub foreign: u64,
}

impl ObservedTable {
    /// Rules and elements in it.
    pub fn size(&self) -> usize {
        let rules = self.chains.values().map(|chain| chain.rules.len());
        rules.chain(self.sets.values().map(|set| set.elements.len())).sum()
    }

    /// True when it is the same as `other`, whatever elements the sets of both have.
    pub fn is_but_for_elements(&self, other: &Self) -> bool {
        let forms = |table: &Self| -> Vec<(String, ObservedSet)> {
            table.sets.iter().map(|(name, set)| (name.clone(), set.form())).collect()
        };
        self.chains == other.chains
            && self.objects == other.objects
            && self.foreign == other.foreign
            && forms(self) == forms(other)
    }
}

/// A chain as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedChain {
    /// Where packets enter; `None` for a chain that is jumped to.
    pub hook: Option<Hook>,
    /// True when the hook is one that we never make.
    pub foreign_hook: bool,
    /// The rules in order.
    pub rules: Vec<ObservedRule>,
}

/// A rule as it is. Two are equal when they do the same under the same id; the kernel's handle is not looked at.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ObservedRule {
    /// Its comment; empty when it has none.
    pub id: String,
    /// What it does, in the form in which rules are compared.
    pub text: String,
    /// The kernel's number for it; `None` for a rule that no kernel holds.
    pub handle: Option<u64>,
    /// The rule that it was found to be: comparing with that costs a fiftieth of writing the wanted one as text.
    #[serde(skip)]
    pub(crate) known: OnceLock<Rule>,
}

/// What was found out about a rule is not part of what it is.
impl fmt::Debug for ObservedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, text, handle, known: _ } = self;
        f.debug_struct("ObservedRule")
            .field("id", id)
            .field("text", text)
            .field("handle", handle)
            .finish()
    }
}

impl ObservedRule {
    /// True when the kernel would list `rule` like this.
    pub(crate) fn is(&self, rule: &Rule) -> bool {
        if let Some(known) = self.known.get()
            && known == rule
        {
            return true;
        }
        let same = self.id == rule.id.as_str() && self.text == tree::compared(rule);
        if same {
            // another thread may have found the same out
            let _known = self.known.set(rule.clone());
        }
        same
    }
}

impl PartialEq for ObservedRule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.text == other.text
    }
}

impl Eq for ObservedRule {}

/// A set or map as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSet {
    /// Types as nft names them, key then value.
    pub types: (Vec<String>, Vec<String>),
    /// Elements may be networks and ranges.
    pub interval: bool,
    /// Each element counts.
    pub counter: bool,
    /// It has properties that we never give: the table is made anew.
    pub foreign_form: bool,
    /// The elements that are of our form.
    #[serde(with = "crate::pairs")]
    pub elements: BTreeMap<Element, Entry>,
    /// Elements that are not: any makes the set differ.
    pub foreign: u64,
}

/// Kind and name of a named object.
pub type ObjectKey = (ObjectKind, Ident);

/// Kinds of named objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A counter.
    Counter,
    /// A helper of connection tracking.
    Helper,
    /// A flowtable.
    Flowtable,
}

/// A named object of a table besides chains and sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A counter.
    Counter,
    /// A helper of connection tracking.
    Helper(Helper),
    /// A flowtable.
    Flowtable(Flowtable),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Counter => ObjectKind::Counter,
            Self::Helper(_) => ObjectKind::Helper,
            Self::Flowtable(_) => ObjectKind::Flowtable,
        }
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, of the IP packets.
    pub bytes: u64,
}

impl Count {
    /// Counts as many more; at the end of what a number holds it stays there.
    pub fn add(&mut self, more: Self) {
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// What the counters of a table say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// By chain and rule id; rules of a chain that share an id count together.
    #[serde(with = "crate::pairs")]
    pub rules: BTreeMap<(String, String), Count>,
    /// By rule id and the kernel's number: the kernel may have a rule several times, and each of these counts by itself.
    #[serde(with = "crate::pairs")]
    pub each: BTreeMap<(String, u64), Count>,
    /// By set and element id; an element without id is known by its key as nft writes it.
    #[serde(with = "crate::pairs")]
    pub elements: BTreeMap<(String, String), Count>,
    /// By the name of the counter.
    pub named: BTreeMap<String, Count>,
}

impl Counters {
    /// Takes those of another listing too.
    pub fn extend(&mut self, more: Self) {
        self.rules.extend(more.rules);
        self.each.extend(more.each);
        self.elements.extend(more.elements);
        self.named.extend(more.named);
    }
}

impl ObservedTable {
    /// How the kernel would list `table`.
    pub fn of(table: &Table) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| (name.to_string(), chain.into()));
        let sets = table.sets.iter().map(|(name, set)| (name.to_string(), set.into()));
        Self { chains: chains.collect(), sets: sets.collect(), objects: objects(table), foreign: 0 }
    }
}

/// The named objects of a table.
pub(crate) fn objects(table: &Table) -> BTreeMap<ObjectKey, Object> {
    let counters =
        table.counters.iter().map(|name| ((ObjectKind::Counter, name.clone()), Object::Counter));
    let helpers = table.helpers.iter();
    let helpers =
        helpers.map(|(name, is)| ((ObjectKind::Helper, name.clone()), Object::Helper(*is)));
    let flowtables = table.flowtables.iter();
    let flowtables = flowtables
        .map(|(name, is)| ((ObjectKind::Flowtable, name.clone()), Object::Flowtable(is.clone())));
    counters.chain(helpers).chain(flowtables).collect()
}

impl From<&Chain> for ObservedChain {
    fn from(chain: &Chain) -> Self {
        let rules = chain.rules.iter().map(ObservedRule::from).collect();
        Self { hook: chain.hook, foreign_hook: false, rules }
    }
}

impl From<&Rule> for ObservedRule {
    fn from(rule: &Rule) -> Self {
        let known = OnceLock::from(rule.clone());
        Self { id: rule.id.to_string(), text: tree::compared(rule), handle: None, known }
    }
}

/// Types as nft names them.
pub(crate) fn type_names(types: &[SetType]) -> Vec<String> {
    types.iter().map(|part| part.name().to_owned()).collect()
}

impl ObservedSet {
    /// The set without elements.
    pub(crate) fn empty(set: &Set) -> Self {
        Self {
            types: (type_names(&set.key), type_names(&set.value)),
            interval: set.interval,
            counter: set.counter,
            ..Self::default()
        }
    }

    /// The same without elements.
    #[must_use]
    pub fn form(&self) -> Self {
        Self {
            types: self.types.clone(),
            interval: self.interval,
            counter: self.counter,
            foreign_form: self.foreign_form,
            ..Self::default()
        }
    }

    /// True when the kernel would have to make it anew to be `set`.
    pub(crate) fn is_another(&self, set: &Set) -> bool {
        self.foreign_form
            || self.interval != set.interval
            || self.counter != set.counter
            || self.types != (type_names(&set.key), type_names(&set.value))
    }

    /// True for a map.
    pub(crate) fn is_map(&self) -> bool {
        !self.types.1.is_empty()
    }
}

impl From<&Set> for ObservedSet {
    fn from(set: &Set) -> Self {
        Self { elements: set.elements.clone(), ..Self::empty(set) }
    }
}
