//! Create, list, show, update, delete: the same for every kind of object.

use std::collections::BTreeMap;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::Value;

use super::client::{Client, Failure};
use super::kinds::{KindCommand, Verb};
use super::table::{Column, record, render};
use super::{image_store, output, waiting};
use crate::kinds::{AnyKind, by_word};

/// The kind that is waited for until its appliance can use it.
const STORE: &str = "image store";

const ALLOCATIONS: &[Column] = &[
    ("POOL", "/pool"),
    ("ITEM", "/value"),
    ("OWNER", "/owner"),
    ("PURPOSE", "/purpose"),
    ("STATE", "/state"),
    ("APPLIANCE", "/appliance"),
    ("FREE AT GENERATION", "/release_generation"),
];

/// Does what `command` says.
pub(super) async fn run(
    client: &Client,
    json: bool,
    command: KindCommand,
) -> Result<ExitCode, Failure> {
    let KindCommand { kind, verb } = command;
    let path = kind.names().path();
    let one = |object: &str| format!("{path}/{}", segment(object));
    let made = matches!(verb, Verb::Create(_));
    let (answer, word): (Value, _) = match verb {
        Verb::List(filter) => {
            let mut rows = client.get(&format!("{path}{}", query(&filter))).await?;
            if !json {
                name(client, kind, &mut rows).await?;
            }
            list(json, &rows, kind.columns());
            return Ok(ExitCode::SUCCESS);
        }
        Verb::State(object) => {
            state(client, json, kind, object).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Show(object) => {
            show(json, &client.get(&one(&object)).await?);
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Create(spec) => (client.change(Method::POST, &path, Some(&spec)).await?, None),
        Verb::Update(object, patch) => {
            let before: Value = client.get(&one(&object)).await?;
            let after = client.change(Method::PATCH, &one(&object), Some(&patch)).await?;
            for line in dropped(&before, &after) {
                output::error(&line);
            }
            (after, None)
        }
        Verb::Act(object, action, body) => {
            let path = format!("{}/{action}", one(&object));
            (client.change(Method::POST, &path, Some(&body)).await?, None)
        }
        Verb::Delete(object) => {
            let gone = client.change(Method::DELETE, &one(&object), None::<&Value>).await?;
            (gone, Some(kind.names().word))
        }
    };
    let told = || match word {
        Some(word) => deleted(json, word, &answer),
        None => show(json, &answer),
    };
    let code = waiting::changed(client, json, &answer, told).await?;
    match (client.wait(), answer.get("id").and_then(Value::as_str)) {
        (Some(patience), Some(id))
            if made && kind.names().word == STORE && code == ExitCode::SUCCESS =>
        {
            image_store::usable(client, &one(id), patience).await
        }
        _ => Ok(code),
    }
}

/// What of an object's lists a change took away: a new list replaces all of the old one, which is easily forgotten.
fn dropped(before: &Value, after: &Value) -> Vec<String> {
    let lists = before.as_object().into_iter().flatten();
    let lists = lists.filter_map(|(field, old)| Some((field, old.as_array()?)));
    lists
        .filter_map(|(field, old)| {
            // one that is empty now need not be shown
            let new = after.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            let gone: Vec<_> = old.iter().filter(|item| !new.contains(item)).map(text).collect();
            (!gone.is_empty()).then(|| format!("{field}: no longer {}", gone.join(", ")))
        })
        .collect()
}

/// Puts names in the place of ids, in the columns that refer to other objects: people know them by these.
async fn name(client: &Client, kind: &dyn AnyKind, rows: &mut Value) -> Result<(), Failure> {
    for key in kind.keys() {
        let shown =
            kind.columns().iter().any(|(_, place)| place.strip_prefix('/') == Some(key.field));
        let Some(other) = key.refers.and_then(by_word).filter(|_| shown) else { continue };
        let others: Vec<Value> = client.get(&other.names().path()).await?;
        let text = |one: &Value, field: &str| one.get(field)?.as_str().map(str::to_owned);
        let names: BTreeMap<String, String> =
            others.iter().filter_map(|one| Some((text(one, "id")?, text(one, "name")?))).collect();
        for cell in rows.as_array_mut().into_iter().flatten().filter_map(|r| r.get_mut(key.field)) {
            if let Some(name) = cell.as_str().and_then(|id| names.get(id)) {
                *cell = Value::from(name.as_str());
            }
        }
    }
    Ok(())
}

/// Prints what appliances say of one object, or of all of its kind.
async fn state(
    client: &Client,
    json: bool,
    kind: &dyn AnyKind,
    object: Option<String>,
) -> Result<(), Failure> {
    let path = kind.names().path();
    let objects = match object {
        Some(object) => vec![object],
        None => {
            let all: Vec<Value> = client.get(&path).await?;
            let ids = all.iter().filter_map(|one| one["id"].as_str());
            ids.map(str::to_owned).collect()
        }
    };
    let mut rows = Vec::new();
    for object in objects {
        let more: Vec<Value> = client.get(&format!("{path}/{}/state", segment(&object))).await?;
        rows.extend(more);
    }
    let columns = kind.state().map_or(&[][..], |state| state.columns);
    list(json, &Value::Array(rows), columns);
    Ok(())
}

fn query(filter: &[(String, String)]) -> String {
    let parts: Vec<_> =
        filter.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// A name as one part of a path: whatever has another meaning there cannot be part of a name anyway.
pub(super) fn segment(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// Prints what was taken.
pub(super) async fn allocations(
    client: &Client,
    json: bool,
    pool: Option<String>,
) -> Result<(), Failure> {
    let all: Vec<Value> = client.get("/v1/allocations").await?;
    let fits = |item: &Value| pool.is_none() || item["pool"].as_str() == pool.as_deref();
    list(json, &Value::Array(all.into_iter().filter(fits).collect()), ALLOCATIONS);
    Ok(())
}

pub(super) fn list(json: bool, rows: &Value, columns: &[Column]) {
    if json {
        show(true, rows);
    } else {
        output::print(&render(rows.as_array().map_or(&[], Vec::as_slice), columns));
    }
}

pub(super) fn show(json: bool, object: &Value) {
    if json {
        return output::line(&format!("{object:#}"));
    }
    let mut object = object.clone();
    let once = object.as_object_mut().and_then(|fields| fields.remove("once"));
    output::print(&record(&object));
    // as they are, so that they can be put into a file
    let secrets = once.iter().filter_map(Value::as_object).flat_map(|objects| objects.values());
    for secret in secrets.filter_map(Value::as_object).flat_map(|fields| fields.values()) {
        output::line(secret.as_str().unwrap_or_default().trim_end());
    }
}

pub(super) fn deleted(json: bool, word: &str, gone: &Value) {
    if json {
        return show(true, gone);
    }
    let name = gone.get("name").or_else(|| gone.get("id")).and_then(Value::as_str).unwrap_or("?");
    output::line(&format!("deleted {word} {name}"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_new_list_leaves_out_is_told() {
        let before =
            json!({ "name": "p", "vlans": ["100-199", "300"], "mtu": 1500, "rows": [{ "a": 1 }] });
        let after = json!({ "name": "q", "vlans": ["300", "400-409"], "mtu": 1400, "rows": [] });
        assert_eq!(
            dropped(&before, &after),
            ["rows: no longer {\"a\":1}", "vlans: no longer 100-199"]
        );
        assert!(dropped(&before, &before).is_empty());
        assert_eq!(dropped(&json!({ "vlans": ["1"] }), &json!({})), ["vlans: no longer 1"]);
    }
}
