//! The watch over one appliance: ask, decide, act (in `act`), note, wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_api::boot::Role;
use sluice_api::report::{Phase, StatusReport};
use sluice_api::types::{ApplianceId, BlobDigest, Generation};
use sluice_api::{Digest, Finding};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::consoles::Noted;
use super::decide::{Next, Wanted, decide};
use super::questions::{self, Listening};
use super::retry::{Backoff, jittered};
use super::watch::Watch;
use super::{Look, PushError, chain, trouble};
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::dynamic;
use crate::ops;
use crate::store::objects::ALL;
use crate::store::observations::Looked;
use crate::store::reports::Services;
use crate::store::{
    LastAnswer, MachineRow, Observation, Outcome, allocations, observations, outcomes, wanted,
};

/// Wait before an appliance that is at work is asked again.
const SOON: Duration = Duration::from_millis(300);
/// Longest wait before an appliance that never answered yet is asked again.
const BOOTING: Duration = Duration::from_secs(2);

/// Why a round did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Manager(#[from] Error),
    #[error(transparent)]
    Appliance(#[from] PushError),
}

impl RoundError {
    /// True when the appliance has no part in it.
    fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Manager(_) | Self::Appliance(PushError::Identity(_) | PushError::Encode(_))
        )
    }
}

impl From<sqlx::Error> for RoundError {
    fn from(error: sqlx::Error) -> Self {
        Self::Manager(error.into())
    }
}

/// What a round leaves to wait for.
pub(super) enum Rest {
    /// All is well.
    Poll,
    /// Something is under way.
    Soon,
    /// It did not work; wait longer each time.
    Backoff,
    /// The appliance does not exist any more.
    Gone,
}

/// What is wanted, ready to be sent.
pub(super) struct Ready {
    pub(super) appliance: Appliance,
    pub(super) machine: MachineRow,
    pub(super) wanted: Wanted,
    pub(super) document: String,
}

pub(super) struct Task {
    pub(super) watch: Watch,
    pub(super) id: ApplianceId,
    wake: Arc<Notify>,
    backoff: Backoff,
    /// What the store has of the appliance: read anew at each round, since others write it too.
    pub(super) seen: Observation,
    /// The number of this round's look, by [`Store::look`](crate::store::Store::look).
    pub(super) looked: i64,
    /// What its services last said of themselves; none: nothing was heard since this watch began.
    said: Option<Services>,
    /// What is wrong with the appliance's certificate.
    certificate_alarm: Option<String>,
    /// What a console proxy's machine cannot do that is to be done.
    asking_alarm: Option<String>,
    /// When this task began; moments are counted from here, for the clock of the day may be set.
    begun: Instant,
    /// When the newest machine that was seen started, in seconds.
    pub(super) started: Option<i64>,
    /// Digests of blobs that the appliance has from this watch.
    pub(super) sent_blobs: BTreeSet<BlobDigest>,
    /// What this watch sent last, as long as there was no answer in time.
    pub(super) unanswered: Option<Generation>,
    /// What was last written of a proxy's consoles.
    pub(super) consoles: Noted,
    /// Who waits for its questions.
    pub(super) listening: Listening,
}

impl Task {
    pub(super) fn new(watch: Watch, id: ApplianceId, wake: Arc<Notify>) -> Self {
        let settings = watch.settings();
        Self {
            watch,
            id,
            wake,
            backoff: Backoff::new(settings.retry, settings.retry_most),
            seen: Observation::default(),
            looked: 0,
            said: None,
            certificate_alarm: None,
            asking_alarm: None,
            begun: Instant::now(),
            started: None,
            sent_blobs: BTreeSet::new(),
            unanswered: None,
            consoles: Noted::default(),
            listening: Listening::default(),
        }
    }

    /// Watches until the appliance is gone.
    pub(super) async fn run(mut self) -> ApplianceId {
        loop {
            let rest = match self.round().await {
                Ok(rest) => rest,
                Err(error) => self.failed(error).await,
            };
            let wait = match rest {
                Rest::Gone => return self.id,
                Rest::Poll => {
                    self.backoff.reset();
                    jittered(self.watch.settings().poll)
                }
                Rest::Soon => SOON,
                // one that never answered yet is being booted, and somebody waits for it
                Rest::Backoff if self.seen.reported.is_none() => {
                    self.backoff.after_failure().min(BOOTING)
                }
                Rest::Backoff => self.backoff.after_failure(),
            };
            if tokio::time::timeout(wait, self.wake.notified()).await.is_ok() {
                self.backoff.reset();
            }
        }
    }

    async fn round(&mut self) -> Result<Rest, RoundError> {
        let Some(ready) = self.ready().await? else { return Ok(Rest::Gone) };
        if ready.machine.certificate_until.is_none() {
            // there cannot be a machine yet, so there is nobody to ask
            return Ok(Rest::Poll);
        }
        let client = self.watch.client(&ready.appliance)?;
        let look = self.look(&ready, &client).await?;
        if let Some(reason) = self.stranger(&ready, &look.status).await? {
            self.listen_no_more();
            self.note_answer(LastAnswer::Fenced, Some(reason)).await?;
            return Ok(Rest::Poll);
        }
        self.certificate_alarm = self.renew(&ready, &look, &client).await;
        self.asking_alarm = questions::alarm(ready.appliance.role, &look.status);
        self.reported(&look).await?;
        self.note_consoles(&look.status).await?;
        let status = look.status;
        self.note_reports(&status, ready.appliance.role).await?;
        if self.note_asking(&ready, &status).await? {
            return Ok(Rest::Soon);
        }
        if status.current.is_none() {
            // a new machine has nothing of the old one
            self.sent_blobs.clear();
        }
        for digest in &status.missing_blobs {
            self.send_blob(*digest, &client).await?;
        }
        let known = self.known(&ready, &status).await?;
        let next = decide(&ready.wanted, &status, |reported| known.contains(&reported.generation));
        match next {
            Next::Diverged(_) => self.listen_no_more(),
            _ => self.listen(&ready.appliance, &status),
        }
        match next {
            Next::Rest => self.settled(&ready, &status).await,
            Next::Wait => Ok(Rest::Soon),
            Next::Push => self.push_unless_undone(&ready, &status, &client).await,
            Next::Confirm(generation) => self.confirm(&client, generation).await,
            Next::Diverged(found) => self.diverged(&found).await,
        }
    }

    /// Generations of what the appliance has that this store gave.
    async fn known(
        &self,
        ready: &Ready,
        status: &StatusReport,
    ) -> Result<BTreeSet<Generation>, Error> {
        let mut known = BTreeSet::new();
        let others = status.current.iter().chain(&status.pending);
        for reported in others.filter(|reported| reported.generation < ready.wanted.generation) {
            let mut conn = self.watch.store().read().await?;
            let (generation, digest) = (reported.generation, &reported.digest);
            if outcomes::known(&mut conn, self.id.as_str(), generation, digest).await? {
                known.insert(generation);
            }
        }
        Ok(known)
    }

    async fn ready(&mut self) -> Result<Option<Ready>, Error> {
        let mut conn = self.watch.store().read().await?;
        let id = self.id.as_str();
        self.looked = self.watch.store().look(&mut conn, id).await?;
        self.seen = observations::read(&mut conn, id).await?.unwrap_or_default();
        let key = object_id(&self.id);
        let appliance = dynamic::load(&mut conn, &[("id", key.as_str())], ALL).await?.pop();
        let machine = wanted::machine(&mut conn, id).await?;
        let stored = wanted::wanted(&mut conn, id).await?;
        let (Some(appliance), Some(machine), Some(stored)) = (appliance, machine, stored) else {
            return Ok(None);
        };
        let generation = Generation::try_from(stored.generation)
            .map_err(|error| Error::Corrupt { what: "generation", reason: error.to_string() })?;
        let digest = Digest::of_bytes(stored.config.as_bytes());
        let wanted = Wanted { generation, digest };
        Ok(Some(Ready { appliance, machine, wanted, document: stored.config }))
    }

    /// Notes what the appliance says of itself.
    pub(super) async fn reported(&mut self, look: &Look) -> Result<(), Error> {
        let status = &look.status;
        let mut seen = self.seen.clone();
        seen.reachable = true;
        seen.phase = Some(status.phase);
        seen.reported = status.current.as_ref().map(|current| current.generation);
        if matches!(seen.last_answer, Some(LastAnswer::Unreachable | LastAnswer::Fenced)) {
            (seen.last_answer, seen.detail) = (None, None);
        }
        seen.certificate_until = look.shown.as_ref().map(|shown| shown.until);
        let older = |issuer: &[u8]| self.watch.authority().is_older(issuer);
        seen.old_authority = look.shown.as_ref().is_some_and(|shown| older(&shown.issuer));
        seen.alarms = trouble::lines(status);
        seen.alarms.extend(self.certificate_alarm.iter().chain(&self.asking_alarm).cloned());
        self.note(seen).await
    }

    /// Keeps what its services say of themselves, if it is news.
    async fn note_reports(&mut self, status: &StatusReport, role: Role) -> Result<(), Error> {
        let said = status.services.iter();
        let said = said.filter_map(|service| {
            let report = service.report.clone()?;
            let name = service.name.clone();
            let kept = match role {
                Role::Router => crate::store::reports::of_router(&name, &report)?,
                _ => report,
            };
            Some((name, kept))
        });
        let said: Services = said.collect();
        if self.said.as_ref() != Some(&said) {
            ops::note_reports(self.watch.store(), &self.id, &said, self.looked).await?;
            let done = said.values().any(some_job_is_done);
            self.said = Some(said);
            self.watch.tell();
            if done && ops::settle_images(self.watch.store(), &self.id).await? {
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Writes what was seen, if it is news.
    pub(super) async fn note(&mut self, seen: Observation) -> Result<(), Error> {
        if seen != self.seen {
            let mut transaction = self.watch.store().begin().await?;
            let id = self.id.as_str();
            let authority = self.watch.authority().fingerprints().into_iter().next();
            let authority = authority.as_deref().unwrap_or_default();
            let looked = Looked { by: self.watch.name(), at: self.looked, authority };
            observations::write(&mut transaction, id, &seen, looked).await?;
            transaction.commit().await?;
            self.seen = seen;
            self.watch.tell();
        }
        Ok(())
    }

    /// Seconds since this task began.
    pub(super) fn seconds(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_secs()).unwrap_or(i64::MAX)
    }

    pub(super) async fn note_answer(
        &mut self,
        word: LastAnswer,
        detail: Option<String>,
    ) -> Result<(), Error> {
        let mut seen = self.seen.clone();
        seen.last_answer = Some(word);
        seen.detail = detail;
        self.note(seen).await
    }

    /// Notes what became of a configuration.
    pub(super) async fn note_outcome(
        &self,
        generation: Generation,
        outcome: Outcome,
        detail: Option<&str>,
        findings: &[Finding],
    ) -> Result<(), Error> {
        let mut transaction = self.watch.store().begin().await?;
        let id = self.id.as_str();
        outcomes::note(&mut transaction, id, generation, outcome, detail, findings).await?;
        transaction.commit().await?;
        self.watch.tell();
        Ok(())
    }

    pub(super) async fn outcome(
        &self,
        generation: Generation,
    ) -> Result<(Outcome, Option<i64>), Error> {
        let mut conn = self.watch.store().read().await?;
        outcomes::of_generation(&mut conn, self.id.as_str(), generation).await
    }

    /// The committed configuration is the wanted one: what it no longer uses is free.
    async fn settled(&mut self, ready: &Ready, status: &StatusReport) -> Result<Rest, RoundError> {
        self.well().await?;
        let committed = status.current.as_ref().filter(|_| status.phase == Phase::InForce);
        if let Some(current) = committed {
            let (outcome, _) = self.outcome(ready.wanted.generation).await?;
            if outcome != Outcome::InForce {
                self.note_outcome(current.generation, Outcome::InForce, None, &[]).await?;
            }
            self.free(current.generation).await?;
        }
        Ok(Rest::Poll)
    }

    /// What stood in the way is over.
    async fn well(&mut self) -> Result<(), Error> {
        let over = [LastAnswer::Internal, LastAnswer::Diverged, LastAnswer::Held];
        if self.seen.last_answer.is_some_and(|answer| over.contains(&answer)) {
            let seen = Observation { last_answer: None, detail: None, ..self.seen.clone() };
            self.note(seen).await?;
        }
        Ok(())
    }

    pub(super) async fn free(&self, committed: Generation) -> Result<(), Error> {
        let number = i64::try_from(committed.get()).unwrap_or(i64::MAX);
        let id = self.id.as_str();
        let mut conn = self.watch.store().read().await?;
        if allocations::freeable(&mut conn, id, number).await? {
            drop(conn);
            let mut transaction = self.watch.store().begin().await?;
            let items = allocations::free(&mut transaction, id, number).await?;
            transaction.commit().await?;
            info!(appliance = %self.id, generation = %committed, items, "released items are free");
        }
        Ok(())
    }

    async fn failed(&mut self, error: RoundError) -> Rest {
        let text = chain(&error);
        let mut seen = self.seen.clone();
        seen.detail = Some(text.clone());
        let ours = error.is_ours();
        if ours {
            seen.last_answer = Some(LastAnswer::Internal);
        } else {
            seen.reachable = false;
            seen.last_answer = Some(LastAnswer::Unreachable);
        }
        if seen != self.seen && ours {
            error!(appliance = %self.id, error = text, "the manager failed; will retry");
        } else if seen != self.seen {
            warn!(appliance = %self.id, error = text, "will retry");
        }
        if let Err(error) = self.note(seen).await {
            error!(appliance = %self.id, error = chain(&error), "the store failed; will retry");
        }
        Rest::Backoff
    }
}

fn some_job_is_done(report: &Value) -> bool {
    let jobs = report.get("jobs").and_then(Value::as_array);
    jobs.is_some_and(|jobs| {
        jobs.iter().any(|job| job.get("state").and_then(Value::as_str) == Some("done"))
    })
}

#[cfg(test)]
mod tests;
