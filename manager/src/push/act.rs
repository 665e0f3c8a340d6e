//! What the watch does about an appliance that has something else than it should: push, confirm, or leave it to a person.
//!
//! Guarantees: a configuration that cut the manager off and was undone is not sent again by itself; a configuration that
//! this store never gave is never overwritten by itself; nothing is sent from a store that was put back until somebody
//! says so.

use sluice_api::Finding;
use sluice_api::report::{Answer, ConfirmAnswer, Reported, StatusReport};
use sluice_api::types::{BlobDigest, Generation};
use tracing::{error, info, warn};

use super::decide::{Again, Before, again};
use super::task::{Ready, Rest, RoundError, Task};
use super::{PushClient, PushError, blobs, chain, needs};
use crate::error::Error;
use crate::store::facts::{self, Fact};
use crate::store::observations::now;
use crate::store::{self, LastAnswer, Outcome, wanted};

impl Task {
    /// Sends the wanted configuration, unless it was sent before and undone.
    pub(super) async fn push_unless_undone(
        &mut self,
        ready: &Ready,
        status: &StatusReport,
        client: &PushClient,
    ) -> Result<Rest, RoundError> {
        if let Some(reason) = self.held().await? {
            return self.noted(LastAnswer::Held, Some(reason), Rest::Poll).await;
        }
        let generation = ready.wanted.generation;
        let unfit = needs::unreadable(&ready.document, status);
        if let Some(reason) = unfit.or_else(|| needs::lacking(&ready.document, status)) {
            self.note_outcome(generation, Outcome::Rejected, Some(&reason), &[]).await?;
            return self.noted(LastAnswer::Rejected, Some(reason), Rest::Backoff).await;
        }
        let (outcome, since) = self.outcome(generation).await?;
        // an agent that was started again since has not undone anything
        let up_since = now().saturating_sub(i64::try_from(status.uptime_seconds).unwrap_or(0));
        let same_run = status.current.is_some() && since.is_some_and(|since| since >= up_since);
        let asked = outcome == Outcome::Pending && since.is_some();
        let unanswered = self.unanswered == Some(generation);
        match again(&ready.wanted, status, Before { outcome, asked, same_run, unanswered }) {
            Again::Send => self.push(ready, client, asked).await,
            Again::Never => {
                self.noted(LastAnswer::Reverted, self.seen.detail.clone(), Rest::Poll).await
            }
            Again::Undone => {
                let reason = format!(
                    "generation {generation} cut the manager off and was undone; change what it \
                     comes from, or send it again with `sluice appliance push {}`",
                    self.id
                );
                warn!(appliance = %self.id, %generation, "undone because it was not confirmed");
                self.note_outcome(generation, Outcome::Reverted, Some(&reason), &[]).await?;
                self.noted(LastAnswer::Reverted, Some(reason), Rest::Poll).await
            }
        }
    }

    async fn held(&self) -> Result<Option<String>, Error> {
        facts::get(&mut *self.watch.store().read().await?, Fact::Hold).await
    }

    /// Sends the wanted configuration, unless something newer is wanted by now; `asked`: somebody asked for it.
    async fn push(
        &mut self,
        ready: &Ready,
        client: &PushClient,
        asked: bool,
    ) -> Result<Rest, RoundError> {
        let generation = ready.wanted.generation;
        self.send_blobs(&ready.document, client).await?;
        if !self.note_sent(generation).await? {
            return Ok(Rest::Soon);
        }
        self.unanswered = None;
        let answer = match client.push_bytes(ready.document.clone().into_bytes()).await {
            Ok(answer) => answer,
            Err(error) => return self.without_answer(generation, asked, error).await,
        };
        info!(appliance = %self.id, %generation, answer = ?word(&answer), "pushed");
        self.answered(ready, client, answer).await
    }

    /// It may have been applied all the same: the next look says whether it was undone.
    async fn without_answer(
        &mut self,
        generation: Generation,
        asked: bool,
        error: PushError,
    ) -> Result<Rest, RoundError> {
        if error.may_have_arrived() {
            self.unanswered = Some(generation);
            if asked {
                let (outcome, why) = (Outcome::CutOff, chain(&error));
                self.note_outcome(generation, outcome, Some(&why), &[]).await?;
            }
        }
        Err(error.into())
    }

    /// Sends the blobs that the configuration names and that the appliance did not get from this watch yet.
    async fn send_blobs(&mut self, document: &str, client: &PushClient) -> Result<(), RoundError> {
        let named = blobs::named(document);
        self.sent_blobs.retain(|digest| named.contains(digest));
        for digest in named {
            if !self.sent_blobs.contains(&digest) {
                self.send_blob(digest, client).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn send_blob(
        &mut self,
        digest: BlobDigest,
        client: &PushClient,
    ) -> Result<(), RoundError> {
        let kept = store::blobs::get(&mut *self.watch.store().read().await?, &digest).await?;
        let bytes = kept.ok_or_else(|| Error::Corrupt {
            what: "configuration",
            reason: format!("it names blob {digest}, which is not in the store"),
        })?;
        client.put_blob(&digest, bytes).await?;
        self.sent_blobs.insert(digest);
        Ok(())
    }

    async fn note_sent(&self, generation: Generation) -> Result<bool, Error> {
        let mut transaction = self.watch.store().begin().await?;
        let current = wanted::note_sent(&mut transaction, self.id.as_str(), generation).await?;
        transaction.commit().await?;
        Ok(current)
    }

    async fn answered(
        &mut self,
        ready: &Ready,
        client: &PushClient,
        answer: Answer,
    ) -> Result<Rest, RoundError> {
        let (word, wanted) = (word(&answer), ready.wanted.generation);
        match answer {
            Answer::Applied { generation, plan, timing, confirm_within, findings } => {
                let mut seen = self.seen.clone();
                (seen.plan, seen.timing) = (Some(plan), Some(timing));
                seen.last_answer = Some(word);
                seen.detail = lines(&findings);
                self.note(seen).await?;
                if confirm_within.is_none() {
                    return Ok(Rest::Soon);
                }
                self.note_outcome(generation, Outcome::Applied, None, &findings).await?;
                self.confirm(client, generation).await
            }
            Answer::Already { .. } => self.noted(word, None, Rest::Soon).await,
            Answer::Busy(busy) => self.noted(word, Some(busy.reason), Rest::Soon).await,
            // the next look says whether it is one of ours
            Answer::Stale { .. } | Answer::Changed { .. } => {
                self.noted(word, None, Rest::Backoff).await
            }
            Answer::MissingBlobs { blobs } => {
                for digest in blobs {
                    self.send_blob(digest, client).await?;
                }
                self.noted(word, None, Rest::Soon).await
            }
            Answer::Unknown => self.noted(word, None, Rest::Backoff).await,
            Answer::Rejected { findings } => {
                error!(appliance = %self.id, findings = lines(&findings), "rejected");
                let detail = lines(&findings);
                let outcome = Outcome::Rejected;
                self.note_outcome(wanted, outcome, detail.as_deref(), &findings).await?;
                self.noted(word, detail, Rest::Backoff).await
            }
            Answer::Failed { reason, rolled_back, .. } => {
                error!(appliance = %self.id, reason, rolled_back, "applying failed");
                let state = if rolled_back { "rolled back" } else { "NOT rolled back" };
                let detail = format!("{reason} ({state})");
                self.note_outcome(wanted, Outcome::Failed, Some(&detail), &[]).await?;
                self.noted(word, Some(detail), Rest::Backoff).await
            }
        }
    }

    async fn noted(
        &mut self,
        word: LastAnswer,
        detail: Option<String>,
        rest: Rest,
    ) -> Result<Rest, RoundError> {
        self.note_answer(word, detail).await?;
        Ok(rest)
    }

    /// Confirms over a new connection: that the appliance can be reached anew is what is being confirmed.
    pub(super) async fn confirm(
        &mut self,
        client: &PushClient,
        generation: Generation,
    ) -> Result<Rest, RoundError> {
        let answer = match client.confirm(generation).await {
            Ok(answer) => answer,
            Err(error) => {
                let outcome = Outcome::CutOff;
                self.note_outcome(generation, outcome, Some(&chain(&error)), &[]).await?;
                return Err(error.into());
            }
        };
        match answer {
            ConfirmAnswer::Committed { generation } => {
                info!(appliance = %self.id, %generation, "committed");
                self.reported(&client.look().await?).await?;
                self.note_outcome(generation, Outcome::InForce, None, &[]).await?;
                self.free(generation).await?;
                Ok(Rest::Soon)
            }
            ConfirmAnswer::NotPending { current } => {
                warn!(appliance = %self.id, %generation, ?current, "came too late to confirm");
                self.unanswered = Some(generation);
                Ok(Rest::Soon)
            }
            ConfirmAnswer::Failed { reason } => {
                warn!(appliance = %self.id, %generation, reason, "cannot commit");
                Ok(Rest::Soon)
            }
            ConfirmAnswer::Unknown => {
                warn!(appliance = %self.id, %generation, "confirmed in a word of a newer build");
                Ok(Rest::Backoff)
            }
        }
    }

    /// The appliance has a configuration that this store never gave: a person decides.
    pub(super) async fn diverged(&mut self, found: &Reported) -> Result<Rest, RoundError> {
        let reason = format!(
            "it has generation {}, which this store never gave (it was put back, or another \
             manager's reaches it): `sluice appliance diff {id} --from found` shows the difference, \
             `sluice appliance overwrite {id}` sends what is wanted, `sluice appliance adopt {id}` \
             keeps what it has",
            found.generation,
            id = self.id,
        );
        self.noted(LastAnswer::Diverged, Some(reason), Rest::Poll).await
    }
}

fn word(answer: &Answer) -> LastAnswer {
    match answer {
        Answer::Applied { .. } => LastAnswer::Applied,
        Answer::Already { .. } => LastAnswer::Already,
        Answer::Stale { .. } => LastAnswer::Stale,
        Answer::Changed { .. } => LastAnswer::Changed,
        Answer::Busy(_) => LastAnswer::Busy,
        Answer::MissingBlobs { .. } => LastAnswer::MissingBlobs,
        Answer::Unknown => LastAnswer::Unknown,
        Answer::Rejected { .. } => LastAnswer::Rejected,
        Answer::Failed { .. } => LastAnswer::Failed,
    }
}

fn lines(findings: &[Finding]) -> Option<String> {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
