//! What a script does to our tables: the kernel's part, without one.
//!
//! Used by the fake kernel, and by the real one's cache after its own commits.

use std::sync::Arc;

use super::listing::{observed_chain, type_names};
use super::{
    Chain, Change, ObservedChain, ObservedSet, ObservedTable, ObservedTables, Rule, Script,
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
    /// Changes `tables` as the kernel would: all of it, or nothing with the reason.
    pub fn apply_to(&self, tables: &mut ObservedTables) -> Result<(), Refused> {
        // the tables are shared, so this copies names, and of the tables those that change
        let mut next = tables.clone();
        for (id, change) in &self.changes {
            let refused = |reason| {
                let mut text = String::new();
                change.render(id, &mut text);
                Refused { change: text.trim().to_owned(), reason }
            };
            match change {
                Change::DeleteTable => drop(next.remove(id)),
                Change::CreateTable => drop(next.entry(id.clone()).or_default()),
                _ => {
                    let table = next.get_mut(id).ok_or_else(|| refused("no such table"))?;
                    within(Arc::make_mut(table), change).map_err(refused)?;
                }
            }
        }
        *tables = next;
        Ok(())
    }
}

const NO_CHAIN: &str = "no such chain";
const NO_SET: &str = "no such set";

fn within(table: &mut ObservedTable, change: &Change) -> Result<(), &'static str> {
    match change {
        Change::DeleteTable | Change::CreateTable => {}
        Change::CreateSet { name, key, value } => {
            let types = (type_names(key), type_names(value));
            let set = ObservedSet { types, ..ObservedSet::default() };
            table.sets.entry(name.to_string()).or_insert(set);
        }
        Change::CreateChain { name, hook } => {
            let chain = ObservedChain { hook: *hook, ..ObservedChain::default() };
            table.chains.entry(name.to_string()).or_insert(chain);
        }
        Change::FillChain { name, rules, .. } => {
            let chain = table.chains.get_mut(name.as_str()).ok_or(NO_CHAIN)?;
            chain.rules = listed(rules);
        }
        Change::DeleteChain { name } => drop(table.chains.remove(name.as_str()).ok_or(NO_CHAIN)?),
        Change::DeleteSet { name, .. } => drop(table.sets.remove(name.as_str()).ok_or(NO_SET)?),
        Change::FlushSet { name, .. } => {
            let set = table.sets.get_mut(name.as_str()).ok_or(NO_SET)?;
            *set = ObservedSet { types: set.types.clone(), ..ObservedSet::default() };
        }
        Change::RemoveElements { .. } | Change::AddElements { .. } => elements(table, change)?,
    }
    Ok(())
}

fn listed(rules: &[Rule]) -> Vec<super::ObservedRule> {
    observed_chain(&Chain { hook: None, rules: rules.to_vec() }).rules
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
            for (key, value) in elements {
                let before = set.elements.insert(key.clone(), value.clone());
                if before.is_some_and(|before| before != *value) {
                    return Err("the key is there with another value");
                }
            }
        }
        _ => {}
    }
    Ok(())
}
