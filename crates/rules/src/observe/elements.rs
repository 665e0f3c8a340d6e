//! Elements of sets and maps out of nft's JSON, one at a time: a large set never stands in memory as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::Value;

use super::{Count, Counters};
use crate::{Element, Entry, RuleId, SetType};

/// Types of keys and values; `None` for one that we never make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) key: Vec<Option<SetType>>,
    pub(crate) value: Vec<Option<SetType>>,
}

impl Form {
    /// Of types as nft names them.
    pub(crate) fn of(types: &(Vec<String>, Vec<String>)) -> Self {
        let known = |names: &[String]| names.iter().map(|name| SetType::named(name)).collect();
        Self { key: known(&types.0), value: known(&types.1) }
    }
}

/// What a list of elements holds.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    pub(crate) known: BTreeMap<Element, Entry>,
    pub(crate) foreign: u64,
}

/// Reads the list in `json`; what its elements counted goes to `counters` under the name of the set.
pub(crate) fn read(
    json: &str,
    form: &Form,
    set: &str,
    counters: &mut Counters,
) -> Result<Elements, serde_json::Error> {
    let mut elements = Elements::default();
    let list = List { form, set, counters, elements: &mut elements };
    serde_json::Deserializer::from_str(json).deserialize_seq(list)?;
    Ok(elements)
}

struct List<'a> {
    form: &'a Form,
    set: &'a str,
    counters: &'a mut Counters,
    elements: &'a mut Elements,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(listed) = list.next_element::<Value>()? {
            let Some((key, entry, count)) = element(&listed, self.form) else {
                self.elements.foreign += 1;
                continue;
            };
            if let Some(count) = count {
                let id = entry.id.as_ref().map_or_else(|| key.to_string(), RuleId::to_string);
                self.counters.elements.entry((self.set.to_owned(), id)).or_default().add(count);
            }
            self.elements.known.insert(key, entry);
        }
        Ok(())
    }
}

/// Key, what it has, and what it counted; `None` for an element that is not of our form.
fn element(listed: &Value, form: &Form) -> Option<(Element, Entry, Option<Count>)> {
    let (key, value) = match listed {
        Value::Array(pair) if !form.value.is_empty() => match pair.as_slice() {
            [key, value] => (key, Some(value)),
            _ => return None,
        },
        _ if form.value.is_empty() => (listed, None),
        _ => return None,
    };
    // an element with a comment or a counter is wrapped once more
    let wrapped = key.get("elem");
    let (mut id, mut count) = (None, None);
    for (name, given) in wrapped.and_then(Value::as_object).into_iter().flatten() {
        match name.as_str() {
            "val" => {}
            "comment" => id = Some(RuleId::try_from(given.as_str()?.to_owned()).ok()?),
            "counter" => count = Some(counted(given)?),
            _ => return None,
        }
    }
    let key = parts(wrapped.and_then(|elem| elem.get("val")).unwrap_or(key), &form.key)?;
    let value = match value {
        Some(value) => parts(value, &form.value)?,
        None => Element::default(),
    };
    Some((key, Entry { value, id }, count))
}

/// What a counter says.
pub(super) fn counted(counter: &Value) -> Option<Count> {
    let packets = counter.get("packets")?.as_u64()?;
    Some(Count { packets, bytes: counter.get("bytes")?.as_u64()? })
}

fn parts(listed: &Value, types: &[Option<SetType>]) -> Option<Element> {
    let one = std::slice::from_ref(listed);
    let values = match listed.get("concat").and_then(Value::as_array) {
        Some(list) => list.as_slice(),
        None => one,
    };
    if values.len() != types.len() {
        return None;
    }
    let read = values.iter().zip(types).map(|(value, kind)| (*kind)?.read(value));
    read.collect::<Option<_>>().map(Element)
}
