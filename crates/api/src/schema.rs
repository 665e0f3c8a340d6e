//! JSON Schema of the documents that people write or store; checked in under `docs/schema/` and compared by a test.

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::boot::BootDocument;
use crate::config::{ProxyDocument, RouterDocument, SsvmDocument};

/// JSON Schema (2020-12) of the router configuration.
pub fn router_config() -> Value {
    document::<RouterDocument>("Sluice router configuration, version 2")
}

/// JSON Schema (2020-12) of the console proxy's configuration.
pub fn proxy_config() -> Value {
    document::<ProxyDocument>("Sluice console proxy configuration, version 2")
}

/// JSON Schema (2020-12) of the secondary storage VM's configuration.
pub fn ssvm_config() -> Value {
    document::<SsvmDocument>("Sluice secondary storage VM configuration, version 2")
}

/// JSON Schema (2020-12) of the boot document.
pub fn boot_document() -> Value {
    document::<BootDocument>("Sluice boot document, version 1")
}

fn document<T: PartialSchema + ToSchema>(title: &str) -> Value {
    let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut parts);
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let definitions: serde_json::Map<String, Value> =
        parts.into_iter().map(|(name, schema)| (name, value(&schema))).collect();
    let mut root = value(&T::schema());
    if let Value::Object(map) = &mut root {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!(title));
        map.insert("$defs".to_owned(), Value::Object(definitions));
    }
    relocate(&mut root);
    root
}

fn value<T: serde::Serialize>(schema: &T) -> Value {
    // a schema is plain data; failing to serialize it would be a defect that the golden test shows
    serde_json::to_value(schema).unwrap_or(Value::Null)
}

/// OpenAPI keeps shared schemas under `components`, JSON Schema under `$defs`.
fn relocate(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("#/components/schemas/") {
                *text = format!("#/$defs/{name}");
            }
        }
        Value::Array(list) => list.iter_mut().for_each(relocate),
        Value::Object(map) => map.values_mut().for_each(relocate),
        _ => {}
    }
}
