//! Answers to what a console proxy asks before each connection: whether the screen is still its VM's.
//!
//! Guarantees: an answer is what the store says at that moment; of a store that cannot be read, of an appliance that is not
//! the one it should be, or whose configuration this store did not give, nothing is said. Not here: what it means that
//! nobody answers, which is the proxy's affair.

use std::time::Duration;

use sluice_api::boot::Role;
use sluice_api::config::{CONSOLE_QUESTIONS, ScreenState};
use sluice_api::report::{
    AnswerList, Question, QuestionAnswer, ScreenQuestion, StatusReport, Verdict,
};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::task::{RoundError, Task};
use super::watch::Watch;
use super::{PushClient, chain};
use crate::error::Error;
use crate::kinds::appliance::Appliance;
use crate::kinds::dynamic;
use crate::kinds::screen::Screen;
use crate::store::Conn;
use crate::store::objects::ALL;

/// Between two looks at questions that cannot be answered.
const SILENT: Duration = Duration::from_millis(500);

/// The task that waits for an appliance's questions; dropping it ends it.
pub(super) type Listening = JoinSet<()>;

impl Task {
    /// Waits for the appliance's questions from now on, if it has any.
    pub(super) fn listen(
        &mut self,
        appliance: &Appliance,
        status: &StatusReport,
        client: &PushClient,
    ) {
        // one that failed is begun anew, with the address and identity of now
        while self.listening.try_join_next().is_some() {}
        let asks = appliance.role == Role::Proxy
            && status.capabilities.iter().any(|word| word == CONSOLE_QUESTIONS);
        if asks && self.listening.is_empty() {
            let (watch, appliance, client) =
                (self.watch.clone(), appliance.clone(), client.clone());
            self.listening.spawn(async move {
                if let Err(error) = answer_all(&watch, &appliance, &client).await {
                    let error = chain(&error);
                    debug!(appliance = %appliance.id, error, "its questions are not heard");
                }
            });
        }
    }

    /// Its questions are not this store's affair.
    pub(super) fn listen_no_more(&mut self) {
        self.listening = Listening::new();
    }
}

async fn answer_all(
    watch: &Watch,
    appliance: &Appliance,
    client: &PushClient,
) -> Result<(), RoundError> {
    loop {
        let asked = client.questions().await?.questions;
        if asked.is_empty() {
            continue;
        }
        let mut conn = watch.store().read().await?;
        let mut answers = Vec::new();
        for question in asked {
            if let Some(verdict) = verdict(&mut conn, appliance, &question).await? {
                answers.push(QuestionAnswer { id: question.id, verdict });
            }
        }
        drop(conn);
        if answers.is_empty() {
            // they come again as long as they wait
            tokio::time::sleep(SILENT).await;
            continue;
        }
        client.answer(&AnswerList { answers }).await?;
    }
}

/// What the store says to a question; none to one that is not understood.
async fn verdict(
    conn: &mut Conn,
    appliance: &Appliance,
    question: &Question,
) -> Result<Option<Verdict>, Error> {
    let asked = match serde_json::from_value::<ScreenQuestion>(question.question.clone()) {
        Ok(asked) => asked,
        Err(error) => {
            warn!(appliance = %appliance.id, %error, "question not understood");
            return Ok(None);
        }
    };
    let zone = ("zone", appliance.zone.as_str());
    let by = [zone, ("name", asked.vm.as_str())];
    let screen = dynamic::load::<Screen>(conn, &by, ALL).await?.pop();
    Ok(Some(judge(screen.as_ref(), &asked)))
}

fn judge(screen: Option<&Screen>, asked: &ScreenQuestion) -> Verdict {
    let vm = &asked.vm;
    match screen {
        None => Verdict::no(format!("{vm} has no screen any more")),
        Some(screen) if screen.state != ScreenState::There => {
            Verdict::no(format!("{vm} has no screen now"))
        }
        Some(Screen { address, port, .. }) if (*address, *port) != (asked.address, asked.port) => {
            Verdict::no(format!("that of {vm} is at {address} port {port}"))
        }
        Some(_) => Verdict::yes(),
    }
}
