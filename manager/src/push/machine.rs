//! Which machine is the appliance, and its certificate.
//!
//! Guarantees: of several machines that are told to be one appliance, only the newest gets anything; a certificate is
//! renewed in time, when the authority changes, and, once its end is past, as long as the store knows its key.

use sluice_api::report::StatusReport;
use tracing::{info, warn};

use super::task::{Ready, RoundError, Task};
use super::{Look, PushClient, PushError, chain};
use crate::error::Error;
use crate::store::{observations, wanted};

/// A certificate is renewed when less than this part of its life is left.
const RENEW_WHEN_LEFT: u32 = 3;
/// How much earlier a machine must have started to be another one than that which was seen: the answer takes time.
const SAME_START: i64 = 30;

impl Task {
    /// Asks the appliance how it is. One whose certificate has run out gets a new one first, if its key is known.
    pub(super) async fn look(
        &self,
        ready: &Ready,
        client: &PushClient,
    ) -> Result<Look, RoundError> {
        match client.look().await {
            Err(error) if error.is_expired() => {
                self.renew_expired(ready, error).await?;
                Ok(client.look().await?)
            }
            look => Ok(look?),
        }
    }

    async fn renew_expired(&self, ready: &Ready, error: PushError) -> Result<(), RoundError> {
        let keys = &ready.machine.certificate_keys;
        if keys.is_empty() {
            return Err(error.into());
        }
        let client = self.watch.renewing_client(&ready.appliance, keys)?;
        match self.renew_now(&client).await {
            Err(RoundError::Appliance(again)) if again.is_expired() => Err(error.into()),
            done => done,
        }
    }

    /// Why the machine that answers is not the appliance; none: it is.
    pub(super) async fn stranger(
        &mut self,
        ready: &Ready,
        status: &StatusReport,
    ) -> Result<Option<String>, Error> {
        let (number, seen) = (status.incarnation, ready.machine.incarnation_seen);
        // an older firmware does not say its number, and may be gone back to
        if number != 0 && number < seen {
            return Ok(Some(format!(
                "a machine with boot document {number} answers, and {seen} was seen in use: stop \
                 the older machine, or start it with a new boot document"
            )));
        }
        let started = self.seconds().saturating_sub_unsigned(status.uptime_seconds);
        if number > seen {
            self.note_incarnation(number).await?;
        } else if self.started.is_some_and(|newest| started < newest - SAME_START) {
            return Ok(Some(
                "two machines with one boot document answer: stop the older one, or start it with \
                 a new boot document"
                    .to_owned(),
            ));
        }
        self.started = Some(started);
        Ok(None)
    }

    async fn note_incarnation(&self, number: u64) -> Result<(), Error> {
        let mut transaction = self.watch.store().begin().await?;
        wanted::see_incarnation(&mut transaction, self.id.as_str(), number).await?;
        transaction.commit().await?;
        info!(appliance = %self.id, number, "a machine with a newer boot document");
        Ok(())
    }

    /// Renews in time the certificate that the appliance shows, which need not be the last one issued: a boot document
    /// may never have been booted, or an old one again. A failure is tried again at the next look and is an alarm.
    pub(super) async fn renew(
        &self,
        ready: &Ready,
        look: &Look,
        client: &PushClient,
    ) -> Option<String> {
        let shown = look.shown.as_ref()?;
        let authority = self.watch.authority();
        let limit = authority.appliance_life() / RENEW_WHEN_LEFT;
        let left = shown.until.saturating_sub(observations::now());
        let ending = left < i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let told = ready.machine.authorities.as_ref();
        let untold = told.is_some_and(|told| *told != authority.trusted());
        if !ending && !untold && !authority.is_older(&shown.issuer) {
            return None;
        }
        let error = chain(&self.renew_now(client).await.err()?);
        warn!(appliance = %self.id, error, "no new certificate; will retry");
        let end = observations::rfc3339(shown.until).unwrap_or_default();
        Some(format!("its certificate ends at {end} and cannot be renewed: {error}"))
    }

    async fn renew_now(&self, client: &PushClient) -> Result<(), RoundError> {
        let id = self.id.as_str();
        let authority = self.watch.authority();
        let (issued, trusted) =
            (authority.appliance(&self.id).map_err(Error::from)?, authority.trusted());
        // noted first: should this manager end now, the next one still knows the key
        let mut transaction = self.watch.store().begin().await?;
        wanted::add_certificate(&mut transaction, id, issued.until, &issued.key).await?;
        transaction.commit().await?;
        client.renew(&issued.identity).await?;
        let mut transaction = self.watch.store().begin().await?;
        wanted::set_trusted(&mut transaction, id, &trusted).await?;
        transaction.commit().await?;
        info!(appliance = %self.id, "certificate renewed");
        Ok(())
    }
}
