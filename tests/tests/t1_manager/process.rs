//! A store in a folder of its own, manager processes on it, and the command line as people call it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::boot::BootDocument;
use sluice_tests::manager::{Manager, Told};
use tempfile::TempDir;

use super::agent::Agent;
use super::wait::PATIENCE;

/// The example that everybody starts with.
pub(crate) fn first_network() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/first-network.toml");
    path.to_str().unwrap().to_owned()
}

/// A store and one manager on it.
pub(crate) struct Cloud {
    pub(crate) folder: TempDir,
    pub(crate) manager: Manager,
    http: reqwest::Client,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager =
            Manager::start(folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
        // one is in force already where several processes are started
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2).build().unwrap();
        Self { folder, manager, http }
    }

    /// Kills the manager and starts another at the same address.
    pub(crate) async fn restart(&mut self, more: &[&str]) {
        let address = self.manager.address;
        self.manager.end();
        self.manager = Manager::start(self.folder.path(), address, more).await.unwrap();
    }

    pub(crate) fn stop(self) {
        self.manager.kill();
    }

    pub(crate) fn log(&self) -> String {
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log-"));
        logs.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    pub(crate) fn sluice<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Told {
        self.manager.sluice(args).unwrap()
    }

    /// One call; `None` when the connection broke.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<(u16, Value)> {
        call(&self.http, self.manager.address, method, path, key, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None, &Value::Null).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, None, &body).await.unwrap()
    }

    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// A simulated machine for `appliance`, reached by endpoint.
    pub(crate) async fn boot(&self, appliance: &str) -> Agent {
        let path = format!("/v1/appliances/{appliance}/boot-document");
        let (status, document) = self.post(&path, json!({})).await;
        assert_eq!(status, 200, "{document}");
        let document = BootDocument::decode(document.to_string().as_bytes()).unwrap();
        let agent = Agent::start(document).await;
        let endpoint =
            self.sluice(["appliance", "endpoint", appliance, &agent.address.to_string()]);
        assert_eq!(endpoint.code, 0, "{endpoint:?}");
        agent
    }

    /// The example applied and in force on a simulated router.
    pub(crate) async fn first_network_in_sync(&self) -> Agent {
        let told = self.sluice(["apply", &first_network(), "--yes"]);
        assert_eq!(told.code, 0, "{told:?}");
        let agent = self.boot("r-1").await;
        let waited = self.sluice(["status", "--wait", "30"]);
        assert_eq!(waited.code, 0, "{waited:?}\n{}", self.log());
        agent
    }
}

pub(crate) async fn call(
    http: &reqwest::Client,
    address: SocketAddr,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: &Value,
) -> Option<(u16, Value)> {
    let mut request = http.request(method, format!("http://{address}{path}")).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
