use async_trait::async_trait;
use sluice_agent::service::Service as _;
use sluice_api::types::{BlobDigest, SecretBytes};

use super::super::{Capabilities, ChildName, Connection, SaState, SharedKey, Trouble};
use super::*;

/// A daemon that only notes what it was told.
#[derive(Clone, Default)]
struct Noted {
    calls: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<Option<&'static str>>>,
    gone: Arc<Mutex<bool>>,
}

impl Noted {
    fn note(&self, call: String) -> Result<(), EngineError> {
        if *self.gone.lock().unwrap() {
            return Err(EngineError::Unreachable("gone".to_owned()));
        }
        let refused = self.refuses.lock().unwrap().is_some_and(|words| call.starts_with(words));
        self.calls.lock().unwrap().push(call.clone());
        if refused {
            let name = ConnectionName::of_daemon("s2s-b").unwrap();
            return Err(EngineError::Refused { name, what: "it", reason: "no".to_owned() });
        }
        Ok(())
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
            .into_iter()
            .filter(|call| !call.starts_with("state") && !call.starts_with("initiate"))
            .collect()
    }
}

#[async_trait]
impl IkeEngine for Noted {
    fn capabilities(&self) -> Capabilities {
        use sluice_api::config::vpn::{Encryption, Hash};
        use sluice_api::types::DhGroup;
        Capabilities {
            engine: "noted",
            encryption: Encryption::ALL.into(),
            hashes: Hash::ALL.into(),
            groups: [14, 19].into_iter().map(|n| DhGroup::try_from(n).unwrap()).collect(),
            marks: true,
        }
    }

    async fn load(&mut self, connection: &Connection, _: &SharedKey) -> Result<(), EngineError> {
        self.note(format!("load {}", connection.name))
    }

    async fn unload(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        self.note(format!("unload {name}"))
    }

    async fn initiate(&mut self, _: &ConnectionName, child: &ChildName) -> Result<(), EngineError> {
        self.note(format!("initiate {child}"))
    }

    async fn terminate(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        self.note(format!("terminate {name}"))
    }

    async fn rekey(&mut self, _: &ConnectionName, child: &ChildName) -> Result<(), EngineError> {
        self.note(format!("rekey {child}"))
    }

    async fn state(&mut self) -> Result<Vec<SaState>, EngineError> {
        self.note("state".to_owned()).map(|()| Vec::new())
    }

    async fn troubles(&mut self) -> Vec<Trouble> {
        Vec::new()
    }
}

/// A slice with these connections: id, resets, group.
fn slice(connections: &[(&str, u32, u64)]) -> IkeSlice {
    let blob = b"random\nsecret";
    let digest = BlobDigest::of(blob);
    let each = connections.iter().enumerate().map(|(place, (id, resets, group))| {
        serde_json::json!({
            "id": id, "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"], "resets": resets,
            "gateway": {
                "id": id, "address": format!("203.0.113.{}", place + 1),
                "networks": [format!("172.16.{place}.0/24")], "psk": digest,
                "ike": {"encryption": "aes256", "hash": "sha256", "group": group},
                "esp": {"encryption": "aes256", "hash": "sha256"},
            },
        })
    });
    let vpn = serde_json::json!({"connections": each.collect::<Vec<_>>()});
    let keys = [(digest, SecretBytes::new(*blob))].into();
    IkeSlice { vpn: serde_json::from_value(vpn).unwrap(), keys }
}

fn first() -> Generation {
    Generation::try_from(1).unwrap()
}

#[tokio::test]
async fn connections_change_one_by_one() {
    let engine = Noted::default();
    let mut process = Process::new(Box::new(engine.clone()));
    process.apply(first(), slice(&[("a", 0, 14), ("b", 0, 14)])).await.unwrap();
    let all = ["load s2s-a", "terminate s2s-a", "load s2s-b", "terminate s2s-b"];
    assert_eq!(engine.taken(), all);
    process.apply(first(), slice(&[("a", 0, 14), ("b", 0, 14)])).await.unwrap();
    assert!(engine.taken().is_empty(), "nothing changed");
    process.apply(first(), slice(&[("a", 0, 14), ("b", 0, 19)])).await.unwrap();
    assert_eq!(engine.taken(), ["load s2s-b", "terminate s2s-b"]);
    process.apply(first(), slice(&[("a", 1, 14), ("b", 0, 19)])).await.unwrap();
    assert_eq!(engine.taken(), ["terminate s2s-a"], "a reset");
    process.apply(first(), slice(&[("a", 1, 14)])).await.unwrap();
    assert_eq!(engine.taken(), ["unload s2s-b"]);
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_by_name() {
    let engine = Noted::default();
    let mut process = Process::new(Box::new(engine.clone()));
    let refused = process.apply(first(), slice(&[("a", 0, 15)])).await.unwrap_err();
    assert_eq!(refused, "noted cannot do group 15 of s2s-a");
    assert!(engine.taken().is_empty());
}

#[tokio::test]
async fn a_refusal_puts_the_former_connections_back() {
    let engine = Noted::default();
    let mut process = Process::new(Box::new(engine.clone()));
    process.apply(first(), slice(&[("a", 0, 14)])).await.unwrap();
    engine.taken();
    *engine.refuses.lock().unwrap() = Some("load s2s-b");
    let refused = process.apply(first(), slice(&[("a", 0, 19), ("b", 0, 14)])).await.unwrap_err();
    assert!(refused.contains("s2s-b") && refused.ends_with("no"), "{refused}");
    let calls = engine.taken();
    assert_eq!(calls.first().map(String::as_str), Some("load s2s-a"));
    assert_eq!(calls[calls.len() - 3..], ["unload s2s-b", "load s2s-a", "terminate s2s-a"]);
}

/// Time stands still but for what waits.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_anew_gets_everything_again() {
    let engine = Noted::default();
    let mut process = Process::new(Box::new(engine.clone()));
    process.apply(first(), slice(&[("a", 0, 14)])).await.unwrap();
    engine.taken();
    *engine.gone.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(process.report()["unreachable"].as_str().is_some());
    *engine.gone.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.taken(), ["load s2s-a"]);
    assert!(process.report().get("unreachable").is_none());
    assert_eq!(process.counters()["daemon_losses"], 1);
}

#[test]
fn integrity_failures_are_read_from_the_kernels_counts() {
    let text =
        "XfrmInError             \t3\nXfrmInStateProtoError   \t42\nXfrmInStateModeError    \t7\n";
    assert_eq!(failures_of(text), 42);
    assert_eq!(failures_of(""), 0);
    assert_eq!(failures_of("XfrmInStateProtoError many"), 0);
}
