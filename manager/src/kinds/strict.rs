//! Decoding of what is said of an object: unknown fields and lists in an object's place are refused.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_api::Finding;

/// A strictly decoded value in its written form.
pub(super) fn strict<T: DeserializeOwned + Serialize>(
    value: &Value,
) -> Result<Value, Vec<Finding>> {
    if !value.is_object() {
        // serde would take a list's values for the fields in their order
        return Err(vec![Finding::error("", "invalid-value", "must be an object")]);
    }
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let decoded: T = sluice_api::decode::decode(&bytes)?;
    serde_json::to_value(&decoded)
        .map_err(|error| vec![Finding::error("", "invalid-value", error.to_string())])
}
