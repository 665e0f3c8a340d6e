//! The watch over one appliance: ask, decide, act (in `act`), note, wait.

use std::sync::Arc;
use std::time::Duration;

use sluice_api::report::{Phase, StatusReport};
use sluice_api::types::{ApplianceId, Generation};
use sluice_api::{Digest, RouterConfig};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::decide::{Next, Wanted, decide};
use super::retry::{Backoff, jittered};
use super::watch::Watch;
use super::{Look, PushClient, PushError, chain};
use crate::error::Error;
use crate::store::{ApplianceRow, Observation};
use crate::store::{allocations, appliances, observations};

/// Wait before an appliance that is at work is asked again.
const SOON: Duration = Duration::from_millis(300);
/// A certificate is renewed when less than this part of its life is left.
const RENEW_WHEN_LEFT: u32 = 3;

/// Word for a round that failed within the manager.
const INTERNAL: &str = "internal";

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
    pub(super) row: ApplianceRow,
    pub(super) wanted: Wanted,
    pub(super) document: String,
}

pub(super) struct Task {
    pub(super) watch: Watch,
    pub(super) id: ApplianceId,
    wake: Arc<Notify>,
    backoff: Backoff,
    pub(super) seen: Observation,
    known: bool,
    /// What is wrong with the appliance's certificate.
    certificate_alarm: Option<String>,
}

impl Task {
    pub(super) fn new(watch: Watch, id: ApplianceId, wake: Arc<Notify>) -> Self {
        let settings = watch.settings();
        let backoff = Backoff::new(settings.retry, settings.retry_most);
        let seen = Observation::default();
        Self { watch, id, wake, backoff, seen, known: false, certificate_alarm: None }
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
                Rest::Backoff => self.backoff.after_failure(),
            };
            if tokio::time::timeout(wait, self.wake.notified()).await.is_ok() {
                self.backoff.reset();
            }
        }
    }

    async fn round(&mut self) -> Result<Rest, RoundError> {
        let Some(ready) = self.ready().await? else { return Ok(Rest::Gone) };
        if ready.row.certificate_until.is_none() {
            // there cannot be a machine yet, so there is nobody to ask
            return Ok(Rest::Poll);
        }
        let client = self.watch.client(&ready.row.appliance)?;
        let look = client.look().await?;
        self.certificate_alarm = self.renew(&look, &client).await;
        self.reported(&look).await?;
        let status = look.status;
        match decide(&ready.wanted, &status) {
            Next::Rest => self.settled(&status).await,
            Next::Wait => Ok(Rest::Soon),
            Next::Push => self.push(&ready, &client).await,
            Next::Confirm(generation) => self.confirm(&client, generation).await,
            Next::Raise(seen) => self.raise(seen).await,
        }
    }

    async fn ready(&mut self) -> Result<Option<Ready>, Error> {
        let mut conn = self.watch.store().read().await?;
        let id = self.id.as_str();
        if !self.known {
            self.seen = observations::read(&mut conn, id).await?.unwrap_or_default();
            self.known = true;
        }
        let row = appliances::appliances(&mut conn, Some(id)).await?.pop();
        let wanted = appliances::wanted(&mut conn, id).await?;
        let (Some(row), Some(stored)) = (row, wanted) else { return Ok(None) };
        let corrupt = |reason: String| Error::Corrupt { what: "configuration", reason };
        let config: RouterConfig =
            serde_json::from_str(&stored.config).map_err(|error| corrupt(error.to_string()))?;
        let digest = Digest::of(&config).map_err(|error| corrupt(error.to_string()))?;
        let wanted = Wanted { generation: config.generation, digest };
        Ok(Some(Ready { row, wanted, document: stored.config }))
    }

    /// Notes what the appliance says of itself.
    pub(super) async fn reported(&mut self, look: &Look) -> Result<(), Error> {
        let status = &look.status;
        let mut seen = self.seen.clone();
        seen.reachable = true;
        seen.phase = Some(status.phase);
        seen.reported = status.current.as_ref().map(|current| current.generation);
        if seen.last_answer.as_deref() == Some("unreachable") {
            (seen.last_answer, seen.detail) = (None, None);
        }
        seen.certificate_until = look.certificate_until;
        seen.alarms = status.alarms.iter().chain(&self.certificate_alarm).cloned().collect();
        self.note(seen).await
    }

    /// Writes what was seen, if it is news.
    pub(super) async fn note(&mut self, seen: Observation) -> Result<(), Error> {
        if seen != self.seen {
            let mut transaction = self.watch.store().begin().await?;
            observations::write(&mut transaction, self.id.as_str(), &seen).await?;
            transaction.commit().await?;
            self.seen = seen;
        }
        Ok(())
    }

    pub(super) async fn note_answer(
        &mut self,
        word: &str,
        detail: Option<String>,
    ) -> Result<(), Error> {
        let mut seen = self.seen.clone();
        seen.last_answer = Some(word.to_owned());
        seen.detail = detail;
        self.note(seen).await
    }

    /// The committed configuration is the wanted one: what it no longer uses is free.
    async fn settled(&mut self, status: &StatusReport) -> Result<Rest, RoundError> {
        self.well().await?;
        let committed = status.current.as_ref().filter(|_| status.phase == Phase::InForce);
        if let Some(current) = committed {
            self.free(current.generation).await?;
        }
        Ok(Rest::Poll)
    }

    /// A failure of the manager is over.
    async fn well(&mut self) -> Result<(), Error> {
        if self.seen.last_answer.as_deref() == Some(INTERNAL) {
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

    /// Renews in time the certificate that the appliance shows, which need not be the last one issued: a boot document
    /// may never have been booted, or an old one again. A failure is tried again at the next look and is an alarm.
    async fn renew(&self, look: &Look, client: &PushClient) -> Option<String> {
        let until = look.certificate_until?;
        let life = self.watch.authority().appliance_life();
        let limit = i64::try_from((life / RENEW_WHEN_LEFT).as_secs()).unwrap_or(i64::MAX);
        if until.saturating_sub(observations::now()) >= limit {
            return None;
        }
        let error = chain(&self.renew_now(client).await.err()?);
        warn!(appliance = %self.id, error, "no new certificate; will retry");
        let end = observations::rfc3339(until).unwrap_or_default();
        Some(format!("its certificate ends at {end} and cannot be renewed: {error}"))
    }

    async fn renew_now(&self, client: &PushClient) -> Result<(), RoundError> {
        let issued = self.watch.authority().appliance(&self.id).map_err(Error::from)?;
        client.renew(&issued.identity).await?;
        let mut transaction = self.watch.store().begin().await?;
        let id = self.id.as_str();
        appliances::set_certificate(&mut transaction, id, issued.until).await?;
        transaction.commit().await?;
        info!(appliance = %self.id, "certificate renewed");
        Ok(())
    }

    async fn failed(&mut self, error: RoundError) -> Rest {
        let text = chain(&error);
        let mut seen = self.seen.clone();
        seen.detail = Some(text.clone());
        let ours = error.is_ours();
        if ours {
            seen.last_answer = Some(INTERNAL.to_owned());
        } else {
            seen.reachable = false;
            seen.last_answer = Some("unreachable".to_owned());
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

#[cfg(test)]
mod tests;
