//! nft's JSON to the tree.
//!
//! The crate's types take any object whose fields they know and drop the rest, so what was read is written again and
//! compared: a statement with a word more than its type has is not the statement that it looks like.

use nftables::stmt::Statement;
use serde::Deserialize;
use serde_json::Value;

use super::{Own, Stmt};

/// The statement, if all of it is understood.
pub(super) fn statement(listed: &Value) -> Option<Stmt> {
    if let Ok(own) = Own::deserialize(listed) {
        return Some(Stmt::Own(own));
    }
    let known: Statement<'static> = Statement::deserialize(listed).ok()?;
    let again = serde_json::to_value(&known).ok()?;
    same(listed, &again).then_some(Stmt::Known(known))
}

/// Equal but for nulls, which stand for what is not there, and for the order of words in a list, which are flags.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let has = |map: &serde_json::Map<String, Value>, key, value| {
                map.get(key).map_or_else(|| Value::is_null(value), |also| same(value, also))
            };
            one.iter().all(|(key, value)| has(other, key, value))
                && other.iter().all(|(key, value)| has(one, key, value))
        }
        (Value::Array(one), Value::Array(other)) => {
            let pairwise = || one.iter().zip(other).all(|(one, other)| same(one, other));
            let flags = || {
                one.iter().all(|flag| flag.is_string() && other.contains(flag))
                    && other.iter().all(|flag| one.contains(flag))
            };
            one.len() == other.len() && (pairwise() || flags())
        }
        // a statement without fields is written as its name alone
        (Value::Object(object), Value::String(name))
        | (Value::String(name), Value::Object(object)) => {
            object.len() == 1 && object.get(name).is_some_and(Value::is_null)
        }
        // one flag is listed without the list
        (one @ Value::String(_), Value::Array(list))
        | (Value::Array(list), one @ Value::String(_)) => {
            matches!(list.as_slice(), [only] if only == one)
        }
        _ => one == other,
    }
}
