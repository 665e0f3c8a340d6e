//! Live connections obey a commit: those end that the rules in force now would judge or translate otherwise.
//!
//! Guarantees: no answer waits for it, a task of its own does it; it follows a commit, or the way back to what was
//! committed, so a configuration that reverts has ended nothing; commits that come faster than they are worked off are
//! taken together; where the connections cannot be read or ended, they stay, and the log says so.
//! Does not: know of changes that were made before this process started.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sluice_api::boot::BootDocument;
use sluice_sys::kernel::{Kernel, KernelError};
use sluice_sys::model::Desired;
use sluice_sys::nft::eval::Flow;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tracing::{info, warn};

use super::Engine;
use crate::appliance::Appliance;
use crate::boot;
use crate::causes::chain;

/// Tries at reading and ending connections, and the wait between two.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_secs(1);

/// Changes that are taken together.
const TOGETHER: usize = 64;

/// What was in force and what is now; `None` is the state before any configuration.
pub(super) struct Change<C> {
    pub(super) from: Option<Arc<C>>,
    pub(super) to: Option<Arc<C>>,
}

/// Starts the task; it ends with the sender.
pub(super) fn start<A: Appliance>(
    appliance: Arc<A>,
    boot: &BootDocument,
    kernel: Arc<dyn Kernel>,
) -> UnboundedSender<Change<A::Config>> {
    let (sender, changes) = mpsc::unbounded_channel();
    let keeper = Keeper { appliance, kernel, unconfigured: Arc::new(boot::desired(boot)) };
    tokio::spawn(keeper.run(changes));
    sender
}

impl<A: Appliance> Engine<A> {
    /// What is committed is in force, and before it was `from`.
    pub(super) fn make_connections_obey(&self, from: Option<Arc<A::Config>>) {
        let committed = self.ledger.state().committed.as_ref();
        let to = committed.map(|entry| Arc::clone(&entry.config));
        // without the task, connections stay as they are
        let _sent = self.flows.send(Change { from, to });
    }
}

struct Keeper<A> {
    appliance: Arc<A>,
    kernel: Arc<dyn Kernel>,
    unconfigured: Arc<Desired>,
}

impl<A: Appliance> Keeper<A> {
    async fn run(self, mut changes: UnboundedReceiver<Change<A::Config>>) {
        let mut some = Vec::new();
        while changes.recv_many(&mut some, TOGETHER).await > 0 {
            let now = some.last().and_then(|change| change.to.clone());
            let before: Vec<_> = some.drain(..).map(|change| change.from).collect();
            self.obey(&Arc::new((before, now))).await;
        }
    }

    async fn obey(&self, step: &Arc<Step<A::Config>>) {
        for attempt in 1..=TRIES {
            match self.try_to_obey(step).await {
                Ok(()) => return,
                Err(error) if attempt == TRIES => {
                    warn!(error = %chain(&error), "connections may go on that the rules forbid");
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
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
type Step<C> = (Vec<Option<Arc<C>>>, Option<Arc<C>>);

/// Those of `flows` that any of the changes ends.
fn ending<A: Appliance>(
    appliance: &A,
    unconfigured: &Desired,
    (before, now): &Step<A::Config>,
    flows: Vec<Flow>,
) -> Vec<Flow> {
    let state = |config: &Option<Arc<A::Config>>| match config {
        Some(config) => appliance.desired(config),
        None => unconfigured.clone(),
    };
    let new = state(now);
    let mut places = BTreeSet::new();
    for old in before {
        places.extend(state(old).ends_with(&new, &flows));
    }
    let all = flows.into_iter().enumerate();
    all.filter(|(place, _)| places.contains(place)).map(|(_, flow)| flow).collect()
}
