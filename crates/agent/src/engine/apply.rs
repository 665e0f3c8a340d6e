//! Towards a target: observe, plan, dry run, apply, verify. Decides nothing; the plan has decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sluice_api::config::Attachment;
use sluice_api::report::{ServiceState, Subsystem, SubsystemReport, Timing};
use sluice_api::types::{Generation, LinkName, UtcTime};
use sluice_sys::kernel::KernelError;
use sluice_sys::model::{Desired, Keys, Observed, Pulse, Step};
use sluice_sys::nft::{Family, Ident, ObservedTable, TableId};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Engine, ServiceError, Target};
use crate::appliance::{Appliance, Configuration as _, ServiceName, ServiceSlice};
use crate::boot;
use crate::ledger::Entry;
use crate::plan::{self, Plan};

/// Rounds of observe, plan and apply before what is left is a failure. A second one is needed when the kernel does
/// more than it was told, such as dropping routes along with an address.
const ROUNDS: usize = 3;

/// How long a service that is ill is waited for when a change leaves its slice as it is.
const BRIEFLY: Duration = Duration::from_secs(1);

/// Why a target was not reached.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    #[error("cannot read the kernel's state")]
    Observe(#[source] KernelError),
    #[error("the dry run was refused")]
    DryRun(#[source] KernelError),
    #[error("step `{step}` failed")]
    Step {
        step: String,
        #[source]
        source: KernelError,
    },
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("after applying there is still to do: {rest}")]
    Verify { rest: String },
}

impl ApplyError {
    /// The whole chain on one line, for answers and logs.
    pub(crate) fn chain(&self) -> String {
        crate::causes::chain(self)
    }
}

/// What reaching a target took.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) plan: Plan,
    pub(crate) services: Vec<String>,
    pub(crate) timing: Timing,
}

/// Whether later steps are tried after one failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Stop at the first failure: the caller goes back.
    Strict,
    /// Do all that can be done: this is going back.
    KeepGoing,
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What a look at the kernel found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What is to be done.
    pub(super) plan: Plan,
    /// Number of the ruleset that was seen.
    pub(super) generation: u32,
    /// Links whose NIC is not there.
    pub(super) absent: Vec<LinkName>,
}

/// Where to go, and perhaps the way as it was seen a moment ago: what has changed since then, verifying finds.
pub(super) struct Way {
    /// The time that `desired` is of.
    pub(super) now: UtcTime,
    /// The state wanted.
    pub(super) desired: Desired,
    /// What the kernel lacks of it.
    pub(super) look: Option<Look>,
}

/// Links that want a NIC which is not there.
fn absent(desired: &Desired, observed: &Observed) -> Vec<LinkName> {
    let missing = desired.links.iter().filter(|(_, link)| match link.attach {
        Attachment::Nic { mac } => observed.nic(mac).is_none(),
        Attachment::Vlan { .. } => false,
    });
    missing.map(|(name, _)| name.clone()).collect()
}

impl<A: Appliance> Engine<A> {
    /// The kernel state that `target` means.
    pub(super) fn desired(&self, target: &Target<A>) -> Desired {
        let desired = match target {
            Some(entry) => return self.desired_at(&entry.config, self.now),
            None => boot::desired(&self.boot),
        };
        self.sized(desired)
    }

    /// The kernel state that `config` means at a time.
    pub(super) fn desired_at(&self, config: &A::Config, now: UtcTime) -> Desired {
        self.sized(self.appliance.desired_seeing(&config.at(now), &self.seen))
    }

    /// Compares the kernel with `desired`, as far as that is remembered from change to change.
    pub(super) async fn compare(&self, desired: &Desired) -> Result<Look, ApplyError> {
        let keys = desired.keys(owned_tables());
        let observed = self.kernel.observe(&keys).await.map_err(ApplyError::Observe)?;
        let plan = plan::plan(desired, &observed);
        let generation = observed.nft_generation;
        Ok(Look { plan, generation, absent: absent(desired, &observed) })
    }

    /// The way to `desired` when the rules cannot be read: all of them are replaced, whatever they are. Going back does not
    /// depend on a listing; that it worked is seen only when one can be had again.
    async fn blind(&self, desired: &Desired, error: ApplyError) -> Result<Look, ApplyError> {
        let keys = Keys { tables: BTreeSet::new(), ..desired.keys([]) };
        let Ok(mut observed) = self.kernel.observe(&keys).await else { return Err(error) };
        tracing::warn!(error = error.chain(), "rules cannot be read, all of them are replaced");
        // objects that we never make have a table built anew
        let unknown = Arc::new(ObservedTable { foreign: 1, ..ObservedTable::default() });
        observed.tables.extend(owned_tables().map(|table| (table, Arc::clone(&unknown))));
        let plan = plan::plan(desired, &observed);
        Ok(Look { plan, absent: absent(desired, &observed), ..Look::default() })
    }

    /// True when carrying out `plan` begins with its rules: they are one transaction of the kernel, which is their trial and
    /// leaves nothing behind when it is refused.
    pub(super) fn tries_itself(plan: &Plan) -> bool {
        plan.steps.first().is_some_and(|step| matches!(step, Step::Rules(_)))
    }

    /// Asks nft whether it would take the rules of `plan`.
    pub(super) async fn dry_run(&self, plan: &Plan) -> Result<(), ApplyError> {
        for step in &plan.steps {
            if let Step::Rules(script) = step {
                self.kernel.check(script).await.map_err(ApplyError::DryRun)?;
            }
        }
        Ok(())
    }

    /// Compares the kernel with what `target` means now, and goes there.
    pub(super) async fn reach(
        &mut self,
        target: &Target<A>,
        mode: Mode,
    ) -> Result<Reached, ApplyError> {
        self.now = super::ending::clock();
        let desired = self.desired(target);
        self.go(target, Way { now: self.now, desired, look: None }, mode).await
    }

    /// Carries out the plan towards `target`, then hands the services their slices, then verifies.
    pub(super) async fn go(
        &mut self,
        target: &Target<A>,
        Way { now, desired, look }: Way,
        mode: Mode,
    ) -> Result<Reached, ApplyError> {
        let mut reached = Reached::default();
        let mut tally = Tally::default();
        self.now = now;
        let mut outcome = self.first_round(&desired, look, mode, &mut reached, &mut tally).await;
        if outcome.is_ok() || mode == Mode::KeepGoing {
            let served = self.serve(target, mode, &mut reached, &mut tally).await;
            outcome = outcome.and(served.map_err(ApplyError::from));
        }
        if outcome.is_ok() {
            outcome = self.verify(&desired, mode, &mut reached, &mut tally).await;
        }
        if outcome.is_err() && mode == Mode::KeepGoing {
            self.note_ill(&desired).await;
        }
        self.subsystems = tally.reports(&reached.plan);
        // what is looked at between two changes: of what services see now
        let digest = target.as_ref().map(|entry| entry.digest().clone());
        self.network = Some((digest, Desired { tables: BTreeMap::new(), ..desired }));
        outcome.map(|()| reached)
    }

    async fn first_round(
        &mut self,
        desired: &Desired,
        seen: Option<Look>,
        mode: Mode,
        reached: &mut Reached,
        tally: &mut Tally,
    ) -> Result<(), ApplyError> {
        let start = Instant::now();
        let look = match seen {
            Some(look) => Ok(look),
            None => self.compare(desired).await,
        };
        let look = match look {
            Err(error) if mode == Mode::KeepGoing => self.blind(desired, error).await?,
            look => look?,
        };
        reached.timing.observe_us = micros(start);
        let start = Instant::now();
        let carried = self.carry_out(&look, mode, tally).await;
        reached.timing.apply_us = micros(start);
        reached.plan = look.plan;
        carried
    }

    /// Looks whether nothing is left to do, but for what was failing before and did not change; what the kernel did
    /// besides what it was told is mended.
    async fn verify(
        &mut self,
        desired: &Desired,
        mode: Mode,
        reached: &mut Reached,
        tally: &mut Tally,
    ) -> Result<(), ApplyError> {
        for round in 0.. {
            let start = Instant::now();
            let look = self.compare(desired).await?;
            reached.timing.verify_us += micros(start);
            let (left, rest): (Vec<Step>, Vec<Step>) =
                look.plan.steps.iter().cloned().partition(|step| self.excused(step, mode));
            if rest.is_empty() {
                self.calm = left.is_empty().then(|| calm(look.generation, desired));
                self.ill = left;
                return Ok(());
            }
            if round + 1 == ROUNDS {
                return Err(ApplyError::Verify { rest: look.plan.summary().steps.join("; ") });
            }
            let start = Instant::now();
            let carried = self.carry_out(&look, mode, tally).await;
            reached.timing.apply_us += micros(start);
            carried?;
        }
        Ok(())
    }

    /// True when a step failed already before this change, which left it as it is: it does not gate.
    fn excused(&self, step: &Step, mode: Mode) -> bool {
        mode == Mode::Strict && self.ill.contains(step)
    }

    async fn carry_out(
        &mut self,
        look: &Look,
        mode: Mode,
        tally: &mut Tally,
    ) -> Result<(), ApplyError> {
        let mut first = None;
        for step in &look.plan.steps {
            if let Step::Rules(script) = step {
                self.shared.usage.before_change(script).await;
            }
            let done = self.kernel.apply(step).await;
            tally.count(plan::subsystem(step), &done);
            let Err(source) = done else { continue };
            let error = ApplyError::Step { step: step.to_string(), source };
            let text = error.chain();
            // what cannot be mended is tried again and again, and said once
            if self.said.insert(text.clone()) {
                tracing::warn!(error = text, "step failed");
            }
            if self.excused(step, mode) {
                continue;
            }
            if mode == Mode::Strict {
                return Err(error);
            }
            first.get_or_insert(error);
        }
        first.map_or(Ok(()), Err)
    }

    /// Remembers what cannot be brought into force, so that the next change is not held to it.
    async fn note_ill(&mut self, desired: &Desired) {
        let Ok(look) = self.compare(desired).await else { return };
        let rules = |step: &Step| matches!(step, Step::Rules(_));
        self.ill = look.plan.steps.into_iter().filter(|step| !rules(step)).collect();
    }

    /// Gives every service its slice of `target`; those that have none are ended.
    async fn serve(
        &mut self,
        target: &Target<A>,
        mode: Mode,
        reached: &mut Reached,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        self.appliance.entering(target.as_ref().map(|entry| &*entry.config));
        let blobs = self.blobs_of(target);
        let slices = match target {
            Some(entry) => self.appliance.services(&entry.config, &blobs),
            None => BTreeMap::new(),
        };
        reached.services = self.service_changes(&slices);
        let stale: Vec<ServiceName> =
            self.serving.keys().filter(|name| !slices.contains_key(name)).copied().collect();
        for name in stale {
            self.services.stop(name).await;
            self.serving.remove(&name);
            self.given.remove(&name);
        }
        self.services.keep_only(&slices.keys().copied().collect()).await;
        let Some(generation) = target.as_ref().map(Entry::generation) else { return Ok(()) };
        self.configure(generation, slices, mode, tally).await
    }

    /// Gives the services their slices, all at once: none waits for another.
    async fn configure(
        &mut self,
        generation: Generation,
        slices: BTreeMap<ServiceName, ServiceSlice>,
        mode: Mode,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let mut asked = JoinSet::new();
        let ailing = self.ailing();
        for (name, slice) in slices {
            if self.known(name).is_some_and(|(number, _)| *number == generation) {
                tally.unchanged(Subsystem::Services);
                continue;
            }
            let same = self.given.insert(name, slice.clone()).is_some_and(|old| old == slice);
            let excused = mode == Mode::Strict && same && ailing.contains(&name);
            self.serving.insert(name, None);
            let services = Arc::clone(&self.services);
            asked.spawn(async move {
                let done = services.configure(name, generation, slice.clone());
                let done = if excused { briefly(name, generation, done).await } else { done.await };
                (name, slice, excused, done)
            });
        }
        let mut outcome = Ok(());
        for (name, slice, excused, done) in asked.join_all().await {
            tally.count(Subsystem::Services, &done);
            match done {
                Ok(()) => {
                    self.serving.insert(name, Some((generation, slice)));
                }
                // it was ill before, and this change is not about it: it gets its slice when it is well
                Err(error) if excused => {
                    tracing::warn!(error = %error, "service is ill, and was before this change");
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Services that are not well: what they serve is not known, or their process does not run.
    fn ailing(&self) -> BTreeSet<ServiceName> {
        let status = self.services.status();
        let runs = |name: ServiceName| {
            let known = status.iter().find(|one| one.name == name.0);
            known.is_none_or(|one| one.state == ServiceState::Running)
        };
        let ill = self.serving.iter().filter(|(name, known)| known.is_none() || !runs(**name));
        ill.map(|(name, _)| *name).collect()
    }

    /// What giving the services `slices` changes, a line each.
    pub(super) fn service_changes(
        &self,
        slices: &BTreeMap<ServiceName, ServiceSlice>,
    ) -> Vec<String> {
        let gone = self.serving.keys().filter(|name| !slices.contains_key(name));
        let gone = gone.map(|name| format!("- service {name}"));
        let given = slices.iter().filter_map(|(name, slice)| match self.serving.get(name) {
            None => Some(format!("+ service {name}")),
            Some(Some((_, former))) if former == slice => None,
            Some(_) => Some(format!("~ service {name}")),
        });
        gone.chain(given).collect()
    }

    fn known(&self, name: ServiceName) -> Option<&(Generation, ServiceSlice)> {
        self.serving.get(&name)?.as_ref()
    }
}

/// A service that is ill and not meant by a change is not waited for as long as one that is.
async fn briefly(
    name: ServiceName,
    generation: Generation,
    done: impl Future<Output = Result<(), ServiceError>>,
) -> Result<(), ServiceError> {
    tokio::time::timeout(BRIEFLY, done).await.unwrap_or_else(|_| {
        let reason = "it is ill".to_owned();
        Err(ServiceError::Silent { name, generation, reason })
    })
}

/// The kernel as it was when nothing was left to do.
pub(super) fn calm(nft_generation: u32, desired: &Desired) -> Pulse {
    Pulse { nft_generation, sysctls: desired.sysctls.clone() }
}

/// The table of a configuration's rules.
pub(super) fn main_table() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed(sluice_sys::model::TABLE_NAME) }
}

/// Tables that are ours and may have to go: the early one once there is a configuration, the others when there is none.
pub(super) fn owned_tables() -> [TableId; 3] {
    let usage = TableId::inet(sluice_sys::model::USAGE_TABLE);
    [sluice_sys::nft::early::table_id(), main_table(), usage]
}

/// Counts per subsystem.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<Subsystem, SubsystemReport>,
}

impl Tally {
    fn entry(&mut self, subsystem: Subsystem) -> &mut SubsystemReport {
        self.counts.entry(subsystem).or_insert_with(|| SubsystemReport {
            subsystem,
            unchanged: 0,
            changed: 0,
            failed: Vec::new(),
        })
    }

    fn count<E: std::fmt::Display>(&mut self, subsystem: Subsystem, done: &Result<(), E>) {
        let entry = self.entry(subsystem);
        match done {
            Ok(()) => entry.changed += 1,
            Err(error) => entry.failed.push(error.to_string()),
        }
    }

    fn unchanged(&mut self, subsystem: Subsystem) {
        self.entry(subsystem).unchanged += 1;
    }

    fn reports(mut self, plan: &Plan) -> Vec<SubsystemReport> {
        for (subsystem, count) in &plan.unchanged {
            self.entry(*subsystem).unchanged += count;
        }
        self.counts.into_values().collect()
    }
}
