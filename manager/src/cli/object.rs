//! Create, list, show, update, delete: the same for every kind of object.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::Value;

use super::client::{Client, Failure};
use super::kinds::{KindCommand, Verb};
use super::table::{Column, record, render};
use super::{output, waiting};

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
    let (answer, word): (Value, _) = match verb {
        Verb::List(filter) => {
            list(json, &client.get(&format!("{path}{}", query(&filter))).await?, kind.columns());
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Show(object) => {
            show(json, &client.get(&one(&object)).await?);
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Create(spec) => (client.change(Method::POST, &path, Some(&spec)).await?, None),
        Verb::Update(object, patch) => {
            (client.change(Method::PATCH, &one(&object), Some(&patch)).await?, None)
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
    waiting::changed(client, json, &answer, told).await
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
        output::line(&format!("{object:#}"));
    } else {
        output::print(&record(object));
    }
}

pub(super) fn deleted(json: bool, word: &str, gone: &Value) {
    if json {
        return show(true, gone);
    }
    let name = gone.get("name").or_else(|| gone.get("id")).and_then(Value::as_str).unwrap_or("?");
    output::line(&format!("deleted {word} {name}"));
}
