//! What managers of released versions sent is brought into force by the engine of today, and its answers are what they read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, World};

/// The fields of a document, all the way down; of lists those of their first member.
fn fields(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                found.push(path.clone());
                fields(value, &path, found);
            }
        }
        Value::Array(list) => list.iter().take(1).for_each(|one| fields(one, path, found)),
        _ => {}
    }
}

fn of(value: &impl serde::Serialize) -> Vec<String> {
    let mut found = Vec::new();
    fields(&serde_json::to_value(value).unwrap(), "", &mut found);
    found
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_the_demonstration_with_what_released_managers_sent() {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/tests/released");
    let mut versions = 0;
    for folder in std::fs::read_dir(released).unwrap().map(|entry| entry.unwrap().path()) {
        versions += 1;
        let dir = tempfile::tempdir().unwrap();
        let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
        let bytes = std::fs::read(folder.join("config-router.json")).unwrap();
        let dry = running.handle.dry_run(bytes.clone().into()).await;
        assert!(dry.findings.is_empty() && !dry.plan.steps.is_empty(), "{dry:#?}");
        let within = Some(Duration::from_secs(30));
        let answer = running.handle.push(bytes.clone().into(), within).await;
        let Answer::Applied { generation, .. } = answer else { panic!("{answer:?}") };
        let recorded: Value =
            serde_json::from_slice(&std::fs::read(folder.join("applied.json")).unwrap()).unwrap();
        let now = of(&answer);
        for field in of(&recorded).iter().filter(|field| !field.starts_with(".findings")) {
            assert!(now.contains(field), "{}: {field} is gone from {answer:?}", folder.display());
        }
        assert_eq!(running.handle.status().phase, Phase::AwaitingConfirm);
        let confirmed = running.handle.confirm(generation).await;
        assert_eq!(confirmed, ConfirmAnswer::Committed { generation });
        // byte for byte, so that the digest is the one that the older manager knows
        assert_eq!(running.handle.config().await.unwrap(), bytes);
        let again = running.handle.push(bytes.into(), None).await;
        assert!(matches!(again, Answer::Already { .. }), "{again:?}");
        assert_eq!(running.handle.status().phase, Phase::InForce);
    }
    assert!(versions > 0, "nothing is recorded");
}
