//! Answers to what a console proxy asks before each connection: whether the screen is still its VM's.
//!
//! Guarantees: an answer is what the store says at that moment; of a store that cannot be read, of an appliance that is not
//! the one it should be, or whose configuration this store did not give, nothing is said; whatever fails is tried again
//! within a second, and a machine that died without a word is given up after 8 s, or when the next one is seen; a turn has
//! bounded work, and there are no more than two in a second in which nothing was to be said. Not here: what it means that
//! nobody answers, which is the proxy's affair.

use std::net::SocketAddr;
use std::time::Duration;

use sluice_api::boot::Role;
use sluice_api::config::{CONSOLE_QUESTIONS, ScreenState};
use sluice_api::report::{
    AnswerList, Question, QuestionAnswer, ScreenQuestion, StatusReport, Verdict,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::chain;
use super::consoles::SERVICE;
use super::retry::jittered;
use super::task::{Ready, RoundError, Task};
use super::watch::{Watch, address};
use crate::error::Error;
use crate::kinds::appliance::Appliance;
use crate::kinds::dynamic;
use crate::kinds::screen::Screen;
use crate::ops;
use crate::store::Conn;
use crate::store::objects::ALL;

/// Shortest turn in which nothing was to be said: questions that cannot be answered come again as long as they wait.
const SILENT: Duration = Duration::from_millis(500);
/// Longest wait after a turn that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Most questions answered in one turn; the others come again in the next.
const AT_ONCE: usize = 64;
/// How far apart two looks may put the start of one and the same run of an agent, in seconds: the answer takes time.
const SAME_START: u64 = 5;

/// The task that waits for an appliance's questions; dropping it ends it.
#[derive(Default)]
pub(super) struct Listening {
    whom: Option<Whom>,
    task: JoinSet<()>,
}

/// The machine that is heard.
#[derive(Clone, Debug)]
struct Whom {
    address: SocketAddr,
    incarnation: u64,
    /// When its agent started, in seconds of the task that looks.
    started: i64,
}

impl Whom {
    /// Whether it is the same one, which has been running since: else what is waited for may never come.
    fn is(&self, other: &Self) -> bool {
        self.address == other.address
            && self.incarnation == other.incarnation
            && self.started.abs_diff(other.started) <= SAME_START
    }
}

/// Whether the machine can ask its manager.
fn can_ask(status: &StatusReport) -> bool {
    status.capabilities.iter().any(|word| word == CONSOLE_QUESTIONS)
}

/// What is to be said of a console proxy whose machine cannot ask.
pub(super) fn alarm(role: Role, status: &StatusReport) -> Option<String> {
    (role == Role::Proxy && !can_ask(status)).then(|| {
        format!(
            "its consoles are opened without asking whether a screen is still its VM's: firmware {} does not have \
             {CONSOLE_QUESTIONS}; start a machine of this manager's image in its place",
            status.firmware
        )
    })
}

impl Task {
    /// Notes whether the machine of a console proxy can ask, before anything is sent to it: one that cannot is to have a
    /// configuration that does not want it. True when another configuration may be wanted by now.
    pub(super) async fn note_asking(
        &mut self,
        ready: &Ready,
        status: &StatusReport,
    ) -> Result<bool, Error> {
        let cannot = !can_ask(status);
        if ready.appliance.role != Role::Proxy || ready.machine.cannot_ask == cannot {
            return Ok(false);
        }
        ops::note_asking(self.watch.store(), &self.id, cannot).await?;
        Ok(true)
    }

    /// Waits for the questions of this machine from now on, if it may have any.
    pub(super) fn listen(&mut self, appliance: &Appliance, status: &StatusReport) {
        if appliance.role != Role::Proxy || !can_ask(status) {
            return self.listen_no_more();
        }
        let whom = Whom {
            address: address(appliance),
            incarnation: status.incarnation,
            started: self.started.unwrap_or_default(),
        };
        // one that broke off is begun anew
        while self.listening.task.try_join_next().is_some() {}
        let same = self.listening.whom.as_ref().is_some_and(|heard| heard.is(&whom));
        if !same || self.listening.task.is_empty() {
            self.listening = Listening { whom: Some(whom), task: JoinSet::new() };
            self.listening.task.spawn(answer_all(self.watch.clone(), appliance.clone()));
        }
    }

    /// There are no questions that are this store's affair.
    pub(super) fn listen_no_more(&mut self) {
        self.listening = Listening::default();
    }
}

async fn answer_all(watch: Watch, appliance: Appliance) {
    loop {
        let begun = Instant::now();
        match answer_some(&watch, &appliance).await {
            Ok(0) => tokio::time::sleep_until(begun + SILENT).await,
            Ok(_) => {}
            Err(error) => {
                let error = chain(&error);
                debug!(appliance = %appliance.id, error, "its questions are not heard; will retry");
                tokio::time::sleep(jittered(AGAIN)).await;
            }
        }
    }
}

/// Waits for questions and answers them; how many of the answers were the first.
async fn answer_some(watch: &Watch, appliance: &Appliance) -> Result<usize, RoundError> {
    // with the identity of now
    let client = watch.client(appliance)?;
    let mut asked = client.questions().await?.questions;
    asked.truncate(AT_ONCE);
    if asked.is_empty() {
        return Ok(0);
    }
    let mut conn = watch.store().read().await?;
    let answers = answers(&mut conn, appliance, asked).await;
    drop(conn);
    if answers.is_empty() {
        return Ok(0);
    }
    Ok(client.answer(&AnswerList { answers }).await?.taken)
}

/// What the store says to each; nothing to one of which it cannot say anything, which holds up no other.
async fn answers(
    conn: &mut Conn,
    appliance: &Appliance,
    asked: Vec<Question>,
) -> Vec<QuestionAnswer> {
    let (mut answers, mut failure) = (Vec::new(), None);
    for question in asked {
        match verdict(conn, appliance, &question).await {
            Ok(Some(verdict)) => answers.push(QuestionAnswer { id: question.id, verdict }),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        // once for all: they come again
        let error = chain(&error);
        warn!(appliance = %appliance.id, error, "questions without an answer");
    }
    answers
}

/// What the store says to a question; none to one that is not understood.
async fn verdict(
    conn: &mut Conn,
    appliance: &Appliance,
    question: &Question,
) -> Result<Option<Verdict>, Error> {
    let asked = match serde_json::from_value::<ScreenQuestion>(question.question.clone()) {
        Ok(asked) if question.service == SERVICE => asked,
        Ok(_) => return Ok(None),
        Err(error) => {
            debug!(appliance = %appliance.id, %error, "question not understood");
            return Ok(None);
        }
    };
    let zone = ("zone", appliance.zone.as_str());
    let by = [zone, ("name", asked.vm.as_str())];
    let screen = dynamic::load::<Screen>(conn, &by, ALL).await?.pop();
    Ok(Some(judge(screen.as_ref(), &asked)))
}

/// The reason says nothing of where the screen is: whoever asks is to connect there only once it is told so.
fn judge(screen: Option<&Screen>, asked: &ScreenQuestion) -> Verdict {
    let vm = &asked.vm;
    match screen {
        None => Verdict::no(format!("{vm} has no screen any more")),
        Some(screen) if screen.state != ScreenState::There => {
            Verdict::no(format!("{vm} has no screen now"))
        }
        Some(Screen { address, port, .. }) if (*address, *port) != (asked.address, asked.port) => {
            Verdict::no(format!("the screen of {vm} is elsewhere now"))
        }
        Some(_) => Verdict::yes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_run_place_or_boot_document_is_another_machine() {
        let at = |address: &str, incarnation: u64, started: i64| Whom {
            address: address.parse().unwrap(),
            incarnation,
            started,
        };
        let heard = at("169.254.0.10:8443", 2, 100);
        assert!(heard.is(&at("169.254.0.10:8443", 2, 103)), "an answer that took longer");
        assert!(!heard.is(&at("169.254.0.10:8443", 2, 110)), "started again");
        assert!(!heard.is(&at("169.254.0.10:8443", 3, 100)));
        assert!(!heard.is(&at("169.254.0.11:8443", 2, 100)));
    }
}
