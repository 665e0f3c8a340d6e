//! Images: object stores, copies, chains, links, bounds, and what becomes of the configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_api::types::TokenHash;
use sluice_manager::ops::{note_reports, settle_images};

use super::kinds::{applied, config, done, refused};
use super::process::Cloud;

/// The example, with a certificate so that somebody is served.
pub(crate) async fn cloud() -> Cloud {
    let cloud = Cloud::start().await;
    applied(&cloud, "storage.toml", "s-1").await;
    let pem = cloud.folder.path().join("pem");
    std::fs::write(&pem, super::kinds::pem()).unwrap();
    done(&cloud, &format!("appliance update storage1 --certificate-file {}", pem.display()));
    cloud
}

pub(crate) async fn ssvm(cloud: &Cloud) -> Value {
    config(cloud, "s-1").await["role"]["ssvm"].clone()
}

pub(crate) fn secret(cloud: &Cloud, text: &str) -> String {
    let file = cloud.folder.path().join("secret");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

pub(crate) fn asked(cloud: &Cloud, line: &str) -> Value {
    let told = cloud.sluice(["--json"].into_iter().chain(line.split(' ')));
    assert_eq!(told.code, 0, "{line}: {told:?}");
    serde_json::from_str(&told.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_stand_behind_a_store_of_files() {
    let cloud = cloud().await;
    let key = secret(&cloud, "hush");
    let own = format!("--user test:tester --secret-file {key} --staging nfs1");
    done(
        &cloud,
        &format!(
            "image-store create s3 --zone zone1 --endpoint https://s3.example.com --bucket images {own}"
        ),
    );
    done(
        &cloud,
        &format!(
            "image-store create swift --zone zone1 --endpoint https://swift.example.com/auth/v1.0 --protocol swift --bucket images {own}"
        ),
    );
    let stores = ssvm(&cloud).await["stores"].clone();
    let s3 = &stores[1]["kind"]["s3"];
    assert_eq!((&s3["region"], &s3["bucket"]), (&json!("us-east-1"), &json!("images")));
    assert_eq!(s3["staging"], json!({ "store": stores[0]["id"], "cache_bytes": 20_u64 << 30 }));
    assert_eq!(stores[2]["kind"]["swift"]["user"], "test:tester");
    let shown = asked(&cloud, "image-store show s3").to_string();
    assert!(!shown.contains("hush"), "{shown}");
    let endpoint = "--endpoint https://s3.example.com --bucket images";
    for (line, code, words) in [
        (format!("image-store create x --zone zone1 {endpoint}"), 3, "user: is required"),
        (
            format!(
                "image-store create x --zone zone1 {endpoint} --user u --secret-file {key} --staging s3"
            ),
            3,
            "is an object store itself",
        ),
        ("image-store create x --zone zone1 --bucket images".to_owned(), 3, "of an object store"),
        ("image-store delete nfs1".to_owned(), 5, "in use"),
        (
            "image create x --image-store s3 --in-place".to_owned(),
            3,
            "in_place: image store s3 has no files",
        ),
    ] {
        refused(&cloud, &line, code, words);
    }
    done(&cloud, "image create far --image-store s3 --copy-of debian-13");
    let link = "image download-link debian-13 --redirect-seconds 60";
    refused(&cloud, link, 3, "redirect_seconds: the image is on no object store");
    done(&cloud, "image download-link far --redirect-seconds 60");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_a_grant_that_only_its_token_opens_and_that_goes_with_its_image() {
    let cloud = cloud().await;
    let link = asked(&cloud, "image download-link debian-13 --seconds 600 --most-downloads 3");
    let (url, token) = (link["url"].as_str().unwrap(), link["token"].as_str().unwrap());
    assert!(token.len() >= 40, "{link}");
    let ssvm_now = ssvm(&cloud).await;
    let here = ssvm_now["listeners"][0]["address"].as_str().unwrap();
    assert_eq!(url, format!("https://{here}/download/{token}/debian-13"));
    let grants = ssvm_now["grants"].clone();
    let grant = grants.as_array().unwrap().last().unwrap();
    assert_eq!(grant["token"], TokenHash::of(token).to_string());
    assert_eq!(grant["permission"]["download"]["most_downloads"], 3);
    let upload = asked(&cloud, "image upload-link own");
    assert_eq!(upload["url"], format!("https://{here}/upload"));
    refused(&cloud, "image upload-link debian-13", 3, "does not wait for an upload");
    // a description does not have them, and they stay
    applied(&cloud, "storage.toml", "s-1").await;
    assert_eq!(ssvm(&cloud).await["grants"].as_array().unwrap().len(), 3);
    done(&cloud, "image delete debian-13");
    assert_eq!(ssvm(&cloud).await["grants"].as_array().unwrap().len(), 2);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_chains_and_erasure_reach_the_configuration() {
    let cloud = cloud().await;
    done(&cloud, "image create base --image-store nfs1 --kind snapshot --number 7");
    done(&cloud, "image create next --image-store nfs1 --kind snapshot --number 7 --parent base");
    done(&cloud, "image create gold --image-store nfs1 --copy-of next --format raw");
    let job = |ssvm: &Value, at: usize| ssvm["jobs"][at]["what"].clone();
    let now = ssvm(&cloud).await;
    assert_eq!(job(&now, 3)["import"]["parent"], "base");
    let place = json!({ "snapshot": { "account": 1, "volume": 7, "name": "next" } });
    assert_eq!(
        job(&now, 4)["import"]["source"],
        json!({ "object": { "store": now["stores"][0]["id"], "place": place } })
    );
    for (line, code, words) in [
        ("image delete base", 5, "image next"),
        ("image delete next", 5, "image gold"),
        (
            "image create x --image-store nfs1 --kind snapshot --number 8 --parent base",
            3,
            "no snapshot of the same volume",
        ),
        ("image create x --image-store nfs1 --parent base", 3, "no snapshot of the same volume"),
        (
            "image create x --image-store nfs1 --copy-of next --url http://a.example.com/x",
            3,
            "in place of",
        ),
        ("image retry gold", 5, "only what failed is tried again"),
        ("image create x --image-store nfs1 --copy-of nobody", 4, "no image nobody"),
        ("image create x --copy-of next", 3, "image_store: must be given: of 1 image stores none"),
    ] {
        refused(&cloud, line, code, words);
    }
    let retried = cloud.sluice(["image", "retry", "gold"]);
    assert!(!retried.err.contains("choose another"), "nothing can be chosen: {retried:?}");
    done(&cloud, "image erase gold");
    let now = ssvm(&cloud).await;
    assert_eq!(job(&now, 4)["delete"]["place"]["template"]["name"], "gold");
    refused(&cloud, "image create x --image-store nfs1 --copy-of gold", 3, "was erased");
    done(&cloud, "image delete gold");
    done(&cloud, "image delete next");
    done(&cloud, "image delete base");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_no_more_than_its_bound() {
    let cloud = cloud().await;
    done(&cloud, "image-store update nfs1 --most-bytes 1000 --account-bytes 2500");
    done(&cloud, "image create one --image-store nfs1 --account 9");
    done(&cloud, "image create two --image-store nfs1 --account 9 --most-bytes 900");
    refused(
        &cloud,
        "image create x --image-store nfs1 --account 9 --most-bytes 700",
        6,
        "600 are left",
    );
    refused(&cloud, "image create x --image-store nfs1 --most-bytes 1001", 3, "must be 1 to 1000");
    done(&cloud, "image create three --image-store nfs1 --account 9");
    assert_eq!(asked(&cloud, "image show three")["most_bytes"], 600);
    refused(&cloud, "image create x --image-store nfs1 --account 9", 6, "0 are left");
    done(&cloud, "image create other --image-store nfs1 --account 10");
    done(&cloud, "image delete one");
    done(&cloud, "image create x --image-store nfs1 --account 9");
    let jobs = ssvm(&cloud).await["jobs"].clone();
    let last = jobs.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["what"]["import"]["most_bytes"], 1000);
    cloud.stop();
}

/// What the storage service of `appliance` said of its jobs, as a look at it would have written it.
pub(crate) async fn reported(cloud: &Cloud, appliance: &str, jobs: Value) {
    reported_all(cloud, appliance, json!({ "jobs": jobs, "stores": [] })).await;
}

async fn reported_all(cloud: &Cloud, appliance: &str, said: Value) {
    let services = BTreeMap::from([("storage".to_owned(), said)]);
    let appliance = appliance.parse().unwrap();
    note_reports(&cloud.store().await, &appliance, &services, i64::MAX / 2).await.unwrap();
}

/// What became of images and stores is in the history of changes, once each, whoever asks again; a manager that is started
/// anew knows all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_images_is_told_in_the_history_and_outlives_the_manager() {
    let mut cloud = cloud().await;
    let id = |line: &str| asked(&cloud, line)["id"].as_str().unwrap().to_owned();
    let (image, store) = (id("image show debian-13"), id("image-store show nfs1"));
    let gone = json!({ "code": "store-gone", "reason": "no such export" });
    let object = json!({ "size": 7, "sha256": "5".repeat(64), "image": { "format": "qcow2" } });
    let steps = [
        (json!({ "state": "broken", "failure": gone }), json!({ "state": "waiting" })),
        (json!({ "state": "ready" }), json!({ "state": "fetching", "taken": 1, "total": 4 })),
        (json!({ "state": "ready" }), json!({ "state": "fetching", "taken": 2, "total": 4 })),
        (json!({ "state": "ready" }), json!({ "state": "done", "object": object })),
    ];
    for (mut stores, mut jobs) in steps {
        (stores["id"], jobs["id"]) = (store.as_str().into(), image.as_str().into());
        let said = json!({ "stores": [stores], "jobs": [jobs] });
        for _ in 0..2 {
            reported_all(&cloud, "s-1", said.clone()).await;
        }
    }
    let told = |cloud: &Cloud| -> Vec<String> {
        let lines = asked(cloud, "audit");
        let of = lines.as_array().unwrap().iter().filter(|line| line["actor"] == "s-1");
        of.map(|line| line["what"].as_str().unwrap().to_owned()).collect()
    };
    let sha256 = "5".repeat(64);
    let newest_first = [
        format!("image debian-13 ({image}) is there: 7 bytes, SHA-256 {sha256}"),
        format!("image debian-13 ({image}) is coming in"),
        format!("image store nfs1 ({store}) is ready"),
        format!("image store nfs1 ({store}) is broken: store-gone: no such export"),
    ];
    assert_eq!(told(&cloud), newest_first);
    let shown = asked(&cloud, "image list");
    cloud.restart(&[]).await;
    assert_eq!(asked(&cloud, "image list"), shown);
    assert_eq!(asked(&cloud, "image show debian-13")["observed"]["state"], "done");
    assert_eq!(told(&cloud), newest_first);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_another_appliance_is_told_to_both_until_it_is_there() {
    let cloud = cloud().await;
    done(
        &cloud,
        "appliance create storage2 --zone zone1 --role ssvm --storage-network storage --storage-address 10.4.0.21/24",
    );
    done(&cloud, "image-store create there --zone zone1 --router storage2");
    let copy = "image create copy --image-store there --copy-of debian-13";
    refused(&cloud, copy, 3, "copy_of: debian-13 is not there yet");
    let original = asked(&cloud, "image show debian-13")["id"].as_str().unwrap().to_owned();
    let sha256 = "5".repeat(64);
    let object = json!({ "size": 7, "sha256": sha256, "image": { "format": "qcow2" } });
    let job = json!({ "id": original, "state": "done", "object": object });
    reported(&cloud, "s-1", json!([job])).await;
    refused(
        &cloud,
        &format!("{copy} --format raw"),
        3,
        "format: debian-13 is of another appliance",
    );
    done(&cloud, copy);
    let shown = asked(&cloud, "image show copy");
    let id = shown["id"].as_str().unwrap();
    assert_eq!((&shown["router"], &shown["peer"]), (&json!("s-2"), &json!("s-1")));

    let takes = config(&cloud, "s-2").await["role"]["ssvm"]["jobs"][0]["what"]["import"].clone();
    assert_eq!(takes["checksum"], format!("{{SHA-256}}{sha256}"));
    let peer = &takes["source"]["peer"];
    assert_eq!((&peer["gift"], &peer["address"]), (&json!(id), &json!("10.4.0.20:8443")));
    let gives = ssvm(&cloud).await["peers"].clone();
    let gift = &gives[0]["gifts"][0];
    assert_eq!((&gives[0]["address"], &gift["id"]), (&json!("10.4.0.20"), &json!(id)));
    assert_eq!(gift["place"]["template"]["name"], "debian-13");
    assert_ne!(gift["identity"], peer["identity"]);
    refused(&cloud, "image delete debian-13", 5, "image copy");

    // a failure is tried again with other certificates
    let failed = json!({ "id": id, "state": "failed", "failure": { "code": "source-broken" } });
    reported(&cloud, "s-2", json!([failed])).await;
    done(&cloud, "image retry copy");
    assert_ne!(ssvm(&cloud).await["peers"][0]["gifts"][0]["identity"], gift["identity"]);

    // once it is there, nothing is given any more
    let job = format!("{id}-1");
    reported(&cloud, "s-2", json!([{ "id": job, "state": "done", "object": object }])).await;
    let settled = settle_images(&cloud.store().await, &"s-2".parse().unwrap()).await;
    assert!(settled.unwrap());
    assert_eq!(ssvm(&cloud).await.get("peers"), None);
    assert_eq!(asked(&cloud, "image show copy")["peer"], Value::Null);
    cloud.stop();
}
