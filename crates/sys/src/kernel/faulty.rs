//! A kernel that fails on command.
//!
//! Guarantees: counts operations in the order they are started, from 1, but for looks that are taken all the time (pulse,
//! tracking, counters); the operation chosen fails, or the
//! process is killed just before or just after it, as a power cut would. Everything else goes to the kernel within.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Changes, Kernel, KernelError, Object};
use crate::conntrack::TrackingCounts;
use crate::model::{Keys, Observed, Pulse, Step, SysctlKey};
use crate::nft::eval::Flow;
use crate::nft::{Counters, Script, TableId};

const CONNECTIONS: Object = Object::All("the tracked connections");

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing; operations are counted.
    None,
    /// This operation fails with `EIO`, and nothing of it takes effect.
    Fail(u64),
    /// This and all later operations fail.
    FailFrom(u64),
    /// From this operation on tables cannot be read; everything else works.
    Unlisted(u64),
    /// This operation takes effect, and fails all the same: the answer was lost.
    FailAfter(u64),
    /// The process kills itself with SIGKILL at this operation.
    Kill(u64, Moment),
}

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the operation takes effect.
    Before,
    /// After it took effect and before anybody hears of it.
    After,
}

/// Operations that can be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Trials of rules.
    Checks,
    /// Lists of connections.
    Flows,
    /// Observations that trust no memory.
    Audits,
    /// Readings of what rules counted.
    Counters,
}

/// Any kernel, with one fault.
#[derive(Debug)]
pub struct FaultyKernel<K> {
    within: K,
    fault: Fault,
    started: AtomicU64,
    audits: AtomicU64,
    held: watch::Sender<Option<Held>>,
}

impl<K> FaultyKernel<K> {
    /// `within`, with this fault.
    pub fn new(within: K, fault: Fault) -> Self {
        Self {
            within,
            fault,
            started: AtomicU64::new(0),
            audits: AtomicU64::new(0),
            held: watch::Sender::default(),
        }
    }

    /// Operations started so far.
    pub fn operations(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// Observations started so far that trusted no memory.
    pub fn audits(&self) -> u64 {
        self.audits.load(Ordering::SeqCst)
    }

    /// Operations of this kind do not come back until another one, or none, is held up.
    pub fn hold(&self, held: Option<Held>) {
        self.held.send_replace(held);
    }

    async fn pass(&self, kind: Held) {
        // the sender is ours, so it cannot be gone
        let _ = self.held.subscribe().wait_for(|held| *held != Some(kind)).await;
    }

    /// The kernel within.
    pub fn inner(&self) -> &K {
        &self.within
    }

    fn start(&self, action: &'static str, object: Object) -> Result<u64, KernelError> {
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = match self.fault {
            Fault::None | Fault::FailAfter(_) | Fault::Unlisted(_) => false,
            Fault::Fail(at) => number == at,
            Fault::FailFrom(at) => number >= at,
            Fault::Kill(at, moment) => {
                kill_if(number == at && moment == Moment::Before);
                false
            }
        };
        if fails {
            let source = std::io::Error::from_raw_os_error(libc::EIO);
            return Err(KernelError::Refused { action, object, source });
        }
        Ok(number)
    }

    fn finish<T>(
        &self,
        number: u64,
        answer: Result<T, KernelError>,
        action: &'static str,
        object: Object,
    ) -> Result<T, KernelError> {
        kill_if(self.fault == Fault::Kill(number, Moment::After));
        if self.fault == Fault::FailAfter(number) {
            let source = std::io::Error::from_raw_os_error(libc::EIO);
            return Err(KernelError::Refused { action, object, source });
        }
        answer
    }
}

fn kill_if(now: bool) {
    if now {
        // SIGKILL to oneself does not return; a failure could only mean that it is not delivered yet
        let _sent = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

#[async_trait]
impl<K: Kernel> Kernel for FaultyKernel<K> {
    async fn observe(&self, keys: &Keys) -> Result<Observed, KernelError> {
        let number = self.start("observe", Object::All("the kernel's state"))?;
        self.audits.fetch_add(u64::from(keys.anew), Ordering::SeqCst);
        let unlisted = matches!(self.fault, Fault::Unlisted(from) if number >= from);
        if unlisted && !keys.tables.is_empty() {
            let source = std::io::Error::from_raw_os_error(libc::ENOMEM);
            return Err(KernelError::Refused { action: "list", object: Object::Rules, source });
        }
        if keys.anew {
            self.pass(Held::Audits).await;
        }
        let answer = self.within.observe(keys).await;
        self.finish(number, answer, "observe", Object::All("the kernel's state"))
    }

    async fn pulse(&self, sysctls: &BTreeSet<SysctlKey>) -> Result<Pulse, KernelError> {
        self.within.pulse(sysctls).await
    }

    async fn check(&self, script: &Script) -> Result<(), KernelError> {
        let number = self.start("check", Object::Rules)?;
        self.pass(Held::Checks).await;
        let answer = self.within.check(script).await;
        self.finish(number, answer, "check", Object::Rules)
    }

    async fn apply(&self, step: &Step) -> Result<(), KernelError> {
        let number = self.start("change", Object::of(step))?;
        let answer = self.within.apply(step).await;
        self.finish(number, answer, "change", Object::of(step))
    }

    fn changes(&self) -> Result<Changes, KernelError> {
        self.within.changes()
    }

    async fn counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        self.within.counters(table).await
    }

    async fn rule_counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        self.pass(Held::Counters).await;
        self.within.rule_counters(table).await
    }

    async fn leaving(&self, script: &Script, table: &TableId) -> Result<Counters, KernelError> {
        self.within.leaving(script, table).await
    }

    async fn flows(&self) -> Result<Vec<Flow>, KernelError> {
        let number = self.start("list", CONNECTIONS)?;
        self.pass(Held::Flows).await;
        let answer = self.within.flows().await;
        self.finish(number, answer, "list", CONNECTIONS)
    }

    async fn end(&self, flow: &Flow) -> Result<(), KernelError> {
        let number = self.start("end one of", CONNECTIONS)?;
        let answer = self.within.end(flow).await;
        self.finish(number, answer, "end one of", CONNECTIONS)
    }

    async fn tracking(&self) -> Result<TrackingCounts, KernelError> {
        self.within.tracking().await
    }
}
