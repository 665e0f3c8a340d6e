//! The system VMs' template: brought in again, and finished by the same command wherever that was killed.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::manager::Told;

use super::image_rules::{id, object, settled, state};
use super::images::{asked, cloud, reported, ssvm};
use super::kinds::refused;
use super::process::Cloud;

/// Runs `sluice template seed` while the appliance does what it is told, but for what comes from `broken`. Returns what was
/// said, and the places that were deleted.
async fn seeded(cloud: &Cloud, url: &str, more: &str) -> (Told, Vec<String>) {
    seeded_until(cloud, url, more, |_| false).await
}

/// The same, which is killed as soon as the appliance is told of a job of which `end` is true; that job is not done.
async fn seeded_until(
    cloud: &Cloud,
    url: &str,
    more: &str,
    end: impl Fn(&Value) -> bool,
) -> (Told, Vec<String>) {
    let line = format!("--json template seed {url} --image-store nfs1{more}");
    let mut seeding = cloud.manager.start_sluice(line.split(' ')).unwrap();
    let mut deleted = Vec::new();
    while seeding.try_wait().unwrap().is_none() {
        let jobs = ssvm(cloud).await["jobs"].clone();
        if jobs.as_array().unwrap().iter().any(|job| end(&job["what"])) {
            seeding.kill().unwrap();
            break;
        }
        let answer = |job: &Value| {
            let source = job["what"]["import"]["source"].to_string();
            if source.contains("broken") {
                let failure =
                    json!({ "code": "source-status", "reason": "the server answered 404" });
                return json!({ "id": job["id"], "state": "failed", "failure": failure });
            }
            let object = if job["what"]["import"].is_object() { object() } else { Value::Null };
            json!({ "id": job["id"], "state": "done", "object": object })
        };
        let jobs = jobs.as_array().unwrap();
        for job in jobs {
            let place = &job["what"]["delete"]["place"]["template"];
            let number = place["id"].to_string();
            if place.is_object() && !deleted.contains(&number) {
                deleted.push(number);
            }
        }
        reported(cloud, "s-1", jobs.iter().map(answer).collect()).await;
        settled(cloud).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let output = seeding.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    (Told { code: output.status.code().unwrap_or(-9), out, err }, deleted)
}

fn seeds(cloud: &Cloud) -> Vec<(String, u64)> {
    let images = asked(cloud, "image list");
    let name = |image: &Value| image["name"].as_str().unwrap().to_owned();
    let all = images.as_array().unwrap().iter();
    let all = all.map(|image| (name(image), image["number"].as_u64().unwrap()));
    all.filter(|(name, _)| name.starts_with("systemvm")).collect()
}

/// As often as there is a newer one: the one that is there goes when the newer one has come in.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_seeded_again() {
    let cloud = cloud().await;
    let url = |name: &str| format!("https://images.example.com/{name}.qcow2");
    let (told, deleted) = seeded(&cloud, &url("first"), "").await;
    assert_eq!((told.code, deleted), (0, vec![]), "{told:?}");
    assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)]);
    let first = id(&cloud, "systemvm-kvm");

    let (told, deleted) = seeded(&cloud, &url("broken"), "").await;
    assert!(told.code != 0 && told.err.contains("404"), "{told:?}");
    assert_eq!(deleted, Vec::<String>::new(), "the old one stays");
    assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)]);
    assert_eq!(id(&cloud, "systemvm-kvm"), first);

    let (told, deleted) = seeded(&cloud, &url("second"), "").await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(deleted.first().map(String::as_str), Some("3"), "{deleted:?}");
    assert_eq!(deleted.len(), 2, "and where the newer one came in: {deleted:?}");
    assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)]);
    assert_ne!(id(&cloud, "systemvm-kvm"), first);

    // beside it, where a management server knows another number
    let (told, _) = seeded(&cloud, &url("third"), " --number 210").await;
    assert_eq!(told.code, 0, "{told:?}");
    let both = [("systemvm-kvm".to_owned(), 3), ("systemvm-kvm-2".to_owned(), 210)];
    assert_eq!(seeds(&cloud), both);
    cloud.stop();
}

/// Killed before each of its steps: the same command goes on there, fetches nothing twice and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_seeding_that_was_broken_off_is_finished_by_the_same_command() {
    let cloud = cloud().await;
    let url = |name: &str| format!("https://images.example.com/{name}.qcow2");
    assert_eq!(seeded(&cloud, &url("first"), "").await.0.code, 0);
    let number = |what: &Value| what["delete"]["place"]["template"]["id"].as_u64();
    let fetched = |what: &Value| what["import"]["source"]["url"].is_string();
    let steps: [(&str, &str, Box<dyn Fn(&Value) -> bool>); 4] = [
        ("fetched", "a", Box::new(|what| fetched(what) && what.to_string().contains("/a.qcow2"))),
        ("erased", "b", Box::new(|what| number(what) == Some(3))),
        ("copied", "c", Box::new(|what| what["import"]["source"]["object"].is_object())),
        ("erased after", "d", Box::new(|what| number(what).is_some_and(|number| number != 3))),
    ];
    for (step, name, end) in &steps {
        let (told, _) = seeded_until(&cloud, &url(name), "", end).await;
        assert_eq!(told.code, -9, "{step}: {told:?}");
        assert_eq!(newer(&cloud), ["systemvm-kvm-for-3"], "{step}");
        let before = made(&cloud);
        let (told, _) = seeded(&cloud, &url(name), "").await;
        assert_eq!(told.code, 0, "{step}: {told:?}");
        assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)], "{step}");
        let copies = u64::from(matches!(*step, "fetched" | "erased"));
        assert_eq!(made(&cloud), before + copies, "{step}: nothing is fetched again");
        assert_eq!(state(&cloud, "systemvm-kvm"), "done", "{step}");
    }

    // killed while the old one is removed, which then is gone before the same command comes
    seeded_until(&cloud, &url("e"), "", |what| number(what) == Some(3)).await;
    let old = id(&cloud, "systemvm-kvm");
    reported(&cloud, "s-1", json!([{ "id": old, "state": "done" }])).await;
    assert!(settled(&cloud).await);
    assert_eq!(state(&cloud, "systemvm-kvm"), "erased");
    assert_eq!(seeded(&cloud, &url("e"), "").await.0.code, 0);
    assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)]);

    // what is left of one template is no other's
    let from = |what: &Value| fetched(what) && what.to_string().contains("/f.qcow2");
    seeded_until(&cloud, &url("f"), "", from).await;
    let left = id(&cloud, "systemvm-kvm-for-3");
    assert_eq!(seeded(&cloud, &url("g"), "").await.0.code, 0);
    assert_eq!(seeds(&cloud), [("systemvm-kvm".to_owned(), 3)]);
    refused(&cloud, &format!("image show {left}"), 4, "no image");
    cloud.stop();
}

fn newer(cloud: &Cloud) -> Vec<String> {
    let names = seeds(cloud).into_iter().map(|(name, _)| name);
    names.filter(|name| name != "systemvm-kvm").collect()
}

/// The number of the image that was made last.
fn made(cloud: &Cloud) -> u64 {
    let images = asked(cloud, "image list");
    let ids = images.as_array().unwrap().iter().map(|image| image["id"].as_str().unwrap());
    ids.filter_map(|id| id.strip_prefix("im-")?.parse().ok()).max().unwrap()
}
