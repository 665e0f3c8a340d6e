//! Towards a target: observe, plan, dry run, apply, verify. Decides nothing; the plan has decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_api::report::{Subsystem, SubsystemReport, Timing};
use sluice_api::types::Generation;
use sluice_sys::kernel::KernelError;
use sluice_sys::model::{Desired, Step};
use sluice_sys::nft::{Family, Ident, TableId};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Engine, ServiceError, Target};
use crate::appliance::{Appliance, ServiceName, ServiceSlice};
use crate::boot;
use crate::plan::{self, Plan};

/// Rounds of observe, plan and apply before what is left is a failure. A second one is needed when the kernel does
/// more than it was told, such as dropping routes along with an address.
const ROUNDS: usize = 3;

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

impl<A: Appliance> Engine<A> {
    /// The kernel state that `target` means.
    pub(super) fn desired(&self, target: &Target<A>) -> Desired {
        match target {
            Some(entry) => self.appliance.desired(&entry.config),
            None => boot::desired(&self.boot),
        }
    }

    /// Compares the kernel with `desired`.
    pub(super) async fn compare(&self, desired: &Desired) -> Result<Plan, ApplyError> {
        let keys = desired.keys(owned_tables());
        let observed = self.kernel.observe(&keys).await.map_err(ApplyError::Observe)?;
        Ok(plan::plan(desired, &observed))
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

    /// Carries out `plan`, then hands the services their slices, then verifies.
    pub(super) async fn reach(
        &mut self,
        target: &Target<A>,
        mode: Mode,
    ) -> Result<Reached, ApplyError> {
        let mut reached = Reached::default();
        let mut tally = Tally::default();
        let desired = self.desired(target);
        let mut outcome = self.settle(&desired, mode, &mut reached, &mut tally).await;
        if outcome.is_ok() || mode == Mode::KeepGoing {
            let served = self.serve(target, &mut reached, &mut tally).await;
            outcome = outcome.and(served.map_err(ApplyError::from));
        }
        self.subsystems = tally.reports(&reached.plan);
        outcome.map(|()| reached)
    }

    /// Rounds of plan and apply until the plan is empty; that it is empty is the verification.
    async fn settle(
        &self,
        desired: &Desired,
        mode: Mode,
        reached: &mut Reached,
        tally: &mut Tally,
    ) -> Result<(), ApplyError> {
        let mut round = 0;
        loop {
            let start = Instant::now();
            let plan = self.compare(desired).await?;
            let looked = micros(start);
            if round == 0 {
                reached.timing.observe_us = looked;
            } else {
                reached.timing.verify_us += looked;
            }
            if plan.is_empty() {
                if round == 0 {
                    reached.plan = plan;
                }
                return Ok(());
            }
            if round == ROUNDS {
                return Err(ApplyError::Verify { rest: plan.summary().steps.join("; ") });
            }
            let start = Instant::now();
            let carried = self.carry_out(&plan, mode, tally).await;
            reached.timing.apply_us += micros(start);
            if round == 0 {
                reached.plan = plan;
            }
            carried?;
            round += 1;
        }
    }

    async fn carry_out(
        &self,
        plan: &Plan,
        mode: Mode,
        tally: &mut Tally,
    ) -> Result<(), ApplyError> {
        let mut first = None;
        for step in &plan.steps {
            let done = self.kernel.apply(step).await;
            tally.count(plan::subsystem(step), &done);
            let Err(source) = done else { continue };
            tracing::warn!(step = %step, error = %source, "step failed");
            let error = ApplyError::Step { step: step.to_string(), source };
            if mode == Mode::Strict {
                return Err(error);
            }
            first.get_or_insert(error);
        }
        first.map_or(Ok(()), Err)
    }

    /// Gives every service its slice of `target`; those that have none are ended.
    async fn serve(
        &mut self,
        target: &Target<A>,
        reached: &mut Reached,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let slices = match target {
            Some(entry) => self.appliance.services(&entry.config),
            None => BTreeMap::new(),
        };
        reached.services = self.service_changes(&slices);
        let stale: Vec<ServiceName> =
            self.serving.keys().filter(|name| !slices.contains_key(name)).copied().collect();
        for name in stale {
            self.services.stop(name).await;
            self.serving.remove(&name);
        }
        let Some(generation) = target.as_ref().map(|entry| entry.generation) else { return Ok(()) };
        self.configure(generation, slices, tally).await
    }

    /// Gives the services their slices, all at once: none waits for another.
    async fn configure(
        &mut self,
        generation: Generation,
        slices: BTreeMap<ServiceName, ServiceSlice>,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let mut asked = JoinSet::new();
        for (name, slice) in slices {
            if self.known(name).is_some_and(|(number, _)| *number == generation) {
                tally.unchanged(Subsystem::Services);
                continue;
            }
            self.serving.insert(name, None);
            let services = Arc::clone(&self.services);
            asked.spawn(async move {
                let done = services.configure(name, generation, slice.clone()).await;
                (name, slice, done)
            });
        }
        let mut outcome = Ok(());
        for (name, slice, done) in asked.join_all().await {
            tally.count(Subsystem::Services, &done);
            match done {
                Ok(()) => {
                    self.serving.insert(name, Some((generation, slice)));
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
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

/// Tables that are ours and may have to go: the early one once there is a configuration, the other when there is none.
fn owned_tables() -> [TableId; 2] {
    let name = Ident::fixed(sluice_sys::model::TABLE_NAME);
    [sluice_sys::nft::early::table_id(), TableId { family: Family::Inet, name }]
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
