//! What nft echoes of a script that it committed, compared with the script.
//!
//! With text in and `-j -e` the echo is made from the kernel's own notifications: each object, element and rule that was
//! added, as the kernel now has it. So an echo that says what the script says is the proof that it was understood as it
//! was meant, at the cost of the change. Removals are not echoed: a removal of what is not there fails the script.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::observe::{
    Counters, Form, Listed, ListingError, Object, ObjectKey, ObservedChain, ObservedRule,
    ObservedSet, ObservedTables, listing, read_elements,
};
use crate::{Change, Element, Entry, Ident, RuleEdit, Script, TableId};

/// An echo that is not what the script said. What is in force must be listed.
#[derive(Debug, Error)]
pub enum EchoError {
    /// Not an echo.
    #[error(transparent)]
    Form(#[from] ListingError),
    /// Part of it cannot be read.
    #[error("the echo has JSON of another form")]
    Json(#[from] serde_json::Error),
    /// It says something else.
    #[error("of {what} the kernel made something else than the script said")]
    Differs {
        /// What differs.
        what: &'static str,
    },
}

/// Everything that a script adds, by its place.
#[derive(Debug, Default, PartialEq)]
struct Added {
    chains: BTreeMap<(TableId, String), ObservedChain>,
    sets: BTreeMap<(TableId, String), ObservedSet>,
    objects: BTreeMap<(TableId, ObjectKey), Object>,
    elements: BTreeMap<(TableId, String), BTreeMap<Element, Entry>>,
    rules: Vec<(TableId, String, ObservedRule)>,
    foreign: u64,
}

impl Script {
    /// The handles of the rules that the script added, in its order, if `echo` says that all it added is as it said.
    ///
    /// `tables` are those before the script: an echo of elements does not repeat the types of their set.
    pub fn confirmed_by(
        &self,
        echo: &[u8],
        tables: &ObservedTables,
    ) -> Result<Vec<u64>, EchoError> {
        let wanted = self.added();
        let echoed = Added::of(echo, |table, set| self.form(tables, table, set))?;
        let differs = |what| Err(EchoError::Differs { what });
        if echoed.foreign > 0 {
            return differs("something");
        }
        if echoed.rules != wanted.rules {
            return differs("rules");
        }
        if echoed.elements != wanted.elements {
            return differs("elements");
        }
        if echoed.chains != wanted.chains
            || echoed.sets != wanted.sets
            || echoed.objects != wanted.objects
        {
            return differs("chains, sets or objects");
        }
        let handles = echoed.rules.iter().map(|(_, _, rule)| rule.handle);
        handles.collect::<Option<_>>().ok_or(EchoError::Differs { what: "handles" })
    }

    fn form(&self, tables: &ObservedTables, table: &TableId, set: &str) -> Option<Form> {
        let made = self.changes.iter().rev().find_map(|(id, change)| match change {
            Change::CreateSet { name, form } if id == table && name.as_str() == set => {
                Some(ObservedSet::empty(form).types)
            }
            _ => None,
        });
        let types = made.or_else(|| Some(tables.get(table)?.sets.get(set)?.types.clone()))?;
        Some(Form::of(&types))
    }

    fn added(&self) -> Added {
        let mut added = Added::default();
        for (id, change) in &self.changes {
            let place = |name: &Ident| (id.clone(), name.to_string());
            match change {
                Change::CreateSet { name, form } => {
                    added.sets.insert(place(name), ObservedSet::empty(form));
                }
                Change::CreateObject { name, object } => {
                    added
                        .objects
                        .insert((id.clone(), (object.kind(), name.clone())), object.clone());
                }
                Change::CreateChain { name, hook } => {
                    let chain = ObservedChain { hook: *hook, ..ObservedChain::default() };
                    added.chains.insert(place(name), chain);
                }
                Change::AddElements { name, elements } => {
                    added.elements.entry(place(name)).or_default().extend(elements.clone());
                }
                Change::FillChain { name, rules, .. } => {
                    let rules =
                        rules.iter().map(|rule| (id.clone(), name.to_string(), rule.into()));
                    added.rules.extend(rules);
                }
                Change::EditChain { name, edits } => {
                    let new = edits.iter().filter_map(|edit| match edit {
                        RuleEdit::Insert { rule, .. } | RuleEdit::Append { rule } => Some(rule),
                        RuleEdit::Delete { .. } => None,
                    });
                    added.rules.extend(new.map(|rule| (id.clone(), name.to_string(), rule.into())));
                }
                _ => {}
            }
        }
        added
    }
}

#[derive(Deserialize)]
struct EchoedElements<'a> {
    name: String,
    #[serde(borrow)]
    elem: OneOrSet<'a>,
}

#[derive(Deserialize)]
struct OneOrSet<'a> {
    #[serde(borrow)]
    set: &'a RawValue,
}

impl Added {
    fn of(echo: &[u8], form: impl Fn(&TableId, &str) -> Option<Form>) -> Result<Self, EchoError> {
        let mut added = Self::default();
        if echo.iter().all(u8::is_ascii_whitespace) {
            // what is taken away is not echoed, and of nothing else there is no document at all
            return Ok(added);
        }
        for (verb, body) in listing::objects(echo)?.iter().flatten() {
            match verb.as_ref() {
                "add" | "insert" => {
                    let objects: Listed<'_> = serde_json::from_str(body.get())?;
                    for (kind, body) in objects {
                        added.take(&kind, body, &form)?;
                    }
                }
                "metainfo" => {}
                _ => added.foreign += 1,
            }
        }
        Ok(added)
    }

    fn take(
        &mut self,
        kind: &str,
        body: &RawValue,
        form: impl Fn(&TableId, &str) -> Option<Form>,
    ) -> Result<(), EchoError> {
        let Some(table) = listing::table_of(kind, body) else {
            self.foreign += 1;
            return Ok(());
        };
        let mut counters = Counters::default();
        match kind {
            "table" => {}
            "chain" => {
                let (name, chain) = listing::listed_chain(&listing::value(body)?);
                self.chains.insert((table, name), chain);
            }
            "set" | "map" => {
                let (name, set) = listing::listed_set(body, &mut counters)?;
                self.sets.insert((table, name), set);
            }
            "rule" => {
                let (chain, rule) = listing::listed_rule(&listing::value(body)?, &mut counters);
                self.rules.push((table, chain, rule));
            }
            "element" => self.elements(table, body, form)?,
            _ => match listing::listed_object(kind, &listing::value(body)?, &mut counters) {
                Some((name, object)) => {
                    self.objects.insert((table, (object.kind(), name)), object);
                }
                None => self.foreign += 1,
            },
        }
        Ok(())
    }

    fn elements(
        &mut self,
        table: TableId,
        body: &RawValue,
        form: impl Fn(&TableId, &str) -> Option<Form>,
    ) -> Result<(), EchoError> {
        let echoed: EchoedElements<'_> = serde_json::from_str(body.get())?;
        let Some(form) = form(&table, &echoed.name) else {
            self.foreign += 1;
            return Ok(());
        };
        let list = echoed.elem.set.get();
        let read = read_elements(list, &form, &echoed.name, &mut Counters::default())?;
        self.foreign += read.foreign;
        self.elements.entry((table, echoed.name)).or_default().extend(read.known);
        Ok(())
    }
}
