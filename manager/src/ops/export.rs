//! The cloud as a description that applies empty.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sluice_api::types::ObjectId;

use crate::error::Error;
use crate::kinds::{AnyKind, KINDS, Key};
use crate::model::CloudSpec;
use crate::store::{Conn, Scope};

/// Names by id of what was exported so far.
type Names = BTreeMap<String, String>;

/// Everything in `scope` that a description can hold; references by name. What comes and goes with another object is left out.
pub async fn export(conn: &mut Conn, scope: Scope<'_>) -> Result<CloudSpec, Error> {
    let mut cloud = CloudSpec::default();
    let mut names = Names::new();
    for kind in KINDS {
        let mut specs = Vec::new();
        for object in kind.list(conn, scope, Vec::new(), None, None).await? {
            if kind.prunes(&object) {
                specs.extend(exported(conn, *kind, &object, &mut names).await?);
            }
        }
        if !specs.is_empty() {
            cloud.0.insert(kind.names().section(), specs);
        }
    }
    Ok(cloud)
}

async fn exported(
    conn: &mut Conn,
    kind: &dyn AnyKind,
    object: &Value,
    names: &mut Names,
) -> Result<Option<Map<String, Value>>, Error> {
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    let Some(id) = text("id").and_then(|id| id.parse::<ObjectId>().ok()) else { return Ok(None) };
    if let Some(name) = text("name") {
        names.insert(id.to_string(), name.to_owned());
    }
    let mut spec = kind.as_spec(conn, id).await?;
    let fields = kind.spec_fields();
    // what stands in the store is a digest; the secrets themselves are not for a file to read
    spec.retain(|name, _| !fields.is_secret(name));
    for Key { field, refers, .. } in kind.keys() {
        if refers.is_none() {
            continue;
        }
        let Some(other) = spec.get(*field).and_then(Value::as_str) else { continue };
        match names.get(other) {
            Some(name) => spec.insert((*field).to_owned(), name.as_str().into()),
            // one that is left out itself, such as the router that comes with a network
            None => spec.remove(*field),
        };
    }
    spec.values_mut().for_each(drop_nulls);
    Ok(Some(spec))
}

/// TOML has no null: what is not there is left out, at every depth.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(all) => all.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
