//! `sluice-router service ike`: keeps the IKE daemon's connections as the configuration has them.
//!
//! Guarantees: a slice is in force when the daemon has every connection of it and no other of ours; a connection that did
//! not change is not loaded anew; a daemon that has started anew gets all of them again. A slice that the daemon cannot
//! carry out is refused with the reason, and the former one is put back.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use sluice_api::types::Generation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::keeper::{Act, Keeper, Phase, Report};
use super::slice::{IkeSlice, Wanted};
use super::{ConnectionName, EngineError, IkeEngine};

/// How often the daemon is asked how things are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a daemon that is starting is tried when a slice comes; how long is [`IkeEngine::starts_within`].
const TRY_EVERY: Duration = Duration::from_millis(100);

/// The kernel's counts of IPsec; the process sees this file and nothing else of `/proc`.
pub const FAILURES: &str = "/proc/net/xfrm_stat";

/// Serves with `engine` until the agent goes away.
pub fn run(engine: impl FnOnce() -> Box<dyn IkeEngine>) -> io::Result<()> {
    sluice_agent::service::run(|| Process::new(engine()))
}

struct Process {
    shown: Arc<Mutex<Shown>>,
    /// Waits for the first slice, which comes with a runtime.
    engine: Option<Box<dyn IkeEngine>>,
    running: Option<(mpsc::Sender<Order>, JoinHandle<()>)>,
}

/// A slice to put in force, and whom to tell.
struct Order(IkeSlice, oneshot::Sender<Result<(), String>>);

/// What is shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    engine: &'static str,
    /// Why the daemon cannot be spoken to.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
    connections: BTreeMap<String, Report>,
    #[serde(skip)]
    counters: BTreeMap<String, u64>,
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn new(engine: Box<dyn IkeEngine>) -> Self {
        Self { shown: Arc::default(), engine: Some(engine), running: None }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

impl sluice_agent::service::Service for Process {
    type Slice = IkeSlice;

    async fn apply(&mut self, _: Generation, slice: IkeSlice) -> Result<(), String> {
        if let Some(engine) = self.engine.take() {
            let (orders, ordered) = mpsc::channel(1);
            let works = Works::new(engine, Arc::clone(&self.shown));
            self.running = Some((orders, tokio::spawn(works.run(ordered))));
        }
        let Some((orders, _)) = &self.running else { return Err("not running".to_owned()) };
        let (reply, answer) = oneshot::channel();
        orders.send(Order(slice, reply)).await.map_err(|error| error.to_string())?;
        answer.await.map_err(|error| error.to_string())?
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        lock(&self.shown).counters.clone()
    }

    fn report(&self) -> Value {
        serde_json::to_value(&*lock(&self.shown)).unwrap_or_default()
    }
}

/// The engine and what it is to hold.
struct Works {
    engine: Box<dyn IkeEngine>,
    wanted: BTreeMap<ConnectionName, Wanted>,
    keeper: Keeper,
    /// The daemon has what is wanted; no longer once it could not be reached.
    loaded: bool,
    began: Instant,
    /// Packets that failed their integrity check until the last look.
    integrity_failures: u64,
    counts: Counts,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Counts {
    loads: u64,
    unloads: u64,
    initiations: u64,
    rekeys: u64,
    daemon_losses: u64,
}

impl Works {
    fn new(engine: Box<dyn IkeEngine>, shown: Arc<Mutex<Shown>>) -> Self {
        lock(&shown).engine = engine.capabilities().engine;
        Self {
            engine,
            wanted: BTreeMap::new(),
            keeper: Keeper::default(),
            loaded: true,
            began: Instant::now(),
            integrity_failures: integrity_failures(),
            counts: Counts::default(),
            shown,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(Order(slice, reply)) = order else { return };
                    // whoever asked may have lost patience
                    let _ = reply.send(self.replace(slice.wanted()).await);
                    self.look().await;
                }
                _ = look.tick() => self.look().await,
            }
        }
    }

    async fn replace(&mut self, wanted: BTreeMap<ConnectionName, Wanted>) -> Result<(), String> {
        let capabilities = self.engine.capabilities();
        for (name, one) in &wanted {
            let lacking = capabilities.lacks(&one.connection);
            if !lacking.is_empty() {
                let engine = capabilities.engine;
                return Err(format!("{engine} cannot do {} of {name}", lacking.join(", ")));
            }
            if one.key.is_none() {
                return Err(format!("the key of {name} is not a line of random and then the key"));
            }
        }
        if !self.loaded {
            self.reload().await.map_err(|error| error.to_string())?;
        }
        let former = std::mem::take(&mut self.wanted);
        match self.change(&former, &wanted).await {
            Ok(()) => {
                self.wanted = wanted;
                Ok(())
            }
            Err(error) => {
                if let Err(worse) = self.change(&wanted, &former).await {
                    warn!(error = %worse, "the former connections cannot be put back yet");
                    self.loaded = false;
                }
                self.wanted = former;
                Err(error.to_string())
            }
        }
    }

    /// What differs between two sets of connections, one connection at a time.
    async fn change(
        &mut self,
        from: &BTreeMap<ConnectionName, Wanted>,
        to: &BTreeMap<ConnectionName, Wanted>,
    ) -> Result<(), EngineError> {
        for name in from.keys().filter(|name| !to.contains_key(*name)) {
            self.patiently(Step::Unload(name)).await?;
            self.counts.unloads += 1;
            self.keeper.remove(name);
            info!(connection = %name, "vpn connection unloaded");
        }
        for (name, wanted) in to {
            let before = from.get(name);
            let same = before.is_some_and(|before| {
                (&before.connection, &before.key) == (&wanted.connection, &wanted.key)
            });
            if !same {
                self.patiently(Step::Load(wanted)).await?;
                // keys and policies of the old form must not live on
                self.patiently(Step::Terminate(name)).await?;
                self.counts.loads += 1;
                self.keeper.put(wanted.connection.clone());
                info!(connection = %name, "vpn connection loaded");
            } else if before.is_some_and(|before| before.resets != wanted.resets) {
                self.patiently(Step::Terminate(name)).await?;
                self.keeper.put(wanted.connection.clone());
                info!(connection = %name, "vpn connection reset");
            }
        }
        Ok(())
    }

    /// A call that is made again while the daemon is starting.
    async fn patiently(&mut self, step: Step<'_>) -> Result<(), EngineError> {
        let late = Instant::now() + self.engine.starts_within();
        loop {
            let outcome = match step {
                Step::Unload(name) => self.engine.unload(name).await,
                Step::Terminate(name) => self.engine.terminate(name).await,
                Step::Load(Wanted { connection, key: Some(key), .. }) => {
                    self.engine.load(connection, key).await
                }
                Step::Load(_) => Ok(()),
            };
            match outcome {
                Err(EngineError::Unreachable(_)) if Instant::now() < late => {
                    tokio::time::sleep(TRY_EVERY).await;
                }
                other => return other,
            }
        }
    }

    /// Everything anew, for a daemon that has started anew.
    async fn reload(&mut self) -> Result<(), EngineError> {
        for wanted in self.wanted.values() {
            if let Some(key) = &wanted.key {
                self.engine.load(&wanted.connection, key).await?;
                self.counts.loads += 1;
            }
        }
        self.keeper.forget_state();
        self.loaded = true;
        info!(connections = self.wanted.len(), "the IKE daemon is back, connections loaded");
        Ok(())
    }

    async fn look(&mut self) {
        if !self.loaded && self.reload().await.is_err() {
            return;
        }
        let state = if self.wanted.is_empty() { Ok(Vec::new()) } else { self.engine.state().await };
        match state {
            Ok(sas) => {
                let troubles = self.engine.troubles().await;
                let now = self.began.elapsed();
                for act in self.keeper.observe(now, sas, troubles) {
                    self.act(act).await;
                }
                let failures = integrity_failures();
                self.keeper.note_integrity(failures > self.integrity_failures);
                self.integrity_failures = failures;
                self.show(None);
            }
            Err(error) => {
                if self.loaded {
                    warn!(%error, "the IKE daemon is gone, will load everything when it is back");
                    self.counts.daemon_losses += 1;
                }
                self.loaded = false;
                self.keeper.forget_state();
                self.show(Some(error.to_string()));
            }
        }
    }

    async fn act(&mut self, act: Act) {
        let outcome = match &act {
            Act::Initiate(name, child) => {
                self.counts.initiations += 1;
                self.engine.initiate(name, child).await
            }
            Act::Rekey(name, child) => {
                self.counts.rekeys += 1;
                self.engine.rekey(name, child).await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(?act, %error, "the IKE daemon did not do it, will try again");
        }
    }

    fn show(&self, unreachable: Option<String>) {
        let mut shown = lock(&self.shown);
        let connections = self.keeper.reports().map(|(name, report)| (name.to_string(), report));
        shown.connections = connections.collect();
        shown.unreachable = unreachable;
        let phases = |phase: Phase| {
            let all = shown.connections.values().filter(|report| report.phase == phase);
            u64::try_from(all.count()).unwrap_or(u64::MAX)
        };
        let sum = |of: fn(&super::ChildState) -> u64| {
            shown.connections.values().flat_map(|report| &report.tunnels).map(of).sum()
        };
        let strays = self.keeper.strays.values().sum();
        let ups = shown.connections.iter().map(|(name, report)| {
            (format!("connection_up:{name}"), u64::from(report.phase == Phase::Connected))
        });
        let ups: Vec<_> = ups.collect();
        let counters = [
            ("connections_up", phases(Phase::Connected)),
            ("connections_partly", phases(Phase::Partly)),
            ("connections_in_error", phases(Phase::Error)),
            ("bytes_in", sum(|child| child.bytes_in)),
            ("bytes_out", sum(|child| child.bytes_out)),
            ("loads", self.counts.loads),
            ("unloads", self.counts.unloads),
            ("initiations", self.counts.initiations),
            ("early_rekeys", self.counts.rekeys),
            ("daemon_losses", self.counts.daemon_losses),
            ("unassigned_failures", strays),
            ("integrity_failures", self.integrity_failures),
        ];
        let counters = counters.into_iter().map(|(name, count)| (name.to_owned(), count));
        shown.counters = counters.chain(ups).collect();
    }
}

/// Packets whose integrity check failed since the machine started, of all associations; 0 where the kernel does not say.
fn integrity_failures() -> u64 {
    let text = std::fs::read_to_string(FAILURES).unwrap_or_default();
    failures_of(&text)
}

fn failures_of(text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix("XfrmInStateProtoError"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// One call of the engine.
#[derive(Clone, Copy)]
enum Step<'a> {
    Load(&'a Wanted),
    Unload(&'a ConnectionName),
    Terminate(&'a ConnectionName),
}

#[cfg(test)]
mod tests;
