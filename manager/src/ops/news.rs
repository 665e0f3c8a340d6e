//! What became of images and their stores, as their appliances tell it: a line in the history beside those of the changes.
//!
//! Guarantees: whatever comes after another state has one line, written with the report that says so; the same report again,
//! or by another manager, has none.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_api::types::{ApplianceId, ObjectId};

use crate::access::{Caller, Role};
use crate::error::Error;
use crate::kinds::dynamic;
use crate::kinds::image::Image;
use crate::kinds::image_store::ImageStore;
use crate::store::objects::ALL;
use crate::store::reports::{self, Services};
use crate::store::{Conn, Owner, Store, audit};

/// The service that images and stores are of.
const STORAGE: &str = "storage";

/// Keeps what the services of an appliance said when they were looked at (Unix milliseconds), and what is news of it.
pub async fn note_reports(
    store: &Store,
    appliance: &ApplianceId,
    said: &Services,
    looked: i64,
) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    let before = reports::of(&mut transaction, appliance.as_str()).await?;
    if reports::write(&mut transaction, appliance.as_str(), said, looked).await? {
        let part = |services: &Services, list| entries(services.get(STORAGE), list);
        let mut news = Vec::new();
        for (list, told) in [("stores", of_store as Told), ("jobs", of_job as Told)] {
            news.extend(changes(&part(&before, list), &part(said, list), told));
        }
        if !news.is_empty() {
            let names = names(&mut transaction, appliance).await?;
            let caller = Caller {
                name: appliance.to_string(),
                origin: "its report".to_owned(),
                role: Role::Reader,
                owner: Owner::default(),
            };
            for (id, what) in news {
                // of one that was deleted meanwhile nothing is told
                let Some(name) = names.get(&id) else { continue };
                audit::note(&mut transaction, &caller, &format!("{name} {what}"), &[], None)
                    .await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// How an entry of a report is told; none: it is nothing to tell of.
type Told = fn(&Value) -> Option<String>;

/// Entries of a list in a report, by id.
fn entries(report: Option<&Value>, list: &str) -> BTreeMap<String, Value> {
    let all = report.and_then(|report| report.get(list)).and_then(Value::as_array);
    let all = all.into_iter().flatten();
    let named = all.filter_map(|entry| Some((text(entry, "/id")?.to_owned(), entry.clone())));
    named.collect()
}

/// What is told of those that were told otherwise before.
fn changes(
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
    told: Told,
) -> Vec<(String, String)> {
    let news = now.iter().filter_map(|(id, entry)| {
        let what = told(entry)?;
        let known = before.get(id).and_then(told);
        (known.as_ref() != Some(&what)).then(|| (id.clone(), what))
    });
    news.collect()
}

fn text<'a>(entry: &'a Value, pointer: &str) -> Option<&'a str> {
    entry.pointer(pointer).and_then(Value::as_str)
}

fn failure(entry: &Value) -> String {
    let code = text(entry, "/failure/code").unwrap_or("unknown");
    format!("{code}: {}", text(entry, "/failure/reason").unwrap_or("no reason"))
}

fn of_store(store: &Value) -> Option<String> {
    match text(store, "/state")? {
        "ready" => Some("is ready".to_owned()),
        "broken" => Some(format!("is broken: {}", failure(store))),
        _ => None,
    }
}

/// Bytes are counted in the report alone: here they would be a line each.
fn of_job(job: &Value) -> Option<String> {
    Some(match text(job, "/state")? {
        "uploading" => "waits for its upload".to_owned(),
        "fetching" => "is coming in".to_owned(),
        "retrying" => format!("is tried again: {}", failure(job)),
        "placing" => "is given its place".to_owned(),
        "deleting" => "is being erased".to_owned(),
        "failed" => format!("failed: {}", failure(job)),
        "done" => match (job.pointer("/object/size"), text(job, "/object/sha256")) {
            (Some(size), Some(sha256)) => format!("is there: {size} bytes, SHA-256 {sha256}"),
            _ => "is erased".to_owned(),
        },
        _ => return None,
    })
}

/// What the images and stores of an appliance are called, by the ids in its reports.
async fn names(
    conn: &mut Conn,
    appliance: &ApplianceId,
) -> Result<BTreeMap<String, String>, Error> {
    let of = [("router", appliance.as_str())];
    let told = |word: &str, name: &ObjectId, id: &ObjectId| format!("{word} {name} ({id})");
    let mut names = BTreeMap::new();
    for image in dynamic::load::<Image>(conn, &of, ALL).await? {
        names.insert(image.job_id().to_string(), told("image", &image.name, &image.id));
    }
    for store in dynamic::load::<ImageStore>(conn, &of, ALL).await? {
        names.insert(store.id.to_string(), told("image store", &store.name, &store.id));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn jobs(jobs: &Value) -> BTreeMap<String, Value> {
        entries(Some(&json!({ "jobs": jobs })), "jobs")
    }

    #[test]
    fn each_state_is_told_once_and_its_bytes_are_no_news() {
        let object = json!({ "size": 5, "sha256": "ab" });
        let gone = json!({ "code": "store-gone", "reason": "it is away" });
        let steps = [
            (json!([{ "id": "im-1", "state": "waiting" }]), None),
            (json!([{ "id": "im-1", "state": "fetching", "taken": 1 }]), Some("is coming in")),
            (json!([{ "id": "im-1", "state": "fetching", "taken": 2 }]), None),
            (
                json!([{ "id": "im-1", "state": "retrying", "failure": gone }]),
                Some("is tried again: store-gone: it is away"),
            ),
            (json!([{ "id": "im-1", "state": "retrying", "failure": gone, "attempts": 2 }]), None),
            (
                json!([{ "id": "im-1", "state": "done", "object": object }]),
                Some("is there: 5 bytes, SHA-256 ab"),
            ),
            (json!([{ "id": "im-1", "state": "done", "object": object }]), None),
            (json!([]), None),
            (json!([{ "id": "im-1", "state": "done" }]), Some("is erased")),
        ];
        let mut before = jobs(&json!([]));
        for (said, wanted) in steps {
            let now = jobs(&said);
            let news = changes(&before, &now, of_job);
            let told: Vec<_> = news.iter().map(|(_, what)| what.as_str()).collect();
            assert_eq!(told, Vec::from_iter(wanted), "{said}");
            before = now;
        }
    }
}
