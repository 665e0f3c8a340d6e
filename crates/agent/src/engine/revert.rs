//! Back to the last good configuration, start-up, and repair of what others changed.

use sluice_api::report::DriftRepair;
use tracing::{info, warn};

use super::alarms::Trouble;
use super::apply::Mode;
use super::report::now;
use super::{Engine, Target};
use crate::appliance::Appliance;

/// Repairs kept for the status report.
const REPAIRS: usize = 32;

/// Attempts at going back before it is left to the next tick.
const ATTEMPTS: usize = 2;

impl<A: Appliance> Engine<A> {
    /// Gives up the pending configuration and returns to the last good one; true when that is verified.
    pub(super) async fn go_back(&mut self) -> bool {
        self.deadline = None;
        self.abandon();
        let target = self.last_good();
        // what a service was told last may be the configuration that is given up
        for known in self.serving.values_mut() {
            *known = None;
        }
        let good = self.restore(&target).await;
        self.announce(&target);
        self.publish();
        good
    }

    /// From now on each look at the kernel tries for the whole of it again.
    fn not_in_force(&mut self, reason: &str) {
        let text = format!("the last good configuration is not in force: {reason}");
        self.alarm(Trouble::NotInForce, &text);
        self.degraded = true;
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
                    self.clear(Trouble::NotInForce);
                    return true;
                }
                Err(error) => reason = error.chain(),
            }
        }
        self.not_in_force(&reason);
        false
    }

    /// Start-up: whatever was under way when we stopped is given up, and the last good one comes into force.
    pub(super) async fn start(&mut self, alarms: Vec<String>) {
        for alarm in alarms {
            self.alarm(Trouble::Opening, &alarm);
        }
        if let Some(pending) = &self.ledger.state().pending {
            warn!(generation = %pending.generation, "was under way when we stopped, given up");
        }
        self.go_back().await;
    }

    /// The confirm timer ran out.
    pub(super) async fn expire(&mut self) {
        if let Some(pending) = &self.ledger.state().pending {
            warn!(generation = %pending.generation, "not confirmed in time, going back");
        }
        self.shared.totals().rollbacks += 1;
        self.go_back().await;
    }

    /// Compares the kernel with what is meant to be in force and puts back what others changed.
    pub(super) async fn repair(&mut self) {
        self.keep_both_pages();
        let target = self.target();
        if self.degraded {
            self.restore(&target).await;
            self.publish();
            return;
        }
        let plan = match self.compare(&self.desired(&target)).await {
            Ok(plan) => plan,
            Err(error) => {
                self.not_in_force(&error.chain());
                return self.publish();
            }
        };
        if plan.is_empty() {
            return;
        }
        let steps = plan.summary().steps;
        warn!(steps = steps.len(), first = steps.first(), "foreign change found, repairing");
        let failed = self.reach(&target, Mode::KeepGoing).await.err().map(|error| error.chain());
        self.shared.totals().count_repair(failed.is_none());
        if let Some(reason) = &failed {
            self.not_in_force(reason);
        }
        self.repairs.push(DriftRepair { at: now(), steps, failed });
        let surplus = self.repairs.len().saturating_sub(REPAIRS);
        self.repairs.drain(..surplus);
        self.publish();
    }
}
