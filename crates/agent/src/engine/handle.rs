//! The way to the engine for everybody else: cloneable, and asking for the status never waits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sluice_api::ApiCode;
use sluice_api::boot::BootDocument;
use sluice_api::report::{
    Answer, Busy, ConfirmAnswer, DryRun, Health, HealthCheck, Phase, ServiceState, StatusReport,
};
use sluice_api::types::{Generation, LinkName};
use sluice_sys::kernel::{Kernel, KernelError};
use sluice_sys::model::{Keys, Observed};
use sluice_sys::nft::{Counters, TableId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Engine, Parts, Services};
use crate::appliance::Appliance;
use crate::boot;
use crate::ledger::Ledger;
use crate::metrics::Totals;

/// Least time between two looks at the kernel when nothing is said to have changed.
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
}

impl Shared {
    pub(super) fn report(&self) -> MutexGuard<'_, StatusReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Request {
    Push { body: Bytes, confirm: Option<Duration>, reply: oneshot::Sender<Answer> },
    DryRun { body: Bytes, reply: oneshot::Sender<DryRun> },
    Confirm { generation: Generation, reply: oneshot::Sender<ConfirmAnswer> },
    Config { reply: oneshot::Sender<Option<serde_json::Value>> },
    Links { reply: oneshot::Sender<Result<Observed, KernelError>> },
}

/// A way to the engine.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    pushing: Arc<tokio::sync::Mutex<()>>,
    shared: Arc<Shared>,
    listen: watch::Receiver<Listen>,
}

impl Handle {
    /// Reads the ledger, brings the last good configuration into force and goes on from there, until all handles are
    /// gone. Returns once that first configuration, or the state before any, has been tried for.
    pub async fn start<A: Appliance>(parts: Parts<A>) -> Self {
        let (ledger, alarms) = Ledger::open(Arc::clone(&parts.files));
        let (listen, listening) = watch::channel(Listen::at_boot(&parts.boot));
        let shared = Arc::new(Shared {
            report: Mutex::new(Engine::<A>::blank(&parts.boot)),
            totals: Mutex::default(),
            start: Instant::now(),
            services: Arc::clone(&parts.services),
            kernel: Arc::clone(&parts.kernel),
        });
        let mut engine = Engine {
            appliance: parts.appliance,
            boot: parts.boot,
            kernel: parts.kernel,
            services: parts.services,
            ledger,
            serving: std::collections::BTreeMap::new(),
            deadline: None,
            degraded: false,
            subsystems: Vec::new(),
            repairs: Vec::new(),
            alarms: super::alarms::Alarms::default(),
            shared: Arc::clone(&shared),
            listen,
        };
        engine.start(alarms).await;
        let (requests, queue) = mpsc::channel(16);
        tokio::spawn(engine.run(queue));
        let pushing = Arc::new(tokio::sync::Mutex::new(()));
        Self { requests, pushing, shared, listen: listening }
    }

    /// Brings a configuration into force. With `confirm`, it reverts unless confirmed within that time.
    pub async fn push(&self, body: Bytes, confirm: Option<Duration>) -> Answer {
        let Ok(_turn) = self.pushing.try_lock() else { return self.busy() };
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Push { body, confirm, reply }).await;
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
        let _ = self.requests.send(Request::DryRun { body, reply }).await;
        answer.await.unwrap_or_else(|_| DryRun {
            plan: sluice_api::report::PlanSummary::default(),
            findings: vec![ApiCode::Stopped.of_request("the engine has stopped")],
        })
    }

    /// Commits what waits for its confirmation.
    pub async fn confirm(&self, generation: Generation) -> ConfirmAnswer {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Confirm { generation, reply }).await;
        answer.await.unwrap_or(ConfirmAnswer::NotPending { current: None })
    }

    /// The configuration that is meant to be in force.
    pub async fn config(&self) -> Option<serde_json::Value> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Config { reply }).await;
        answer.await.ok().flatten()
    }

    /// How things are.
    pub fn status(&self) -> StatusReport {
        let mut report = self.shared.report().clone();
        report.uptime_seconds = self.shared.start.elapsed().as_secs();
        report.services = self.shared.services.status();
        report
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
        let _ = self.requests.send(Request::Links { reply }).await;
        answer.await.ok()
    }

    /// Packets and bytes by chain and rule of `table`; empty when they cannot be read.
    pub async fn counters(&self, table: &TableId) -> Counters {
        self.shared.kernel.counters(table).await.unwrap_or_default()
    }
}

fn stopped() -> Answer {
    let reason = "the engine has stopped".to_owned();
    Answer::Failed { reason, rolled_back: false, current: None }
}

impl<A: Appliance> Engine<A> {
    /// The engine's own task: requests, the confirm timer, and looks at the kernel.
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut changes = self.kernel.changes().ok();
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            let deadline = self.deadline;
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.serve_request(request).await,
                    None => return,
                },
                () = until(deadline) => self.expire().await,
                () = next_change(&mut changes) => look = look.min(Instant::now() + CALM),
                () = tokio::time::sleep_until(look) => {
                    self.repair().await;
                    look = Instant::now() + LOOK_EVERY;
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
            }
            Request::DryRun { body, reply } => {
                let _ = reply.send(self.preview(&body).await);
            }
            Request::Confirm { generation, reply } => {
                let _ = reply.send(self.confirm(generation));
            }
            Request::Config { reply } => {
                let config = self.target().map(|entry| serde_json::to_value(&*entry.config));
                let _ = reply.send(config.and_then(Result::ok));
            }
            Request::Links { reply } => {
                let _ = reply.send(self.kernel.observe(&Keys::default()).await);
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn next_change(changes: &mut Option<sluice_sys::kernel::Changes>) {
    if let Some(source) = changes {
        if source.next().await.is_some() {
            return;
        }
        *changes = None;
    }
    std::future::pending::<()>().await;
}
