//! What managers of released versions sent is brought into force by the engine of today, and its answers are what they read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::boot::{BootControl, BootDocument, Role};
use sluice_api::config::{AnyPart, Attachment, Link, SsvmDocument};
use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_api::types::BlobDigest;
use sluice_api::{ApplianceConfig, Severity};
use sluice_proxy::appliance::Proxy;
use sluice_router::Router;
use sluice_ssvm::appliance::{self as ssvm, Folders, STORAGE, USER};
use sluice_sys::kernel::Fault;
use sluice_sys::model::Desired;
use sluice_tests::faults::{FileFault, Running, World, boot};

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

fn listed(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The image store as it is but for its mounts: this machine is not one of its.
struct Unmounted(Folders);

impl Appliance for Unmounted {
    type Config = SsvmDocument;

    const ROLE: Role = Role::Ssvm;

    fn desired(&self, config: &SsvmDocument) -> Desired {
        ssvm::desired(config)
    }

    fn services(
        &self,
        config: &SsvmDocument,
        blobs: &Blobs,
    ) -> BTreeMap<ServiceName, ServiceSlice> {
        BTreeMap::from([(STORAGE, ServiceSlice::of(&ssvm::slice(config, blobs, &self.0)))])
    }

    fn service(&self, _: ServiceName) -> ServiceSpec {
        ServiceSpec::own(USER)
    }
}

/// A recorded configuration whose blobs are known: nobody recorded the bytes that its digests are of.
struct Recorded {
    bytes: Vec<u8>,
    config: ApplianceConfig<AnyPart>,
    blobs: BTreeMap<BlobDigest, Vec<u8>>,
}

fn recorded(path: &Path) -> Recorded {
    let mut text = std::fs::read_to_string(path).unwrap();
    let mut blobs = BTreeMap::new();
    for digest in ApplianceConfig::<AnyPart>::decode(text.as_bytes()).unwrap().0.blobs() {
        let bytes = format!("in place of {digest}").into_bytes();
        text = text.replace(&digest.to_string(), &BlobDigest::of(&bytes).to_string());
        blobs.insert(BlobDigest::of(&bytes), bytes);
    }
    let (config, findings) = ApplianceConfig::decode(text.as_bytes()).unwrap();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
    Recorded { bytes: text.into_bytes(), config, blobs }
}

/// The boot document of the machine that a configuration is for.
fn boot_of(config: &ApplianceConfig<AnyPart>, role: Role) -> BootDocument {
    let control = |link: &&Link| link.name == config.control.link;
    let link = config.links.iter().find(control).unwrap();
    let Attachment::Nic { mac } = link.attach else { panic!("{link:?}") };
    let control = BootControl { mac, address: link.addresses[0], ..boot().control };
    BootDocument { role, appliance: config.appliance.clone(), control, ..boot() }
}

async fn start(folder: &Path, recorded: &Recorded) -> Running {
    let (config, world) = (&recorded.config, World::in_dir(folder));
    let (links, none) = (&config.links, (Fault::None, FileFault::None));
    match &config.role {
        AnyPart::Router(_) => {
            world.start_as(Router, boot_of(config, Role::Router), links, none).await
        }
        AnyPart::Proxy(_) => world.start_as(Proxy, boot_of(config, Role::Proxy), links, none).await,
        AnyPart::Ssvm(_) => {
            let ssvm = Unmounted(Folders::new(folder, &folder.join("stores")));
            world.start_as(ssvm, boot_of(config, Role::Ssvm), links, none).await
        }
    }
}

/// The steps of the demonstration: what would be done, then it is, then it is confirmed, and there after a restart.
async fn steps(path: &Path) -> Answer {
    let recorded = recorded(path);
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), &recorded).await;
    let bytes = &recorded.bytes;
    let name = path.display();
    if !recorded.blobs.is_empty() {
        let Answer::MissingBlobs { blobs } = running.handle.push(bytes.clone().into(), None).await
        else {
            panic!("{name}: its blobs are not asked for")
        };
        assert!(blobs.iter().eq(recorded.blobs.keys()), "{name}: {blobs:?}");
        for (digest, blob) in &recorded.blobs {
            running.handle.put_blob(*digest, blob.clone().into()).await.unwrap();
        }
    }
    let dry = running.handle.dry_run(bytes.clone().into()).await;
    let warns = |finding: &sluice_api::Finding| finding.severity == Severity::Warning;
    assert!(dry.findings.iter().all(warns) && !dry.plan.steps.is_empty(), "{name}: {dry:#?}");
    let within = Some(Duration::from_secs(30));
    let answer = running.handle.push(bytes.clone().into(), within).await;
    let Answer::Applied { generation, .. } = answer else { panic!("{name}: {answer:?}") };
    assert_eq!(running.handle.status().phase, Phase::AwaitingConfirm, "{name}");
    let confirmed = running.handle.confirm(generation).await;
    assert_eq!(confirmed, ConfirmAnswer::Committed { generation }, "{name}");
    // byte for byte, so that the digest is the one that the older manager knows
    assert_eq!(running.handle.config().await.as_ref(), Some(bytes), "{name}");
    let again = running.handle.push(bytes.clone().into(), None).await;
    assert!(matches!(again, Answer::Already { .. }), "{name}: {again:?}");
    assert_eq!(running.handle.status().phase, Phase::InForce, "{name}");
    let (state, served) = (running.state(), running.services.serving());
    assert!(!served.is_empty(), "{name}: no service has anything of it");
    drop(running);
    let running = start(dir.path(), &recorded).await;
    assert_eq!(running.state(), state, "{name}: after a restart");
    assert_eq!(running.handle.status().alarms, Vec::<String>::new(), "{name}");
    answer
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_the_demonstration_with_what_released_managers_sent() {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/tests/released");
    let mut roles = BTreeMap::new();
    for folder in listed(&released) {
        let applied: Value =
            serde_json::from_slice(&std::fs::read(folder.join("applied.json")).unwrap()).unwrap();
        for path in listed(&folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(role) = name.strip_prefix("config-") else { continue };
            let role = role.trim_end_matches(".json").split('-').next().unwrap().to_owned();
            let now = of(&steps(&path).await);
            for field in of(&applied).iter().filter(|field| !field.starts_with(".findings")) {
                assert!(now.contains(field), "{}: {field} is gone from {now:?}", path.display());
            }
            *roles.entry((folder.clone(), role)).or_insert(0) += 1;
        }
    }
    let folders = listed(&released).len();
    assert!(folders >= 2 && roles.len() == 3 * folders, "every role of every version: {roles:?}");
}
