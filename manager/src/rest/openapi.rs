//! The OpenAPI document; checked in under `docs/openapi/` and compared by a test.

#![expect(
    clippy::indexing_slicing,
    reason = "setting a field of an object that was made a line above"
)]

use axum::response::Response;
use serde_json::{Value, json};
use sluice_api::ApplianceConfig;
use sluice_api::config::AnyPart;
use utoipa::{OpenApi, PartialSchema as _, ToSchema as _};

use super::objects::MOST;
use super::reply::shown;
use super::request::{ETAG, REQUEST_ID};
use super::{administration, appliances, cloud, consoles, diagnostics, explain, generations};
use crate::error::Problem;
use crate::kinds::{AnyKind, KINDS};
use crate::model::CloudSpec;
use crate::ops::Effect;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluice manager",
        description = "Network model, allocation and system VMs of one cloud"
    ),
    paths(
        appliances::config,
        appliances::boot_document,
        appliances::endpoint,
        appliances::status,
        appliances::statuses,
        appliances::reports,
        appliances::report,
        appliances::usage,
        appliances::findings,
        appliances::csv,
        appliances::page,
        generations::history,
        generations::show,
        generations::diff,
        generations::rollback,
        generations::overwrite,
        generations::adopt,
        generations::push,
        appliances::plan,
        appliances::logs,
        diagnostics::ping,
        diagnostics::traceroute,
        diagnostics::arping,
        diagnostics::capture,
        explain::explain,
        cloud::apply,
        cloud::export,
        cloud::allocations,
        cloud::health,
        consoles::link,
        consoles::loads,
        consoles::revoke,
        consoles::sessions,
        administration::create_token,
        administration::list_tokens,
        administration::delete_token,
        administration::list_changes,
        administration::back_up,
        administration::resume,
        administration::authority,
        administration::rotate,
        administration::retire,
        serve,
    ),
    components(schemas(Problem, Effect))
)]
struct Document;

/// The document: what is written above, and the routes of every kind.
pub fn document() -> Value {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let mut document = serde_json::to_value(&document).unwrap_or_default();
    for kind in KINDS {
        let names = kind.names();
        let path = names.path();
        put(&mut document, &["paths", &path], all(*kind));
        put(&mut document, &["paths", &format!("{path}/{{id}}")], single(*kind));
        if let Some(state) = kind.state() {
            let path = format!("{path}/{{id}}/state");
            put(&mut document, &["paths", &path], json!({ "get": told(*kind, state.about) }));
        }
        for action in kind.actions() {
            let path = format!("{path}/{{id}}/{}", action.name);
            put(&mut document, &["paths", &path], json!({ "post": act(*kind, action.about) }));
        }
        for (name, schema) in kind.schemas().all {
            put(&mut document, &["components", "schemas", &name], schema);
        }
    }
    put(&mut document, &["components", "schemas", "Description"], CloudSpec::schema());
    configuration(&mut document);
    common(&mut document);
    document
}

/// What holds for every operation: whatever is asked may be refused, or fail by no fault of the caller; and a request id
/// has one form.
fn common(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|it| it.values_mut());
    for operation in operations {
        for (class, about) in [("4XX", REFUSED), ("5XX", FAILED)] {
            let content = content(&reference("Problem"));
            let response = json!({ "description": about, "content": content });
            if operation["responses"][class].is_null() {
                operation["responses"][class] = response;
            }
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        let parameters = parameters.into_iter().flatten();
        for parameter in parameters.filter(|it| it["name"] == "Idempotency-Key") {
            *parameter = request_id();
        }
    }
}

const REFUSED: &str = "nothing was changed";
const FAILED: &str = "a pool is exhausted, the store is busy, or an appliance that has to be asked cannot be reached";

/// Schemas of configurations under names of their own, since a guest of a configuration is not the guest that the manager
/// keeps, though both are called so.
fn configuration(document: &mut Value) {
    let mut all = Vec::new();
    AnyPart::schemas(&mut all);
    all.push((AnyPart::name().into_owned(), AnyPart::schema()));
    ApplianceConfig::<AnyPart>::schemas(&mut all);
    all.push((CONFIGURATION.to_owned(), ApplianceConfig::<AnyPart>::schema()));
    for (name, schema) in all {
        let mut schema = serde_json::to_value(&schema).unwrap_or_default();
        rename(&mut schema);
        put(document, &["components", "schemas", &own_name(&name)], schema);
    }
}

/// The one schema of configurations that paths refer to.
const CONFIGURATION: &str = "ApplianceConfig";

fn own_name(name: &str) -> String {
    if name == CONFIGURATION { name.to_owned() } else { format!("Config{name}") }
}

/// Has every reference in a schema of configurations lead to another of these.
fn rename(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix(SCHEMAS)) {
                    Some(name) if field == "$ref" => {
                        *value = format!("{SCHEMAS}{}", own_name(name)).into();
                    }
                    _ => rename(value),
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(rename),
        _ => {}
    }
}

const SCHEMAS: &str = "#/components/schemas/";

fn put(document: &mut Value, way: &[&str], value: Value) {
    let place = way.iter().fold(document, |place, step| &mut place[*step]);
    *place = value;
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{schema}") })
}

/// An object after a change, and when the change is in force.
fn changed(schema: &str) -> Value {
    let effects = json!({ "type": "array", "items": reference("Effect") });
    let secrets = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let once = json!({
        "type": "object",
        "description": "secrets by the object's id that are told in this answer alone",
        "additionalProperties": secrets,
    });
    let properties = json!({ "effects": effects, "once": once });
    json!({ "allOf": [
        reference(schema),
        { "type": "object", "properties": properties, "required": ["effects"] },
    ] })
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// The answer of a call that succeeds.
fn responses(status: &str, schema: &Value) -> Value {
    json!({ status: { "description": "done", "content": content(schema) } })
}

fn parameter(place: &str, name: &str, about: &str, schema: &Value) -> Value {
    json!({
        "name": name, "in": place, "description": about, "required": place == "path",
        "schema": schema,
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn request_id() -> Value {
    let schema = json!({ "type": "string", "pattern": REQUEST_ID });
    parameter("header", "Idempotency-Key", "request id, 1 to 200 characters", &schema)
}

fn version() -> Value {
    let about = "the ETag that the object must have; it is in the answer to GET";
    parameter("header", "If-Match", about, &json!({ "type": "string", "pattern": ETAG }))
}

fn named() -> Value {
    parameter("path", "id", "name or id", &text())
}

/// An operation without body and parameters.
fn operation(kind: &dyn AnyKind, verb: &str, about: String, responses: &Value) -> Value {
    let names = kind.names();
    json!({
        "tags": [names.plural],
        "summary": about,
        "operationId": format!("{}_{verb}", names.section()),
        "responses": responses,
        "parameters": [],
    })
}

fn all(kind: &dyn AnyKind) -> Value {
    let (names, schemas) = (kind.names(), kind.schemas());
    let found = json!({ "type": "array", "items": reference(&schemas.object) });
    let about = format!("All {}, or those of a query.", names.plural);
    let mut list = operation(kind, "list", about, &responses("200", &found));
    let mut filters = vec![
        parameter("query", "name", "only those of this name", &text()),
        parameter("query", "after", "only those made after the one with this id", &text()),
        parameter(
            "query",
            "limit",
            "at most so many",
            &json!({ "type": "integer", "minimum": 1, "maximum": MOST }),
        ),
    ];
    for key in kind.keys().iter().filter(|key| key.column.is_some()) {
        let about = match key.refers {
            Some(word) => format!("only those of this {word}, by name or id"),
            None => "only those with this value".to_owned(),
        };
        filters.push(parameter("query", key.field, &about, &text()));
    }
    list["parameters"] = filters.into();
    let made = responses("201", &changed(&schemas.object));
    let mut create = operation(kind, "create", format!("Creates a {}.", names.word), &made);
    create["parameters"] = json!([request_id()]);
    create["requestBody"] = body(&schemas.spec);
    json!({ "get": list, "post": create })
}

fn body(schema: &str) -> Value {
    json!({ "required": true, "content": content(&reference(schema)) })
}

fn single(kind: &dyn AnyKind) -> Value {
    let (word, schemas) = (kind.names().word, kind.schemas());
    let object = responses("200", &reference(&schemas.object));
    let mut show = operation(kind, "show", format!("One {word}."), &object);
    let object = responses("200", &changed(&schemas.object));
    show["parameters"] = json!([named()]);
    let about = format!("Deletes a {word} that nothing depends on; answers with what it was.");
    let mut delete = operation(kind, "delete", about, &object);
    delete["parameters"] = json!([named(), request_id(), version()]);
    let mut methods = json!({ "get": show, "delete": delete });
    if !kind.patch_fields().0.is_empty() {
        let about = format!("Changes a {word}; what is left out stays.");
        let mut update = operation(kind, "update", about, &object);
        update["parameters"] = json!([named(), request_id(), version()]);
        update["requestBody"] = body(&schemas.patch);
        methods["patch"] = update;
    }
    methods
}

/// What an appliance says of an object.
fn told(kind: &dyn AnyKind, about: &str) -> Value {
    let rows = responses("200", &json!({ "type": "array", "items": { "type": "object" } }));
    let mut told = operation(kind, "state", format!("{about}."), &rows);
    told["parameters"] = json!([named()]);
    told
}

fn act(kind: &dyn AnyKind, about: &str) -> Value {
    let answer = responses("200", &json!({ "type": "object" }));
    let mut act = operation(kind, "act", about.to_owned(), &answer);
    act["parameters"] = json!([named(), request_id(), version()]);
    act["requestBody"] = json!({ "content": content(&json!({ "type": "object" })) });
    act
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "cloud",
    responses((status = 200, description = "OpenAPI document")))]
pub(super) async fn serve() -> Response {
    shown(&document())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_document_is_checked_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/manager.json");
        let text = serde_json::to_string_pretty(&super::document()).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} differs; rewrite with `cargo xtask bless`", path.display());
    }
}
