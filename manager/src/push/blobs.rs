//! Which blobs a configuration names.

use std::collections::BTreeSet;

use sluice_api::ApplianceConfig;
use sluice_api::types::BlobDigest;

/// Blobs that `document` names; one that cannot be read names none.
pub(super) fn named(document: &str) -> BTreeSet<BlobDigest> {
    // most configurations name none, and need not be read for that
    if !document.contains("sha256:") {
        return BTreeSet::new();
    }
    serde_json::from_str::<ApplianceConfig>(document)
        .map(|config| config.blobs())
        .unwrap_or_default()
}
