//! An agent that keeps the contract, and answers whatever a test scripts.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use sluice_api::boot::{BootDocument, Identity, Role};
use sluice_api::report::{
    Answer, Confirm, ConfirmAnswer, DryRun, Phase, PlanSummary, Reported, Reverted, ServiceState,
    ServiceStatus, StatusReport, Timing,
};
use sluice_api::types::{ApplianceId, BlobDigest, Generation};
use sluice_api::{ApiCode, ApplianceConfig, Digest, RouterDocument};
use tokio::net::TcpListener;

use super::asking::{self, Asking};
use super::recorded;
use super::tls::acceptor;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) connection: u64,
    pub(crate) route: &'static str,
}

#[derive(Default)]
struct Kept {
    current: Option<ApplianceConfig>,
    committed: BTreeMap<u64, ApplianceConfig>,
    pending: Option<ApplianceConfig>,
    pushed: Vec<u64>,
    script: VecDeque<Answer>,
    confirmations: VecDeque<ConfirmAnswer>,
    exchanges: Vec<Exchange>,
    deaf: bool,
    cuts: bool,
    mute: bool,
    swallows: bool,
    reverted: Option<Reverted>,
    looks: usize,
    fixed: bool,
    alarms: Vec<String>,
    capabilities: Vec<String>,
    uptime: Option<u64>,
    reports: BTreeMap<String, Value>,
    blobs: BTreeMap<BlobDigest, Vec<u8>>,
}

/// A running simulated agent.
#[derive(Clone)]
pub(crate) struct Agent {
    id: ApplianceId,
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    identity: Arc<Mutex<Identity>>,
    incarnation: Arc<AtomicU64>,
    pub(super) asking: Arc<Asking>,
    /// What the build that it is of said is in this folder; without one it is of today.
    pub(super) recorded: Option<PathBuf>,
}

impl Agent {
    pub(crate) async fn start(document: BootDocument) -> Self {
        Self::start_at(document, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(document: BootDocument, address: SocketAddr) -> Self {
        Self::start_as(document, address, None).await
    }

    /// One that says what the build said whose documents are in the folder `recorded`.
    pub(crate) async fn start_as(
        document: BootDocument,
        address: SocketAddr,
        recorded: Option<PathBuf>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let agent = Self {
            id: document.appliance,
            address: listener.local_addr().unwrap(),
            kept: Arc::default(),
            identity: Arc::new(Mutex::new(document.identity)),
            incarnation: Arc::new(AtomicU64::new(document.incarnation)),
            asking: Arc::default(),
            recorded,
        };
        tokio::spawn(serve(agent.clone(), listener));
        agent
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// The next pushes are answered with these, without being carried out.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.kept().script.extend(answers);
    }

    /// The next confirmations are answered with these; what waits for them is undone, unless it is committed.
    pub(crate) fn script_confirmations(&self, answers: impl IntoIterator<Item = ConfirmAnswer>) {
        self.kept().confirmations.extend(answers);
    }

    /// Drops connections unheard, or hears again.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.kept().deaf = deaf;
    }

    /// The next configuration cuts the manager off: it is applied, and nobody is heard any more.
    pub(crate) fn set_cutting(&self) {
        self.kept().cuts = true;
    }

    /// The next configuration is applied, and whoever sent it waits in vain for the answer.
    pub(crate) fn set_mute(&self) {
        self.kept().mute = true;
    }

    /// The answers that are waited for come now, too late, or never, since the connection breaks.
    pub(crate) fn end_mute(&self, answers: bool) {
        let mut kept = self.kept();
        (kept.mute, kept.swallows) = (false, !answers);
    }

    /// What was not confirmed is undone and told of, and the manager is heard again.
    pub(crate) fn undo(&self) {
        let mut kept = self.kept();
        if let Some(Reported { generation, digest }) = kept.pending.as_ref().map(reported) {
            let before = kept.reverted.take().filter(|before| before.is(generation, &digest));
            let times = before.map_or(0, |before| before.times) + 1;
            kept.reverted = Some(Reverted { generation, digest, times });
        }
        (kept.pending, kept.deaf) = (None, false);
    }

    /// Starts anew, with what was committed.
    pub(crate) fn restart(&self) {
        self.undo();
        self.end_mute(true);
        let mut kept = self.kept();
        (kept.reverted, kept.uptime) = (None, Some(0));
    }

    /// How often it was asked for its status.
    pub(crate) fn looks(&self) -> usize {
        self.kept().looks
    }

    /// It waits for a confirmation.
    pub(crate) fn is_pending(&self) -> bool {
        self.kept().pending.is_some()
    }

    /// A configuration of another manager, or of this one before its store was put back.
    pub(crate) fn set_foreign(&self, generation: u64) {
        self.make_foreign(generation, |_| ());
    }

    /// The same with further changes.
    pub(crate) fn make_foreign(&self, number: u64, change: fn(&mut ApplianceConfig)) {
        let mut kept = self.kept();
        let mut config = kept.current.clone().unwrap();
        config.generation = Generation::try_from(number).unwrap();
        config.control.managers = vec!["192.0.2.0/24".parse().unwrap()];
        change(&mut config);
        kept.current = Some(config);
    }

    /// Refuses new certificates, or takes them again.
    pub(crate) fn set_fixed(&self, fixed: bool) {
        self.kept().fixed = fixed;
    }

    /// Another machine answers: one that was started with the boot document of this number, so many seconds ago.
    pub(crate) fn set_machine(&self, incarnation: u64, uptime: u64) {
        self.incarnation.store(incarnation, Ordering::SeqCst);
        self.kept().uptime = Some(uptime);
    }

    /// Number of the boot document that it was started with.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// A blob that it was sent.
    pub(crate) fn blob(&self, digest: &BlobDigest) -> Option<Vec<u8>> {
        self.kept().blobs.get(digest).cloned()
    }

    /// What it reports from now on as wrong with it.
    pub(crate) fn set_alarms(&self, alarms: &[&str]) {
        self.kept().alarms = alarms.iter().map(ToString::to_string).collect();
    }

    /// The features that it says it has from now on.
    pub(crate) fn set_capabilities(&self, words: &[&str]) {
        self.kept().capabilities = words.iter().map(ToString::to_string).collect();
    }

    /// What a service of it reports from now on.
    pub(crate) fn set_report(&self, service: &str, report: Value) {
        self.kept().reports.insert(service.to_owned(), report);
    }

    /// A new machine under the same id.
    pub(crate) fn rebuild(&self) {
        let mut kept = self.kept();
        (kept.current, kept.pending) = (None, None);
    }

    /// Back on an older generation.
    pub(crate) fn revert(&self, generation: u64) {
        let mut kept = self.kept();
        kept.current = Some(kept.committed[&generation].clone());
    }

    /// Number of the committed configuration.
    pub(crate) fn committed(&self) -> Option<u64> {
        self.kept().current.as_ref().map(|config| config.generation.get())
    }

    /// The committed configuration of a router.
    pub(crate) fn config(&self) -> RouterDocument {
        serde_json::from_value(self.document()).unwrap()
    }

    /// The committed configuration.
    pub(crate) fn document(&self) -> Value {
        json!(self.kept().current.as_ref().expect("nothing is committed"))
    }

    /// Numbers in the order in which they were pushed.
    pub(crate) fn pushed(&self) -> Vec<u64> {
        self.kept().pushed.clone()
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.kept().exchanges.clone()
    }

    pub(crate) fn certificate(&self) -> String {
        self.identity().certificate
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap().clone()
    }

    /// Shows another certificate from the next connection on.
    pub(crate) fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap() = identity;
    }

    fn note(&self, connection: u64, route: &'static str) {
        self.kept().exchanges.push(Exchange { connection, route });
    }
}

async fn serve(agent: Agent, listener: TcpListener) {
    for connection in 0_u64.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let acceptor = acceptor(&agent.identity.lock().unwrap());
        if agent.kept().deaf {
            continue;
        }
        let service = TowerToHyperService::new(routes(agent.clone(), connection));
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let server = auto::Builder::new(TokioExecutor::new()).http1_only();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}

fn routes(agent: Agent, connection: u64) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/config", put(push).get(config))
        .route("/v1/config/confirm", post(confirm))
        .route("/v1/blobs/{digest}", put(blob))
        .route("/v1/identity", post(renew))
        .route("/v1/logs", get(logs))
        .route("/v1/questions", get(asking::questions).post(asking::answers))
        .route("/v1/diagnostics/{what}", post(diagnose))
        .layer(Extension(connection))
        .layer(from_fn_with_state(agent.clone(), recorded::as_recorded))
        .with_state(agent)
}

fn reported(config: &ApplianceConfig) -> Reported {
    Reported { generation: config.generation, digest: Digest::of(config).unwrap() }
}

async fn status(State(agent): State<Agent>) -> Json<StatusReport> {
    let mut kept = agent.kept();
    kept.looks += 1;
    let phase = match (&kept.pending, &kept.current) {
        (Some(_), _) => Phase::AwaitingConfirm,
        (None, Some(_)) => Phase::InForce,
        (None, None) => Phase::Unconfigured,
    };
    Json(StatusReport {
        appliance: agent.id.clone(),
        role: Role::Router,
        firmware: "simulated".to_owned(),
        build: None,
        contract_versions: vec![2],
        capabilities: kept.capabilities.clone(),
        uptime_seconds: kept.uptime.unwrap_or(3600),
        incarnation: agent.incarnation.load(Ordering::SeqCst),
        phase,
        current: kept.current.as_ref().map(reported),
        pending: kept.pending.as_ref().map(reported),
        reverted: kept.reverted.clone(),
        subsystems: Vec::new(),
        services: [("dhcp".to_owned(), json!({ "leases": 2 }))]
            .into_iter()
            .chain(kept.reports.clone())
            .map(|(name, report)| service(name, report))
            .collect(),
        repairs: Vec::new(),
        alarms: kept.alarms.clone(),
        missing_blobs: Vec::new(),
    })
}

fn service(name: String, report: Value) -> ServiceStatus {
    ServiceStatus {
        name,
        state: ServiceState::Running,
        pid: Some(7),
        generation: None,
        restarts: 0,
        last_exit: None,
        counters: BTreeMap::new(),
        report: Some(report),
    }
}

fn plan() -> PlanSummary {
    PlanSummary { steps: vec!["simulate".to_owned()], unchanged: 0 }
}

async fn push(
    State(agent): State<Agent>,
    Extension(connection): Extension<u64>,
    Query(query): Query<Value>,
    body: Bytes,
) -> Response {
    if query["dry_run"] == "true" {
        return Json(json!(DryRun { plan: plan(), findings: Vec::new() })).into_response();
    }
    agent.note(connection, "PUT /v1/config");
    let answer = match <ApplianceConfig>::decode(&body) {
        Ok((config, _)) => accept(&agent, config),
        Err(findings) => Answer::Rejected { findings },
    };
    while agent.kept().mute {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if std::mem::take(&mut agent.kept().swallows) {
        let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::fmt::Error) });
        return axum::body::Body::from_stream(broken).into_response();
    }
    let status = match answer {
        Answer::Applied { .. } | Answer::Already { .. } => 200,
        Answer::Stale { .. } | Answer::Changed { .. } | Answer::MissingBlobs { .. } => 409,
        Answer::Busy(_) => 503,
        Answer::Rejected { .. } => 422,
        Answer::Failed { .. } | Answer::Unknown => 500,
    };
    (StatusCode::from_u16(status).unwrap(), Json(json!(answer))).into_response()
}

fn accept(agent: &Agent, config: ApplianceConfig) -> Answer {
    let mut kept = agent.kept();
    let generation = config.generation;
    kept.pushed.push(generation.get());
    if let Some(scripted) = kept.script.pop_front() {
        return scripted;
    }
    if let Some(current) = kept.current.as_ref().filter(|c| c.generation >= generation) {
        if *current == config {
            return Answer::Already { generation };
        }
        return Answer::Stale { current: current.generation };
    }
    kept.pending = Some(config);
    kept.deaf |= std::mem::take(&mut kept.cuts);
    let (timing, findings) = (Timing::default(), Vec::new());
    Answer::Applied { generation, plan: plan(), timing, confirm_within: Some(30), findings }
}

async fn blob(
    State(agent): State<Agent>,
    axum::extract::Path(digest): axum::extract::Path<BlobDigest>,
    body: Bytes,
) -> StatusCode {
    if BlobDigest::of(&body) != digest {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    agent.kept().blobs.insert(digest, body.to_vec());
    StatusCode::NO_CONTENT
}

async fn config(State(agent): State<Agent>) -> Vec<u8> {
    // byte for byte what its digest is of
    serde_json::to_vec(agent.kept().current.as_ref().expect("nothing is committed")).unwrap()
}

async fn confirm(
    State(agent): State<Agent>,
    Extension(connection): Extension<u64>,
    Json(confirm): Json<Confirm>,
) -> (StatusCode, Json<ConfirmAnswer>) {
    agent.note(connection, "POST /v1/config/confirm");
    let generation = confirm.generation;
    let mut kept = agent.kept();
    if let Some(scripted) = kept.confirmations.pop_front() {
        kept.pending = None;
        return (StatusCode::CONFLICT, Json(scripted));
    }
    let pending = kept.pending.take_if(|pending| pending.generation == generation);
    if let Some(pending) = pending {
        kept.committed.insert(generation.get(), pending.clone());
        kept.current = Some(pending);
    }
    let current = kept.current.as_ref().map(|config| config.generation);
    if current == Some(generation) {
        (StatusCode::OK, Json(ConfirmAnswer::Committed { generation }))
    } else {
        (StatusCode::CONFLICT, Json(ConfirmAnswer::NotPending { current }))
    }
}

async fn renew(State(agent): State<Agent>, Json(identity): Json<Identity>) -> StatusCode {
    if agent.kept().fixed {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    agent.set_identity(identity);
    StatusCode::NO_CONTENT
}

async fn logs(Query(query): Query<Value>) -> Json<Value> {
    let first = query["after"] == "0";
    let entry = json!({ "sequence": 1, "at": "2026-01-01T00:00:00Z", "level": "info",
        "target": "agent", "message": "hello" });
    let entries = if first { vec![entry] } else { Vec::new() };
    Json(json!({ "entries": entries, "lost": 0, "next_after": 1 }))
}

/// Every question is answered by one neighbour, and only `pub0` exists.
async fn diagnose(
    axum::extract::Path(what): axum::extract::Path<String>,
    Json(request): Json<Value>,
) -> Response {
    if request.get("link").is_some_and(|link| link != "pub0") {
        let findings = vec![ApiCode::UnknownLink.at("link", "there is no such link, but pub0")];
        let refused = Json(Answer::Rejected { findings });
        return (StatusCode::UNPROCESSABLE_ENTITY, refused).into_response();
    }
    if what == "capture" {
        return b"\xd4\xc3\xb2\xa1 and so on".as_slice().into_response();
    }
    let number = request["count"].as_u64().unwrap_or(1);
    let reached = request["address"] == "192.0.2.80";
    let outcome = if reached { "reply" } else { "silent" };
    Json(json!({ "reached": reached, "probes": [
        { "number": number, "outcome": outcome, "from": "192.0.2.80", "rtt_us": 1500 },
    ] }))
    .into_response()
}
