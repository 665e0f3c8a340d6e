//! A configuration comes in: the transaction from its bytes to committed or pending.

use std::time::Duration;

use sluice_api::report::{Answer, ConfirmAnswer, DryRun, PlanSummary, Timing};
use sluice_api::types::Generation;
use sluice_api::{ApiCode, Finding};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::alarms::Trouble;
use super::apply::{Mode, Reached};
use super::{Engine, generation};
use crate::appliance::{Appliance, Configuration};
use crate::causes::chain;
use crate::ledger::Entry;

/// A sound configuration and the warnings about it.
type Read<A> = (Entry<<A as Appliance>::Config>, Vec<Finding>);

impl<A: Appliance> Engine<A> {
    /// Decodes and checks; nothing is touched.
    pub(super) fn read(&self, body: &[u8]) -> Result<Read<A>, Vec<Finding>> {
        let (config, warnings) = A::Config::parse(body)?;
        if *config.appliance() != self.boot.appliance {
            let reason = format!("this is {}, not {}", self.boot.appliance, config.appliance());
            return Err(vec![ApiCode::WrongAppliance.at("appliance", reason)]);
        }
        let entry = Entry::new(config.generation(), config)
            .map_err(|error| vec![ApiCode::Internal.of_request(error.to_string())])?;
        Ok((entry, warnings))
    }

    /// What would happen; nothing is touched.
    pub(super) async fn preview(&self, body: &[u8]) -> DryRun {
        let (entry, mut findings) = match self.read(body) {
            Ok(read) => read,
            Err(findings) => return DryRun { plan: PlanSummary::default(), findings },
        };
        findings.extend(self.refusal(&entry));
        let desired = self.appliance.desired(&entry.config);
        let planned = match self.compare(&desired).await {
            Ok(plan) => self.dry_run(&plan).await.map(|()| plan),
            Err(error) => Err(error),
        };
        match planned {
            Ok(plan) => {
                let mut plan = plan.summary();
                plan.steps.extend(self.service_changes(&self.appliance.services(&entry.config)));
                DryRun { plan, findings }
            }
            Err(error) => {
                findings.push(ApiCode::DryRun.of_request(error.chain()));
                DryRun { plan: PlanSummary::default(), findings }
            }
        }
    }

    /// What a push of this number would be refused for, whatever its content does.
    fn refusal(&self, entry: &Entry<A::Config>) -> Option<Finding> {
        let state = self.ledger.state();
        let reason = match generation::verdict(state, entry.generation, &entry.digest)? {
            Answer::Stale { current } => format!("older than {current}, which is committed"),
            Answer::Changed { seen, .. } => format!("known with other content ({seen})"),
            Answer::Busy(busy) => format!("generation {} {}", busy.generation, busy.reason),
            _ => return None,
        };
        Some(ApiCode::Generation.at("generation", reason))
    }

    /// The whole transaction.
    pub(super) async fn push(&mut self, body: &[u8], confirm: Option<Duration>) -> Answer {
        let start = Instant::now();
        let (entry, findings) = match self.read(body) {
            Ok(read) => read,
            Err(findings) => return Answer::Rejected { findings },
        };
        if let Some(answer) =
            generation::verdict(self.ledger.state(), entry.generation, &entry.digest)
        {
            return answer;
        }
        let desired = self.appliance.desired(&entry.config);
        let dry = match self.compare(&desired).await {
            Ok(plan) => self.dry_run(&plan).await,
            Err(error) => Err(error),
        };
        let planned = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Err(error) = dry {
            return self.untouched(error.chain());
        }
        let generation = entry.generation;
        if let Err(error) = self.ledger.begin(entry.clone()) {
            return self.untouched(chain(&error));
        }
        self.deadline = None;
        self.publish();
        match self.reach(&Some(entry), Mode::Strict).await {
            Ok(mut reached) => {
                reached.timing.plan_us = planned;
                self.applied(generation, reached, findings, confirm, start)
            }
            Err(error) => self.failed(error.chain()).await,
        }
    }

    fn untouched(&self, reason: String) -> Answer {
        warn!(reason, "configuration not tried");
        Answer::Failed { reason, rolled_back: !self.degraded, current: self.current() }
    }

    fn applied(
        &mut self,
        generation: Generation,
        reached: Reached,
        findings: Vec<Finding>,
        confirm: Option<Duration>,
        start: Instant,
    ) -> Answer {
        let mut plan = reached.plan.summary();
        plan.steps.extend(reached.services);
        let confirm_within =
            confirm.map(|within| u32::try_from(within.as_secs()).unwrap_or(u32::MAX));
        if let Some(within) = confirm {
            self.deadline = Some(Instant::now() + within);
        } else if let Err(error) = self.ledger.commit() {
            // in force but not durable: it stays pending, and the deadline that has passed takes it back
            error!(error = %chain(&error), "cannot commit");
            self.deadline = Some(Instant::now());
            return Answer::Failed {
                reason: chain(&error),
                rolled_back: false,
                current: self.current(),
            };
        } else {
            self.committed();
        }
        self.degraded = false;
        self.clear(Trouble::NotInForce);
        self.announce(&self.target());
        self.publish();
        let total_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let timing = Timing { total_us, ..reached.timing };
        info!(%generation, steps = plan.steps.len(), total_us, "configuration applied");
        Answer::Applied { generation, plan, timing, confirm_within, findings }
    }

    async fn failed(&mut self, reason: String) -> Answer {
        warn!(reason, "apply failed, going back");
        self.shared.totals().rollbacks += 1;
        let rolled_back = self.go_back().await;
        Answer::Failed { reason, rolled_back, current: self.current() }
    }

    /// The manager reached us on the pending configuration.
    pub(super) fn confirm(&mut self, generation: Generation) -> ConfirmAnswer {
        let state = self.ledger.state();
        if state.pending.is_none() && self.current() == Some(generation) {
            return ConfirmAnswer::Committed { generation };
        }
        let waits = state.pending.as_ref().is_some_and(|entry| entry.generation == generation);
        if !waits || self.deadline.is_none() {
            return ConfirmAnswer::NotPending { current: self.current() };
        }
        if let Err(error) = self.ledger.commit() {
            error!(error = %chain(&error), "cannot commit");
            return ConfirmAnswer::Failed { reason: chain(&error) };
        }
        self.committed();
        self.deadline = None;
        info!(%generation, "configuration committed");
        self.publish();
        ConfirmAnswer::Committed { generation }
    }
}
