//! What a secondary storage VM last said of an image or a store.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_api::types::ImageFormat;
use utoipa::ToSchema;

/// State of an image that was removed from its store.
pub(super) const ERASED: &str = "erased";

/// How far an image is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageState {
    /// `waiting`, `uploading`, `fetching`, `retrying`, `placing`, `deleting`, `done`, `erased` or `failed`.
    pub state: String,
    /// Bytes of its source that went through.
    #[serde(default)]
    pub taken: u64,
    /// Length of its source, if known.
    #[serde(default)]
    pub total: Option<u64>,
    /// Bytes fetched since the appliance started, those fetched twice included.
    #[serde(default)]
    pub fetched: u64,
    /// How much of it that is, in whole percent.
    #[serde(default)]
    pub percent: Option<u64>,
    /// What it is, once it is on its store.
    #[serde(default)]
    pub format: Option<ImageFormat>,
    /// Its length on the store in bytes, holes included.
    #[serde(default)]
    pub size: Option<u64>,
    /// Size of the disk that a guest sees, in bytes.
    #[serde(default)]
    pub virtual_size: Option<u64>,
    /// Digest of its bytes.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Why it failed, or is tried again: a code and a reason.
    #[serde(default)]
    pub failure: Option<String>,
}

impl ImageState {
    /// A removal makes nothing: one that is done has erased the image. What has a size was said of the job before it.
    pub(super) fn of_a_removal(&mut self) {
        if self.state == "done" {
            let state = if self.size.is_some() { "waiting" } else { ERASED };
            *self = Self { state: state.to_owned(), ..Self::default() };
        }
    }

    /// From a job's report.
    pub(super) fn of(job: &Value) -> Self {
        let number = |pointer: &str| job.pointer(pointer).and_then(Value::as_u64);
        let text = |pointer: &str| job.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (taken, total) = (number("/taken").unwrap_or(0), number("/total"));
        let state = text("/state").unwrap_or_default();
        let done = state == "done";
        Self {
            percent: if done { Some(100) } else { total.map(|total| percent(taken, total)) },
            state,
            taken,
            total,
            fetched: number("/fetched").unwrap_or(0),
            format: text("/object/image/format").and_then(|name| name.parse().ok()),
            size: number("/object/size"),
            virtual_size: number("/object/image/virtual_size"),
            sha256: text("/object/sha256"),
            failure: failure(job),
        }
    }
}

fn percent(taken: u64, total: u64) -> u64 {
    let hundredfold = u128::from(taken) * 100 / u128::from(total.max(1));
    u64::try_from(hundredfold).unwrap_or(100).min(100)
}

fn failure(entry: &Value) -> Option<String> {
    let text = |pointer| entry.pointer(pointer).and_then(Value::as_str);
    Some(format!("{}: {}", text("/failure/code")?, text("/failure/reason").unwrap_or("no reason")))
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageStoreState {
    /// `unknown`, `ready` or `broken`.
    pub state: String,
    /// Its size in bytes; none: it has no bound.
    #[serde(default)]
    pub size: Option<u64>,
    /// Bytes free.
    #[serde(default)]
    pub free: Option<u64>,
    /// Why it is broken: a code and a reason.
    #[serde(default)]
    pub failure: Option<String>,
}

impl ImageStoreState {
    /// From a store's report.
    pub(super) fn of(store: &Value) -> Self {
        let number = |name: &str| store.get(name).and_then(Value::as_u64);
        Self {
            state: store.get("state").and_then(Value::as_str).unwrap_or_default().to_owned(),
            size: number("size"),
            free: number("free"),
            failure: failure(store),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_is_told_with_its_percent_and_its_failure() {
        let state = ImageState::of(&json!({ "id": "im-1", "state": "retrying", "taken": 1 << 20,
            "total": 3 << 20, "failure": { "code": "store-gone", "reason": "it is away" } }));
        assert_eq!(state.percent, Some(33));
        assert_eq!(state.failure.as_deref(), Some("store-gone: it is away"));
        let done = ImageState::of(&json!({ "state": "done", "taken": 0,
            "object": { "size": 5, "sha256": "ab", "image": { "format": "qcow2", "virtual_size": 9 } } }));
        assert_eq!((done.percent, done.size, done.virtual_size), (Some(100), Some(5), Some(9)));
        assert_eq!(done.format, Some(ImageFormat::Qcow2));
        let removed = |mut state: ImageState| {
            state.of_a_removal();
            state.state
        };
        assert_eq!(removed(done), "waiting", "that it was there is of the job before");
        assert_eq!(removed(ImageState::of(&json!({ "state": "done" }))), ERASED);
        assert_eq!(removed(ImageState::of(&json!({ "state": "failed" }))), "failed");
    }
}
