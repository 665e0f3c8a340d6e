//! The kernel as the agent sees it: look, check, change one thing, wake when something changed.
//!
//! Guarantees: an operation does what its step says or fails with an error that names the object; nothing that is not
//! ours is changed. Does not: decide anything, retry or order steps.
//! Three backends: [`RealKernel`], [`FakeKernel`] for tests and desks, [`FaultyKernel`] around either.

mod error;
mod fake;
mod faulty;
mod real;

pub use error::{KernelError, Object};
pub use fake::FakeKernel;
pub use faulty::{Fault, FaultyKernel, Held, Moment};
pub use real::{Guarded, NftProgram, RealKernel};

use std::collections::BTreeSet;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::conntrack::TrackingCounts;
use crate::model::{Keys, Observed, Pulse, Step, SysctlKey};
use crate::nft::eval::Flow;
use crate::nft::{Counters, Script, TableId};

/// Looks at and changes the network state of this network namespace.
#[async_trait]
pub trait Kernel: Send + Sync {
    /// The present state: links, addresses and routes, and the tables and settings that `keys` names.
    async fn observe(&self, keys: &Keys) -> Result<Observed, KernelError>;

    /// What changes without a wake-up, or with one that may be lost: the number of the ruleset and these settings.
    async fn pulse(&self, sysctls: &BTreeSet<SysctlKey>) -> Result<Pulse, KernelError>;

    /// Asks whether the kernel would take this script now; changes nothing.
    async fn check(&self, script: &Script) -> Result<(), KernelError>;

    /// Carries out one step. On an error nothing of it has taken effect, but for a rename, which may leave its NIC down.
    /// Adding what exists fails with `EEXIST`; removing what is gone and setting what is set succeed.
    async fn apply(&self, step: &Step) -> Result<(), KernelError>;

    /// Starts listening: each change that anyone makes from now on, ours included, gives a wake-up.
    fn changes(&self) -> Result<Changes, KernelError>;

    /// Packets and bytes by chain and rule id of one of our tables, read now.
    async fn counters(&self, table: &TableId) -> Result<Counters, KernelError>;

    /// What the rules of one of our tables counted, each by itself ([`Counters::each`]): costs what there are of rules,
    /// whatever is in sets.
    async fn rule_counters(&self, table: &TableId) -> Result<Counters, KernelError>;

    /// What `script` takes away of `table`, as far as it counts: rules by their numbers, elements of the table of usage. Asks
    /// for no more than what goes, so it costs what the change does.
    async fn leaving(&self, script: &Script, table: &TableId) -> Result<Counters, KernelError>;

    /// The connections that are tracked, read now.
    async fn flows(&self) -> Result<Vec<Flow>, KernelError>;

    /// Ends the tracking of one connection: its next packet is judged as the first of a new one. One that is gone is ended.
    async fn end(&self, flow: &Flow) -> Result<(), KernelError>;

    /// What the tracking table holds and has counted.
    async fn tracking(&self) -> Result<TrackingCounts, KernelError>;
}

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A link appeared, went or changed.
    Links,
    /// An address.
    Addresses,
    /// A route.
    Routes,
    /// Packet rules.
    Rules,
    /// The kernel had more to say than we could hear: anything may have changed.
    Overrun,
}

/// Wake-ups as they come. Dropping it stops listening.
#[derive(Debug)]
pub struct Changes {
    wakes: mpsc::Receiver<Wake>,
}

impl Changes {
    /// A stream and the end that feeds it.
    pub(crate) fn channel() -> (mpsc::Sender<Wake>, Self) {
        let (sender, wakes) = mpsc::channel(256);
        (sender, Self { wakes })
    }

    /// The next wake-up; `None` when the source is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Wake> {
        self.wakes.recv().await
    }
}
