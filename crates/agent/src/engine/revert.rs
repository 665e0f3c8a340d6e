//! Back to the last good configuration, start-up, and repair of what others changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sluice_api::report::DriftRepair;
use sluice_api::types::Generation;
use sluice_sys::model::{Desired, Keys};
use sluice_sys::nft::{ObservedTable, ObservedTables, TableId};
use tokio::time::Instant;
use tracing::{info, warn};

use super::alarms::Trouble;
use super::apply::{ApplyError, Look, Mode};
use super::report::now;
use super::{Engine, Target};
use crate::appliance::{Appliance, Seen};

/// Repairs kept for the status report.
const REPAIRS: usize = 32;

/// Wait before what failed is tried again, doubled each time; a change of the network ends it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often everything is compared although nothing is said to have changed.
pub(super) const AUDIT_EVERY: Duration = Duration::from_mins(10);
/// And less often where that takes long, so that it never takes more than a two-hundredth of the time.
const AUDIT_SHARE: u32 = 200;
/// When one goes on that gave way to a request.
const AUDIT_AGAIN: Duration = Duration::from_mins(1);

/// Attempts at going back before it is left to the next tick.
const ATTEMPTS: usize = 2;

impl<A: Appliance> Engine<A> {
    /// Gives up the pending configuration and returns to the last good one; true when that is verified.
    pub(super) async fn go_back(&mut self) -> bool {
        self.deadline = None;
        self.hold = false;
        let pending = self.ledger.state().pending.as_ref();
        let given_up = pending.map(|entry| Arc::clone(&entry.config));
        self.abandon();
        let target = self.last_good();
        // what a service was told last may be the configuration that is given up
        self.forget_services();
        let good = self.restore(&target).await;
        if good && given_up.is_some() {
            // it may have let connections in
            self.make_connections_obey(given_up);
        } else if good {
            self.make_connections_obey_at_last();
        }
        self.announce(&target);
        self.publish();
        good
    }

    fn forget_services(&mut self) {
        for known in self.serving.values_mut() {
            *known = None;
        }
    }

    /// From now on each look at the kernel tries for the whole of it again.
    pub(super) fn not_in_force(&mut self, reason: &str) {
        let text = format!("the last good configuration is not in force: {reason}");
        self.alarm(Trouble::NotInForce, &text);
        self.degraded = true;
        self.calm = None;
    }

    /// The target was reached; what was failing before and did not change may be left.
    pub(super) fn settled(&mut self) {
        self.retry = Retry::default();
        if self.ill.is_empty() {
            self.said.clear();
            return self.clear(Trouble::NotInForce);
        }
        let left: Vec<String> = self.ill.iter().map(ToString::to_string).collect();
        let text = format!("part of the configuration is not in force: {}", left.join("; "));
        self.alarm(Trouble::NotInForce, &text);
        self.retry.later();
    }

    fn last_good(&self) -> Target<A> {
        self.ledger.state().committed.clone()
    }

    /// Brings `target` into force, keeping on when a step fails; a failure is an alarm and leaves us degraded.
    async fn restore(&mut self, target: &Target<A>) -> bool {
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.reach(target, Mode::KeepGoing).await {
                Ok(_) => {
                    info!("last good configuration in force");
                    self.degraded = false;
                    self.settled();
                    return true;
                }
                Err(error) => reason = error.chain(),
            }
        }
        self.not_in_force(&reason);
        self.retry.later();
        false
    }

    /// Start-up: whatever was under way when we stopped is given up, and the last good one comes into force.
    /// But when the ledger cannot say what that is, a kernel that holds one is left alone: what was in force goes on.
    pub(super) async fn start(&mut self, alarms: Vec<String>, interrupted: Option<Generation>) {
        for alarm in alarms {
            self.alarm(Trouble::Opening, &alarm);
        }
        if let Some(generation) = interrupted {
            warn!(%generation, "was under way when we stopped, given up");
        }
        self.read_former_blobs();
        self.ask_for_sizes().await;
        if self.ledger.state().lost && self.kernel_is_configured().await {
            self.hold = true;
            self.not_in_force("it cannot be read; the kernel is left as it is until the next push");
            return self.publish();
        }
        self.go_back().await;
        self.end_what_is_over();
        self.keep_blobs();
    }

    /// True when rules of a configuration are loaded; also when nobody can say, since the other answer clears everything.
    async fn kernel_is_configured(&self) -> bool {
        let table = super::apply::main_table();
        let keys = Keys { tables: [table.clone()].into(), ..Keys::default() };
        let seen = self.kernel.observe(&keys).await;
        seen.map_or(true, |seen| seen.tables.contains_key(&table))
    }

    /// The confirm timer ran out.
    pub(super) async fn expire(&mut self) {
        if let Some(pending) = &self.ledger.state().pending {
            warn!(generation = %pending.generation(), "not confirmed in time, going back");
            let mut report = self.shared.report();
            let told = super::report::reverted(pending, report.reverted.as_ref());
            report.reverted = Some(told);
        }
        self.shared.totals().rollbacks += 1;
        self.go_back().await;
    }

    /// Compares the kernel with what is meant to be in force and puts back what others changed. `woken`: links, addresses
    /// or routes may have changed. Costs next to nothing while nothing did.
    pub(super) async fn repair(&mut self, woken: bool) {
        self.keep_both_pages();
        if self.hold {
            return;
        }
        let target = self.target();
        if self.has_ended(&target) {
            return self.end_rules(&target).await;
        }
        if let Some(before) = self.look_at_services() {
            return self.follow_services(&target, before).await;
        }
        if self.blobs_came() {
            return self.serve_again(&target).await;
        }
        if self.degraded || !self.ill.is_empty() {
            if woken || self.retry.is_due() {
                if self.restore(&target).await && self.ledger.state().pending.is_none() {
                    self.make_connections_obey_at_last();
                }
                self.publish();
            }
            return;
        }
        let look = match self.changed(&target, woken).await {
            Ok(Some(look)) => look,
            Ok(None) => return,
            Err(error) => {
                self.not_in_force(&error.chain());
                return self.publish();
            }
        };
        let steps = look.plan.summary().steps;
        warn!(steps = steps.len(), first = steps.first(), "foreign change found, repairing");
        let failed = self.reach(&target, Mode::KeepGoing).await.err().map(|error| error.chain());
        self.shared.totals().count_repair(failed.is_none());
        if let Some(reason) = &failed {
            self.not_in_force(reason);
            self.retry.later();
        }
        self.repairs.push(DriftRepair { at: now(), steps, failed });
        let surplus = self.repairs.len().saturating_sub(REPAIRS);
        self.repairs.drain(..surplus);
        self.publish();
    }

    /// What services had seen before, when they see something else now.
    fn look_at_services(&mut self) -> Option<Arc<Seen>> {
        let seen = self.appliance.seen(&self.services.status())?;
        let differs = seen != *self.seen;
        differs.then(|| std::mem::replace(&mut self.seen, Arc::new(seen)))
    }

    /// Brings the kernel where what services see now wants it. That is no repair: nobody else changed anything.
    async fn follow_services(&mut self, target: &Target<A>, before: Arc<Seen>) {
        info!(seen = ?self.seen, "services see something else, the kernel follows");
        if let Err(error) = self.reach(target, Mode::KeepGoing).await {
            self.not_in_force(&error.chain());
            self.retry.later();
        }
        self.make_connections_follow(before);
        self.publish();
    }

    async fn serve_again(&mut self, target: &Target<A>) {
        self.forget_services();
        if let Err(error) = self.reach(target, Mode::KeepGoing).await {
            self.not_in_force(&error.chain());
        }
        self.publish();
    }

    /// What differs from `target`, if anything does; no more is looked at than may have changed.
    async fn changed(
        &mut self,
        target: &Target<A>,
        woken: bool,
    ) -> Result<Option<Look>, ApplyError> {
        let network = self.network_of(target);
        let keys: BTreeSet<_> = network.sysctls.keys().cloned().collect();
        let pulse = self.kernel.pulse(&keys).await.map_err(ApplyError::Observe)?;
        let calm = self.calm.as_ref();
        let same_rules = calm.is_some_and(|calm| calm.nft_generation == pulse.nft_generation);
        let same = same_rules && calm.is_some_and(|calm| *calm == pulse);
        if same_rules && (Instant::now() < self.audit_due || self.audit(&network).await?) {
            if !woken && same {
                return Ok(None);
            }
            let observed = self.kernel.observe(&network.keys([])).await;
            let plan = crate::plan::plan(&network, &observed.map_err(ApplyError::Observe)?);
            return Ok((!plan.is_empty()).then(|| Look { plan, ..Look::default() }));
        }
        let desired = self.desired(target);
        let look = self.compare(&desired).await?;
        if !look.plan.is_empty() {
            return Ok(Some(look));
        }
        self.calm = Some(super::apply::calm(look.generation, &desired));
        Ok(None)
    }

    /// Reads all rules as if nothing were known; false when they are not what is remembered, which they are afterwards. Gives
    /// way to whatever is asked of the engine, and goes on a minute later.
    async fn audit(&mut self, network: &Desired) -> Result<bool, ApplyError> {
        let start = Instant::now();
        let keys = network.keys(super::apply::owned_tables());
        // looked at for what it is, not held on to: there is never room for two of them
        let of = |tables: ObservedTables| -> BTreeMap<TableId, Weak<ObservedTable>> {
            tables.iter().map(|(id, table)| (id.clone(), Arc::downgrade(table))).collect()
        };
        let remembered = of(self.kernel.observe(&keys).await.map_err(ApplyError::Observe)?.tables);
        let keys = Keys { anew: true, ..keys };
        let observed = tokio::select! {
            biased;
            () = self.shared.somebody_asks(self.served) => None,
            () = super::handle::until(self.deadline) => None,
            observed = self.kernel.observe(&keys) => Some(observed),
        };
        let Some(observed) = observed else {
            self.audit_due = Instant::now() + AUDIT_AGAIN;
            return Ok(true);
        };
        self.audit_due = Instant::now() + AUDIT_EVERY.max(start.elapsed() * AUDIT_SHARE);
        let read = of(observed.map_err(ApplyError::Observe)?.tables);
        let same = |(id, table)| read.get(id).is_some_and(|other| Weak::ptr_eq(table, other));
        Ok(remembered.len() == read.len() && remembered.iter().all(same))
    }

    /// The state that `target` wants, without its rules: worked out once for each configuration.
    fn network_of(&mut self, target: &Target<A>) -> Desired {
        let digest = target.as_ref().map(|entry| entry.digest().clone());
        if let Some((known, network)) = &self.network
            && *known == digest
        {
            return network.clone();
        }
        let network = Desired { tables: BTreeMap::new(), ..self.desired(target) };
        self.network = Some((digest, network.clone()));
        network
    }
}

/// When what failed is tried again: later and later, as long as nothing changes.
#[derive(Debug)]
pub(super) struct Retry {
    due: Instant,
    wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { due: Instant::now(), wait: FIRST_WAIT }
    }
}

impl Retry {
    fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    fn later(&mut self) {
        self.due = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}
