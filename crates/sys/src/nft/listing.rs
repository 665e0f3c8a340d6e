//! What `nft -j list` says about our tables.
//!
//! Elements come back typed; rules stay JSON in comparable form, because a foreign edit may be anything. Counters are
//! u64 and kept apart, so that they never make two listings differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{
    Chain, ChainKind, Element, ElementValue, Family, Hook, HookPoint, Ident, L4, Map, Policy, Set,
    SetType, Table, TableId, Verdict, json,
};

/// A listing that cannot be read: nft of another make. Never retryable.
#[derive(Debug, Error)]
pub enum ListingError {
    /// Not JSON.
    #[error("nft printed no JSON")]
    Json(#[from] serde_json::Error),
    /// JSON of another form.
    #[error("nft printed JSON without a list called nftables")]
    Form,
}

/// Our tables as they are; shared, because they can be large and most are the same from one look to the next.
pub type ObservedTables = BTreeMap<TableId, Arc<ObservedTable>>;

/// One table as it is; equal to [`ObservedTable::of`] the wanted one exactly when the kernel agrees with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedTable {
    /// Chains by name.
    pub chains: BTreeMap<String, ObservedChain>,
    /// Sets and maps by name; the elements of a set have an empty value.
    pub sets: BTreeMap<String, ObservedSet>,
    /// Objects of kinds that we never make (counters, quotas, flowtables): any makes the table differ.
    pub foreign: u64,
}

/// A chain as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedChain {
    /// Where packets enter; `None` for a chain that is jumped to.
    pub hook: Option<Hook>,
    /// True when the hook is one that we never make.
    pub foreign_hook: bool,
    /// Id and expressions of each rule.
    pub rules: Vec<ObservedRule>,
}

/// A rule as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedRule {
    /// Its comment; empty when it has none.
    pub id: String,
    /// Its expressions in comparable form.
    pub exprs: Value,
}

/// A set or map as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSet {
    /// Types as nft names them, key then value.
    pub types: (Vec<String>, Vec<String>),
    /// The elements that are of our form.
    #[serde(with = "crate::pairs")]
    pub elements: BTreeMap<Element, Element>,
    /// Elements that are not: any makes the set differ.
    pub foreign: u64,
}

/// Packets and bytes by chain and rule id.
pub type Counters = BTreeMap<(String, String), (u64, u64)>;

impl ObservedTable {
    /// How the kernel would list `table`.
    pub fn of(table: &Table) -> Self {
        let chains =
            table.chains.iter().map(|(name, chain)| (name.to_string(), observed_chain(chain)));
        let sets = table.sets.iter().map(|(name, set)| (name.to_string(), observed_set(set)));
        let maps = table.maps.iter().map(|(name, map)| (name.to_string(), observed_map(map)));
        Self { chains: chains.collect(), sets: sets.chain(maps).collect(), foreign: 0 }
    }
}

pub(super) fn observed_chain(chain: &Chain) -> ObservedChain {
    let rules = chain
        .rules
        .iter()
        .map(|rule| ObservedRule { id: rule.id.to_string(), exprs: rule.listed() })
        .collect();
    ObservedChain { hook: chain.hook, foreign_hook: false, rules }
}

pub(super) fn type_names(types: &[SetType]) -> Vec<String> {
    types.iter().map(|part| part.as_str().to_owned()).collect()
}

fn observed_set(set: &Set) -> ObservedSet {
    let elements = set.elements.iter().map(|element| (element.clone(), Element(Vec::new())));
    ObservedSet {
        types: (type_names(&set.key), Vec::new()),
        elements: elements.collect(),
        foreign: 0,
    }
}

fn observed_map(map: &Map) -> ObservedSet {
    ObservedSet {
        types: (type_names(&map.key), type_names(&map.value)),
        elements: map.elements.clone(),
        foreign: 0,
    }
}

/// Reads the output of `nft -j list ...`; tables for which `ours` says no are left out.
pub fn parse(
    output: &[u8],
    ours: impl Fn(&TableId) -> bool,
) -> Result<(ObservedTables, Counters), ListingError> {
    let document: Value = serde_json::from_slice(output)?;
    let objects = document.get("nftables").and_then(Value::as_array).ok_or(ListingError::Form)?;
    let mut tables = ObservedTables::new();
    let mut counters = Counters::new();
    for object in objects.iter().filter_map(Value::as_object) {
        for (kind, body) in object {
            let Some(id) = table_of(kind, body).filter(&ours) else { continue };
            add(Arc::make_mut(tables.entry(id).or_default()), &mut counters, kind, body);
        }
    }
    Ok((tables, counters))
}

fn text(body: &Value, field: &str) -> String {
    body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The table that an object belongs to, if its family is one of ours.
fn table_of(kind: &str, body: &Value) -> Option<TableId> {
    let name = text(body, if kind == "table" { "name" } else { "table" });
    let family = match body.get("family")?.as_str()? {
        "inet" => Family::Inet,
        _ => return None,
    };
    Some(TableId { family, name: Ident::try_from(name).ok()? })
}

fn add(table: &mut ObservedTable, counters: &mut Counters, kind: &str, body: &Value) {
    let name = text(body, "name");
    match kind {
        "table" => {}
        "chain" => {
            let entry = table.chains.entry(name).or_default();
            entry.hook = hook(body);
            entry.foreign_hook = body.get("hook").is_some() && entry.hook.is_none();
        }
        "set" | "map" => {
            table.sets.insert(name, set(body));
        }
        "rule" => {
            let chain = text(body, "chain");
            let exprs = body.get("expr").cloned().unwrap_or(Value::Null);
            let id = text(body, "comment");
            if let Some(count) = counter(&exprs) {
                // rules that share an id (one for each source network, say) count together
                let total = counters.entry((chain.clone(), id.clone())).or_insert((0, 0));
                *total = (total.0.saturating_add(count.0), total.1.saturating_add(count.1));
            }
            let rule = ObservedRule { id, exprs: json::comparable(exprs) };
            table.chains.entry(chain).or_default().rules.push(rule);
        }
        _ => table.foreign += 1,
    }
}

fn counter(exprs: &Value) -> Option<(u64, u64)> {
    let counter = exprs.as_array()?.iter().find_map(|expr| expr.get("counter"))?;
    Some((counter.get("packets")?.as_u64()?, counter.get("bytes")?.as_u64()?))
}

fn hook(body: &Value) -> Option<Hook> {
    let kind = match body.get("type")?.as_str()? {
        "filter" => ChainKind::Filter,
        "nat" => ChainKind::Nat,
        _ => return None,
    };
    let point = match body.get("hook")?.as_str()? {
        "prerouting" => HookPoint::Prerouting,
        "input" => HookPoint::Input,
        "forward" => HookPoint::Forward,
        "output" => HookPoint::Output,
        "postrouting" => HookPoint::Postrouting,
        _ => return None,
    };
    let policy = match body.get("policy")?.as_str()? {
        "accept" => Policy::Accept,
        _ => Policy::Drop,
    };
    let priority = i32::try_from(body.get("prio")?.as_i64()?).ok()?;
    Some(Hook { kind, point, priority, policy })
}

fn set(body: &Value) -> ObservedSet {
    let key = types(body.get("type"));
    let value = types(body.get("map"));
    let mut observed = ObservedSet { types: (key, value), ..ObservedSet::default() };
    let (key, value) = (parsed(&observed.types.0), parsed(&observed.types.1));
    for listed in body.get("elem").and_then(Value::as_array).into_iter().flatten() {
        match element(listed, &key, &value) {
            Some((element, data)) => {
                observed.elements.insert(element, data);
            }
            None => observed.foreign += 1,
        }
    }
    observed
}

/// Type names; nft writes one as text, several as a list, and those of a map's value joined by dots.
fn types(listed: Option<&Value>) -> Vec<String> {
    match listed {
        Some(Value::String(text)) => text.split(" . ").map(str::to_owned).collect(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn parsed(names: &[String]) -> Vec<Option<SetType>> {
    names
        .iter()
        .map(|name| match name.as_str() {
            "ifname" => Some(SetType::Link),
            "ipv4_addr" => Some(SetType::Ipv4),
            "inet_proto" => Some(SetType::L4),
            "inet_service" => Some(SetType::Port),
            "verdict" => Some(SetType::Verdict),
            _ => None,
        })
        .collect()
}

type Types = [Option<SetType>];

fn element(listed: &Value, key: &Types, value: &Types) -> Option<(Element, Element)> {
    match listed {
        Value::Array(pair) if !value.is_empty() => match pair.as_slice() {
            [left, right] => Some((parts(left, key)?, parts(right, value)?)),
            _ => None,
        },
        _ if value.is_empty() => Some((parts(listed, key)?, Element(Vec::new()))),
        _ => None,
    }
}

fn parts(listed: &Value, types: &Types) -> Option<Element> {
    // an element with a counter or a comment is wrapped once more
    let inner = listed.get("elem").and_then(|elem| elem.get("val")).unwrap_or(listed);
    let values: Vec<&Value> = match inner.get("concat").and_then(Value::as_array) {
        Some(list) => list.iter().collect(),
        None => vec![inner],
    };
    if values.len() != types.len() {
        return None;
    }
    values
        .into_iter()
        .zip(types)
        .map(|(value, kind)| part(value, (*kind)?))
        .collect::<Option<_>>()
        .map(Element)
}

fn part(value: &Value, kind: SetType) -> Option<ElementValue> {
    match kind {
        SetType::Link => value.as_str()?.parse().ok().map(ElementValue::Link),
        SetType::Ipv4 => value.as_str()?.parse().ok().map(ElementValue::Ipv4),
        SetType::Port => value.as_u64()?.try_into().ok().map(ElementValue::Port),
        SetType::L4 => match json::protocol_number(value)? {
            6 => Some(ElementValue::L4(L4::Tcp)),
            17 => Some(ElementValue::L4(L4::Udp)),
            _ => None,
        },
        SetType::Verdict => verdict(value).map(ElementValue::Verdict),
    }
}

fn verdict(value: &Value) -> Option<Verdict> {
    let (kind, body) = value.as_object()?.iter().next()?;
    let target = || Ident::try_from(text(body, "target")).ok();
    match kind.as_str() {
        "accept" => Some(Verdict::Accept),
        "drop" => Some(Verdict::Drop),
        "return" => Some(Verdict::Return),
        "jump" => target().map(Verdict::Jump),
        "goto" => target().map(Verdict::Goto),
        _ => None,
    }
}
