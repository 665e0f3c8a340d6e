//! Rules of a slice that need more than one value.

use std::collections::BTreeSet;

use sluice_api::types::ObjectId;

use super::{Job, Permission, Source, StorageSlice, StoreKind, StoreSlice, What};

/// Everything that is wrong with `slice`: path and reason. Empty: it is sound.
pub fn check(slice: &StorageSlice) -> Vec<String> {
    let mut found = Vec::new();
    if !slice.journal.is_absolute() {
        found.push("journal: must be an absolute path".to_owned());
    }
    twice("stores", slice.stores.iter().map(|store| &store.id), &mut found);
    twice("jobs", slice.jobs.iter().map(|job| &job.id), &mut found);
    twice("grants", slice.grants.iter().map(|grant| &grant.id), &mut found);
    for (at, store) in slice.stores.iter().enumerate() {
        found.extend(of_store(store).map(|reason| format!("stores[{at}].{reason}")));
    }
    for (at, job) in slice.jobs.iter().enumerate() {
        found.extend(of_job(slice, job).map(|reason| format!("jobs[{at}].{reason}")));
    }
    places(slice, &mut found);
    for (at, grant) in slice.grants.iter().enumerate() {
        let reason = of_permission(slice, &grant.permission);
        found.extend(reason.map(|reason| format!("grants[{at}].{reason}")));
    }
    found
}

fn twice<'a>(list: &str, ids: impl Iterator<Item = &'a ObjectId>, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (at, id) in ids.enumerate() {
        if !seen.insert(id) {
            found.push(format!("{list}[{at}].id: {id} is there twice"));
        }
    }
}

fn of_store(store: &StoreSlice) -> Option<String> {
    if !(1..=100).contains(&store.full_percent) {
        return Some("full_percent: must be 1 to 100".to_owned());
    }
    match &store.kind {
        StoreKind::Directory { path, .. } if !path.is_absolute() => {
            Some("kind.directory.path: must be an absolute path".to_owned())
        }
        StoreKind::Directory { .. } => None,
    }
}

fn of_job(slice: &StorageSlice, job: &Job) -> Option<String> {
    let Some(store) = slice.stores.iter().find(|store| store.id == *job.store()) else {
        return Some(format!("what.store: there is no store {}", job.store()));
    };
    store.read_only.then(|| format!("what.store: store {} is read-only", store.id))
}

/// Two jobs about one object would race.
fn places(slice: &StorageSlice, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (at, job) in slice.jobs.iter().enumerate() {
        if !seen.insert((job.store(), job.place())) {
            found.push(format!("jobs[{at}].what.place: another job is about {}", job.place()));
        }
    }
}

fn of_permission(slice: &StorageSlice, permission: &Permission) -> Option<String> {
    match permission {
        Permission::Upload { job, .. } => {
            let job = slice.jobs.iter().find(|other| other.id == *job);
            let waits = job
                .is_some_and(|job| matches!(job.what, What::Import { source: Source::Upload, .. }));
            (!waits)
                .then(|| "permission.upload.job: no job of that id waits for an upload".to_owned())
        }
        Permission::Download { store, .. } => {
            let known = slice.stores.iter().any(|other| other.id == *store);
            (!known).then(|| format!("permission.download.store: there is no store {store}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn example() -> Value {
        json!({
            "owner": "s-1", "journal": "/data/storage",
            "stores": [{ "id": "nfs-1", "kind": { "directory": { "path": "/mnt/nfs-1" } } }],
            "jobs": [{ "id": "j-1", "what": { "import": { "source": "upload", "store": "nfs-1",
                "place": { "template": { "account": 2, "id": 201, "name": "t" } } } } }],
            "grants": [{ "id": "g-1", "token": "00".repeat(32), "expires": 5,
                "permission": { "upload": { "job": "j-1", "most_bytes": 5 } } }],
        })
    }

    fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut value = example();
        change(&mut value);
        check(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_sound_slice_has_no_findings() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_rule_names_its_field() {
        let cases: [(fn(&mut Value), &str); 8] = [
            (|v| v["journal"] = "a".into(), "journal: must be"),
            (|v| v["stores"][0]["full_percent"] = 0.into(), "stores[0].full_percent"),
            (|v| v["stores"][0]["kind"]["directory"]["path"] = "a".into(), "stores[0].kind"),
            (
                |v| v["stores"][0]["id"] = "other".into(),
                "jobs[0].what.store: there is no store nfs-1",
            ),
            (
                |v| v["stores"][0]["read_only"] = true.into(),
                "jobs[0].what.store: store nfs-1 is read",
            ),
            (
                |v| v["grants"][0]["permission"]["upload"]["job"] = "x".into(),
                "grants[0].permission",
            ),
            (
                |v| {
                    let job = v["jobs"][0].clone();
                    v["jobs"].as_array_mut().unwrap().push(job);
                },
                "jobs[1].id: j-1 is there twice",
            ),
            (
                |v| {
                    let mut job = v["jobs"][0].clone();
                    job["id"] = "j-2".into();
                    v["jobs"].as_array_mut().unwrap().push(job);
                },
                "jobs[1].what.place: another job",
            ),
        ];
        for (change, expected) in cases {
            let found = found(change);
            assert!(found.iter().any(|text| text.starts_with(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let mut value = example();
        value["limits"] = json!({ "jbos": 3 });
        let error = serde_json::from_value::<StorageSlice>(value).unwrap_err().to_string();
        assert!(error.contains("jbos"), "{error}");
    }
}
