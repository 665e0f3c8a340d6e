//! The transaction engine: one change at a time, whole or not at all.
//!
//! Guarantees:
//! - a configuration is decoded and checked before anything is touched, and all findings come at once;
//! - the ledger knows of a change before the kernel does, so that a crash at any point ends on the last good one;
//! - after an apply the kernel is read again and planned against again; anything left is a failure;
//! - a failure, and a change that is not confirmed in time, leads back to the last good configuration by the same code;
//! - connections that a commit forbids end soon after it, and no answer waits for that;
//! - a rollback that fails is an alarm of its own and is tried again; the loop itself cannot fail.

mod alarms;
mod apply;
mod blobs;
mod carriers;
mod ending;
mod flows;
mod generation;
mod handle;
mod neighbours;
mod push;
mod report;
mod revert;
mod services;
mod tracking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sluice_api::Digest;
use sluice_api::boot::BootDocument;
use sluice_api::report::{DriftRepair, SubsystemReport};
use sluice_api::types::{BlobDigest, Generation, UtcTime};
use sluice_sys::kernel::Kernel;
use sluice_sys::model::{Desired, Pulse, Step, SysctlKey};
use tokio::sync::watch;
use tokio::time::Instant;

pub use handle::{Handle, Listen};
pub use services::{ServiceError, Services};

use crate::appliance::{Appliance, Configuration, Seen, ServiceName, ServiceSlice};
use crate::blobs::BlobStore;
use crate::ledger::{Entry, Files, Ledger};

/// What the engine is made of.
pub struct Parts<A> {
    /// The appliance.
    pub appliance: Arc<A>,
    /// Who it is.
    pub boot: BootDocument,
    /// Its kernel.
    pub kernel: Arc<dyn Kernel>,
    /// Its services.
    pub services: Arc<dyn Services>,
    /// Where ledger and blobs are kept.
    pub files: Arc<dyn Files>,
}

/// The engine; one task at a time works with it.
pub(crate) struct Engine<A: Appliance> {
    appliance: Arc<A>,
    boot: BootDocument,
    kernel: Arc<dyn Kernel>,
    services: Arc<dyn Services>,
    ledger: Ledger<A::Config>,
    blobs: Arc<BlobStore>,
    /// Blobs of the target that are not here.
    missing: Vec<BlobDigest>,
    /// Blobs of the configuration before the committed one, which may have to stand in for it.
    former_blobs: BTreeSet<BlobDigest>,
    /// True when the ledger cannot say what is meant to be in force and the kernel holds something: it is left alone.
    hold: bool,
    /// The services that were given something, with what they said is in force; `None` is not known.
    serving: BTreeMap<ServiceName, Option<(Generation, ServiceSlice)>>,
    /// Sizes of neighbour tables that this kernel lets us set.
    sizes: BTreeSet<SysctlKey>,
    /// What services found out that the kernel's state follows.
    seen: Arc<Seen>,
    /// The slices that the services were given last, taken or not.
    given: BTreeMap<ServiceName, ServiceSlice>,
    /// Steps that could not be carried out, and are not about the last change.
    ill: Vec<Step>,
    /// Failures that were logged since things were last well.
    said: BTreeSet<String>,
    /// The kernel when nothing was left to do; `None` when that is not known.
    calm: Option<Pulse>,
    /// When the kernel is read again as if nothing were known.
    audit_due: Instant,
    /// Requests that were taken off their queues.
    served: u64,
    /// The state wanted without its rules, and of which configuration.
    network: Option<(Option<Digest>, Desired)>,
    /// When what failed is tried again, and how long was waited before.
    retry: revert::Retry,
    /// When the pending configuration was applied: it is confirmed over a connection made since.
    applied_at: Option<Instant>,
    /// When the pending configuration reverts; `None` while it is being applied.
    deadline: Option<Instant>,
    /// When what is in force was brought into force: rules that had ended by then are not in it.
    now: UtcTime,
    /// True when the state wanted could not be reached and is tried for again.
    degraded: bool,
    subsystems: Vec<SubsystemReport>,
    repairs: Vec<DriftRepair>,
    alarms: alarms::Alarms,
    tracking: tracking::Tracking,
    carriers: carriers::Carriers,
    /// The task that makes live connections obey.
    flows: flows::Flows<A::Config>,
    shared: Arc<handle::Shared>,
    listen: watch::Sender<Listen>,
}

/// A configuration that the engine works towards, or the state before the first one.
type Target<A> = Option<Entry<<A as Appliance>::Config>>;

impl<A: Appliance> Engine<A> {
    /// The configuration that is meant to be in force: the pending one, else the committed one, else none.
    fn target(&self) -> Target<A> {
        let state = self.ledger.state();
        state.pending.as_ref().or(state.committed.as_ref()).cloned()
    }

    fn current(&self) -> Option<Generation> {
        self.ledger.state().committed.as_ref().map(Entry::generation)
    }

    /// Tells the API where it is to listen from now on.
    fn announce(&self, target: &Target<A>) {
        let listen = match target {
            Some(entry) => Listen {
                link: entry.config.control_link().clone(),
                addresses: entry.config.control_addresses().into_iter().collect(),
            },
            None => Listen::at_boot(&self.boot),
        };
        self.listen.send_if_modified(|old| {
            let changed = *old != listen;
            *old = listen;
            changed
        });
    }
}
