//! What the watch does about an appliance that has something else than it should: push, confirm, raise.

use sluice_api::Finding;
use sluice_api::report::{Answer, ConfirmAnswer};
use sluice_api::types::Generation;
use tracing::{error, info, warn};

use super::PushClient;
use super::task::{Ready, Rest, RoundError, Task};
use crate::error::Error;
use crate::ops;
use crate::store::appliances;

impl Task {
    /// Sends the wanted configuration, unless something newer is wanted by now.
    pub(super) async fn push(
        &mut self,
        ready: &Ready,
        client: &PushClient,
    ) -> Result<Rest, RoundError> {
        let generation = ready.wanted.generation;
        if !self.note_sent(generation).await? {
            return Ok(Rest::Soon);
        }
        let answer = client.push_bytes(ready.document.clone().into_bytes()).await?;
        info!(appliance = %self.id, %generation, answer = word(&answer), "pushed");
        self.answered(client, answer).await
    }

    async fn note_sent(&self, generation: Generation) -> Result<bool, Error> {
        let mut transaction = self.watch.store().begin().await?;
        let current = appliances::note_sent(&mut transaction, self.id.as_str(), generation).await?;
        transaction.commit().await?;
        Ok(current)
    }

    async fn answered(&mut self, client: &PushClient, answer: Answer) -> Result<Rest, RoundError> {
        let word = word(&answer);
        match answer {
            Answer::Applied { generation, plan, timing, confirm_within, findings } => {
                let mut seen = self.seen.clone();
                (seen.plan, seen.timing) = (Some(plan), Some(timing));
                seen.last_answer = Some(word.to_owned());
                seen.detail = lines(&findings);
                self.note(seen).await?;
                if confirm_within.is_none() {
                    return Ok(Rest::Soon);
                }
                self.confirm(client, generation).await
            }
            Answer::Already { .. } => self.noted(word, None, Rest::Soon).await,
            Answer::Busy(busy) => self.noted(word, Some(busy.reason), Rest::Soon).await,
            Answer::Stale { current } => self.raise(current).await,
            Answer::Changed { generation, .. } => self.raise(generation).await,
            Answer::Rejected { findings } => {
                error!(appliance = %self.id, findings = lines(&findings), "rejected");
                self.noted(word, lines(&findings), Rest::Backoff).await
            }
            Answer::Failed { reason, rolled_back, .. } => {
                error!(appliance = %self.id, reason, rolled_back, "applying failed");
                let state = if rolled_back { "rolled back" } else { "NOT rolled back" };
                self.noted(word, Some(format!("{reason} ({state})")), Rest::Backoff).await
            }
        }
    }

    async fn noted(
        &mut self,
        word: &str,
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
        match client.confirm(generation).await? {
            ConfirmAnswer::Committed { generation } => {
                info!(appliance = %self.id, %generation, "committed");
                self.reported(&client.look().await?).await?;
                self.free(generation).await?;
                Ok(Rest::Soon)
            }
            ConfirmAnswer::NotPending { current } => {
                warn!(appliance = %self.id, %generation, ?current, "came too late to confirm");
                Ok(Rest::Soon)
            }
            ConfirmAnswer::Failed { reason } => {
                warn!(appliance = %self.id, %generation, reason, "cannot commit");
                Ok(Rest::Soon)
            }
        }
    }

    /// The appliance has a number that this store never gave.
    pub(super) async fn raise(&mut self, seen: Generation) -> Result<Rest, RoundError> {
        let mut transaction = self.watch.store().begin().await?;
        let raised = ops::raise(&mut transaction, self.id.as_str(), seen).await?;
        transaction.commit().await?;
        if raised {
            warn!(appliance = %self.id, %seen, "has a number not of this store; ours is raised");
            self.note_answer("stale", Some(format!("it has generation {seen}"))).await?;
        }
        Ok(Rest::Soon)
    }
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Applied { .. } => "applied",
        Answer::Already { .. } => "already",
        Answer::Stale { .. } => "stale",
        Answer::Changed { .. } => "changed",
        Answer::Busy(_) => "busy",
        Answer::Rejected { .. } => "rejected",
        Answer::Failed { .. } => "failed",
    }
}

fn lines(findings: &[Finding]) -> Option<String> {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
