//! The way to the engine for everybody else: cloneable, and asking for the status never waits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sluice_api::ApiCode;
use sluice_api::boot::BootDocument;
use sluice_api::report::{
    Answer, Busy, ConfirmAnswer, DryRun, Health, HealthCheck, Phase, ServiceState, StatusReport,
    UsageReport,
};
use sluice_api::types::{BlobDigest, Generation, LinkName};
use sluice_sys::kernel::{Changes, Kernel, KernelError, Wake};
use sluice_sys::model::{Keys, Observed};
use sluice_sys::nft::eval::Flow;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Engine, Parts, Services};
use crate::appliance::{Appliance, Configuration};
use crate::blobs::{BlobError, BlobStore};
use crate::boot;
use crate::ledger::Ledger;
use crate::metrics::Totals;
use crate::usage::Usage;

/// Least time between two looks at what the kernel does not announce, which cost next to nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Changes come in bursts; looking waits until one is over.
const CALM: Duration = Duration::from_millis(200);

/// Where the API is to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// On this link only.
    pub link: LinkName,
    /// On these addresses of it.
    pub addresses: BTreeSet<IpAddr>,
}

impl Listen {
    pub(super) fn at_boot(document: &BootDocument) -> Self {
        let addresses = BTreeSet::from([document.control.address.ip()]);
        Self { link: boot::control_link(), addresses }
    }
}

/// What engine and handles share.
pub(crate) struct Shared {
    report: Mutex<StatusReport>,
    totals: Mutex<Totals>,
    start: Instant,
    services: Arc<dyn Services>,
    kernel: Arc<dyn Kernel>,
    /// Requests that were put into the engine's queues: what may wait gives way to them.
    asked: watch::Sender<u64>,
    /// True while connections are still to be judged by what is committed.
    pub(super) judging: AtomicBool,
    pub(super) usage: Arc<Usage>,
}

impl Shared {
    pub(super) fn report(&self) -> MutexGuard<'_, StatusReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request into its queue; when the engine is gone, the answer's channel says so.
    async fn ask<T>(&self, queue: &mpsc::Sender<T>, request: T) {
        if queue.send(request).await.is_ok() {
            self.asked.send_modify(|asked| *asked += 1);
        }
    }

    /// Waits until a request waits, of which `served` were taken. Cancel safe.
    pub(super) async fn somebody_asks(&self, served: u64) {
        // the sender is ours, so it cannot be gone
        let _ = self.asked.subscribe().wait_for(|asked| *asked > served).await;
    }
}

enum Request {
    Push { body: Bytes, confirm: Option<Duration>, reply: oneshot::Sender<Answer> },
    Config { reply: oneshot::Sender<Option<Vec<u8>>> },
    Links { reply: oneshot::Sender<Result<Observed, KernelError>> },
}

/// A question that may wait for everything else.
struct Preview {
    body: Bytes,
    reply: oneshot::Sender<DryRun>,
}

/// A confirmation: it is waited for with a deadline, and waits for nothing.
pub(super) struct Confirmation {
    pub(super) generation: Generation,
    /// When the connection that it came over was made.
    pub(super) connected: Instant,
    /// When it came.
    pub(super) asked: Instant,
    reply: oneshot::Sender<ConfirmAnswer>,
}

/// What comes to the engine, by urgency.
struct Queues {
    confirmations: mpsc::Receiver<Confirmation>,
    requests: mpsc::Receiver<Request>,
    previews: mpsc::Receiver<Preview>,
}

/// A way to the engine.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    confirmations: mpsc::Sender<Confirmation>,
    previews: mpsc::Sender<Preview>,
    pushing: Arc<tokio::sync::Mutex<()>>,
    shared: Arc<Shared>,
    blobs: Arc<BlobStore>,
    listen: watch::Receiver<Listen>,
}

/// What handles and engine share.
fn shared<A: Appliance>(parts: &Parts<A>) -> Shared {
    Shared {
        report: Mutex::new(Engine::<A>::blank(&parts.appliance, &parts.boot)),
        totals: Mutex::default(),
        start: Instant::now(),
        services: Arc::clone(&parts.services),
        kernel: Arc::clone(&parts.kernel),
        asked: watch::Sender::new(0),
        judging: AtomicBool::new(false),
        usage: Arc::new(Usage::new(Arc::clone(&parts.kernel), Arc::clone(&parts.files))),
    }
}

impl Handle {
    /// Reads the ledger, brings the last good configuration into force and goes on from there, until all handles are
    /// gone. Returns once that first configuration, or the state before any, has been tried for.
    #[allow(clippy::too_many_lines)] // a line for each field
    pub async fn start<A: Appliance>(parts: Parts<A>) -> Self {
        let opened = Ledger::open(Arc::clone(&parts.files), understood::<A>);
        let blobs = Arc::new(BlobStore::open(Arc::clone(&parts.files), &parts.boot));
        let (listen, listening) = watch::channel(Listen::at_boot(&parts.boot));
        let shared = Arc::new(shared(&parts));
        let (appliance, kernel) = (Arc::clone(&parts.appliance), Arc::clone(&parts.kernel));
        let flows = super::flows::start(appliance, &parts.boot, kernel);
        let mut engine = Engine {
            appliance: parts.appliance,
            boot: parts.boot,
            kernel: parts.kernel,
            services: parts.services,
            ledger: opened.ledger,
            blobs: Arc::clone(&blobs),
            missing: Vec::new(),
            former_blobs: BTreeSet::new(),
            hold: false,
            sizes: BTreeSet::new(),
            serving: std::collections::BTreeMap::new(),
            given: std::collections::BTreeMap::new(),
            ill: Vec::new(),
            said: BTreeSet::new(),
            calm: None,
            audit_due: Instant::now() + super::revert::AUDIT_EVERY,
            served: 0,
            network: None,
            seen: Arc::default(),
            retry: super::revert::Retry::default(),
            applied_at: None,
            deadline: None,
            now: super::ending::clock(),
            degraded: false,
            subsystems: Vec::new(),
            repairs: Vec::new(),
            alarms: super::alarms::Alarms::default(),
            tracking: super::tracking::Tracking::default(),
            carriers: super::carriers::Carriers::default(),
            flows,
            shared: Arc::clone(&shared),
            listen,
        };
        engine.start(opened.alarms, opened.interrupted).await;
        let (requests, queue) = mpsc::channel(16);
        let (confirmations, confirming) = mpsc::channel(4);
        let (previews, previewing) = mpsc::channel(4);
        tokio::spawn(engine.run(Queues {
            confirmations: confirming,
            requests: queue,
            previews: previewing,
        }));
        let pushing = Arc::new(tokio::sync::Mutex::new(()));
        Self { requests, confirmations, previews, pushing, shared, blobs, listen: listening }
    }

    /// Brings a configuration into force. With `confirm`, it reverts unless confirmed within that time.
    pub async fn push(&self, body: Bytes, confirm: Option<Duration>) -> Answer {
        let Ok(_turn) = self.pushing.try_lock() else { return self.busy() };
        let (reply, answer) = oneshot::channel();
        self.shared.ask(&self.requests, Request::Push { body, confirm, reply }).await;
        answer.await.unwrap_or_else(|_| stopped())
    }

    fn busy(&self) -> Answer {
        let report = self.shared.report();
        let number =
            report.pending.as_ref().or(report.current.as_ref()).map(|known| known.generation);
        let reason = "another configuration is being applied".to_owned();
        Answer::Busy(Busy { generation: number.unwrap_or(Generation::MIN), reason })
    }

    /// What would happen.
    pub async fn dry_run(&self, body: Bytes) -> DryRun {
        let (reply, answer) = oneshot::channel();
        self.shared.ask(&self.previews, Preview { body, reply }).await;
        answer.await.unwrap_or_else(|_| DryRun {
            plan: sluice_api::report::PlanSummary::default(),
            findings: vec![ApiCode::Stopped.of_request("the engine has stopped")],
        })
    }

    /// Commits what waits for its confirmation.
    pub async fn confirm(&self, generation: Generation) -> ConfirmAnswer {
        self.confirm_over(generation, Instant::now()).await
    }

    /// As [`Self::confirm`], over a connection that was made at `connected`: one that is older than the configuration
    /// proves nothing about it.
    pub async fn confirm_over(&self, generation: Generation, connected: Instant) -> ConfirmAnswer {
        let (reply, answer) = oneshot::channel();
        let asked = Instant::now();
        let confirmation = Confirmation { generation, connected, asked, reply };
        self.shared.ask(&self.confirmations, confirmation).await;
        answer.await.unwrap_or(ConfirmAnswer::NotPending { current: None })
    }

    /// Keeps a blob for a configuration that names it; a lost one is put to use within seconds.
    pub async fn put_blob(&self, digest: BlobDigest, bytes: Bytes) -> Result<(), BlobError> {
        let blobs = Arc::clone(&self.blobs);
        let kept = tokio::task::spawn_blocking(move || blobs.put(digest, &bytes)).await;
        kept.unwrap_or_else(|error| Err(BlobError::Keep(std::io::Error::other(error))))
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &BlobDigest) -> bool {
        self.blobs.has(digest)
    }

    /// The configuration that is meant to be in force, as it came.
    pub async fn config(&self) -> Option<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        self.shared.ask(&self.requests, Request::Config { reply }).await;
        answer.await.ok().flatten()
    }

    /// How things are.
    pub fn status(&self) -> StatusReport {
        let mut report = self.shared.report().clone();
        report.uptime_seconds = self.shared.start.elapsed().as_secs();
        report.services = self.shared.services.status();
        report
    }

    /// True while live connections are still to be judged by what was committed last.
    pub fn judges_connections(&self) -> bool {
        self.shared.judging.load(Ordering::SeqCst)
    }

    /// What was counted since the start.
    pub fn totals(&self) -> Totals {
        *self.shared.totals()
    }

    /// Whether things are as they should be.
    pub fn health(&self) -> Health {
        let report = self.status();
        let engine = HealthCheck {
            name: "engine".to_owned(),
            passed: report.phase != Phase::Degraded && report.alarms.is_empty(),
            detail: format!("phase {:?}, {} alarms", report.phase, report.alarms.len()),
        };
        let services = report.services.iter().map(|service| HealthCheck {
            name: format!("service {}", service.name),
            passed: service.state == ServiceState::Running,
            detail: format!("{:?}, {} restarts", service.state, service.restarts),
        });
        let checks: Vec<HealthCheck> = std::iter::once(engine).chain(services).collect();
        Health { healthy: checks.iter().all(|check| check.passed), checks }
    }

    /// Where the API is to listen; changes as configurations do.
    pub fn listen(&self) -> watch::Receiver<Listen> {
        self.listen.clone()
    }

    /// The links and addresses of the kernel, read by the engine between two changes; `None` when it has stopped.
    ///
    /// Not by whoever asks: two readers at once on the one netlink socket make each other fail.
    pub(crate) async fn links(&self) -> Option<Result<Observed, KernelError>> {
        let (reply, answer) = oneshot::channel();
        self.shared.ask(&self.requests, Request::Links { reply }).await;
        answer.await.ok()
    }

    /// Everything that is counted, read now.
    pub async fn usage(&self) -> UsageReport {
        self.shared.usage.report().await
    }

    /// Looks at what is counted from time to time and keeps it, for as long as there are handles.
    pub fn keep_usage(&self) {
        tokio::spawn(Usage::keep(Arc::downgrade(&self.shared.usage)));
    }

    /// The connections that are tracked now.
    pub async fn flows(&self) -> Result<Vec<Flow>, KernelError> {
        self.shared.kernel.flows().await
    }
}

fn stopped() -> Answer {
    let reason = "the engine has stopped".to_owned();
    Answer::Failed { reason, rolled_back: false, current: None }
}

impl<A: Appliance> Engine<A> {
    /// The engine's own task: requests, the confirm timer, and looks at the kernel.
    async fn run(mut self, mut queues: Queues) {
        let mut changes = self.kernel.changes().ok();
        let mut look = Instant::now() + LOOK_EVERY;
        let mut woken = true;
        loop {
            let deadline = self.deadline;
            tokio::select! {
                // a confirmation that came in time does not lose against the deadline, nor a push against a dry run
                biased;
                Some(confirmation) = queues.confirmations.recv() => {
                    self.served += 1;
                    let answer = self.confirm(&confirmation);
                    let _ = confirmation.reply.send(answer);
                    self.keep_both_pages();
                }
                () = until(deadline) => self.expire().await,
                judged = self.flows.answer() => self.note_judged(&judged),
                request = queues.requests.recv() => match request {
                    Some(request) => {
                        self.served += 1;
                        self.serve_request(request).await;
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(look) => {
                    let woken = std::mem::take(&mut woken);
                    self.repair(woken).await;
                    self.watch_carriers(woken).await;
                    self.watch_tracking().await;
                    look = Instant::now() + LOOK_EVERY;
                }
                wake = next_change(&mut changes) => {
                    // rules say by their number whether they changed
                    woken |= wake != Wake::Rules;
                    look = look.min(Instant::now() + CALM);
                }
                Some(Preview { body, reply }) = queues.previews.recv() => {
                    self.served += 1;
                    let _ = reply.send(self.preview(&body).await);
                }
            }
        }
    }

    async fn serve_request(&mut self, request: Request) {
        // whoever asked may be gone, which changes nothing
        match request {
            Request::Push { body, confirm, reply } => {
                let answer = self.push(&body, confirm).await;
                self.shared.totals().count(&answer);
                let _ = reply.send(answer);
                // one page says it, which is enough; nobody waits for the other
                self.keep_both_pages();
            }
            Request::Config { reply } => {
                let digest = self.target().map(|entry| entry.digest().clone());
                let bytes = digest.and_then(|digest| self.ledger.content(&digest).ok());
                let _ = reply.send(bytes);
            }
            Request::Links { reply } => {
                let _ = reply.send(self.kernel.observe(&Keys::default()).await);
            }
        }
    }
}

/// A configuration that we committed once; findings that a build since then has become stricter about are a reason too.
fn understood<A: Appliance>(bytes: &[u8]) -> Result<A::Config, String> {
    let parsed = A::Config::parse(bytes).map(|(config, _)| config);
    parsed.map_err(|findings| findings.first().map(ToString::to_string).unwrap_or_default())
}

/// Waits for a moment, for ever without one. Cancel safe.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn next_change(changes: &mut Option<Changes>) -> Wake {
    if let Some(source) = changes {
        if let Some(wake) = source.next().await {
            return wake;
        }
        *changes = None;
    }
    std::future::pending().await
}
