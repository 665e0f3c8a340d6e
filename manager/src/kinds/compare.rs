//! An object beside what a description says of it.
//!
//! Guarantees: what is not stated is whatever it is; a secret is compared by its digest and never told.

use serde_json::{Map, Value};
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::types::BlobDigest;

use super::dynamic::{body, reference};
use super::fields::Fields;
use super::{Context, Kind, image_address};
use crate::error::Error;
use crate::model::UserData;
use crate::store::blobs;

/// See [`Kind::as_spec`].
pub fn common_fields<K: Kind>(object: &K) -> Result<Map<String, Value>, Error> {
    let fields = Fields::of::<K::Spec>();
    let mut body = body(object, K::NAMES.word)?;
    body.retain(|name, value| fields.has(name) && !value.is_null());
    Ok(body)
}

/// The difference between an object and what a description states of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Each changed field as `name: old -> new`.
    pub notes: Vec<String>,
    /// The patch that makes it go away.
    pub patch: Map<String, Value>,
}

/// Compares `object` with the stated fields of a spec; what is not stated is whatever it is.
pub(super) async fn compare<K: Kind>(
    context: &mut Context<'_>,
    object: &K,
    stated: &Map<String, Value>,
) -> Result<Difference, Error> {
    let current = object.as_spec()?;
    let (changeable, spec) = (Fields::of::<K::Patch>(), Fields::of::<K::Spec>());
    let (mut notes, mut patch) = (Vec::new(), Map::new());
    for (field, value) in stated {
        let id = reference(context, K::KEYS, field, stated).await?;
        let new = id.map_or_else(|| value.clone(), |id| Value::from(id.as_str()));
        let old = current.get(field).cloned().unwrap_or(Value::Null);
        if old == new || is_nothing(&old) && is_nothing(&new) {
            continue;
        }
        if spec.is_secret(field) && holds(context, &old, value).await? {
            continue;
        }
        if !changeable.has(field) {
            return Err(fixed::<K>(object, field, &old));
        }
        if spec.is_secret(field) {
            notes.push(format!("{field}: another"));
            patch.insert(field.clone(), value.clone());
            continue;
        }
        notes.push(format!("{field}: {} -> {}", told(&old), told(value)));
        patch.insert(field.clone(), value.clone());
    }
    Ok(Difference { notes, patch })
}

/// An empty list is as good as none.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// True when the blob with this digest is that secret; of lists, when each is.
async fn holds(context: &mut Context<'_>, digest: &Value, secret: &Value) -> Result<bool, Error> {
    if let (Some(digests), Some(secrets)) = (digest.as_array(), secret.as_array()) {
        if digests.len() != secrets.len() {
            return Ok(false);
        }
        for (digest, secret) in digests.iter().zip(secrets) {
            if !holds_one(context, digest, secret).await? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    holds_one(context, digest, secret).await
}

async fn holds_one(
    context: &mut Context<'_>,
    digest: &Value,
    secret: &Value,
) -> Result<bool, Error> {
    let (Some(digest), Some(secret)) = (digest.as_str(), secret.as_str()) else {
        return Ok(false);
    };
    let Ok(digest) = digest.parse::<BlobDigest>() else { return Ok(false) };
    if UserData::read(secret).is_ok_and(|bytes| digest == BlobDigest::of(&bytes)) {
        return Ok(true);
    }
    let kept = blobs::get(context.conn, &digest).await?.unwrap_or_default();
    Ok(secret_of_blob(&kept) == Some(secret) || image_address::holds(&kept, secret))
}

fn fixed<K: Kind>(object: &K, field: &str, old: &Value) -> Error {
    let what = format!("{} {}", K::NAMES.word, object.name());
    let reason = format!(
        "of {what} is {} and cannot be changed in place; delete {what} and create it again",
        told(old)
    );
    Error::Fixed { field: field.to_owned(), reason }
}

/// A value as people read it in a difference.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(told).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
