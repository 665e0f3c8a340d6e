//! What `nft -j list` and the echo of a script say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use super::elements::{self, Form, counted};
use super::{
    Counters, Object, ObservedChain, ObservedRule, ObservedSet, ObservedTable, ObservedTables,
};
use crate::{
    ChainKind, Family, Flowtable, Helper, HelperKind, Hook, HookPoint, Ident, Policy, TableId, tree,
};

/// A listing that cannot be read: nft of another make. Never retryable.
#[derive(Debug, Error)]
pub enum ListingError {
    /// Not JSON, or of another form.
    #[error("nft printed something else than a list called nftables")]
    Json(#[from] serde_json::Error),
}

/// One object with its kind as its name.
pub(crate) type Listed<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    nftables: Vec<Listed<'a>>,
}

/// The objects of a listing or an echo.
pub(crate) fn objects(output: &[u8]) -> Result<Vec<Listed<'_>>, ListingError> {
    Ok(serde_json::from_slice::<Document<'_>>(output)?.nftables)
}

/// Reads the output of `nft -j list ...`; tables for which `ours` says no are left out.
pub fn parse(
    output: &[u8],
    ours: impl Fn(&TableId) -> bool,
) -> Result<(ObservedTables, Counters), ListingError> {
    let mut tables = ObservedTables::new();
    let mut counters = Counters::default();
    for (kind, body) in objects(output)?.iter().flatten() {
        let Some(id) = table_of(kind, body).filter(&ours) else { continue };
        add(Arc::make_mut(tables.entry(id).or_default()), &mut counters, kind, body)?;
    }
    Ok((tables, counters))
}

#[derive(Deserialize)]
struct Owner<'a> {
    family: Cow<'a, str>,
    #[serde(default)]
    name: Cow<'a, str>,
    #[serde(default)]
    table: Cow<'a, str>,
}

/// The table that an object belongs to, if its family is one of ours.
pub(crate) fn table_of(kind: &str, body: &RawValue) -> Option<TableId> {
    let owner: Owner<'_> = serde_json::from_str(body.get()).ok()?;
    let name = if kind == "table" { owner.name } else { owner.table };
    let family = (owner.family == Family::Inet.as_str()).then_some(Family::Inet)?;
    Some(TableId { family, name: Ident::try_from(name.into_owned()).ok()? })
}

fn add(
    table: &mut ObservedTable,
    counters: &mut Counters,
    kind: &str,
    body: &RawValue,
) -> Result<(), serde_json::Error> {
    match kind {
        "table" => {}
        "set" | "map" => {
            let (name, set) = listed_set(body, counters)?;
            table.sets.insert(name, set);
        }
        "chain" => {
            let (name, chain) = listed_chain(&value(body)?);
            let rules = table.chains.remove(&name).unwrap_or_default().rules;
            table.chains.insert(name, ObservedChain { rules, ..chain });
        }
        "rule" => {
            let (chain, rule) = listed_rule(&value(body)?, counters);
            table.chains.entry(chain).or_default().rules.push(rule);
        }
        _ => match listed_object(kind, &value(body)?, counters) {
            Some((name, object)) => drop(table.objects.insert((object.kind(), name), object)),
            None => table.foreign += 1,
        },
    }
    Ok(())
}

pub(crate) fn value(body: &RawValue) -> Result<Value, serde_json::Error> {
    serde_json::from_str(body.get())
}

fn text(body: &Value, field: &str) -> String {
    body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A chain without its rules.
pub(crate) fn listed_chain(body: &Value) -> (String, ObservedChain) {
    let hook = hook(body);
    let foreign_hook = body.get("hook").is_some() && hook.is_none();
    (text(body, "name"), ObservedChain { hook, foreign_hook, rules: Vec::new() })
}

fn hook(body: &Value) -> Option<Hook> {
    let word = |field| body.get(field)?.as_str();
    let policy = Policy::named(word("policy")?)?;
    let priority = i32::try_from(body.get("prio")?.as_i64()?).ok()?;
    // hooks of single devices are none of ours
    let plain = body.get("dev").is_none();
    plain.then_some(Hook {
        kind: ChainKind::named(word("type")?)?,
        point: HookPoint::named(word("hook")?)?,
        priority,
        policy,
    })
}

/// A rule and its chain.
pub(crate) fn listed_rule(body: &Value, counters: &mut Counters) -> (String, ObservedRule) {
    let (chain, id) = (text(body, "chain"), text(body, "comment"));
    let handle = body.get("handle").and_then(Value::as_u64);
    let exprs = body.get("expr").unwrap_or(&Value::Null);
    let all = exprs.as_array().into_iter().flatten();
    if let Some(count) = all.filter_map(|expr| expr.get("counter")).find_map(counted) {
        // rules that share an id (one for each source network, say) count together
        counters.rules.entry((chain.clone(), id.clone())).or_default().add(count);
        counters.each.entry((id.clone(), handle.unwrap_or_default())).or_default().add(count);
    }
    (chain, ObservedRule { id, text: tree::listed(exprs), handle, ..ObservedRule::default() })
}

/// A counter, helper or flowtable; `None` for one that we never make.
pub(crate) fn listed_object(
    kind: &str,
    body: &Value,
    counters: &mut Counters,
) -> Option<(Ident, Object)> {
    let name = text(body, "name");
    let object = match kind {
        "counter" => {
            counters.named.insert(name.clone(), counted(body)?);
            Object::Counter
        }
        "ct helper" => {
            let helper = Helper { kind: HelperKind::named(&text(body, "type"))? };
            let carried = (text(body, "protocol"), text(body, "l3proto"));
            let (l4, l3) = helper.carried_by();
            (carried == (l4.to_owned(), l3.to_owned())).then_some(Object::Helper(helper))?
        }
        "flowtable" => Object::Flowtable(flowtable(body)?),
        _ => return None,
    };
    Some((Ident::try_from(name).ok()?, object))
}

fn flowtable(body: &Value) -> Option<Flowtable> {
    let plain = text(body, "hook") == "ingress" && body.get("prio")?.as_i64()? == 0;
    let names: Vec<&str> = match body.get("dev") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let links = names.into_iter().map(|name| name.parse().ok()).collect::<Option<_>>()?;
    plain.then_some(Flowtable { links })
}

/// A set's properties in any order, its elements as they stand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedSet<'a> {
    name: String,
    #[serde(rename = "type")]
    key: Value,
    #[serde(default)]
    map: Value,
    #[serde(default)]
    flags: Value,
    #[serde(default)]
    stmt: Vec<Value>,
    #[serde(borrow, default)]
    elem: Option<&'a RawValue>,
    #[serde(default, rename = "family")]
    _family: Value,
    #[serde(default, rename = "table")]
    _table: Value,
    #[serde(default, rename = "handle")]
    _handle: Value,
}

/// A set or map with its elements.
pub(crate) fn listed_set(
    body: &RawValue,
    counters: &mut Counters,
) -> Result<(String, ObservedSet), serde_json::Error> {
    let Ok(listed) = serde_json::from_str::<ListedSet<'_>>(body.get()) else {
        // a set with a time-out, a size or what else there may be
        let name = text(&value(body)?, "name");
        return Ok((name, ObservedSet { foreign_form: true, ..ObservedSet::default() }));
    };
    let types = (words(&listed.key), words(&listed.map));
    let flags = words(&listed.flags);
    let known = flags.iter().all(|flag| flag == "interval");
    let counter = listed.stmt.iter().filter(|stmt| stmt.get("counter").is_some()).count();
    let mut set = ObservedSet {
        interval: !flags.is_empty(),
        counter: counter > 0,
        foreign_form: !known || counter != listed.stmt.len(),
        types,
        ..ObservedSet::default()
    };
    if let Some(list) = listed.elem {
        let read = elements::read(list.get(), &Form::of(&set.types), &listed.name, counters)?;
        (set.elements, set.foreign) = (read.known, read.foreign);
    }
    Ok((listed.name, set))
}

/// Types or flags; nft writes one as text, several as a list, and before 1.1 the types of a map's value joined by dots.
fn words(listed: &Value) -> Vec<String> {
    match listed {
        Value::String(text) => text.split(" . ").map(str::to_owned).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectKind;

    #[test]
    fn counters_beyond_32_bits_are_read() {
        let listing = r#"{"nftables": [
            {"counter": {"family": "inet", "name": "c-1", "table": "sluice", "handle": 2, "packets": 5, "bytes": 5000000000}},
            {"set": {"family": "inet", "name": "s-1", "table": "sluice", "type": "ipv4_addr", "handle": 1,
             "stmt": [{"counter": null}],
             "elem": [{"elem": {"val": "1.2.3.4", "comment": "x/1", "counter": {"packets": 1, "bytes": 6000000000}}}]}}
        ]}"#;
        let (tables, counters) = parse(listing.as_bytes(), |_| true).unwrap();
        assert_eq!(counters.named["c-1"].bytes, 5_000_000_000);
        assert_eq!(counters.elements[&("s-1".to_owned(), "x/1".to_owned())].bytes, 6_000_000_000);
        let table = tables.values().next().unwrap();
        assert_eq!(table.foreign, 0);
        assert!(table.sets["s-1"].counter);
    }

    #[test]
    fn what_is_not_of_our_making_shows() {
        let listing = |object: &str| format!("{{\"nftables\": [{object}]}}");
        let parsed = |object: &str| {
            let (mut tables, _) = parse(listing(object).as_bytes(), |_| true).unwrap();
            Arc::unwrap_or_clone(tables.pop_first().unwrap().1)
        };
        let with = |rest: &str| {
            parsed(&format!(
                r#"{{"set": {{"family": "inet", "name": "s-1", "table": "sluice", "type": "ipv4_addr"{rest}}}}}"#
            ))
        };
        assert!(!with("").sets["s-1"].foreign_form);
        assert!(with(r#", "timeout": 5"#).sets["s-1"].foreign_form);
        assert!(with(r#", "flags": ["dynamic"]"#).sets["s-1"].foreign_form);
        assert!(with(r#", "stmt": [{"limit": 1}]"#).sets["s-1"].foreign_form);
        assert_eq!(
            with(r#", "elem": ["we ird", {"elem": {"val": "1.2.3.4", "timeout": 5}}]"#).sets["s-1"]
                .foreign,
            2
        );
        let quota = parsed(r#"{"quota": {"family": "inet", "name": "q-1", "table": "sluice"}}"#);
        assert_eq!(quota.foreign, 1);
    }

    #[test]
    fn nonsense_is_an_error() {
        for nonsense in ["", "[]", "{}", "{\"nftables\": 5}", "{\"nftables\": [5]}"] {
            assert!(parse(nonsense.as_bytes(), |_| true).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn object_kinds_are_told_apart() {
        let mut counters = Counters::default();
        let body =
            serde_json::json!({"name": "h-1", "type": "ftp", "protocol": "tcp", "l3proto": "inet"});
        let (_, helper) = listed_object("ct helper", &body, &mut counters).unwrap();
        assert_eq!(helper.kind(), ObjectKind::Helper);
        let body =
            serde_json::json!({"name": "h-1", "type": "ftp", "protocol": "tcp", "l3proto": "ip"});
        assert!(listed_object("ct helper", &body, &mut counters).is_none());
    }
}
