//! What no configuration can hold but a slice written by hand can.

use sluice_api::types::ObjectId;

use super::{Source, StorageSlice, StoreKind, What};

/// Everything that is wrong with `slice`: path and reason. Empty: it is sound. The rules of the configuration itself are the
/// contract's, and were tested before there was a slice.
pub fn check(slice: &StorageSlice) -> Vec<String> {
    let mut found = Vec::new();
    if !slice.journal.is_absolute() {
        found.push("journal: must be an absolute path".to_owned());
    }
    for (at, store) in slice.stores.iter().enumerate() {
        match &store.kind {
            StoreKind::Directory { path, .. } if !path.is_absolute() => {
                found.push(format!("stores[{at}].kind.directory.path: must be an absolute path"));
            }
            StoreKind::Bucket { staging, .. } if !is_directory(slice, staging) => {
                let reason = format!("{staging} is no directory that is written to");
                found.push(format!("stores[{at}].kind.bucket.staging: {reason}"));
            }
            StoreKind::Directory { .. } | StoreKind::Bucket { .. } => {}
        }
        if slice.stores.iter().take(at).any(|other| other.id == store.id) {
            found.push(format!("stores[{at}].id: {} is there twice", store.id));
        }
    }
    for (at, job) in slice.jobs.iter().enumerate() {
        if !slice.stores.iter().any(|store| store.id == *job.store()) {
            found.push(format!("jobs[{at}].what: there is no store {}", job.store()));
        }
        if slice.jobs.iter().take(at).any(|other| other.id == job.id) {
            found.push(format!("jobs[{at}].id: {} is there twice", job.id));
        }
        if matches!(job.what, What::Import { source: Source::SecretUrl(_), .. }) {
            found.push(format!("jobs[{at}].what.import.source: there are no blobs here"));
        }
    }
    found
}

/// Whether images can be put together on the store `id`.
fn is_directory(slice: &StorageSlice, id: &ObjectId) -> bool {
    let store = slice.stores.iter().find(|store| store.id == *id);
    store.is_some_and(|store| matches!(store.kind, StoreKind::Directory { .. }) && !store.read_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut value = json!({
            "owner": "s-1", "journal": "/data/storage",
            "stores": [{ "id": "nfs-1", "kind": { "directory": { "path": "/mnt/nfs-1" } } }],
            "jobs": [{ "id": "j-1", "what": { "import": { "source": "upload", "store": "nfs-1",
                "place": { "template": { "account": 2, "id": 201, "name": "t" } } } } }],
        });
        change(&mut value);
        check(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn every_rule_names_its_field() {
        let cases: [(fn(&mut Value), &str); 5] = [
            (|v| v["journal"] = "a".into(), "journal: must be"),
            (|v| v["stores"][0]["kind"]["directory"]["path"] = "a".into(), "stores[0].kind"),
            (|v| v["stores"][0]["id"] = "other".into(), "jobs[0].what: there is no store nfs-1"),
            (
                |v| {
                    let source = json!({ "secret-url": format!("sha256:{}", "0".repeat(64)) });
                    v["jobs"][0]["what"]["import"]["source"] = source;
                },
                "jobs[0].what.import.source",
            ),
            (
                |v| {
                    let job = v["jobs"][0].clone();
                    v["jobs"].as_array_mut().unwrap().push(job);
                },
                "jobs[1].id: j-1 is there twice",
            ),
        ];
        assert_eq!(found(|_| ()), Vec::<String>::new());
        for (change, expected) in cases {
            let found = found(change);
            assert!(found.iter().any(|text| text.starts_with(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let value = json!({ "owner": "s", "journal": "/a", "limits": { "jbos": 3 } });
        let error = serde_json::from_value::<StorageSlice>(value).unwrap_err().to_string();
        assert!(error.contains("jbos"), "{error}");
    }
}
