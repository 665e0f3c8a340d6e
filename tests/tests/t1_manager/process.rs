//! A store in a folder of its own, manager processes on it, and the command line as people call it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::boot::BootDocument;
use sluice_manager::store::Store;
use sluice_tests::manager::{Manager, TOKEN, Told};
use sluice_tests::postgres::{self, Database};
use tempfile::TempDir;

use super::agent::Agent;
use super::wait::PATIENCE;

/// The example that everybody starts with.
pub(crate) fn first_network() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/first-network.toml");
    path.to_str().unwrap().to_owned()
}

/// Where a store is: a folder, and perhaps a database that it names.
pub(crate) struct Place {
    folder: TempDir,
    database: Option<Database>,
}

impl Place {
    /// An empty one, of the kind that the environment asks for.
    pub(crate) async fn new() -> Self {
        if std::env::var_os(postgres::SERVER).is_some() {
            return Self::in_a_database().await;
        }
        Self::in_a_file()
    }

    pub(crate) fn in_a_file() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None }
    }

    pub(crate) async fn in_a_database() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new().await.unwrap();
        fs::write(folder.path().join(sluice_tests::manager::STORE), database.url()).unwrap();
        Self { folder, database: Some(database) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A store and one manager on it.
pub(crate) struct Cloud {
    // before its store, which it uses until it ends
    pub(crate) manager: Manager,
    pub(crate) folder: TempDir,
    http: reqwest::Client,
    _database: Option<Database>,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::on(Place::new().await).await
    }

    /// The same with its store in a PostgreSQL database, wherever the others are.
    pub(crate) async fn on_postgres() -> Self {
        Self::on(Place::in_a_database().await).await
    }

    /// One on the store that is there, perhaps already.
    pub(crate) async fn on(Place { folder, database }: Place) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let manager = Manager::start(folder.path(), address, &[]).await.unwrap();
        // one is in force already where several processes are started
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2).build().unwrap();
        Self { folder, manager, http, _database: database }
    }

    /// Kills the manager and starts another at the same address.
    pub(crate) async fn restart(&mut self, more: &[&str]) {
        let address = self.manager.address;
        self.manager.end();
        self.manager = Manager::start(self.folder.path(), address, more).await.unwrap();
    }

    /// The store, as another manager would open it.
    pub(crate) async fn store(&self) -> Store {
        self.store_with("").await
    }

    /// The same with more settings in a database's URL.
    pub(crate) async fn store_with(&self, settings: &str) -> Store {
        let file = self.folder.path().join("manager.db");
        let url = fs::read_to_string(self.folder.path().join(sluice_tests::manager::STORE));
        let location =
            url.map_or_else(|_| file.into(), |url| format!("{url}{settings}").parse().unwrap());
        Store::open(&location).await.unwrap()
    }

    pub(crate) fn stop(mut self) {
        self.manager.end();
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
        self.boot_prepared(appliance, None, |_| ()).await
    }

    /// One of the build whose documents are in the folder `recorded`.
    pub(crate) async fn boot_as(&self, appliance: &str, recorded: Option<PathBuf>) -> Agent {
        self.boot_prepared(appliance, recorded, |_| ()).await
    }

    /// One which `prepare` has told something before it is reached.
    pub(crate) async fn boot_with(&self, appliance: &str, prepare: impl FnOnce(&Agent)) -> Agent {
        self.boot_prepared(appliance, None, prepare).await
    }

    async fn boot_prepared(
        &self,
        appliance: &str,
        recorded: Option<PathBuf>,
        prepare: impl FnOnce(&Agent),
    ) -> Agent {
        let path = format!("/v1/appliances/{appliance}/boot-document");
        let (status, document) = self.post(&path, json!({})).await;
        assert_eq!(status, 200, "{document}");
        let document = BootDocument::decode(document.to_string().as_bytes()).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let agent = Agent::start_as(document, address, recorded).await;
        prepare(&agent);
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
    let mut request = http.request(method, format!("http://{address}{path}"));
    request = request.bearer_auth(TOKEN).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
