//! Live connections obey a commit: those end that the rules in force now would judge or translate otherwise.
//!
//! Guarantees: no answer waits for it, a task of its own does it; it follows a commit, or the way back to what was
//! committed, so a configuration that reverts has ended nothing; commits that come faster than they are worked off are
//! taken together, and when eight are not worked off the next push waits a moment, then is told to come later: each keeps a
//! whole configuration in memory; the ledger knows which changes are not worked off, so that a process that comes after this one does it;
//! where the connections cannot be read or ended, they stay until the next change, and the log says so.
//! Does not: judge by more than the last two changes that were not worked off when the process was killed, which is what
//! the ledger keeps (one of a configuration that was given up); judge by the state before the first configuration once this process has ended: nothing but the API got in.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluice_api::boot::BootDocument;
use sluice_api::types::Generation;
use sluice_sys::kernel::{Kernel, KernelError};
use sluice_sys::model::{Desired, USAGE_TABLE};
use sluice_sys::nft::TableId;
use sluice_sys::nft::eval::Flow;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Engine;
use crate::appliance::{self, Appliance, Configuration};
use crate::boot;
use crate::causes::chain;
use crate::ledger::Seen;

/// Tries at reading and ending connections, and the wait between two.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_secs(1);

/// Changes that are taken together.
const TOGETHER: usize = 64;

/// Changes that are not worked off before a push has to wait: each keeps what was in force before it.
const UNDONE: usize = 8;
/// How long it waits at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// A configuration with what services had seen; without one it is the state before any configuration.
pub(super) type Held<C> = (Option<Arc<C>>, Arc<appliance::Seen>);

/// What was in force and what is now.
pub(super) struct Change<C> {
    from: Held<C>,
    to: Held<C>,
    /// What the ledger has of it.
    noted: Vec<Seen>,
}

/// What became of changes.
pub(super) struct Judged {
    noted: Vec<Seen>,
    changes: usize,
    done: bool,
}

/// Both ways to the task.
pub(super) struct Flows<C> {
    changes: UnboundedSender<Change<C>>,
    judged: UnboundedReceiver<Judged>,
    /// What was sent and not answered.
    under_way: Vec<Seen>,
    /// Changes that were sent and not answered.
    undone: usize,
}

/// Starts the task; it ends with what is returned.
pub(super) fn start<A: Appliance>(
    appliance: Arc<A>,
    boot: &BootDocument,
    kernel: Arc<dyn Kernel>,
) -> Flows<A::Config> {
    let (sender, changes) = mpsc::unbounded_channel();
    let (answers, judged) = mpsc::unbounded_channel();
    let unconfigured = Arc::new(boot::desired(boot));
    let keeper = Keeper { appliance, kernel, unconfigured, answers };
    tokio::spawn(keeper.run(changes));
    Flows { changes: sender, judged, under_way: Vec::new(), undone: 0 }
}

impl<C> Flows<C> {
    /// The next answer; cancel safe.
    pub(super) async fn answer(&mut self) -> Judged {
        match self.judged.recv().await {
            Some(judged) => judged,
            None => std::future::pending().await,
        }
    }
}

impl<A: Appliance> Engine<A> {
    /// What is committed is in force, and before it was `from`.
    pub(super) fn make_connections_obey(&mut self, from: Option<Arc<A::Config>>) {
        let noted = self.left_over(from.as_ref().map(|config| config.generation()));
        self.obey_since((from, Arc::clone(&self.seen)), noted);
    }

    /// Services have seen something else than `before` of what is committed.
    pub(super) fn make_connections_follow(&mut self, before: Arc<appliance::Seen>) {
        self.obey_since((self.committed(), before), Vec::new());
    }

    /// What is committed is in force, and connections are still to be judged by what was before: an agent was killed, or
    /// it took its time.
    pub(super) fn make_connections_obey_at_last(&mut self) {
        let noted = self.left_over(None);
        if !noted.is_empty() {
            let committed = self.ledger.state().committed.as_ref();
            let from = committed.map(|entry| Arc::clone(&entry.config));
            self.obey_since((from, Arc::clone(&self.seen)), noted);
        }
    }

    /// What is committed, without the rules that have ended.
    fn committed(&self) -> Option<Arc<A::Config>> {
        let committed = self.ledger.state().committed.as_ref();
        committed.map(|entry| match entry.config.at(self.now) {
            Cow::Borrowed(_) => Arc::clone(&entry.config),
            Cow::Owned(left) => Arc::new(left),
        })
    }

    fn obey_since(&mut self, from: Held<A::Config>, noted: Vec<Seen>) {
        let to = (self.committed(), Arc::clone(&self.seen));
        self.flows.under_way.extend(noted.iter().cloned());
        self.shared.judging.store(true, Ordering::SeqCst);
        // without the task, connections stay as they are
        let sent = self.flows.changes.send(Change { from, to, noted });
        self.flows.undone += usize::from(sent.is_ok());
    }

    /// Waits until few enough changes are not worked off; false when that takes too long.
    pub(super) async fn connections_are_nearly_judged(&mut self) -> bool {
        let late = Instant::now() + PATIENCE;
        while self.flows.undone >= UNDONE && !self.flows.changes.is_closed() {
            match tokio::time::timeout_at(late, self.flows.answer()).await {
                Ok(judged) => self.note_judged(&judged),
                Err(_) => return false,
            }
        }
        true
    }

    /// What the ledger says is still to be judged by, and is not under way; all but `at_hand` is sent to the task.
    fn left_over(&mut self, at_hand: Option<Generation>) -> Vec<Seen> {
        let (state, under_way) = (self.ledger.state(), &self.flows.under_way);
        let noted: Vec<_> =
            state.unjudged.iter().filter(|seen| !under_way.contains(seen)).cloned().collect();
        for seen in noted.iter().filter(|seen| Some(seen.generation) != at_hand) {
            if let Some(from) = self.config_of(seen) {
                self.obey_since((Some(from), Arc::clone(&self.seen)), Vec::new());
            }
        }
        noted
    }

    fn config_of(&mut self, seen: &Seen) -> Option<Arc<A::Config>> {
        let read = self.ledger.content(&seen.digest);
        let parsed = read.and_then(|bytes| {
            let parsed = A::Config::parse(&bytes).map(|(config, _)| Arc::new(config));
            parsed.map_err(|findings| findings.first().map(ToString::to_string).unwrap_or_default())
        });
        let generation = seen.generation;
        parsed.inspect_err(|reason| warn!(%generation, reason, "what it allowed may go on")).ok()
    }

    /// Notes that connections were judged, or that they are to be with the next change.
    pub(super) fn note_judged(&mut self, judged: &Judged) {
        self.flows.undone = self.flows.undone.saturating_sub(judged.changes);
        self.flows.under_way.retain(|seen| !judged.noted.contains(seen));
        if judged.done
            && let Err(error) = self.ledger.judged(&judged.noted)
        {
            warn!(error = %chain(&error), "cannot note that connections were judged");
        }
        let left = !self.flows.under_way.is_empty();
        self.shared.judging.store(left, Ordering::SeqCst);
    }
}

struct Keeper<A> {
    appliance: Arc<A>,
    kernel: Arc<dyn Kernel>,
    unconfigured: Arc<Desired>,
    answers: UnboundedSender<Judged>,
}

impl<A: Appliance> Keeper<A> {
    async fn run(self, mut changes: UnboundedReceiver<Change<A::Config>>) {
        let mut some = Vec::new();
        while changes.recv_many(&mut some, TOGETHER).await > 0 {
            let Some(now) = some.last().map(|change| change.to.clone()) else { continue };
            let noted = some.iter().flat_map(|change| change.noted.clone()).collect();
            let changes = some.len();
            let before: Vec<_> = some.drain(..).map(|change| change.from).collect();
            let done = self.obey(&Arc::new((before, now))).await;
            // the engine may have stopped
            let _told = self.answers.send(Judged { noted, changes, done });
        }
    }

    async fn obey(&self, step: &Arc<Step<A::Config>>) -> bool {
        for attempt in 1..=TRIES {
            match self.try_to_obey(step).await {
                Ok(()) => return true,
                Err(error) if attempt == TRIES => {
                    warn!(error = %chain(&error), "connections may go on that the rules forbid");
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        false
    }

    async fn try_to_obey(&self, step: &Arc<Step<A::Config>>) -> Result<(), KernelError> {
        let flows = self.kernel.flows().await?;
        if flows.is_empty() {
            return Ok(());
        }
        let tracked = flows.len();
        let (appliance, unconfigured) =
            (Arc::clone(&self.appliance), Arc::clone(&self.unconfigured));
        let step = Arc::clone(step);
        // judging a hundred thousand connections takes seconds
        let judged =
            tokio::task::spawn_blocking(move || ending(&*appliance, &unconfigured, &step, flows));
        let Ok(ending) = judged.await else {
            warn!("connections could not be judged");
            return Ok(());
        };
        for flow in &ending {
            self.kernel.end(flow).await?;
        }
        if !ending.is_empty() {
            info!(ended = ending.len(), tracked, "connections ended that the new rules forbid");
        }
        Ok(())
    }
}

/// What was in force, one after the other, and what is now.
type Step<C> = (Vec<Held<C>>, Held<C>);

/// Those of `flows` that any of the changes ends.
fn ending<A: Appliance>(
    appliance: &A,
    unconfigured: &Desired,
    (before, now): &Step<A::Config>,
    flows: Vec<Flow>,
) -> Vec<Flow> {
    let state = |(config, seen): &Held<A::Config>| -> Desired {
        let mut state = match config {
            Some(config) => appliance.judged_seeing(config, seen),
            None => unconfigured.clone(),
        };
        // it only counts, and is often the larger part
        state.tables.remove(&TableId::inet(USAGE_TABLE));
        state
    };
    let places = state(now).ends_since(before.iter().map(state), &flows);
    let all = flows.into_iter().enumerate();
    all.filter(|(place, _)| places.contains(place)).map(|(_, flow)| flow).collect()
}
