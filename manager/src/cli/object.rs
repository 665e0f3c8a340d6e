//! Create, list, show, update, delete: the same for every kind of object.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::client::{Client, Failure};
use super::output;
use super::table::{Column, record, render};

/// What can be done with an object.
#[derive(Debug, Subcommand)]
pub(super) enum ObjectCommand<New: Args, Changes: Args> {
    /// Create one.
    Create(New),
    /// List all.
    List,
    /// Show one.
    Show {
        /// Its name or id.
        object: String,
    },
    /// Change one.
    Update {
        /// Its name or id.
        object: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Delete one that nothing depends on.
    Delete {
        /// Its name or id.
        object: String,
    },
}

/// A kind of object: its word, its path, its columns.
pub(super) struct Kind {
    word: &'static str,
    path: &'static str,
    columns: &'static [Column],
}

pub(super) const ZONES: Kind = Kind {
    word: "zone",
    path: "/v1/zones",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("RESOLVERS", "/resolvers"),
        ("GUEST CIDR", "/guest_cidr"),
        ("CONTROL CIDR", "/control_cidr"),
    ],
};

pub(super) const PHYSICAL_NETWORKS: Kind = Kind {
    word: "physical network",
    path: "/v1/physical-networks",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("VLANS", "/vlans"),
        ("MTU", "/mtu"),
    ],
};

pub(super) const PUBLIC_RANGES: Kind = Kind {
    word: "public range",
    path: "/v1/public-ranges",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("VLAN", "/vlan"),
        ("CIDR", "/cidr"),
        ("GATEWAY", "/gateway"),
        ("START", "/start"),
        ("END", "/end"),
    ],
};

pub(super) const NETWORKS: Kind = Kind {
    word: "network",
    path: "/v1/networks",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("CIDR", "/cidr"),
        ("VLAN", "/vlan"),
        ("SOURCE NAT", "/source_nat"),
        ("EGRESS", "/egress"),
        ("ROUTER", "/router"),
    ],
};

pub(super) const GUESTS: Kind = Kind {
    word: "guest",
    path: "/v1/guests",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("NETWORK", "/nics/0/network"),
        ("ADDRESS", "/nics/0/address"),
        ("MAC", "/nics/0/mac"),
    ],
};

const ALLOCATIONS: &[Column] = &[
    ("POOL", "/pool"),
    ("ITEM", "/value"),
    ("OWNER", "/owner"),
    ("PURPOSE", "/purpose"),
    ("STATE", "/state"),
    ("APPLIANCE", "/appliance"),
    ("FREE AT GENERATION", "/release_generation"),
];

/// Does what `command` says with an object of `kind`.
pub(super) async fn run<New, Changes>(
    client: &Client,
    json: bool,
    kind: &Kind,
    command: ObjectCommand<New, Changes>,
) -> Result<(), Failure>
where
    New: Args + Serialize + Sync,
    Changes: Args + Serialize + Sync,
{
    let one = |object: &str| format!("{}/{}", kind.path, segment(object));
    match command {
        ObjectCommand::Create(new) => {
            show(json, &client.change(Method::POST, kind.path, Some(&new)).await?);
        }
        ObjectCommand::List => list(json, &client.get(kind.path).await?, kind.columns),
        ObjectCommand::Show { object } => show(json, &client.get(&one(&object)).await?),
        ObjectCommand::Update { object, changes } => {
            show(json, &client.change(Method::PATCH, &one(&object), Some(&changes)).await?);
        }
        ObjectCommand::Delete { object } => {
            let gone = client.change(Method::DELETE, &one(&object), None::<&Value>).await?;
            deleted(json, kind.word, &gone);
        }
    }
    Ok(())
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
