//! The task that keeps one service running.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sluice_api::report::{ServiceState, ServiceStatus};
use sluice_api::types::Generation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::child::{Launch, Running, understood};
use crate::appliance::{ServiceName, ServiceSlice};
use crate::questions::{self, Questions};
use crate::service::Readiness;
use crate::service::protocol::{Answered, Configure, FromService};

/// A slice to bring into force, and whom to tell.
pub(super) struct Job {
    pub(super) generation: Generation,
    pub(super) slice: ServiceSlice,
    pub(super) reply: oneshot::Sender<Result<(), String>>,
}

/// Wait before the first restart: the service is back within a second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait, for a service that keeps ending.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A service says its counters every two seconds, but not while it brings a slice into force; one that says nothing for so long
/// after it should have done that hangs, and is started again.
const SILENCE: Duration = Duration::from_secs(10);
/// How much longer it has when that time is over, in case nothing ran meanwhile.
const MOMENT: Duration = Duration::from_secs(5);
/// Between the end of the channel and that of the process.
const FAREWELL: Duration = Duration::from_secs(1);
/// A service that ran this long is trusted again.
const TRUSTED_AFTER: Duration = Duration::from_secs(30);

pub(super) struct Worker {
    name: ServiceName,
    launch: Arc<dyn Launch>,
    questions: Arc<Questions>,
    /// What its process asked, until the answers are there.
    asked: JoinSet<Answered>,
    status: Arc<Mutex<ServiceStatus>>,
    /// The slice in force, or being brought into force: what a restarted process gets.
    slice: Option<(Generation, ServiceSlice)>,
    /// The slice before, to which a refusal returns.
    former: Option<(Generation, ServiceSlice)>,
    waiting: Option<(Generation, oneshot::Sender<Result<(), String>>)>,
    wait: Duration,
}

/// Why a process is not kept any longer.
pub(super) enum End {
    /// It ended or misbehaved.
    Ended(String),
    /// Nobody needs it any more.
    Dismissed,
}

impl Worker {
    pub(super) fn new(
        name: ServiceName,
        launch: Arc<dyn Launch>,
        questions: Arc<Questions>,
    ) -> Self {
        let status = ServiceStatus {
            name: name.to_string(),
            state: ServiceState::Starting,
            pid: None,
            generation: None,
            restarts: 0,
            last_exit: None,
            counters: BTreeMap::new(),
            report: None,
        };
        let status = Arc::new(Mutex::new(status));
        Self {
            name,
            launch,
            questions,
            asked: JoinSet::new(),
            status,
            slice: None,
            former: None,
            waiting: None,
            wait: FIRST_WAIT,
        }
    }

    pub(super) fn status(&self) -> Arc<Mutex<ServiceStatus>> {
        Arc::clone(&self.status)
    }

    fn shown(&self) -> MutexGuard<'_, ServiceStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the process over or starts it, keeps it, starts it again, until nobody sends jobs any more.
    pub(super) async fn run(mut self, jobs: mpsc::Receiver<Job>) {
        self.keep_up(jobs).await;
        self.launch.release_sockets(self.name);
    }

    async fn keep_up(&mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut left = self.take_over().await;
        loop {
            let began = Instant::now();
            let end = match left.take().map_or_else(|| self.start(), Ok) {
                Ok(mut running) => {
                    let end = self.stay(&mut running, &mut jobs).await;
                    // nobody hears their answers, however long the process takes to end
                    self.asked.shutdown().await;
                    running.end().await;
                    end
                }
                Err(error) => End::Ended(format!("cannot be started: {error}")),
            };
            let End::Ended(reason) = end else { return };
            warn!(service = %self.name, reason, "service ended, will be started again");
            if !self.has_served() {
                // they may be in its way
                self.launch.end_predecessors(self.name).await;
            }
            self.note_end(reason);
            if began.elapsed() > TRUSTED_AFTER {
                self.wait = FIRST_WAIT;
            }
            if !self.pause(&mut jobs).await {
                return;
            }
        }
    }

    /// The process that a former agent left, when it answers.
    async fn take_over(&self) -> Option<Running> {
        let launched = self.launch.take_over(self.name).await?;
        let pid = launched.pid;
        let mut running = Running::of(self.name, launched).ok()?;
        let greeted = match self.launch.readiness(self.name) {
            Readiness::Protocol => running.greeted().await,
            Readiness::Socket(_) => Ok(None),
        };
        match greeted {
            Ok(generation) => {
                let generation = generation.map(Generation::get);
                info!(service = %self.name, pid, generation, "service taken over");
                Some(running)
            }
            Err(error) => {
                warn!(service = %self.name, pid, %error, "service of a former agent does not answer");
                running.end().await;
                None
            }
        }
    }

    fn start(&self) -> std::io::Result<Running> {
        let running = Running::of(self.name, self.launch.launch(self.name)?)?;
        info!(service = %self.name, pid = running.pid, "service started");
        Ok(running)
    }

    /// Waits before the next start, but not with a slice that may mend what ended it; false when nobody sends jobs.
    async fn pause(&mut self, jobs: &mut mpsc::Receiver<Job>) -> bool {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = tokio::time::sleep(wait) => return true,
        };
        let Some(mut job) = job else { return false };
        while let Ok(newer) = jobs.try_recv() {
            job = newer;
        }
        if self.adopt(job) {
            self.wait = FIRST_WAIT;
        } else {
            // it ended with this very slice
            tokio::time::sleep(wait).await;
        }
        true
    }

    /// Makes a job's slice the one that is meant to be in force; true when it differs from the one before.
    pub(super) fn adopt(&mut self, job: Job) -> bool {
        let differs = self.slice.as_ref().is_none_or(|(_, slice)| *slice != job.slice);
        self.former = self.slice.replace((job.generation, job.slice));
        self.waiting = Some((job.generation, job.reply));
        differs
    }

    fn note_end(&mut self, reason: String) {
        let mut status = self.shown();
        status.state = ServiceState::Restarting;
        status.report = None;
        status.pid = None;
        status.generation = None;
        status.restarts += 1;
        status.last_exit = Some(reason);
    }

    /// Whether the process that runs has had a slice in force.
    fn has_served(&self) -> bool {
        self.shown().generation.is_some()
    }

    /// The number of the newest slice.
    pub(super) fn newest(&self) -> Option<Generation> {
        self.slice.as_ref().map(|(generation, _)| *generation)
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut ServiceStatus)) {
        change(&mut self.shown());
    }

    /// Keeps a process until it ends or nobody needs it.
    async fn stay(&mut self, running: &mut Running, jobs: &mut mpsc::Receiver<Job>) -> End {
        let pid = running.pid;
        self.show(|status| {
            status.state = ServiceState::Starting;
            status.pid = Some(pid);
        });
        match self.launch.readiness(self.name) {
            Readiness::Protocol => self.keep(running, jobs).await,
            Readiness::Socket(socket) => self.keep_foreign(running, &socket, jobs).await,
        }
    }

    async fn keep(&mut self, running: &mut Running, jobs: &mut mpsc::Receiver<Job>) -> End {
        if let Some((generation, slice)) = self.slice.clone()
            && let Err(error) = configure(running, generation, Some(&slice)).await
        {
            return self.heard_out(running, format!("cannot be reached: {error}")).await;
        }
        let silence = self.launch.patience(self.name) + SILENCE;
        let mut hung = Instant::now() + silence;
        // a machine that stood still wakes up with the deadline past and its services well: they get a moment
        let mut doubted = false;
        loop {
            let mut answered = None;
            tokio::select! {
                line = running.said.next_line() => match line {
                    Ok(Some(line)) => {
                        hung = Instant::now() + silence;
                        doubted = false;
                        match self.hear(&line).await {
                            Ok(None) => {}
                            Ok(Some(answer)) => answered = Some(answer),
                            Err(reason) => return End::Ended(reason),
                        }
                    }
                    Ok(None) => return End::Ended(last_words(running).await),
                    Err(error) => return End::Ended(format!("it talks nonsense: {error}")),
                },
                Some(answer) = self.asked.join_next() => answered = answer.ok(),
                exit = running.exit.clone() => return self.heard_out(running, exit).await,
                job = jobs.recv() => {
                    let Some(job) = job else { return End::Dismissed };
                    if let Err(error) = self.take(job, running).await {
                        let reason = format!("cannot be reached: {error}");
                        return self.heard_out(running, reason).await;
                    }
                }
                () = tokio::time::sleep_until(hung), if !doubted => {
                    doubted = true;
                    hung = Instant::now() + MOMENT;
                }
                () = tokio::time::sleep_until(hung), if doubted => {
                    return End::Ended(format!("silent for {} s", silence.as_secs()));
                }
            }
            if let Some(answered) = answered
                && let Err(error) = running.tell(&answered).await
            {
                return self.heard_out(running, format!("cannot be reached: {error}")).await;
            }
        }
    }

    /// The end of a process for `reason`; what it said before that is heard: it may be what its slice came to.
    async fn heard_out(&mut self, running: &mut Running, reason: String) -> End {
        let rest = async {
            while let Ok(Some(line)) = running.said.next_line().await {
                self.hear(&line).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(FAREWELL, rest).await {
            Ok(Err(reason)) => End::Ended(reason),
            _ => End::Ended(reason),
        }
    }

    async fn take(&mut self, job: Job, running: &mut Running) -> std::io::Result<()> {
        // nobody knows what a slice that was not answered for comes to
        let answered = self.waiting.is_none();
        let (generation, slice) = (job.generation, job.slice.clone());
        let changed = (self.adopt(job) || !answered) && !running.serves(&slice);
        configure(running, generation, changed.then_some(&slice)).await
    }

    /// Takes in what the service says; what it asked and nobody may be asked is answered at once.
    async fn hear(&mut self, line: &str) -> Result<Option<Answered>, String> {
        match understood(line).map_err(|error| format!("it talks nonsense: {error}"))? {
            FromService::Serving { .. } => {}
            FromService::InForce { generation } => {
                // before anybody is told: what is in force refuses nobody from now on
                self.launch.keep_sockets(self.name).await;
                {
                    let mut status = self.shown();
                    status.state = ServiceState::Running;
                    status.generation = Some(generation);
                }
                self.reply(generation, Ok(()));
            }
            FromService::Refused { generation, reason } => {
                if !self.has_served() && self.launch.end_predecessors(self.name).await {
                    // its sockets may have been in the way: the next process gets the same slice
                    return Err(format!("it did not take over: {reason}"));
                }
                // a late refusal says nothing of what was sent since
                if self.slice.as_ref().is_some_and(|(newest, _)| *newest == generation) {
                    self.slice = self.former.take();
                }
                self.reply(generation, Err(reason));
            }
            FromService::Counters { counters, report } => {
                let mut status = self.shown();
                status.counters = counters;
                status.report = Some(report).filter(|report| !report.is_null());
            }
            FromService::Asks { id, question } => return Ok(self.ask(id, question)),
        }
        Ok(None)
    }

    /// Asks what the service wants to know; what is too long, or too much at once, is answered without being asked.
    fn ask(&mut self, id: u64, question: Value) -> Option<Answered> {
        let length = question.to_string().len();
        if length > questions::LONGEST || self.asked.len() >= questions::MOST {
            let waiting = self.asked.len();
            warn!(service = %self.name, length, waiting, "a question is not asked: too long, or too many");
            return Some(Answered { answered: id, verdict: None });
        }
        let asked = Arc::clone(&self.questions).ask(self.name, question);
        self.asked.spawn(async move { Answered { answered: id, verdict: asked.await } });
        None
    }

    pub(super) fn reply(&mut self, generation: Generation, outcome: Result<(), String>) {
        if let Some((expected, reply)) = self.waiting.take() {
            if expected == generation {
                // whoever asked may have lost patience
                let _ = reply.send(outcome);
            } else {
                self.waiting = Some((expected, reply));
            }
        }
    }
}

async fn configure(
    running: &mut Running,
    generation: Generation,
    slice: Option<&ServiceSlice>,
) -> std::io::Result<()> {
    running.send(&Configure { generation, slice: slice.map(ServiceSlice::json) }).await
}

/// How a process that closed its channel ended; one that lives on without it is of no use, and is ended.
async fn last_words(running: &Running) -> String {
    let late = tokio::time::timeout(FAREWELL, running.exit.clone()).await;
    late.unwrap_or_else(|_| "it closed its channel".to_owned())
}
