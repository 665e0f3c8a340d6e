//! Appliances of every version whose documents are recorded, under the manager of today: what they say is read, to the end.

use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};
use sluice_api::Digest;
use sluice_api::report::{Answer, Busy, ConfirmAnswer};
use sluice_api::types::Generation;

use super::agent::Agent;
use super::answers::status_says;
use super::first_network;
use super::process::Cloud;
use super::wait::until;

/// Fields of a recorded document that are of this appliance now; all others stay as they were recorded.
const LIVE: [&str; 12] = [
    "appliance",
    "blobs",
    "current",
    "generation",
    "incarnation",
    "missing_blobs",
    "pending",
    "phase",
    "role",
    "seen",
    "sent",
    "uptime_seconds",
];

/// The name of what is recorded of an answer like this.
fn name(path: &str, answer: &Value) -> Option<String> {
    let what = answer["answer"].as_str();
    Some(match (path, what) {
        ("/v1/status", _) => "status".to_owned(),
        ("/v1/config/confirm", Some("failed")) => "confirm-failed".to_owned(),
        ("/v1/config" | "/v1/config/confirm", Some(what)) => what.to_owned(),
        ("/v1/config", None) if answer.get("plan").is_some() => "dry-run".to_owned(),
        // a second page is empty
        ("/v1/logs", _) if answer["entries"] != json!([]) => "logs".to_owned(),
        (path, _) if path.starts_with("/v1/diagnostics/") => "diagnostic".to_owned(),
        _ => return None,
    })
}

/// What the recorded document says, about what is now: no field that the build of then did not have.
fn of_then(recorded: Value, live: &Value) -> Value {
    let Value::Object(mut fields) = recorded else { return recorded };
    for field in LIVE {
        if fields.remove(field).is_some()
            && let Some(value) = live.get(field)
        {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(fields)
}

/// Puts what is recorded in place of what the simulated agent of today says.
pub(crate) async fn as_recorded(
    State(agent): State<Agent>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let (mut head, body) = next.run(request).await.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let live: Option<Value> = serde_json::from_slice(&bytes).ok();
    let recorded = agent.recorded.as_ref().zip(live).and_then(|(folder, live)| {
        let file = folder.join(name(&path, &live)?).with_extension("json");
        let text = std::fs::read_to_string(file).ok()?;
        Some(of_then(serde_json::from_str(&text).unwrap(), &live).to_string())
    });
    let Some(text) = recorded else { return Response::from_parts(head, Body::from(bytes)) };
    head.headers.remove("content-length");
    Response::from_parts(head, Body::from(text))
}

fn versions() -> Vec<PathBuf> {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/tests/released");
    let folders = std::fs::read_dir(released).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.is_dir()).collect()
}

fn generation(number: u64) -> Generation {
    Generation::try_from(number).unwrap()
}

fn reason() -> String {
    "not what is recorded".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_of_every_recorded_version_is_configured_asked_and_understood() {
    let versions = versions();
    assert!(versions.len() >= 2, "{versions:?}");
    for folder in versions {
        let cloud = Cloud::start().await;
        let told = cloud.sluice(["apply", &first_network(), "--yes"]);
        assert_eq!(told.code, 0, "{told:?}");
        let agent = cloud.boot_as("r-1", Some(folder.clone())).await;
        until("the first configuration", || agent.committed() == Some(1)).await;
        status_says(&cloud, "r-1: alarm: a", "").await;
        every_answer(&cloud, &agent).await;
        every_confirmation(&cloud, &agent).await;
        questions(&cloud, &folder);
        cloud.stop();
    }
}

/// Whatever it answers a push with is read and said, and in the end the configuration is in force.
async fn every_answer(cloud: &Cloud, agent: &Agent) {
    let findings = Vec::new();
    let current = Some(generation(1));
    agent.script([
        Answer::Busy(Busy { generation: generation(1), reason: reason() }),
        Answer::MissingBlobs { blobs: Vec::new() },
        Answer::Already { generation: generation(1) },
        Answer::Rejected { findings: findings.clone() },
        Answer::Rejected { findings },
        Answer::Failed { reason: reason(), rolled_back: true, current },
        Answer::Failed { reason: reason(), rolled_back: true, current },
    ]);
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    status_says(cloud, "rejected", "links[0]: r [no-nic]").await;
    status_says(cloud, "failed", "r (rolled back)").await;
    until("what was pushed again and again", || agent.committed() == Some(2)).await;
    assert_eq!(agent.pushed(), [1, 2, 2, 2, 2, 2, 2, 2, 2]);
}

/// The same of confirmations, and of answers that say which other configuration is there.
async fn every_confirmation(cloud: &Cloud, agent: &Agent) {
    let digest = || Digest::of_bytes(b"another");
    agent.script([
        Answer::Stale { current: generation(2) },
        Answer::Changed { generation: generation(3), seen: digest(), sent: digest() },
    ]);
    agent.script_confirmations([
        ConfirmAnswer::NotPending { current: Some(generation(2)) },
        ConfirmAnswer::Failed { reason: reason() },
    ]);
    let told = cloud.sluice(["guest", "create", "vm4", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    until("what was confirmed again and again", || agent.committed() == Some(3)).await;
    assert_eq!(agent.pushed().iter().filter(|number| **number == 3).count(), 5);
    let log = cloud.log();
    assert!(log.contains("came too late to confirm") && log.contains("cannot commit"), "{log}");
}

/// What it is asked through the manager: as far as that is recorded.
fn questions(cloud: &Cloud, folder: &Path) {
    let plan = cloud.sluice(["appliance", "plan", "r-1"]);
    assert!(plan.out.contains("+ link guest0"), "{plan:?}");
    if folder.join("logs.json").exists() {
        let logs = cloud.sluice(["appliance", "logs", "r-1"]);
        assert!(logs.code == 0 && logs.out.contains(" m"), "{logs:?}");
    }
    if folder.join("diagnostic.json").exists() {
        let ping = cloud.sluice(["appliance", "ping", "r-1", "192.0.2.80"]);
        assert!(ping.out.contains("192.0.2.1") && ping.out.contains("0.005"), "{ping:?}");
    }
}
