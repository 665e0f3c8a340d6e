//! What a script does to our tables: the kernel's part, without one.
//!
//! Used by the fake kernel, and for what is remembered of the real one after a commit of ours.

use std::sync::Arc;

use super::{Change, RuleEdit, Script};
use crate::{
    Object, ObservedChain, ObservedRule, ObservedSet, ObservedTable, ObservedTables, Rule,
};

/// A script that the kernel would refuse, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{change}: {reason}")]
pub struct Refused {
    /// The change in question, as nft text.
    pub change: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Script {
    /// Changes `tables` as the kernel would: all of it, or nothing with the reason. New rules get handles that none has.
    pub fn apply_to(&self, tables: &mut ObservedTables) -> Result<(), Refused> {
        let highest = tables.values().flat_map(|table| table.chains.values());
        let highest = highest.flat_map(|chain| &chain.rules).filter_map(|rule| rule.handle).max();
        let mut handles = highest.unwrap_or(0).saturating_add(1)..;
        // the tables are shared, so this copies names, and of the tables those that change
        let mut next = tables.clone();
        self.done(&mut next, &mut handles)?;
        *tables = next;
        Ok(())
    }

    /// Changes `tables` in place by a script that a kernel has taken; `handles` are those of its rules, in the script's
    /// order. After an error `tables` are of no use.
    pub fn done(
        &self,
        tables: &mut ObservedTables,
        handles: &mut impl Iterator<Item = u64>,
    ) -> Result<(), Refused> {
        for (id, change) in &self.changes {
            let refused = |reason| {
                let mut text = String::new();
                change.render(id, &mut text);
                Refused { change: text.trim().to_owned(), reason }
            };
            match change {
                Change::DeleteTable => drop(tables.remove(id)),
                Change::CreateTable => drop(tables.entry(id.clone()).or_default()),
                _ => {
                    let table = tables.get_mut(id).ok_or_else(|| refused("no such table"))?;
                    within(Arc::make_mut(table), change, handles).map_err(refused)?;
                }
            }
        }
        Ok(())
    }
}

const NO_CHAIN: &str = "no such chain";
const NO_SET: &str = "no such set";
const NO_RULE: &str = "no such rule";

type Handles<'a> = &'a mut dyn Iterator<Item = u64>;

fn within(
    table: &mut ObservedTable,
    change: &Change,
    handles: Handles<'_>,
) -> Result<(), &'static str> {
    match change {
        Change::DeleteTable | Change::CreateTable => {}
        Change::CreateSet { name, form } => {
            table.sets.entry(name.to_string()).or_insert_with(|| ObservedSet::empty(form));
        }
        Change::CreateChain { name, hook } => {
            let chain = ObservedChain { hook: *hook, ..ObservedChain::default() };
            table.chains.entry(name.to_string()).or_insert(chain);
        }
        Change::FillChain { name, rules, .. } => {
            let chain = table.chains.get_mut(name.as_str()).ok_or(NO_CHAIN)?;
            chain.rules = rules.iter().map(|rule| numbered(rule, handles)).collect();
        }
        Change::EditChain { name, edits } => {
            let chain = table.chains.get_mut(name.as_str()).ok_or(NO_CHAIN)?;
            edits.iter().try_for_each(|edit| edited(&mut chain.rules, edit, handles))?;
        }
        Change::DeleteChain { name } => drop(table.chains.remove(name.as_str()).ok_or(NO_CHAIN)?),
        Change::DeleteSet { name, .. } => drop(table.sets.remove(name.as_str()).ok_or(NO_SET)?),
        Change::FlushSet { name, .. } => {
            let set = table.sets.get_mut(name.as_str()).ok_or(NO_SET)?;
            set.elements.clear();
            set.foreign = 0;
        }
        Change::RemoveElements { .. } | Change::AddElements { .. } => elements(table, change)?,
        Change::CreateObject { .. }
        | Change::DeleteObject { .. }
        | Change::ChangeFlowtable { .. } => object(table, change)?,
    }
    Ok(())
}

fn numbered(rule: &Rule, handles: Handles<'_>) -> ObservedRule {
    ObservedRule { handle: handles.next(), ..rule.into() }
}

fn edited(
    rules: &mut Vec<ObservedRule>,
    edit: &RuleEdit,
    handles: Handles<'_>,
) -> Result<(), &'static str> {
    let place = |rules: &[ObservedRule], handle: u64| {
        rules.iter().position(|rule| rule.handle == Some(handle)).ok_or(NO_RULE)
    };
    match edit {
        RuleEdit::Delete { handle } => {
            let at = place(rules, *handle)?;
            rules.remove(at);
        }
        RuleEdit::Insert { before, rule } => {
            let at = place(rules, *before)?;
            rules.insert(at, numbered(rule, handles));
        }
        RuleEdit::Append { rule } => rules.push(numbered(rule, handles)),
    }
    Ok(())
}

fn elements(table: &mut ObservedTable, change: &Change) -> Result<(), &'static str> {
    match change {
        Change::RemoveElements { name, keys } => {
            let set = table.sets.get_mut(name.as_str()).ok_or(NO_SET)?;
            for key in keys {
                set.elements.remove(key).ok_or("no such element")?;
            }
        }
        Change::AddElements { name, elements } => {
            let set = table.sets.get_mut(name.as_str()).ok_or(NO_SET)?;
            for (key, entry) in elements {
                let before = set.elements.insert(key.clone(), entry.clone());
                if before.is_some_and(|before| before != *entry) {
                    return Err("the key is there with something else");
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn object(table: &mut ObservedTable, change: &Change) -> Result<(), &'static str> {
    match change {
        Change::CreateObject { name, object } => {
            table.objects.entry((object.kind(), name.clone())).or_insert_with(|| object.clone());
        }
        Change::DeleteObject { name, kind } => {
            table.objects.remove(&(*kind, name.clone())).ok_or("no such object")?;
        }
        Change::ChangeFlowtable { name, gone, new } => {
            let key = (crate::ObjectKind::Flowtable, name.clone());
            match table.objects.get_mut(&key) {
                Some(Object::Flowtable(is)) => {
                    is.links.retain(|link| !gone.contains(link));
                    is.links.extend(new.iter().cloned());
                }
                _ => return Err("no such flowtable"),
            }
        }
        _ => {}
    }
    Ok(())
}
