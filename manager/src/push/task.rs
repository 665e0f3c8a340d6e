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
use super::{PushClient, PushError, chain};
use crate::error::Error;
use crate::store::{ApplianceRow, Observation};
use crate::store::{allocations, appliances, observations};

/// Wait before an appliance that is at work is asked again.
const SOON: Duration = Duration::from_millis(300);
/// A certificate is renewed when less than this part of its life is left.
const RENEW_WHEN_LEFT: u32 = 3;

/// Why a round did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Manager(#[from] Error),
    #[error(transparent)]
    Appliance(#[from] PushError),
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
}

impl Task {
    pub(super) fn new(watch: Watch, id: ApplianceId, wake: Arc<Notify>) -> Self {
        let settings = watch.settings();
        let backoff = Backoff::new(settings.retry, settings.retry_most);
        Self { watch, id, wake, backoff, seen: Observation::default(), known: false }
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
        let status = client.status().await?;
        self.reported(&status).await?;
        self.renew(&ready.row, &client).await;
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
    pub(super) async fn reported(&mut self, status: &StatusReport) -> Result<(), Error> {
        let mut seen = self.seen.clone();
        seen.reachable = true;
        seen.phase = Some(status.phase);
        seen.reported = status.current.as_ref().map(|current| current.generation.get());
        if seen.last_answer.as_deref() == Some("unreachable") {
            (seen.last_answer, seen.detail) = (None, None);
        }
        if let Some(alarm) = status.alarms.first() {
            seen.detail = Some(format!("alarm: {alarm}"));
        }
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
        let committed = status.current.as_ref().filter(|_| status.phase == Phase::InForce);
        if let Some(current) = committed {
            self.free(current.generation).await?;
        }
        Ok(Rest::Poll)
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

    /// Renews the certificate in time; a failure is tried again at the next look, long before the end.
    async fn renew(&mut self, row: &ApplianceRow, client: &PushClient) {
        let life = self.watch.authority().appliance_life();
        let limit = i64::try_from((life / RENEW_WHEN_LEFT).as_secs()).unwrap_or(i64::MAX);
        let left = row.certificate_until.map(|until| until - observations::now());
        if left.is_some_and(|left| left >= limit) {
            return;
        }
        if let Err(error) = self.renew_now(client).await {
            warn!(appliance = %self.id, error = chain(&error), "no new certificate; will retry");
        }
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
        if let RoundError::Appliance(_) = error {
            seen.reachable = false;
            seen.last_answer = Some("unreachable".to_owned());
            seen.detail = Some(text.clone());
        }
        if seen != self.seen {
            warn!(appliance = %self.id, error = text, "will retry");
        }
        if let Err(error) = self.note(seen).await {
            error!(appliance = %self.id, error = chain(&error), "the store failed; will retry");
        }
        Rest::Backoff
    }
}
