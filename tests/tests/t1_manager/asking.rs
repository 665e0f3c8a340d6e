//! What services of the simulated agent ask, and how managers come for it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use sluice_agent::ServiceName;
use sluice_agent::questions::Questions;
use sluice_api::report::{AnswerList, AnswersTaken, QuestionAnswer, QuestionList, Verdict};

use super::agent::Agent;

/// The questions, and who came for them.
#[derive(Default)]
pub(crate) struct Asking {
    questions: Arc<Questions>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Questions that were put so far, and how many must have been before anybody is told.
    put: usize,
    gathered: usize,
    /// So many managers that come next are answered with nonsense.
    breaks: usize,
    /// Who comes now is never answered, not even later.
    silent: bool,
    /// Who comes is told at once that there is nothing.
    hasty: bool,
    waiting: usize,
    hanging: usize,
    fetched: usize,
    answered: usize,
}

impl Asking {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

impl Agent {
    /// A service of it asks its manager.
    pub(crate) async fn asks(&self, service: &'static str, question: Value) -> Option<Verdict> {
        let questions = Arc::clone(&self.asking.questions);
        let mut asked = pin!(questions.ask(ServiceName(service), question));
        let mut fresh = true;
        poll_fn(|context| {
            let polled = asked.as_mut().poll(context);
            if std::mem::take(&mut fresh) {
                self.asking.kept().put += 1;
            }
            polled
        })
        .await
    }

    /// Tells nobody of any question before so many more were put.
    pub(crate) fn gather(&self, count: usize) {
        let mut kept = self.asking.kept();
        kept.gathered = kept.put + count;
    }

    /// Answers so many managers with nonsense.
    pub(crate) fn set_breaking(&self, count: usize) {
        self.asking.kept().breaks = count;
    }

    /// How many of these are left.
    pub(crate) fn breaks(&self) -> usize {
        self.asking.kept().breaks
    }

    /// Never answers who comes from now on, or does again; who hangs, hangs.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.asking.kept().silent = silent;
    }

    /// Tells whoever comes at once that there is nothing, or waits for something again.
    pub(crate) fn set_hasty(&self, hasty: bool) {
        self.asking.kept().hasty = hasty;
    }

    /// Managers that wait for a question now.
    pub(crate) fn listeners(&self) -> usize {
        self.asking.kept().waiting
    }

    /// Those of them that are never answered.
    pub(crate) fn hanging(&self) -> usize {
        self.asking.kept().hanging
    }

    /// How often managers came for questions, and with answers.
    pub(crate) fn turns(&self) -> (usize, usize) {
        let kept = self.asking.kept();
        (kept.fetched, kept.answered)
    }
}

/// A manager that waits; until it goes away.
struct Listener {
    asking: Arc<Asking>,
    hangs: bool,
}

impl Listener {
    fn of(asking: &Arc<Asking>) -> Self {
        let mut kept = asking.kept();
        kept.waiting += 1;
        kept.fetched += 1;
        let hangs = kept.silent;
        kept.hanging += usize::from(hangs);
        Self { asking: Arc::clone(asking), hangs }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut kept = self.asking.kept();
        kept.waiting -= 1;
        kept.hanging -= usize::from(self.hangs);
    }
}

pub(crate) async fn questions(State(agent): State<Agent>, Query(query): Query<Value>) -> Response {
    let asking = &agent.asking;
    let listener = Listener::of(asking);
    if listener.hangs {
        return std::future::pending().await;
    }
    {
        let mut kept = asking.kept();
        if kept.breaks > 0 {
            kept.breaks -= 1;
            return (StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response();
        }
        if kept.hasty {
            return Json(QuestionList::default()).into_response();
        }
    }
    let wait = query["wait"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut questions = asking.questions.coming(Duration::from_secs(wait)).await;
    let gathers = || {
        let kept = asking.kept();
        kept.put < kept.gathered
    };
    while gathers() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        questions = asking.questions.waiting();
    }
    Json(json!(QuestionList { questions })).into_response()
}

pub(crate) async fn answers(
    State(agent): State<Agent>,
    Json(list): Json<AnswerList>,
) -> Json<AnswersTaken> {
    agent.asking.kept().answered += 1;
    let questions = &agent.asking.questions;
    let first = |it: &&QuestionAnswer| questions.answer(it.id, it.verdict.clone());
    Json(AnswersTaken { taken: list.answers.iter().filter(first).count() })
}
