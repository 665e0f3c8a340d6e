//! A configuration comes in: the transaction from its bytes to committed or pending.

use std::time::Duration;

use sluice_api::report::{Answer, Busy, ConfirmAnswer, DryRun, PlanSummary, Timing};
use sluice_api::types::{BlobDigest, Generation, LinkName};
use sluice_api::{ApiCode, Finding};
use sluice_sys::model::Step;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::apply::{Look, Mode, Reached, Way};
use super::ending::clock;
use super::handle::Confirmation;
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
        Ok((Entry::new(config.generation(), config, body), warnings))
    }

    /// What would happen; nothing is touched.
    pub(super) async fn preview(&self, body: &[u8]) -> DryRun {
        let (entry, mut findings) = match self.read(body) {
            Ok(read) => read,
            Err(findings) => return DryRun { plan: PlanSummary::default(), findings },
        };
        findings.extend(self.refusal(&entry));
        let missing = self.missing_of(&entry);
        if !missing.is_empty() {
            let finding = |digest: &BlobDigest| {
                ApiCode::MissingBlob.at(digest.to_string(), "the blob is not here")
            };
            findings.extend(missing.iter().map(finding));
            return DryRun { plan: PlanSummary::default(), findings };
        }
        let desired = self.desired_at(&entry.config, clock());
        let planned = match self.compare(&desired).await {
            Ok(look) => {
                findings.extend(self.no_nic(&look));
                self.dry_run(&look.plan).await.map(|()| look.plan)
            }
            Err(error) => Err(error),
        };
        match planned {
            Ok(plan) => {
                let mut plan = plan.summary();
                let blobs = self.blobs.collect(&entry.config.blobs()).0;
                let slices = self.appliance.services(&entry.config, &blobs);
                plan.steps.extend(self.service_changes(&slices));
                DryRun { plan, findings }
            }
            Err(error) => {
                findings.push(ApiCode::DryRun.of_request(error.chain()));
                DryRun { plan: PlanSummary::default(), findings }
            }
        }
    }

    /// Links whose NIC is not there, which will fail for sure, unless it was missing before this change.
    fn no_nic(&self, look: &Look) -> Vec<Finding> {
        let known = |link: &&LinkName| !self.ill.contains(&Step::SetUp { link: (*link).clone() });
        let missing = look.absent.iter().filter(known);
        missing
            .map(|link| {
                let reason = format!("no NIC of this machine has the MAC address of link {link}");
                ApiCode::NoNic.at(format!("links.{link}"), reason)
            })
            .collect()
    }

    /// What a push of this number would be refused for, whatever its content does.
    fn refusal(&self, entry: &Entry<A::Config>) -> Option<Finding> {
        let state = self.ledger.state();
        let reason = match generation::verdict(state, entry.generation(), entry.digest())? {
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
            generation::verdict(self.ledger.state(), entry.generation(), entry.digest())
        {
            return answer;
        }
        let blobs = self.missing_of(&entry);
        if !blobs.is_empty() {
            return Answer::MissingBlobs { blobs };
        }
        if !self.connections_are_nearly_judged().await {
            let reason =
                "is in force, and live connections are still to be judged by it".to_owned();
            let generation = self.current().unwrap_or(Generation::MIN);
            return Answer::Busy(Busy { generation, reason });
        }
        let now = clock();
        let desired = self.desired_at(&entry.config, now);
        let look = match self.compare(&desired).await {
            Ok(look) => look,
            Err(error) => return self.untouched(error.chain()),
        };
        let absent = self.no_nic(&look);
        if !absent.is_empty() {
            return Answer::Rejected { findings: absent };
        }
        if !Self::tries_itself(&look.plan)
            && let Err(error) = self.dry_run(&look.plan).await
        {
            return self.untouched(error.chain());
        }
        let planned = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let generation = entry.generation();
        if let Err(error) = self.ledger.begin(entry.clone(), body) {
            return self.untouched(chain(&error));
        }
        self.deadline = None;
        self.hold = false;
        self.publish();
        let way = Way { now, desired, look: Some(look) };
        match self.go(&Some(entry), way, Mode::Strict).await {
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
            self.applied_at = Some(Instant::now());
            self.deadline = Some(Instant::now() + within);
        } else if let Err(error) = self.commit() {
            // in force but not durable: it stays pending, and the deadline that has passed takes it back
            error!(error = %chain(&error), "cannot commit");
            self.deadline = Some(Instant::now());
            return Answer::Failed {
                reason: chain(&error),
                rolled_back: false,
                current: self.current(),
            };
        }
        self.degraded = false;
        self.settled();
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

    /// Why a confirmation does not show that the pending configuration is a good one.
    fn no_proof(&self, confirmation: &Confirmation) -> Option<&'static str> {
        if self.applied_at.is_some_and(|applied| confirmation.connected < applied) {
            return Some("its connection is older than the configuration: confirm over a new one");
        }
        self.degraded.then_some("the configuration is not in force any more, and is being repaired")
    }

    /// The manager reached us on the pending configuration.
    pub(super) fn confirm(&mut self, confirmation: &Confirmation) -> ConfirmAnswer {
        let generation = confirmation.generation;
        let state = self.ledger.state();
        if state.pending.is_none() && self.current() == Some(generation) {
            return ConfirmAnswer::Committed { generation };
        }
        let waits = state.pending.as_ref().is_some_and(|entry| entry.generation() == generation);
        let in_time = self.deadline.is_some_and(|deadline| confirmation.asked <= deadline);
        if !waits || !in_time {
            return ConfirmAnswer::NotPending { current: self.current() };
        }
        if let Some(reason) = self.no_proof(confirmation) {
            return ConfirmAnswer::Failed { reason: reason.to_owned() };
        }
        if let Err(error) = self.commit() {
            error!(error = %chain(&error), "cannot commit");
            return ConfirmAnswer::Failed { reason: chain(&error) };
        }
        self.deadline = None;
        info!(%generation, "configuration committed");
        self.publish();
        ConfirmAnswer::Committed { generation }
    }
}
