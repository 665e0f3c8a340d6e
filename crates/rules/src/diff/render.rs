//! A script as nft reads it, and as people do.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use sluice_api::types::LinkName;

use super::{Change, RuleEdit, Script};
use crate::text::joined;
use crate::{Element, Entry, Object, ObjectKind, Rule, Set, SetType, TableId, tree};

impl Script {
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
        let tables: BTreeSet<_> = self.changes.iter().map(|(id, _)| id).collect();
        format!("~ rules {}: {}", joined(tables, ", "), joined(parts, "; "))
    }
}

impl Change {
    #[allow(clippy::too_many_lines)] // one arm for each kind of change
    pub(super) fn render(&self, table: &TableId, text: &mut String) {
        // writing to a String cannot fail
        let _ = match self {
            Self::DeleteTable => writeln!(text, "add table {table}\ndelete table {table}"),
            Self::CreateTable => writeln!(text, "add table {table}"),
            Self::CreateSet { name, form } => {
                let kind = set_or_map(form.is_map());
                writeln!(text, "add {kind} {table} {name} {{ {} }}", properties(form))
            }
            Self::CreateObject { name, object } => {
                let (kind, body) = (kind_of(object.kind()), body_of(object));
                writeln!(text, "add {kind} {table} {name}{body}")
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
                let listed = joined(elements.iter().map(|(key, entry)| pair(key, entry)), ", ");
                writeln!(text, "add element {table} {name} {{ {listed} }}")
            }
            Self::ChangeFlowtable { name, gone, new } => {
                let each = [("delete", gone), ("add", new)].into_iter();
                each.filter(|(_, links)| !links.is_empty()).try_for_each(|(verb, links)| {
                    writeln!(text, "{verb} flowtable {table} {name}{}", ingress(links))
                })
            }
            Self::FillChain { name, before, rules } => {
                let flush = if *before > 0 {
                    format!("flush chain {table} {name}\n")
                } else {
                    String::new()
                };
                text.push_str(&flush);
                rules
                    .iter()
                    .try_for_each(|rule| writeln!(text, "add rule {table} {name} {}", script(rule)))
            }
            Self::EditChain { name, edits } => edits.iter().try_for_each(|edit| match edit {
                RuleEdit::Delete { handle } => {
                    writeln!(text, "delete rule {table} {name} handle {handle}")
                }
                RuleEdit::Insert { before, rule } => {
                    writeln!(text, "insert rule {table} {name} handle {before} {}", script(rule))
                }
                RuleEdit::Append { rule } => {
                    writeln!(text, "add rule {table} {name} {}", script(rule))
                }
            }),
            Self::DeleteChain { name } => writeln!(text, "delete chain {table} {name}"),
            Self::DeleteSet { name, map } => {
                writeln!(text, "delete {} {table} {name}", set_or_map(*map))
            }
            Self::DeleteObject { name, kind } => {
                writeln!(text, "delete {} {table} {name}", kind_of(*kind))
            }
        };
    }

    /// How many objects, elements and rules are made or removed.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::RemoveElements { keys, .. } => keys.len(),
            Self::AddElements { elements, .. } => elements.len(),
            Self::FillChain { before, rules, .. } => before + rules.len(),
            Self::EditChain { edits, .. } => edits.len(),
            _ => 1,
        }
    }

    /// What a person is told; structure that only serves what follows is left out.
    fn summary(&self) -> Option<String> {
        match self {
            Self::DeleteTable => Some("table removed".to_owned()),
            Self::CreateTable => Some("table made".to_owned()),
            Self::CreateSet { .. } | Self::CreateObject { .. } | Self::CreateChain { .. } => None,
            Self::FlushSet { name, .. } => Some(format!("{name} emptied")),
            Self::RemoveElements { name, keys } => Some(format!("{name} -{}", keys.len())),
            Self::AddElements { name, elements } => Some(format!("{name} +{}", elements.len())),
            Self::ChangeFlowtable { name, gone, new } => {
                Some(format!("{name} +{} -{} links", new.len(), gone.len()))
            }
            Self::FillChain { name, before, rules } => {
                Some(format!("chain {name} {before} -> {} rules", rules.len()))
            }
            Self::EditChain { name, edits } => {
                let deletes = |edit: &&RuleEdit| matches!(edit, RuleEdit::Delete { .. });
                let gone = edits.iter().filter(deletes).count();
                Some(format!("chain {name} +{} -{gone} rules", edits.len() - gone))
            }
            Self::DeleteChain { name } => Some(format!("chain {name} removed")),
            Self::DeleteSet { name, .. } | Self::DeleteObject { name, .. } => {
                Some(format!("{name} removed"))
            }
        }
    }
}

fn set_or_map(map: bool) -> &'static str {
    if map { "map" } else { "set" }
}

/// `type a . b;` of a set, or `type a . b : c;` of a map, and the flags.
fn properties(form: &Set) -> String {
    let names = |types: &[SetType]| joined(types.iter().map(|part| part.name()), " . ");
    let value = if form.is_map() { format!(" : {}", names(&form.value)) } else { String::new() };
    let interval = if form.interval { " flags interval;" } else { "" };
    let counter = if form.counter { " counter;" } else { "" };
    format!("type {}{value};{interval}{counter}", names(&form.key))
}

const fn kind_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Counter => "counter",
        ObjectKind::Helper => "ct helper",
        ObjectKind::Flowtable => "flowtable",
    }
}

fn body_of(object: &Object) -> String {
    match object {
        Object::Counter => String::new(),
        Object::Helper(helper) => {
            let (l4, l3) = helper.carried_by();
            let kind = helper.kind.as_str();
            format!(" {{ type \"{kind}\" protocol {l4}; l3proto {l3}; }}")
        }
        Object::Flowtable(flowtable) => ingress(&flowtable.links),
    }
}

fn ingress(links: &BTreeSet<LinkName>) -> String {
    if links.is_empty() {
        return " { hook ingress priority 0; }".to_owned();
    }
    let links = joined(links.iter().map(|link| format!("\"{link}\"")), ", ");
    format!(" {{ hook ingress priority 0; devices = {{ {links} }}; }}")
}

fn pair(key: &Element, entry: &Entry) -> impl fmt::Display {
    let mut text = key.to_string();
    // writing to a String cannot fail
    if let Some(id) = &entry.id {
        let _ = write!(text, " comment \"{id}\"");
    }
    if !entry.value.0.is_empty() {
        let _ = write!(text, " : {}", entry.value);
    }
    text
}

fn script(rule: &Rule) -> String {
    format!("{} comment \"{}\"", tree::script(rule), rule.id)
}
